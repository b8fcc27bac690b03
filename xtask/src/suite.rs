//! `cargo xtask test`: what runs every day, what the build server runs, and the soak.

use crate::run::{Score, Tally, cargo, count_tests, must};
use crate::{clients, house, setup};
use anyhow::{Context, Result};
use clap::Args;

#[derive(Args)]
pub(crate) struct Options {
    /// Also formatting, lints, licences and real clients: what the build server runs (45 minutes at most on two cores)
    #[arg(long)]
    all: bool,
    /// The soak: many more seeds and cases of every property test, then everything else (hours)
    #[arg(long)]
    long: bool,
}

/// How many cases each property test runs in the soak; everyday runs keep the tests' own small numbers.
const LONG_CASES: &str = "20000";

/// True when everything passed.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let mut score = Score::default();
    let everything = options.all || options.long;
    score.step("Debian packages", || setup::debian().map(|()| Tally::one(true)));
    // Fetching Python packages waits for the network most of the time: meanwhile the compiler has the processors.
    let python = everything.then(|| std::thread::spawn(|| clients::environments(false)));

    score.step("rules of the house", || Ok(Tally::one(house::check_and_print()?)));
    if everything {
        score.step("formatting", || passes(&["fmt", "--all", "--check"]));
    }
    score.step("tests of the workspace", || tests(options.long));
    if everything {
        score.step("lints", lints);
        score.step("licences, bans and sources", licences);
        if let Some(python) = python {
            score.step("Python environments", || {
                python.join().map_err(|_| anyhow::anyhow!("the set-up panicked"))??;
                Ok(Tally::one(true))
            });
        }
        score.step("real clients", || clients::all(&clients::Options::default()));
    }
    Ok(score.close())
}

fn passes(arguments: &[&str]) -> Result<Tally> {
    let status = cargo().args(arguments).status().context("cannot start cargo")?;
    Ok(Tally::one(status.success()))
}

/// Warnings are errors. The forbidden calls of `clippy.toml` (clock, chance, files, processes) are for what ships; tests and
/// examples measure time and start programs as they need.
fn lints() -> Result<Tally> {
    let mut tally = passes(&["clippy", "--workspace", "--quiet", "--", "-D", "warnings"])?;
    let bars_lifted = ["-A", "clippy::disallowed_methods", "-A", "clippy::disallowed_types", "-A", "clippy::print_stdout"];
    tally.add(passes(&[&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"], &bars_lifted[..]].concat())?);
    Ok(tally)
}

/// Unit, property, compile-fail and end-to-end tests, the PostgreSQL suite and the drills: all are tests of the workspace.
fn tests(long: bool) -> Result<Tally> {
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    if long {
        command.env("PROPTEST_CASES", LONG_CASES).env("BLEU_LONG", "1");
    }
    count_tests(&mut command)
}

/// Advisories are not asked for: they need a database from the network, and a build must not fail for what was published
/// this morning.
fn licences() -> Result<Tally> {
    let tool = setup::cargo_deny()?;
    let mut command = crate::run::program(tool);
    command.current_dir(crate::run::root()).args(["--workspace", "check", "licenses", "bans", "sources"]);
    must(&mut command)?;
    Ok(Tally::one(true))
}
