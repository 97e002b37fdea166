//! The report as a picture that is read at a glance.
//!
//! ```text
//!   one request at a time            256 at once
//!   GET        ███ 5 µs              GET   ██████ 1.0M/s
//!              ▒ raw MPI                   ▒▒▒▒▒▒▒▒ raw MPI
//!   PUT        ██████ 17 µs          …
//!   …                                the primary is killed: how long clients waited
//!                                    ├──────┼──●●●●──┼──────┤  a dot a kill
//! ```
//!
//! Every figure is there once, with the limit under it. Plain SVG that reads on light and on dark pages.

use super::quantile;
use super::report::{BenchReport, BenchRow, FailoverPhases};
use std::fmt::Write;

const WIDTH: f64 = 990.0;
const HEIGHT: f64 = 424.0;
const TITLE: f64 = 24.0;
/// Where the first bar of a chart is, below its title.
const FIRST: f64 = 16.0;
const LINE: f64 = 42.0;
const BAR: f64 = 15.0;
const LIMIT_BAR: f64 = 7.0;
/// The two columns: where their labels end, and how long their longest bar is.
const LEFT: Column = Column { labels: 120.0, bars: 250.0 };
const RIGHT: Column = Column { labels: 610.0, bars: 250.0 };
/// The axis of the kills.
const KILLS_TOP: f64 = 262.0;
const KILLS_START: f64 = 540.0;
const KILLS_WIDTH: f64 = 400.0;
const KILLS_BAND: f64 = 44.0;
const DOT: f64 = 4.5;
const OURS: &str = "#2f81f7";
const LIMIT: &str = "#8b949e";
const TEXT: &str = "#6e7681";

/// What is shown of the durations, and what it is called.
const DURATIONS: [(&str, &str); 6] = [
    ("get_1_p50", "GET"),
    ("put_1_p50", "PUT"),
    ("put_4096b_p50", "PUT of 4 KiB"),
    ("put_64k_p50", "PUT of 64 KiB"),
    ("put_4_servers_p50", "PUT, 4 servers"),
    ("put_8_servers_p50", "PUT, 8 servers"),
];
/// The same of the rates.
const RATES: [(&str, &str); 4] =
    [("get_256_rate", "GET"), ("ycsb_b_rate", "95 % GET"), ("ycsb_a_rate", "half GET"), ("put_256_rate", "PUT")];

#[derive(Clone, Copy)]
struct Column {
    labels: f64,
    bars: f64,
}

/// Draws `report`.
#[must_use]
pub fn svg(report: &BenchReport) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\" fill=\"{TEXT}\">\n<title>Understudy against raw MPI</title>\n"
    );
    let shown = |names: &[(&'static str, &'static str)]| {
        names.iter().filter_map(|(name, label)| Some((*label, report.row(name)?))).collect::<Vec<_>>()
    };
    draw_bars(&mut out, LEFT, "One request at a time: median, shorter is better", &shown(&DURATIONS), duration);
    draw_bars(&mut out, RIGHT, "256 at once: answers a second, longer is better", &shown(&RATES), rate);
    draw_kills(&mut out, &report.failovers);
    let (under, by) = (HEIGHT - 34.0, HEIGHT - 12.0);
    rectangle(&mut out, 10.0, under - 11.0, 12.0, 12.0, OURS);
    text(&mut out, 28.0, under, "start", "Understudy");
    rectangle(&mut out, 120.0, under - 8.0, 12.0, LIMIT_BAR, LIMIT);
    text(&mut out, 138.0, under, "start", "raw MPI: the same bytes along the same path, and nothing done with them");
    text(&mut out, 10.0, by, "start", &format!("{}, {}, {}", report.program, report.machine, report.mpi));
    out + "</svg>\n"
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
}

fn rectangle(out: &mut String, x: f64, y: f64, width: f64, height: f64, fill: &str) {
    let _ = writeln!(
        out,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\" fill=\"{fill}\"/>"
    );
}

/// `17 µs`, `0.28 ms`.
fn duration(us: f64) -> String {
    match us {
        us if us < 10.0 => format!("{us:.1} µs"),
        us if us < 1000.0 => format!("{us:.0} µs"),
        us => format!("{:.1} ms", us / 1e3),
    }
}

/// `1.00 M/s`, `359 k/s`.
fn rate(per_second: f64) -> String {
    if per_second >= 1e6 { format!("{:.2} M/s", per_second / 1e6) } else { format!("{:.0} k/s", per_second / 1e3) }
}

fn draw_bars(out: &mut String, column: Column, title: &str, rows: &[(&str, &BenchRow)], say: fn(f64) -> String) {
    if rows.is_empty() {
        return;
    }
    text(out, column.labels - 110.0, TITLE, "start", title);
    let longest = rows.iter().flat_map(|(_, row)| [row.ours, row.limit]).fold(f64::MIN_POSITIVE, f64::max);
    for (at, (label, row)) in rows.iter().enumerate() {
        let y = TITLE + FIRST + LINE * at as f64;
        // So that a short bar is still seen.
        let length = |value: f64| (value / longest * column.bars).max(1.5);
        text(out, column.labels - 8.0, y + BAR - 3.0, "end", label);
        rectangle(out, column.labels, y, length(row.ours), BAR, OURS);
        rectangle(out, column.labels, y + BAR + 2.0, length(row.limit), LIMIT_BAR, LIMIT);
        let ratio = if row.ratio > 0.0 { format!("  ({:.1} ×)", row.ratio) } else { String::new() };
        text(out, column.labels + length(row.ours) + 6.0, y + BAR - 3.0, "start", &(say(row.ours) + &ratio));
    }
}

/// Every kill is a dot on a scale of time.
fn draw_kills(out: &mut String, failovers: &[FailoverPhases]) {
    let mut waits: Vec<f64> = failovers.iter().map(|failover| failover.outage_ms).collect();
    waits.sort_by(f64::total_cmp);
    let Some(longest) = waits.last().copied() else { return };
    let kills = waits.len();
    text(
        out,
        RIGHT.labels - 110.0,
        KILLS_TOP,
        "start",
        &format!("The primary is killed under load, {kills} times: how long clients wait"),
    );
    let (step, end) = scale(longest);
    let (x, floor) = (|ms: f64| KILLS_START + ms / end * KILLS_WIDTH, KILLS_TOP + 14.0 + KILLS_BAND);
    for tick in 0..=(end / step).round() as u32 {
        let ms = f64::from(tick) * step;
        let _ = writeln!(
            out,
            "<path d=\"M{:.1} {:.1}V{floor:.1}\" stroke=\"{LIMIT}\" stroke-width=\"0.5\"/>",
            x(ms),
            floor - KILLS_BAND
        );
        let unit = if tick == 0 { " ms" } else { "" };
        text(out, x(ms), floor + 16.0, "middle", &format!("{ms}{unit}"));
    }
    for (at, wait) in waits.iter().enumerate() {
        // Neighbours do not cover each other.
        let y = floor - 7.0 - (at % 5) as f64 * 7.5;
        let _ = writeln!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"{DOT}\" fill=\"{OURS}\" fill-opacity=\"0.7\"/>",
            x(*wait)
        );
    }
    let said = format!("median {:.1} ms, longest {longest:.1} ms", quantile(&waits, 0.5));
    text(out, KILLS_START, floor + 36.0, "start", &said);
}

/// The distance of two ticks, and the end of the scale: a handful of ticks, and nothing beyond it.
fn scale(longest: f64) -> (f64, f64) {
    let step = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0].into_iter().find(|step| longest / step <= 5.0);
    let step = step.unwrap_or(1000.0);
    (step, (longest / step).ceil() * step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> BenchReport {
        let wait = |outage_ms| FailoverPhases { outage_ms, ..FailoverPhases::default() };
        let row = |name: &str, unit: &str| BenchRow::new(name, "", 3.0, 2.0, unit, "raw");
        BenchReport {
            rows: vec![row("get_1_p50", "us"), row("put_64k_p50", "us"), row("put_65536b_p50", "us"), row("n", "/s")],
            failovers: vec![wait(50.0), wait(57.3), wait(52.0)],
            ..BenchReport::default()
        }
    }

    #[test]
    fn a_picture_holds_every_chosen_figure_once_and_every_kill() {
        let picture = svg(&report());
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
        // Two bars for each of two rows, and the two that explain them; the same measurement is not shown twice.
        assert_eq!(picture.matches("<rect").count(), 6, "{picture}");
        assert_eq!(picture.matches("<circle").count(), 3, "{picture}");
        assert!(picture.contains("3 times") && picture.contains("median 52.0 ms, longest 57.3 ms"), "{picture}");
    }

    #[test]
    fn an_empty_report_is_a_picture_too() {
        let picture = svg(&BenchReport::default());
        assert!(picture.ends_with("</svg>\n") && !picture.contains("NaN") && !picture.contains("inf"), "{picture}");
    }

    #[test]
    fn a_scale_ends_behind_the_longest() {
        for longest in [0.3, 1.0, 49.9, 57.3, 100.0, 1234.0] {
            let (step, end) = scale(longest);
            assert!(end >= longest && end - longest < step && end / step <= 6.0, "{longest}: {step}, {end}");
        }
    }

    #[test]
    fn figures_are_short() {
        assert_eq!([4.95, 16.8, 281.0, 1174.0].map(duration), ["5.0 µs", "17 µs", "281 µs", "1.2 ms"]);
        assert_eq!([1_004_000.0, 359_400.0].map(rate), ["1.00 M/s", "359 k/s"]);
    }
}
