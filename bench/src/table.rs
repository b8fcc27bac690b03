//! The rows: what was measured, what it stands beside, what was hoped for. Printed as Markdown, or as JSON for a program.

use crate::load::{Sample, median, middle};
use serde_json::{Value, json};

/// What the ratio must be, or where there is nothing beside it, the figure itself.
#[derive(Clone, Copy)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Target::AtLeast(least) => figure >= least,
            Target::AtMost(most) => figure <= most,
        }
    }
    fn text(self) -> String {
        match self {
            Target::AtLeast(least) => format!("≥ {}", short(least)),
            Target::AtMost(most) => format!("≤ {}", short(most)),
        }
    }
}

/// One line of the table.
pub struct Row {
    what: String,
    unit: &'static str,
    bleu: f64,
    beside: Option<(String, f64)>,
    ratio: Option<f64>,
    target: Option<Target>,
    calls: Option<(Sample, Option<Sample>)>,
}

impl Row {
    pub fn of(what: impl Into<String>, unit: &'static str, bleu: f64) -> Row {
        Row { what: what.into(), unit, bleu, beside: None, ratio: None, target: None, calls: None }
    }

    /// Round by round, both in turns: the ratio is the median of the rounds' ratios.
    pub fn rounds(what: impl Into<String>, unit: &'static str, bleu: &[f64], name: &str, beside: &[f64]) -> Row {
        let mut row = Row::of(what, unit, median(bleu.to_vec()));
        row.ratio = Some(median(bleu.iter().zip(beside).map(|(ours, theirs)| ours / theirs).collect()));
        row.beside = Some((name.to_owned(), median(beside.to_vec())));
        row
    }

    /// Calls a second beside another server's.
    pub fn calls(what: impl Into<String>, bleu: &[Sample], name: &str, beside: &[Sample]) -> Row {
        let per_s = |samples: &[Sample]| samples.iter().map(|s| s.per_s).collect::<Vec<f64>>();
        let mut row = Row::rounds(what, "/s", &per_s(bleu), name, &per_s(beside));
        row.calls = Some((middle(bleu), Some(middle(beside))));
        row
    }

    pub fn target(mut self, target: Target) -> Row {
        self.target = Some(target);
        self
    }

    /// The calls behind the figure, where nothing comparable stands beside it.
    pub fn seen(mut self, calls: Sample) -> Row {
        self.calls = Some((calls, None));
        self
    }

    fn met(&self) -> Option<bool> {
        self.target.map(|target| target.is_met(self.ratio.unwrap_or(self.bleu)))
    }
}

#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Table {
    pub fn row(&mut self, row: Row) {
        // shown as it comes, for whoever waits
        eprintln!("   {}: {} {}", row.what, short(row.bleu), row.unit);
        self.rows.push(row);
    }

    /// What the reader of the table must know.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    pub fn markdown(&self, machine: &str) -> String {
        let mut out = format!("{machine}\n\n");
        out.push_str("| what | bleu | beside it | ratio | target | | p50 / p99 ms | server µs a call |\n");
        out.push_str("|---|---|---|---|---|---|---|---|\n");
        for row in &self.rows {
            let beside = row.beside.as_ref().map(|(name, figure)| format!("{} {} ({name})", short(*figure), row.unit)).unwrap_or_default();
            let ratio = row.ratio.map(|ratio| format!("**{ratio:.2}**")).unwrap_or_default();
            let target = row.target.map(Target::text).unwrap_or_default();
            let met = row.met().map_or("", |met| if met { "met" } else { "missed" });
            let times = row.calls.map(|(ours, _)| format!("{:.2} / {:.2}", ours.p50_ms, ours.p99_ms)).unwrap_or_default();
            let costs = row.calls.map(|(ours, beside)| costs(&ours, beside)).unwrap_or_default();
            let (what, bleu, unit) = (&row.what, short(row.bleu), row.unit);
            out.push_str(&format!("| {what} | {bleu} {unit} | {beside} | {ratio} | {target} | {met} | {times} | {costs} |\n"));
        }
        if !self.notes.is_empty() {
            out.push('\n');
        }
        self.notes.iter().for_each(|note| out.push_str(&format!("- {note}\n")));
        out
    }

    pub fn json(&self, machine: &str) -> Value {
        let calls = |s: &Sample| {
            json!({
                "per_s": s.per_s, "p50_ms": s.p50_ms, "p99_ms": s.p99_ms, "server_us": s.server_us, "client_cores": s.client_cores,
            })
        };
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "what": row.what, "unit": row.unit, "bleu": row.bleu, "ratio": row.ratio,
                    "beside": row.beside.as_ref().map(|(name, figure)| json!({"name": name, "figure": figure})),
                    "target": row.target.map(Target::text), "met": row.met(),
                    "calls": row.calls.as_ref().map(|(ours, _)| calls(ours)),
                    "calls_beside": row.calls.as_ref().and_then(|(_, beside)| beside.as_ref()).map(calls),
                })
            })
            .collect();
        json!({"machine": machine, "rows": rows, "notes": self.notes})
    }
}

fn costs(ours: &Sample, beside: Option<Sample>) -> String {
    match beside {
        Some(beside) => format!("{:.0} : {:.0}", ours.server_us, beside.server_us),
        None => format!("{:.0}", ours.server_us),
    }
}

/// Three digits, or all before the point.
fn short(figure: f64) -> String {
    if figure.fract() == 0.0 || figure >= 100.0 {
        format!("{figure:.0}")
    } else if figure >= 10.0 {
        format!("{figure:.1}")
    } else {
        format!("{figure:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_and_decides() {
        let row = || Row::rounds("x", "/s", &[10.0, 40.0, 12.0], "y", &[20.0, 20.0, 20.0]);
        let mut table = Table::default();
        table.row(row().target(Target::AtLeast(0.6)));
        table.row(row().target(Target::AtLeast(0.61)));
        table.row(Row::of("z", "ms", 80.0).target(Target::AtMost(80.0)));
        table.note("n");
        let text = table.markdown("here");
        assert!(text.contains("| x | 12 /s | 20 /s (y) | **0.60** | ≥ 0.60 | met |"), "{text}");
        assert!(text.contains("≥ 0.61 | missed |") && text.contains("| z | 80 ms |  |  | ≤ 80 | met |"), "{text}");
        let json = table.json("here");
        assert_eq!((&json["rows"][1]["met"], &json["rows"][2]["ratio"]), (&json!(false), &Value::Null));
        assert_eq!(json["notes"][0], "n");
    }
}
