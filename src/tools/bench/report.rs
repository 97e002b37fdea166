//! What was measured: rows, each held against a limit, as a table, as bars, as JSON.

use super::measure::Tail;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// The longest bar of the chart, in characters.
const BAR_CHARS: f64 = 40.0;
/// The longest bar stands for this ratio; longer ones are cut.
const BAR_RATIO_MAX: f64 = 4.0;
/// A figure that moved by less than this share since the baseline has not moved: such is the noise.
const NOISE: f64 = 0.1;

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchRow {
    /// Its name, for machines.
    pub name: String,
    /// What was measured, in words.
    pub what: String,
    /// The store's figure.
    pub ours: f64,
    /// What it is held against.
    pub limit: f64,
    /// The one divided by the other (for a limit of 0: the figure itself).
    pub ratio: f64,
    /// Of the two figures.
    pub unit: String,
    /// What the limit is, in words.
    pub against: String,
    /// Which ratio is wanted.
    pub target: Option<Target>,
    /// More of the store's shape.
    pub ours_tail: Option<Tail>,
    /// More of the limit's shape.
    pub limit_tail: Option<Tail>,
}

/// A wanted ratio.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Target {
    /// Less is better: a duration, a cost.
    AtMost(f64),
    /// More is better: a rate.
    AtLeast(f64),
}

impl Target {
    /// Whether `ratio` is good enough.
    #[must_use]
    pub fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(most) => ratio <= most,
            Self::AtLeast(least) => ratio >= least,
        }
    }
}

impl BenchRow {
    /// A figure against its limit.
    #[must_use]
    pub fn new(name: &str, what: &str, ours: f64, limit: f64, unit: &str, against: &str) -> Self {
        Self {
            name: name.to_owned(),
            what: what.to_owned(),
            ours,
            limit,
            ratio: if limit == 0.0 { ours } else { ours / limit },
            unit: unit.to_owned(),
            against: against.to_owned(),
            target: None,
            ours_tail: None,
            limit_tail: None,
        }
    }

    /// Says which ratio is wanted.
    #[must_use]
    pub fn wanted(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// Adds the shapes.
    #[must_use]
    pub fn with_tails(mut self, ours: Tail, limit: Option<Tail>) -> Self {
        self.ours_tail = Some(ours);
        self.limit_tail = limit;
        self
    }

    /// Whether the target is met, if there is one.
    #[must_use]
    pub fn is_met(&self) -> Option<bool> {
        self.target.map(|target| target.is_met(self.ratio))
    }
}

/// One failover as the client saw it, in milliseconds after the primary was killed.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct FailoverPhases {
    /// The backup suspects the primary.
    pub suspected_ms: f64,
    /// The view is changed.
    pub view_ms: f64,
    /// The new primary serves.
    pub serving_ms: f64,
    /// The client has its first answer.
    pub answered_ms: f64,
    /// From the last answer before to the first one after: the outage.
    pub outage_ms: f64,
}

/// Everything that one run measured.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BenchReport {
    /// Which program.
    pub program: String,
    /// Which machine.
    pub machine: String,
    /// Which MPI.
    pub mpi: String,
    /// Programs that wanted a core before anything was measured: 0 is a quiet machine.
    pub load_before: f64,
    /// Everything was very short: good for nothing but a look.
    pub quick: bool,
    /// The figures.
    pub rows: Vec<BenchRow>,
    /// The failovers one by one.
    pub failovers: Vec<FailoverPhases>,
    /// What could not be measured, and why; what else should be known.
    pub notes: Vec<String>,
}

impl BenchReport {
    /// The row of this name.
    #[must_use]
    pub fn row(&self, name: &str) -> Option<&BenchRow> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// The one table.
    #[must_use]
    pub fn table(&self, baseline: Option<&BenchReport>) -> String {
        let mut cells = vec![columns(baseline.is_some()).map(str::to_owned).to_vec()];
        cells.extend(self.rows.iter().map(|row| line(row, baseline)));
        let used = if baseline.is_some() { cells[0].len() } else { cells[0].len() - 1 };
        let widths: Vec<usize> =
            (0..used).map(|at| cells.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &cells {
            for (at, cell) in row.iter().take(used).enumerate() {
                let pad = " ".repeat(widths[at] - cell.chars().count());
                // Words to the left, numbers to the right.
                let words = at == 0 || at >= NUMBERS_END;
                let _ = if words { write!(text, "{cell}{pad}  ") } else { write!(text, "{pad}{cell}  ") };
            }
            while text.ends_with(' ') {
                text.pop();
            }
            text.push('\n');
        }
        text
    }

    /// The ratios as bars: `|` marks the limit.
    #[must_use]
    pub fn bars(&self, ascii: bool) -> String {
        let (full, mark) = if ascii { ('#', '|') } else { ('█', '┃') };
        let name_chars = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for row in &self.rows {
            let chars = (row.ratio.min(BAR_RATIO_MAX) / BAR_RATIO_MAX * BAR_CHARS).round() as usize;
            let limit = (BAR_CHARS / BAR_RATIO_MAX) as usize;
            let bar: String = (0..chars.max(limit + 1))
                .map(|at| {
                    if at == limit {
                        mark
                    } else if at < chars {
                        full
                    } else {
                        ' '
                    }
                })
                .collect();
            let cut = if row.ratio > BAR_RATIO_MAX { "…" } else { "" };
            let _ = writeln!(text, "{:name_chars$}  {bar}{cut} {:.2}", row.name, row.ratio);
        }
        text
    }
}

/// The first column after the numbers.
const NUMBERS_END: usize = 7;

fn columns(compared: bool) -> [&'static str; 11] {
    let last = if compared { "since baseline" } else { "" };
    ["measured", "ours", "limit", "unit", "ratio", "p99", "p99.9", "", "wanted", "the limit is", last]
}

fn line(row: &BenchRow, baseline: Option<&BenchReport>) -> Vec<String> {
    let tail = |pick: fn(&Tail) -> f64| row.ours_tail.as_ref().map_or(String::new(), |tail| number(pick(tail)));
    let (verdict, wanted) = match row.target {
        None => (String::new(), String::new()),
        Some(target) => {
            let wanted = match target {
                Target::AtMost(most) => format!("≤ {most} x"),
                Target::AtLeast(least) => format!("≥ {least} x"),
            };
            (if target.is_met(row.ratio) { "ok" } else { "MISSED" }.to_owned(), wanted)
        }
    };
    let since = baseline.and_then(|report| report.row(&row.name)).map_or(String::new(), |old| change(row, old));
    vec![
        row.name.clone(),
        number(row.ours),
        number(row.limit),
        row.unit.clone(),
        format!("{:.2}", row.ratio),
        tail(|tail| tail.p99_us),
        tail(|tail| tail.p999_us),
        verdict,
        wanted,
        row.against.clone(),
        since,
    ]
}

/// Compares the ratios, which a slower day slows on both sides.
fn change(row: &BenchRow, old: &BenchRow) -> String {
    if old.ratio == 0.0 {
        return String::new();
    }
    let factor = row.ratio / old.ratio;
    let more_is_better = matches!(row.target, Some(Target::AtLeast(_)));
    let word = match factor {
        _ if (factor - 1.0).abs() < NOISE => "same",
        _ if (factor > 1.0) == more_is_better => "better",
        _ => "worse",
    };
    format!("x {factor:.2} {word}")
}

/// Three significant digits, thousands as such.
fn number(value: f64) -> String {
    match value {
        _ if value >= 1e6 => format!("{:.2}M", value / 1e6),
        _ if value >= 1e4 => format!("{:.0}k", value / 1e3),
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// What a part's cluster tells the process that started it: one line of JSON each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ReportLine {
    /// This share of the part is done (0 to 1), and what is being done now.
    Progress { done: f64, now: String },
    /// A figure.
    BenchRow(Box<BenchRow>),
    /// A failover.
    FailoverPhases(FailoverPhases),
    /// Which MPI.
    Mpi(String),
    /// Something to know.
    Note(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> BenchReport {
        let get = BenchRow::new("get_1_p50", "GET", 3.0, 2.0, "us", "raw ping-pong").wanted(Target::AtMost(1.5));
        let put = BenchRow::new("put_256_rate", "PUT", 900.0, 1000.0, "/s", "raw relay").wanted(Target::AtLeast(1.5));
        BenchReport { rows: vec![get, put], ..BenchReport::default() }
    }

    #[test]
    fn the_table_says_what_is_missed_and_against_what() {
        let table = report().table(None);
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[1].contains("ok") && lines[1].contains("raw ping-pong"), "{table}");
        assert!(lines[2].contains("MISSED") && lines[2].contains("≥ 1.5 x"), "{table}");
    }

    #[test]
    fn an_earlier_run_shows_what_moved() {
        let mut old = report();
        old.rows[0].ratio = 3.0;
        old.rows[1].ratio = 1.8;
        let table = report().table(Some(&old));
        assert!(table.contains("x 0.50 better") && table.contains("x 0.50 worse"), "{table}");
    }

    #[test]
    fn bars_mark_the_limit() {
        let bars = report().bars(true);
        assert!(bars.lines().all(|line| line.contains('|')), "{bars}");
    }
}
