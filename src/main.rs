//! A trial of the launcher: ranks that do nothing, and a rank 0 that echoes lines.

use clap::Parser;
use mpi::traits::Communicator;
use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use understudy::args::Args;
use understudy::launch;

fn main() -> ExitCode {
    if let Some(code) = launch::guardian() {
        return code;
    }
    let args = Args::parse();
    if !launch::is_rank() {
        return launch::run(&args);
    }
    let watch = launch::ParentWatch::new();
    let rank = ["OMPI_COMM_WORLD_RANK", "PMI_RANK"].iter().find_map(|n| std::env::var(n).ok()).unwrap_or_default();
    if rank != "0" {
        let _ = launch::block_terminal_signals();
        let _ = watch.exit_when_orphaned();
        let _universe = init();
        let zero = std::fs::read_to_string(launch::job_dir(&args).unwrap().join("zero")).unwrap_or_default();
        if let Ok(pid) = zero.trim().parse() {
            watch.rank_zero_is(pid);
        }
        loop {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    let begun = Instant::now();
    let leave = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&leave);
    let attachment: Arc<Mutex<Option<launch::Attachment>>> = Arc::default();
    let held = Arc::clone(&attachment);
    let attached = launch::attach(&args, move |order| {
        if order == launch::Order::Leave && !asked.swap(true, Ordering::SeqCst) {
            if let Some(attached) = held.lock().unwrap().as_ref() {
                attached.break_off(0);
            }
            signal_hook::low_level::exit(0);
        }
    });
    let attached = match attached {
        Ok(attached) => attached,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    *attachment.lock().unwrap() = Some(attached.clone());
    let at_attached = begun.elapsed();
    std::fs::write(launch::job_dir(&args).unwrap().join("zero"), std::process::id().to_string()).unwrap();
    if std::env::var_os("TRIAL_TIMES").is_some() {
        eprint!("attached {} ", now());
    }
    let universe = init();
    if std::env::var_os("TRIAL_TIMES").is_some() {
        eprintln!("init {} [{at_attached:?} {:?}]", now(), begun.elapsed());
    }
    attached.report_pids(&[std::process::id()]);
    let code = if attached.stdin_is_terminal() && attached.stdout_is_terminal() && !args.plain {
        interactive()
    } else {
        lines()
    };
    attached.finish(code);
    std::mem::forget(universe);
    signal_hook::low_level::exit(i32::from(code))
}

fn now() -> String {
    let t = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{:.3}", t.as_secs_f64())
}

fn init() -> Option<mpi::environment::Universe> {
    if std::env::var_os("TRIAL_NO_MPI").is_some() {
        return None;
    }
    let (universe, _) = mpi::initialize_with_threading(mpi::Threading::Funneled)?;
    universe.world().barrier_free();
    Some(universe)
}

trait BarrierFree {
    fn barrier_free(&self);
}
impl<C: Communicator> BarrierFree for C {
    fn barrier_free(&self) {
        assert!(self.size() > 0);
    }
}

fn lines() -> u8 {
    let mut code = 0;
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        if let Some(rest) = line.strip_prefix("exit ") {
            code = rest.parse().unwrap_or(9);
            break;
        }
        if writeln!(std::io::stdout(), "{line}").is_err() {
            break;
        }
    }
    let _ = std::io::stdout().flush();
    code
}

fn interactive() -> u8 {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).unwrap();
    print!("\x1b[2J\x1b[H\x1b[31mDASHBOARD of pid {}", std::process::id());
    print!("\x1b[{};{}r\x1b[{};1H", size.ws_row / 2, size.ws_row, size.ws_row);
    let _ = std::io::stdout().flush();
    let mut editor = rustyline::DefaultEditor::new().unwrap();
    let mut code = 0;
    loop {
        match editor.readline("trial> ") {
            Ok(line) if line == "quit" => break,
            Ok(line) if line.starts_with("exit ") => {
                code = line.get(5..).and_then(|c| c.parse().ok()).unwrap_or(9);
                break;
            }
            Ok(line) => println!("you said {line}"),
            Err(rustyline::error::ReadlineError::Interrupted) => println!("interrupted"),
            Err(_) => break,
        }
    }
    print!("\x1b[0m\x1b[r\x1b[{};1H\r\n", size.ws_row);
    let _ = std::io::stdout().flush();
    code
}
