//! `cargo xtask bench`: builds the release binary and the load generator, fetches what they are compared with, and starts
//! the measurement.

use crate::run::{cargo, is_installed, must, program, root};
use crate::setup;
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;

/// Pinned: figures are compared with this one.
const AZURITE_VERSION: &str = "3.37.0";

#[derive(Args)]
pub(crate) struct Options {
    /// Everything smaller: about two minutes after the build, instead of eight
    #[arg(long)]
    quick: bool,
    /// Growth up to a million blobs
    #[arg(long, conflicts_with = "quick")]
    long: bool,
    /// Seconds of each measured stretch
    #[arg(long)]
    seconds: Option<f64>,
    /// Only these: starts, small, large, record, management, growth
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Also write the table here, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<bool> {
    setup::debian()?;
    must(cargo().args(["build", "--release", "-p", "bleu", "-p", "bench"]))?;
    must(cargo().args(["build", "--release", "-p", "trust", "-p", "auditor", "--examples"]))?;
    let built = target().join("release");
    let mut bench = program(built.join("bench"));
    bench.arg("--bleu").arg(built.join("bleu"));
    bench.arg("--record-rate").arg(built.join("examples/record_rate"));
    bench.arg("--verify-rate").arg(built.join("examples/verify_rate"));
    if let Some(azurite) = azurite()? {
        bench.arg("--azurite").arg(azurite);
    }
    for (flag, given) in [("--quick", options.quick), ("--long", options.long)] {
        bench.args(given.then_some(flag));
    }
    if let Some(seconds) = options.seconds {
        bench.args(["--seconds", &seconds.to_string()]);
    }
    if !options.only.is_empty() {
        bench.args(["--only", &options.only.join(",")]);
    }
    if let Some(json) = &options.json {
        bench.arg("--json").arg(json);
    }
    Ok(bench.status()?.success())
}

/// The growth rows up to a million blobs: part of the soak.
pub(crate) fn growth() -> Result<bool> {
    run(&Options { quick: false, long: true, seconds: None, only: vec!["growth".to_owned()], json: None })
}

pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The blob service of Azurite in the cache; `None` where there is no Node.js to run it.
fn azurite() -> Result<Option<PathBuf>> {
    if !is_installed("npm") || !is_installed("node") {
        println!("   without Azurite: Node.js and npm are missing");
        return Ok(None);
    }
    let home = setup::cache()?.join(format!("azurite-{AZURITE_VERSION}"));
    let main = home.join("node_modules/azurite/dist/src/blob/main.js");
    if !main.exists() {
        println!("   installing Azurite {AZURITE_VERSION} (a minute, once)");
        let mut npm = program("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(&home);
        must(npm.arg(format!("azurite@{AZURITE_VERSION}")))?;
    }
    Ok(Some(main))
}
