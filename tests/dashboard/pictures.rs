//! Whole screens.

use crate::scenes::{Scene, Told, keys, status};
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};
use std::fmt::Write;
use understudy::cluster::{LiveVerdict, Sight};
use understudy::core::load::{Report, Workload};
use understudy::core::protocol::{DiskStatus, Event, Rank, Role, ServerStatus};
use understudy::core::store::{ClientId, OpNumber, Seq};
use understudy::ui::commands::help::help;
use understudy::ui::dashboard::ThemeName;
use understudy::ui::dashboard::model::page::Page;
use understudy::ui::dashboard::{Theme, layout, view};

/// Draws the scene on a terminal of this size and answers the dashboard's part of it.
fn draw(scene: &Scene, theme: &Theme, cols: u16, rows: u16) -> Buffer {
    let (dashboard_rows, _) = layout::split(cols, rows);
    draw_area(scene, theme, cols, dashboard_rows)
}

fn draw_area(scene: &Scene, theme: &Theme, cols: u16, rows: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(cols, rows)).unwrap();
    terminal.draw(|frame| view::draw(frame, &scene.model, &scene.face, theme, &keys(), scene.now)).unwrap();
    terminal.backend().buffer().clone()
}

fn dark() -> Theme {
    Theme::new(ThemeName::Dark, false)
}

/// The signs, then the styles, each style with a letter of its own in the order of appearance.
fn grids(buffer: &Buffer) -> String {
    let mut styles: Vec<Style> = Vec::new();
    let (mut signs, mut letters) = (String::new(), String::new());
    for y in 0..buffer.area.height {
        let (mut sign_row, mut letter_row) = (String::new(), String::new());
        for x in 0..buffer.area.width {
            let cell = &buffer[(x, y)];
            sign_row.push_str(cell.symbol());
            letter_row.push(letter(&mut styles, cell.style()));
        }
        let _ = writeln!(signs, "{}", sign_row.trim_end());
        let _ = writeln!(letters, "{}", letter_row.trim_end());
    }
    let mut legend = String::new();
    for (style, letter) in styles.iter().zip('a'..) {
        let _ = writeln!(legend, "{letter} {}", describe(*style));
    }
    format!("{signs}\n{letters}\n{legend}")
}

fn letter(styles: &mut Vec<Style>, style: Style) -> char {
    if describe(style).is_empty() {
        return ' ';
    }
    let known = styles.iter().position(|s| *s == style).unwrap_or_else(|| {
        styles.push(style);
        styles.len() - 1
    });
    ('a'..).nth(known).unwrap()
}

fn describe(style: Style) -> String {
    let mut words = Vec::new();
    if let Some(Color::Indexed(n)) = style.fg {
        words.push(format!("fg {n}"));
    }
    if let Some(Color::Indexed(n)) = style.bg {
        words.push(format!("bg {n}"));
    }
    for (flag, word) in [(Modifier::BOLD, "bold"), (Modifier::DIM, "dim"), (Modifier::REVERSED, "reversed")] {
        if style.add_modifier.contains(flag) {
            words.push(word.to_owned());
        }
    }
    words.join(" ")
}

fn check(name: &str, scene: &Scene) {
    for (cols, rows) in [(80, 24), (100, 30)] {
        let picture = grids(&draw(scene, &dark(), cols, rows));
        insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
            insta::assert_snapshot!(format!("{name}_{cols}x{rows}"), picture);
        });
    }
}

#[test]
fn two_fresh_servers() {
    check("two_fresh_servers", &Scene::formed(2));
}

#[test]
fn a_put_in_flight() {
    let mut scene = Scene::put(2, 480);
    scene.model.verdict = Some(LiveVerdict::Linearizable { operations: 43 });
    check("a_put_in_flight", &scene);
}

#[test]
fn the_primary_is_down() {
    check("the_primary_is_down", &Scene::crashed(2, 30));
}

#[test]
fn the_backup_has_taken_over() {
    check("the_backup_has_taken_over", &Scene::taken_over(2, 300));
}

#[test]
fn the_crashed_server_joins() {
    check("the_crashed_server_joins", &Scene::joining(2));
}

#[test]
fn the_primary_is_paused() {
    check("the_primary_is_paused", &Scene::paused());
}

#[test]
fn the_old_primary_has_not_heard_of_the_view() {
    check("the_old_primary_has_not_heard_of_the_view", &Scene::behind());
}

#[test]
fn a_page_over_the_cards() {
    let mut scene = Scene::written(2);
    let text = help(None).expect("there is an overview");
    scene.face.page = Some(Page::new("HELP", &text));
    check("a_page_with_all_of_the_help", &scene);
    let keys: String = (1..=40).map(|number| format!("{number:>2}) \"key{number}\"\n")).collect();
    let mut page = Page::new("KEYS", &keys);
    page.turn(1, 76, 15);
    scene.face.page = Some(page);
    check("a_page_of_several", &scene);
}

#[test]
fn a_link_is_cut() {
    check("a_link_is_cut", &Scene::cut());
}

/// It is on the side of server 1, reaches it, and has asked: it waits.
#[test]
fn a_further_client_has_a_box_and_links_of_its_own() {
    let mut scene = Scene::cut();
    scene.model.clients = 1;
    for peer in [2, 0] {
        scene.model.hear_cut(Rank(3), Rank(peer), true);
        scene.model.hear_cut(Rank(peer), Rank(3), true);
    }
    scene.fly(3, 1, "Request", "Request c3#2 GET color", false);
    scene.wait(300);
    check("a_further_client", &scene);
    scene.tell(3, Event::GaveUp { client: ClientId::on(3), seq: Seq(2) });
    for (cols, rows) in [(80, 24), (100, 30), (160, 45)] {
        let screen = grids(&draw(&scene, &dark(), cols, rows));
        assert!(screen.contains("│ GET color") && screen.contains("(unknown)│"), "{screen}");
    }
    // Under load that of rank 0 sums them up.
    scene.model.load = Some(Report::default());
    assert!(!grids(&draw(&scene, &dark(), 100, 30)).contains("╭ client 3"));
}

/// Who has a write and does not know yet that all have it shows that it has it.
#[test]
fn a_write_that_is_not_applied_is_seen_on_the_card() {
    let shows = |scene: &Scene, what: &str| {
        [(80, 24), (100, 30)].iter().all(|(cols, rows)| grids(&draw(scene, &dark(), *cols, *rows)).contains(what))
    };
    let mut scene = Scene::formed(3);
    assert!(shows(&scene, "no keys"));
    for rank in 2..=3 {
        scene.be(rank, ServerStatus { commit: OpNumber(0), ..status(Role::Backup, 1, 1, 0) });
    }
    assert!(shows(&scene, "1 write, not applied"));
    let mut scene = Scene::written(2);
    scene.be(2, ServerStatus { commit: OpNumber(42), ..status(Role::Backup, 1, 44, 6) });
    assert!(grids(&draw(&scene, &dark(), 100, 30)).contains("2 writes, not applied"));
    // Under load there are always some.
    scene.model.load = Some(Report { workload: Some(Workload::B), ..Report::default() });
    assert!(!shows(&scene, "not applied"));
}

/// What takes a second there takes 50 ms elsewhere.
#[test]
fn a_slow_pace_is_told_beside_its_times() {
    let mut scene = Scene::taken_over(2, 300);
    scene.model.setup.pace = 20.0;
    for (cols, rows) in [(80, 24), (100, 30), (160, 45)] {
        let screen = grids(&draw(&scene, &dark(), cols, rows));
        assert!(screen.lines().next().is_some_and(|header| header.contains("slowed ×20")), "{screen}");
        let beside = screen.lines().any(|line| line.contains("failover ") && line.contains("slowed ×20"));
        assert!(beside || cols == 80, "{screen}");
        let big = grids(&draw(&scene, &dark().for_the_back_row(true), cols, rows));
        assert!(big.contains("ms, slowed ×20"), "{big}");
    }
}

#[test]
fn nobody_has_the_data() {
    check("nobody_has_the_data", &Scene::lost());
}

#[test]
fn a_member_differs() {
    let mut scene = Scene::differing();
    scene.model.verdict = Some(LiveVerdict::Broken);
    check("a_member_differs", &scene);
}

#[test]
fn one_server() {
    check("one_server", &Scene::written(1));
}

#[test]
fn three_servers() {
    check("three_servers", &Scene::put(3, 480));
}

#[test]
fn five_servers() {
    check("five_servers", &Scene::put(5, 480));
}

#[test]
fn eight_servers() {
    check("eight_servers", &Scene::joining(8));
}

#[test]
fn small_terminals() {
    for (cols, rows) in [(60, 18), (79, 30), (40, 10)] {
        for servers in [2, 8] {
            let picture = grids(&draw(&Scene::taken_over(servers, 1_500), &dark(), cols, rows));
            insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
                insta::assert_snapshot!(format!("small_{servers}_servers_{cols}x{rows}"), picture);
            });
        }
    }
}

/// Every scene that the themes are tried on.
fn all_scenes() -> Vec<Scene> {
    let mut scenes = vec![Scene::paused(), Scene::cut(), Scene::lost(), Scene::differing()];
    for servers in 1..=8 {
        scenes.push(Scene::new(servers));
        scenes.push(Scene::put(servers, 480));
        if servers > 1 {
            scenes.extend([Scene::crashed(servers, 30), Scene::taken_over(servers, 300), Scene::joining(servers)]);
        }
    }
    for scene in &mut scenes {
        scene.model.unsafe_notice = Some("the lease is ignored on purpose".into());
    }
    scenes
}

#[test]
fn the_mono_theme_has_no_colour() {
    for ascii in [false, true] {
        let theme = Theme::new(ThemeName::Mono, ascii);
        for scene in all_scenes() {
            for cell in &draw(&scene, &theme, 100, 30).content {
                assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{cell:?}");
            }
        }
    }
}

#[test]
fn ascii_is_ascii_also_where_the_values_are_not() {
    for name in [ThemeName::Dark, ThemeName::Light, ThemeName::ColorBlind, ThemeName::Mono] {
        let theme = Theme::new(name, true);
        for scene in all_scenes() {
            for (cols, rows) in [(60, 18), (80, 24), (100, 30)] {
                for cell in &draw(&scene, &theme, cols, rows).content {
                    assert!(cell.symbol().is_ascii() && cell.symbol().len() == 1, "{cell:?}");
                }
            }
        }
    }
}

/// Takes the styles away and asks whether the states can still be told apart.
#[test]
fn a_state_is_told_by_word_and_border() {
    use understudy::cluster::Standing::{Backup, Dead, Down, Idle, Joining, Paused, Primary};
    for ascii in [false, true] {
        let theme = Theme::new(ThemeName::Mono, ascii);
        let states = [Primary, Backup, Joining, Idle, Down, Paused, Dead];
        for (i, a) in states.iter().enumerate() {
            for b in &states[..i] {
                assert_ne!(theme.card(*a).1, theme.card(*b).1, "{a} and {b} have the same border");
            }
        }
    }
}

#[test]
fn garbage_from_a_peer_is_shown_on_the_card() {
    let shows = |scene: &Scene, cols, rows| {
        let symbols: String = draw(scene, &dark(), cols, rows).content.iter().map(|cell| cell.symbol()).collect();
        symbols.contains("garbage 3")
    };
    let mut scene = Scene::written(2);
    assert!(!shows(&scene, 80, 24));
    let status = ServerStatus { garbage: 3, ..status(Role::Backup, 1, 0, 0) };
    scene.be(2, status);
    assert!(shows(&scene, 80, 24) && shows(&scene, 100, 30));
}

#[test]
fn the_disk_is_on_the_card() {
    let disk = |written, synced| {
        Some(DiskStatus {
            written: OpNumber(written),
            synced: OpNumber(synced),
            bytes: 64_200_000,
            ..DiskStatus::default()
        })
    };
    let mut scene = Scene::written(2);
    let of = |role, written, synced| ServerStatus { disk: disk(written, synced), ..status(role, 1, 42, 6) };
    scene.be(1, of(Role::Primary, 42, 40));
    scene.be(2, of(Role::Backup, 1_000_000, 999_000));
    check("the_disk_is_on_the_card", &scene);
    let down = |disk: Option<DiskStatus>| {
        let mut scene = Scene::written(2);
        scene.be(2, ServerStatus { disk, ..status(Role::Down, 1, 0, 0) });
        grids(&draw(&scene, &dark(), 80, 24))
    };
    assert!(down(disk(42, 42)).contains("its disk has op 42"));
    assert!(down(disk(0, 0)).contains("its disk is empty"));
    assert!(down(disk(42, 42).map(|disk| DiskStatus { failed: true, ..disk })).contains("its disk has failed"));
    let reads = down(disk(0, 0).map(|disk| DiskStatus { reading: Some((16_000_000, disk.bytes)), ..disk }));
    assert!(reads.contains("reads its disk: 25%") && reads.contains("of 64 MB"), "{reads}");
    assert!(down(None).contains("its memory is lost"));
}

#[test]
fn the_screen_does_not_move_between_two_looks_at_the_same_time() {
    let scene = Scene::joining(2);
    assert_eq!(draw(&scene, &dark(), 100, 30), draw(&scene, &dark(), 100, 30));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_size_is_drawn(cols in 1u16..200, rows in 1u16..80, servers in 1u32..=8, what in 0usize..5, ascii: bool,
                         clients in 0u32..3) {
        let servers = if what > 1 { servers.max(2) } else { servers };
        let mut scene = match what {
            0 => Scene::new(servers),
            1 => Scene::put(servers, 480),
            2 => Scene::crashed(servers, 500),
            3 => Scene::taken_over(servers, 100),
            _ => Scene::joining(servers),
        };
        scene.model.clients = clients;
        draw_area(&scene, &Theme::new(ThemeName::Dark, ascii), cols, rows);
    }
}

/// Operations, failovers, and what was lost or done twice are seen at every size that has a client's box.
#[test]
fn the_door_is_in_the_box_of_the_client() {
    let mut scene = Scene::new(2);
    let slowest = std::time::Duration::from_micros(1_500);
    scene.model.door = Some(Sight { port: 6379, connections: 12, per_second: 34_567, slowest });
    let screen = grids(&draw(&scene, &dark(), 120, 36));
    assert!(screen.contains("door :6379 12 in") && screen.contains("34.6k/s"), "{screen}");
    assert!(screen.contains("slowest 1.5"), "{screen}");
}

#[test]
fn the_load_is_in_the_box_of_the_client() {
    for (servers, cols, rows) in [(2, 80, 24), (2, 120, 36), (1, 80, 24), (3, 100, 30), (8, 120, 36)] {
        let mut scene = Scene::new(servers);
        let mut report = Report { workload: Some(Workload::B), clients: 2, operations: 123_456, ..Report::default() };
        (report.per_second, report.failovers) = (4_321, 2);
        scene.model.clients = 2;
        scene.model.load = Some(report);
        let screen = grids(&draw(&scene, &dark(), cols, rows));
        assert!(screen.contains("4321/s") && screen.contains("lost 0 dup 0"), "{servers} at {cols}x{rows}:\n{screen}");
        if servers == 2 && cols == 120 {
            assert!(screen.contains("123.5k ops") && screen.contains("2 failovers"), "{screen}");
        }
    }
}
