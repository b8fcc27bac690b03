//! The record in process: the figures come from the examples of the crates that keep and check it.

use crate::Options;
use crate::load::median;
use crate::table::{Row, Table, Target};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

pub fn measure(options: &Options, table: &mut Table) -> Result<()> {
    if let Some(program) = &options.record_rate {
        let said: Value = serde_json::from_str(&read(program, &["--json", &options.stretch_s().to_string()])?)?;
        let figure = |name: &str| said[name].as_f64().with_context(|| format!("{name} of record_rate"));
        table.row(Row::of("entries durable, 256 tasks", "/s", figure("entries_durable_per_s")?).target(Target::AtLeast(50_000.0)));
        table.row(Row::of("entries until the log has them all", "/s", figure("entries_logged_per_s")?));
        let rounds = |name: &str| {
            let all = said[name].as_array().into_iter().flatten().map(Value::as_f64);
            all.collect::<Option<Vec<f64>>>().with_context(|| format!("{name} of record_rate"))
        };
        let (with, without) = (rounds("puts_with_record_per_s")?, rounds("puts_without_record_per_s")?);
        let what = "4 KiB puts in process with the record, 16 writers";
        let row = Row::rounds(what, "/s", &with, "without its entries", &without).target(Target::AtLeast(0.8));
        table.row(row);
        table.row(Row::of("making one entry (in both figures above)", "µs of a core", figure("entry_made_us")?));
    }
    if let Some(program) = &options.verify_rate {
        let entries = if options.quick { 100_000 } else { 1_000_000 };
        let said = read(program, &[&entries.to_string()])?;
        let times_ms = times(&said).with_context(|| format!("verify_rate said: {said}"))?;
        let million_s = median(times_ms) / 1_000.0 * 1e6 / f64::from(entries);
        let what = format!("verify 1 M entries{}", if options.quick { ", from 100 k" } else { "" });
        table.row(Row::of(what, "s", million_s).target(Target::AtMost(5.0)));
    }
    Ok(())
}

fn read(program: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start {}", program.display()))?;
    ensure!(output.status.success(), "{}: {}", program.display(), output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// `… verified in [812, 820, 911] ms`
fn times(text: &str) -> Option<Vec<f64>> {
    let list = text.split_once('[')?.1.split_once(']')?.0;
    list.split(',').map(|number| number.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_read_or_not_at_all() {
        assert_eq!(super::times("1 entries: verified in [812, 8, 91] ms\n"), Some(vec![812.0, 8.0, 91.0]));
        assert_eq!(super::times("verified in [812, x] ms"), None);
        assert_eq!(super::times("nothing"), None);
    }
}
