//! `bleu status`: sites, services, the record's head, and what is wrong.

use crate::control::{self, Verb};
use crate::folder::Folder;
use crate::{phrase, text, ui};
use anyhow::Result;
use serde_json::Value;
use std::path::Path;
use std::process::ExitCode;

/// Exit code 1 when something is wrong.
pub async fn run(data: &Path, as_json: bool) -> Result<ExitCode> {
    let answer = control::ask(&Folder::existing(data)?, Verb::Status {}).await?;
    let status: Value = serde_json::from_slice(&answer)?;
    let wrong = status["wrong"].as_array().map(Vec::as_slice).unwrap_or_default();
    let code = if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if as_json {
        ui::line(status.to_string());
        return Ok(code);
    }
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let running = match status["pid"].as_u64() {
        Some(pid) => phrase!("running, process {pid}", "en marche, processus {pid}"),
        None => text::say("stopped", "arrêtée").to_owned(),
    };
    row(text::say("region", "région"), &format!("{} ({}), {running}", word(&status["location"]), word(&status["domain"])));
    for site in status["sites"].as_array().into_iter().flatten() {
        row("site", &format!("{}: {} {}, {}", word(&site["site"]), word(&site["country"]), word(&site["nuts"]), word(&site["address"])));
    }
    let services: Vec<String> = status["services"].as_array().into_iter().flatten().map(word).collect();
    row("services", &services.join(", "));
    row(text::say("store", "stockage"), &word(&status["engine"]));
    row(text::say("tenants", "locataires"), &word(&status["tenants"]));
    row(text::say("spaces, each with its key", "espaces, chacun avec sa clé"), &word(&status["spaces"]));
    let record = &status["record"];
    row(
        text::say("record", "journal"),
        &phrase!("{} entries, root {}", "{} entrées, racine {}", word(&record["size"]), word(&record["root"])),
    );
    row(text::say("witnesses", "témoins"), &word(&record["witnesses"]));
    for problem in wrong {
        row(text::say("WRONG", "ANOMALIE"), &word(problem));
    }
    if wrong.is_empty() {
        row(text::say("wrong", "anomalies"), text::say("nothing", "aucune"));
    }
    Ok(code)
}

fn row(name: &str, value: &str) {
    ui::line(format!("{name:<28} {value}"));
}
