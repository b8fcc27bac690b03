//! What a region does in a second, beside what the disk, nginx and Azurite do in the same run; `cargo xtask bench` builds
//! everything and starts it.
//!
//! A figure is the median of rounds in which the region and what it is compared with take turns, and a ratio the median
//! of the rounds' ratios: a machine's neighbours come and go, so ratios say more than absolutes. Every answer is checked,
//! bodies byte for byte; one error ends the run. The client shares the cores with the servers. Traffic stays on loopback.
//!
//! `load` calls and counts, `http` signs and sends, `region` and `peers` are the servers, `rows` what is measured with
//! them, `table` what comes of it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a table is what it is for")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it measures time, starts programs and writes files")]

mod http;
mod load;
mod peers;
mod region;
mod rows;
mod table;

use anyhow::{Context, Result, bail};
use clap::Parser;
use rows::Section;
use std::path::PathBuf;
use table::Table;
use tokio::signal::unix::{SignalKind, signal};

/// Measures a region beside what it is compared with.
#[derive(Parser)]
pub struct Options {
    /// The release binary
    #[arg(long)]
    bleu: PathBuf,
    /// The `main.js` of Azurite's blob service; without it, its rows are left out
    #[arg(long)]
    azurite: Option<PathBuf>,
    /// The built example `record_rate` of `trust`; without it, its rows are left out
    #[arg(long)]
    record_rate: Option<PathBuf>,
    /// The built example `verify_rate` of `auditor`; without it, its row is left out
    #[arg(long)]
    verify_rate: Option<PathBuf>,
    /// Seconds of each measured stretch
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Everything smaller: about two minutes
    #[arg(long)]
    quick: bool,
    /// Growth up to a million blobs
    #[arg(long, conflicts_with = "quick")]
    long: bool,
    /// Only these sections, in their order
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Section>,
    /// Also writes the table here, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

impl Options {
    /// Seconds of a stretch.
    fn stretch_s(&self) -> f64 {
        if self.quick { self.seconds.min(1.0) } else { self.seconds }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let mut stop = signal(SignalKind::terminate())?;
    // dropped half way, every server is stopped and its folder removed
    let table = tokio::select! {
        table = measure(&options) => table?,
        _ = stop.recv() => bail!("stopped"),
        _ = tokio::signal::ctrl_c() => bail!("stopped"),
    };
    let machine = machine();
    println!("{}", table.markdown(&machine));
    if let Some(path) = &options.json {
        let text = format!("{}\n", serde_json::to_string_pretty(&table.json(&machine))?);
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

async fn measure(options: &Options) -> Result<Table> {
    let mut table = Table::default();
    for section in Section::ALL {
        if options.only.is_empty() || options.only.contains(&section) {
            eprintln!("── {section:?}");
            section.measure(options, &mut table).await.with_context(|| format!("{section:?}"))?;
        }
    }
    Ok(table)
}

/// What the figures were taken on.
fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("processor unknown", |(_, m)| m);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().trim_end_matches(" kB").parse::<u64>().ok());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("Measured on {cores} cores ({model}), {} GiB of memory; client and servers share them.", memory.unwrap_or(0) >> 20)
}
