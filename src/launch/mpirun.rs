//! Finding mpirun, telling its kinds apart, and its command line.
//!
//! The kinds differ in what they call the same thing. What is asked of each:
//!
//! - start more ranks than there are cores, bound to none of them;
//! - go on when a rank dies;
//! - unless there are several hosts, keep to this machine: shared memory and nothing else. That works without a
//!   network and behind any firewall, and spares the search for faster fabrics (about a quarter of a second of
//!   `MPI_Init` here).

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names the mpirun to use, instead of the first one in `PATH`.
pub const MPIRUN_VARIABLE: &str = "UNDERSTUDY_MPIRUN";

/// To glibc's allocator: keep what was freed. By default it gives the top of the heap back to the system again
/// and again, and every value of more than a few kilobytes then costs page faults on every rank it passes.
const MALLOC: [(&str, &str); 3] =
    [("MALLOC_TRIM_THRESHOLD_", "268435456"), ("MALLOC_MMAP_THRESHOLD_", "33554432"), ("MALLOC_TOP_PAD_", "1048576")];

/// Whether Open MPI gives the core away whenever it is asked for something that has not come. It does where there are
/// more ranks than cores, unless this is said to be 0: the loop of a rank knows better when to wait, and how
/// (`mpi::pace`).
pub const YIELD_VARIABLE: &str = "OMPI_MCA_mpi_yield_when_idle";

/// This many processes sleep from the start unless somebody says otherwise.
const SPARES: u32 = 2;

/// The interface of a machine to itself.
const LOOPBACK: &str = "127.0.0.0/8";

/// It contradicts what is said about [`LOOPBACK`], and mpirun then refuses to start; on one machine it means nothing.
const CONTRADICTION: &str = "oob_tcp_if_exclude";
/// Names the files with Open MPI's settings, separated by commas.
const SETTINGS_VARIABLE: &str = "OMPI_MCA_mca_base_param_files";
/// Where the settings of all users are: as distributions have it; else it is in mpirun's own tree.
const SETTINGS_OF_ALL: &str = "/etc/openmpi/openmpi-mca-params.conf";

/// What to say when there is none.
const INSTALL_HINT: &str = "install one (Debian, Ubuntu: apt-get install -y openmpi-bin libopenmpi-dev libclang-dev; \
     Fedora: dnf install openmpi-devel; macOS: brew install open-mpi)";

/// What kind of mpirun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Open MPI up to 4: its run-time is ORTE.
    OpenMpi4,
    /// Open MPI 5 and later: its run-time is PRRTE.
    OpenMpi5,
    /// MPICH and its kin: the launcher is Hydra.
    Mpich,
}

/// An mpirun that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mpirun {
    /// Where it is.
    pub program: PathBuf,
    /// What it is.
    pub flavour: Flavour,
}

impl Mpirun {
    /// Finds mpirun and its kind.
    ///
    /// # Errors
    /// When there is none, with what to install; or when it cannot be run.
    pub fn find() -> Result<Self, String> {
        let program = match std::env::var_os(MPIRUN_VARIABLE).filter(|name| !name.is_empty()) {
            Some(name) => search(&name).ok_or_else(|| {
                format!("{MPIRUN_VARIABLE} names {}, which is not a program", Path::new(&name).display())
            })?,
            None => search(OsStr::new("mpirun"))
                .or_else(|| search(OsStr::new("mpiexec")))
                .ok_or_else(|| format!("no mpirun in PATH: {INSTALL_HINT}, or name it in {MPIRUN_VARIABLE}"))?,
        };
        let flavour = match by_name(&program) {
            Some(flavour) => flavour,
            None => by_version(&program)?,
        };
        Ok(Self { program, flavour })
    }

    /// The command that starts `ranks` ranks of `binary` on this machine, or on the hosts that a file names, handing
    /// them the variables `exported`.
    #[must_use]
    pub fn command(
        &self,
        ranks: u32,
        hosts: Option<&Path>,
        exported: &[&str],
        binary: &Path,
        arguments: &[OsString],
    ) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(hosts) = hosts {
            command.arg(if self.flavour == Flavour::Mpich { "-f" } else { "--hostfile" }).arg(hosts);
        }
        command.args(self.options(ranks, hosts.is_some(), exported)).arg(binary).args(arguments);
        command.envs(MALLOC.iter().copied());
        if std::env::var_os(YIELD_VARIABLE).is_none() {
            command.env(YIELD_VARIABLE, "0");
        }
        if hosts.is_none() {
            command.env_remove(format!("OMPI_MCA_{CONTRADICTION}"));
        }
        if self.flavour != Flavour::Mpich && rustix::process::geteuid().is_root() {
            command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
            command.env("PRTE_ALLOW_RUN_AS_ROOT", "1").env("PRTE_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        }
        command
    }

    /// How many spares to start if this many are wanted. Where nobody survives a death they are of no use.
    #[must_use]
    pub fn spares(&self, wanted: Option<u32>) -> u32 {
        if self.flavour == Flavour::Mpich { 0 } else { wanted.unwrap_or(SPARES) }
    }

    /// Makes MPI keep its files where the launcher can remove them: an mpirun that is killed leaves megabytes behind.
    pub fn keep_files_in(&self, command: &mut Command, session: &Path, shared: Option<&Path>) {
        match self.flavour {
            Flavour::OpenMpi4 => {
                command.env("OMPI_MCA_orte_tmpdir_base", session);
                shared.map(|dir| command.env("OMPI_MCA_btl_vader_backing_directory", dir));
            }
            Flavour::OpenMpi5 => {
                command.env("PRTE_MCA_prte_tmpdir_base", session);
                shared.map(|dir| command.env("OMPI_MCA_btl_sm_backing_directory", dir));
            }
            Flavour::Mpich => {}
        }
    }

    /// On one machine: if files with MPI's settings contradict what is said here, copies without that are read instead.
    ///
    /// # Errors
    /// When there is no room for the copies.
    pub fn settle_settings(&self, command: &mut Command, folder: &Path) -> Result<(), String> {
        if self.flavour != Flavour::OpenMpi4 {
            return Ok(());
        }
        let named = std::env::var_os(SETTINGS_VARIABLE).filter(|names| !names.is_empty());
        let files: Vec<PathBuf> = match named.as_ref().and_then(|names| names.to_str()) {
            Some(names) => names.split(',').map(PathBuf::from).collect(),
            None => self.settings_files(),
        };
        let texts: Vec<String> = files.iter().filter_map(|file| std::fs::read_to_string(file).ok()).collect();
        if !texts.iter().any(|text| text.lines().any(is_contradiction)) {
            return Ok(());
        }
        let mut copies = Vec::new();
        for (number, text) in texts.iter().enumerate() {
            let copy = folder.join(format!("settings-{number}.conf"));
            let lines: String = text.lines().filter(|line| !is_contradiction(line)).map(|l| format!("{l}\n")).collect();
            std::fs::write(&copy, lines)
                .map_err(|error| format!("cannot write {}: {error}; set TMPDIR", copy.display()))?;
            copies.push(copy.display().to_string());
        }
        command.env(SETTINGS_VARIABLE, copies.join(","));
        Ok(())
    }

    /// Those that are read first come first.
    fn settings_files(&self) -> Vec<PathBuf> {
        let own = std::env::var_os("HOME").map(|home| Path::new(&home).join(".openmpi/mca-params.conf"));
        let program = self.program.canonicalize().unwrap_or_else(|_| self.program.clone());
        let tree = program.parent().and_then(Path::parent).map(|tree| tree.join("etc/openmpi-mca-params.conf"));
        own.into_iter().chain([PathBuf::from(SETTINGS_OF_ALL)]).chain(tree).collect()
    }

    fn options(&self, ranks: u32, elsewhere: bool, exported: &[&str]) -> Vec<String> {
        let mut options = vec!["-n".into(), ranks.to_string()];
        let mut add = |words: &[&str]| options.extend(words.iter().map(|&word| word.to_owned()));
        if self.flavour == Flavour::Mpich {
            add(if elsewhere { &["-ppn", "1"] } else { &["-launcher", "fork"] });
            add(&["-disable-auto-cleanup"]);
            return options;
        }
        add(&["--oversubscribe", "--bind-to", "none", "--enable-recovery"]);
        // `ob1` is the engine that drives the transports below; naming it spares the trial of the others.
        add(&["--mca", "pml", "ob1"]);
        if self.flavour == Flavour::OpenMpi4 {
            add(&["--mca", "orte_abort_on_non_zero_status", "0"]);
        }
        match (elsewhere, self.flavour) {
            // One rank a host by turns: a host that is lost takes one server along.
            (true, _) => add(&["--map-by", "node", "--mca", "btl", "^openib,ofi,uct,usnic"]),
            // Without TCP nothing depends on what the user has set up about networks.
            (false, Flavour::OpenMpi4) => add(&["--mca", "btl", "self,vader", "--mca", "oob_tcp_if_include", LOOPBACK]),
            (false, _) => add(&["--mca", "btl", "self,sm"]),
        }
        for name in exported {
            add(&["-x", name]);
        }
        options
    }
}

/// True for a line of a settings file that gives [`CONTRADICTION`] a value.
fn is_contradiction(line: &str) -> bool {
    line.split('=').next().is_some_and(|name| name.trim() == CONTRADICTION)
}

/// The program of this name in `PATH`; a name with a slash is a path.
fn search(name: &OsStr) -> Option<PathBuf> {
    let path = Path::new(name);
    if path.components().count() > 1 {
        return is_program(path).then(|| path.to_owned());
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(path)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// The kind by the file that the name stands for: distributions install `mpirun` as a symbolic link.
/// Costs nothing, where asking for the version costs a process.
fn by_name(program: &Path) -> Option<Flavour> {
    let resolved = program.canonicalize().ok()?;
    match resolved.file_name()?.to_str()? {
        "orterun" => Some(Flavour::OpenMpi4),
        "prterun" => Some(Flavour::OpenMpi5),
        name if name.contains("hydra") || name.contains("mpich") => Some(Flavour::Mpich),
        _ => None,
    }
}

/// The kind by what `--version` prints.
fn by_version(program: &Path) -> Result<Flavour, String> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {}: {error}; {INSTALL_HINT}", program.display()))?;
    by_version_text(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
        format!(
            "{} is neither Open MPI's nor MPICH's mpirun: {INSTALL_HINT}, or name it in {MPIRUN_VARIABLE}",
            program.display()
        )
    })
}

fn by_version_text(text: &str) -> Option<Flavour> {
    if let Some((_, version)) = text.split_once("(Open MPI) ").or_else(|| text.split_once("(OpenRTE) ")) {
        let major: u32 = version.split('.').next()?.trim().parse().ok()?;
        return Some(if major >= 5 { Flavour::OpenMpi5 } else { Flavour::OpenMpi4 });
    }
    if text.contains("PRRTE") || text.contains("prterun") {
        return Some(Flavour::OpenMpi5);
    }
    (text.contains("HYDRA") || text.contains("MPICH") || text.contains("Intel(R) MPI")).then_some(Flavour::Mpich)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(flavour: Flavour) -> String {
        Mpirun { program: "mpirun".into(), flavour }.options(3, false, &["A", "B"]).join(" ")
    }

    #[test]
    fn the_version_text_tells_the_kinds_apart() {
        assert_eq!(by_version_text("mpirun (Open MPI) 4.1.4\n\nReport bugs"), Some(Flavour::OpenMpi4));
        assert_eq!(by_version_text("mpirun (Open MPI) 5.0.11\n"), Some(Flavour::OpenMpi5));
        assert_eq!(by_version_text("HYDRA build details:\n    Version: 4.0.2\n"), Some(Flavour::Mpich));
        assert_eq!(by_version_text("Intel(R) MPI Library for Linux* OS, Version 2021.11"), Some(Flavour::Mpich));
        assert_eq!(by_version_text("something else"), None);
    }

    #[test]
    fn open_mpi_goes_on_without_a_rank_and_keeps_to_this_machine() {
        let four = options(Flavour::OpenMpi4);
        assert!(four.starts_with("-n 3 --oversubscribe --bind-to none --enable-recovery"), "{four}");
        assert!(four.contains("--mca btl self,vader"), "{four}");
        assert!(four.contains("orte_abort_on_non_zero_status 0"), "{four}");
        assert!(four.ends_with("-x A -x B"), "{four}");
        let five = options(Flavour::OpenMpi5);
        assert!(!five.contains("orte_") && five.contains("--enable-recovery"), "{five}");
    }

    #[test]
    fn with_a_hostfile_it_uses_the_network_and_all_hosts() {
        for flavour in [Flavour::OpenMpi4, Flavour::OpenMpi5, Flavour::Mpich] {
            let mpirun = Mpirun { program: "mpirun".into(), flavour };
            let command = mpirun.command(3, Some(Path::new("hosts")), &["A"], Path::new("understudy"), &[]);
            let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
            assert_eq!(words[1], "hosts");
            assert!(!words.iter().any(|word| word.contains("127.0.0.0") || word == "fork"), "{words:?}");
        }
    }

    #[test]
    fn mpich_gets_no_word_that_it_does_not_know() {
        assert_eq!(options(Flavour::Mpich), "-n 3 -launcher fork -disable-auto-cleanup");
    }

    #[test]
    fn only_what_contradicts_is_left_out_of_settings() {
        let lines = ["oob_tcp_if_exclude = lo,docker0", " oob_tcp_if_exclude=lo", "# oob_tcp_if_exclude = lo", "a = b"];
        assert_eq!(lines.map(is_contradiction), [true, true, false, false]);
    }

    #[test]
    fn a_name_with_a_slash_is_not_searched_in_path() {
        assert_eq!(search(OsStr::new("/bin/sh")), Some("/bin/sh".into()));
        assert_eq!(search(OsStr::new("/bin/there-is-no-such-program")), None);
        assert!(search(OsStr::new("sh")).is_some());
    }
}
