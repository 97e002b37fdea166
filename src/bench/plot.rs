//! The report as a picture.
//!
//! Left: for every figure that is held against raw MPI, both, on a logarithmic scale. Right: the failovers,
//! a bar each, by phase. Plain SVG that reads on light and on dark pages.

use super::report::{Failover, Report, Row};
use std::fmt::Write;

const WIDTH: f64 = 990.0;
const LABELS: f64 = 150.0;
const CHART: f64 = 340.0;
const LINE: f64 = 26.0;
const TOP: f64 = 64.0;
/// Where the right half begins.
const RIGHT: f64 = 560.0;
const RIGHT_CHART: f64 = 400.0;
const OURS: &str = "#2f81f7";
const LIMIT: &str = "#8b949e";
const TEXT: &str = "#6e7681";
/// Noticed, view changed, taken over, answered.
const PHASES: [(&str, &str); 4] =
    [("noticed", "#8b949e"), ("view changed", "#d29922"), ("taken over", "#2f81f7"), ("answered", "#3fb950")];

/// Draws `report`.
#[must_use]
pub fn svg(report: &Report) -> String {
    let latencies: Vec<&Row> = report.rows.iter().filter(|row| row.unit == "us").collect();
    let lines = latencies.len().max(failover_lines(report)).max(4);
    let height = TOP + LINE * lines as f64 + 56.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\" fill=\"{TEXT}\">\n<title>Understudy against raw MPI</title>\n"
    );
    draw_latencies(&mut out, &latencies);
    draw_failovers(&mut out, &report.failovers, height);
    text(&mut out, 10.0, height - 10.0, "start", &format!("{}, {}, {}", report.program, report.machine, report.mpi));
    out + "</svg>\n"
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
}

fn rectangle(out: &mut String, x: f64, y: f64, width: f64, height: f64, fill: &str) {
    let _ =
        writeln!(out, "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"/>");
}

fn rule(out: &mut String, x: f64, from: f64, to: f64) {
    let _ = writeln!(
        out,
        "<path d=\"M{x:.1} {from:.1}V{to:.1}\" stroke=\"{LIMIT}\" stroke-width=\"0.5\" opacity=\"0.6\"/>"
    );
}

fn draw_latencies(out: &mut String, rows: &[&Row]) {
    text(out, 10.0, 22.0, "start", "Latency p50, one request at a time, in microseconds");
    rectangle(out, 10.0, 32.0, 10.0, 10.0, OURS);
    text(out, 26.0, 42.0, "start", "Understudy");
    rectangle(out, 110.0, 32.0, 10.0, 10.0, LIMIT);
    text(out, 126.0, 42.0, "start", "raw MPI, same path, same bytes (in brackets: ratio)");
    let values = || rows.iter().flat_map(|row| [row.ours, row.limit]).filter(|value| *value > 0.0);
    let low = values().fold(f64::MAX, f64::min).log10().floor();
    let high = values().fold(0.0_f64, f64::max).log10().ceil().max(low + 1.0);
    let x = |value: f64| LABELS + (value.max(1e-9).log10() - low).max(0.0) / (high - low) * CHART;
    let bottom = TOP + LINE * rows.len() as f64;
    let mut decade = low;
    while !rows.is_empty() && decade <= high {
        rule(out, x(10_f64.powf(decade)), TOP - 8.0, bottom);
        text(out, x(10_f64.powf(decade)), bottom + 14.0, "middle", &format!("{}", 10_f64.powf(decade)));
        decade += 1.0;
    }
    for (at, row) in rows.iter().enumerate() {
        let y = TOP + LINE * at as f64;
        text(out, LABELS - 8.0, y + 13.0, "end", row.name.trim_end_matches("_p50"));
        rectangle(out, LABELS, y, x(row.ours) - LABELS, 8.0, OURS);
        rectangle(out, LABELS, y + 9.0, x(row.limit) - LABELS, 8.0, LIMIT);
        // Three digits, so that the longest bar's label ends before the other chart begins.
        let digits = |value: f64, most: usize| if value < 100.0 { most } else { 0 };
        let (ours, ratio) = (digits(row.ours, 1), digits(row.ratio * 10.0, 2));
        let label = format!("{:.ours$} ({:.ratio$})", row.ours, row.ratio);
        text(out, x(row.ours) + 4.0, y + 8.0, "start", &label);
    }
}

/// The most failovers drawn.
const FAILOVERS_MAX: usize = 24;

fn failover_lines(report: &Report) -> usize {
    report.failovers.len().min(FAILOVERS_MAX) * 2 / 3 + 1
}

fn draw_failovers(out: &mut String, failovers: &[Failover], height: f64) {
    if failovers.is_empty() {
        return;
    }
    text(out, RIGHT, 22.0, "start", "SIGKILL of the primary under load: the client's wait, in ms");
    for (at, (word, colour)) in PHASES.iter().enumerate() {
        let at = RIGHT + 105.0 * at as f64;
        rectangle(out, at, 32.0, 10.0, 10.0, colour);
        text(out, at + 16.0, 42.0, "start", word);
    }
    let shown = &failovers[..failovers.len().min(FAILOVERS_MAX)];
    let longest = shown.iter().map(|failover| failover.answered_ms).fold(10.0, f64::max);
    let step = if longest > 100.0 { 50.0 } else { 20.0 };
    let bottom = height - 40.0;
    let x = |ms: f64| RIGHT + ms / longest * RIGHT_CHART;
    let mut tick = 0.0;
    while tick <= longest {
        rule(out, x(tick), TOP - 8.0, bottom);
        text(out, x(tick), bottom + 14.0, "middle", &format!("{tick}"));
        tick += step;
    }
    let line = (bottom - TOP) / shown.len() as f64;
    for (at, failover) in shown.iter().enumerate() {
        let ends = [failover.suspected_ms, failover.view_ms, failover.serving_ms, failover.answered_ms];
        let mut from = 0.0;
        for (end, (_, colour)) in ends.into_iter().zip(PHASES) {
            let end = end.max(from);
            rectangle(out, x(from), TOP + line * at as f64, x(end) - x(from), (line - 2.0).clamp(1.0, 14.0), colour);
            from = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_holds_every_latency_and_every_failover() {
        let failover =
            Failover { suspected_ms: 50.0, view_ms: 50.2, serving_ms: 51.0, answered_ms: 52.0, outage_ms: 52.0 };
        let rows = vec![Row::new("get_1_p50", "GET", 3.0, 2.0, "us", "raw"), Row::new("n", "", 1.0, 1.0, "/s", "")];
        let picture = svg(&Report { rows, failovers: vec![failover; 3], ..Report::default() });
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
        assert!(picture.contains("get_1<") && !picture.contains(">n<"));
        // Two bars for the row, two squares that explain them, four and four for each failover.
        assert_eq!(picture.matches("<rect").count(), 4 + 4 + 12);
    }
}
