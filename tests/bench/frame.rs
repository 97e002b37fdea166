//! One frame of the dashboard, as it is drawn sixty times a second while something moves.

#[path = "../dashboard/scenes.rs"]
#[allow(dead_code, reason = "the screen's tests use more of the scenes")]
mod scenes;

use divan::Bencher;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use understudy::ui::dashboard::ThemeName;
use understudy::ui::dashboard::{Face, Painter, Theme, view};

/// The picture alone.
#[divan::bench(args = [(80, 20), (200, 60)])]
fn picture(bencher: Bencher, (cols, rows): (u16, u16)) {
    let scene = scenes::Scene::put(3, 10);
    let theme = Theme::new(ThemeName::Dark, false);
    let mut terminal = Terminal::new(TestBackend::new(cols, rows)).expect("a test backend does not fail");
    let keys = scenes::keys();
    bencher.bench_local(|| {
        let draw =
            |frame: &mut ratatui::Frame| view::draw(frame, &scene.model, &Face::default(), &theme, &keys, scene.now);
        terminal.draw(draw).expect("a test backend does not fail");
    });
}

/// The picture and what is written of it to the terminal: only what changed.
#[divan::bench]
fn painted(bencher: Bencher) {
    let scene = scenes::Scene::put(3, 10);
    let theme = Theme::new(ThemeName::Dark, false);
    let mut painter = Painter::enter(std::io::sink(), 140, 40).expect("a sink does not fail");
    let keys = scenes::keys();
    bencher.bench_local(|| {
        painter
            .paint(|frame| view::draw(frame, &scene.model, &Face::default(), &theme, &keys, scene.now))
            .expect("a sink does not fail");
    });
}
