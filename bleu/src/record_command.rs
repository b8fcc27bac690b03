//! `bleu record`: the head of the log, its newest entries, proofs, bundles, and the keys to verify them with.

use crate::control::{self, Verb};
use crate::folder::{Folder, write_public, write_secret};
use crate::{credentials, phrase, ui};
use anyhow::{Context, Result, ensure};
use base::TenantId;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often `follow` asks: the log moves once a second.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
/// What `follow` shows of before.
const FOLLOW_BACK: u64 = 20;

pub async fn head(data: &Path) -> Result<()> {
    ui::bytes(&control::ask(&Folder::existing(data)?, Verb::Head {}).await?);
    Ok(())
}

/// A tenant by its id, or by its domain as in `bleu env`.
fn tenant_of(folder: &Folder, tenant: Option<&str>) -> Result<Option<TenantId>> {
    let Some(text) = tenant else { return Ok(None) };
    match text.parse() {
        Ok(id) => Ok(Some(id)),
        Err(_) => Ok(Some(credentials::need(folder, Some(text))?.0.tenant)),
    }
}

/// Writes the public keys to a file, or prints them.
pub async fn trust(data: &Path, tenant: Option<&str>, operator: bool, out: Option<&Path>) -> Result<()> {
    let folder = Folder::existing(data)?;
    let verb = match operator {
        true => Verb::OperatorTrust {},
        false => Verb::Trust { tenant: tenant_of(&folder, tenant)? },
    };
    let text = control::ask(&folder, verb).await?;
    let Some(out) = out else {
        ui::bytes(&text);
        return Ok(());
    };
    write_public(out, &text)?;
    let shown = out.display();
    ui::note(phrase!(
        "Written: {shown}. Hand it over by another way than the bundles.",
        "Écrit : {shown}. Transmettez-le par une autre voie que les exports."
    ));
    Ok(())
}

/// Writes a bundle. It holds what the owner's people did, so it is for the owner's eyes.
pub async fn export(data: &Path, tenant: Option<&str>, operator: bool, out: PathBuf) -> Result<()> {
    let folder = Folder::existing(data)?;
    let verb = match operator {
        true => Verb::OperatorExport {},
        false => Verb::Export { tenant: tenant_of(&folder, tenant)? },
    };
    let waiting = ui::waiting(crate::text::say("exporting the record", "export du journal").into());
    let bundle = control::ask(&folder, verb).await;
    waiting.finish_and_clear();
    let bundle = bundle?;
    write_secret(&out, &bundle)?;
    let (shown, size) = (out.display(), bundle.len());
    ui::note(phrase!(
        "Written: {shown} ({size} bytes). Check it with 'bleu verify {shown}'.",
        "Écrit : {shown} ({size} octets). Vérifiez-le avec « bleu verify {shown} »."
    ));
    Ok(())
}

pub async fn prove(data: &Path, entry: &str) -> Result<()> {
    let number = entry.strip_prefix("0-").unwrap_or(entry).parse::<u64>();
    let number = number.with_context(|| {
        phrase!(
            "'{entry}' is not the name of an entry, such as 0-42 (header x-bleu-entry).",
            "« {entry} » n’est pas le nom d’une entrée, tel que 0-42 (en-tête x-bleu-entry)."
        )
    })?;
    let proof: Value = serde_json::from_slice(&control::ask(&Folder::existing(data)?, Verb::Prove { number }).await?)?;
    ui::line(serde_json::to_string_pretty(&proof)?);
    Ok(())
}

/// Prints entries as they come, until interrupted or until the region stops; with `once` what is there. To ask a stopped
/// region is to start and stop it, which are entries: it is read once, or it would follow itself.
pub async fn follow(data: &Path, tenant: Option<&str>, from: Option<u64>, once: bool, as_json: bool) -> Result<()> {
    let folder = Folder::existing(data)?;
    let tenant = tenant_of(&folder, tenant)?;
    let is_stopped = !once && !control::is_running(&folder).await?;
    let once = once || is_stopped;
    let ask = async |from: u64| -> Result<Value> {
        let answer = control::ask(&folder, Verb::Entries { tenant, from }).await?;
        Ok(serde_json::from_slice(&answer)?)
    };
    let size = |answer: &Value| answer["size"].as_u64().context("size");
    let mut next = match from {
        Some(from) => from,
        None => size(&ask(u64::MAX).await?)?.saturating_sub(FOLLOW_BACK),
    };
    let end = size(&ask(u64::MAX).await?)?;
    let stop = crate::signal::stop()?;
    tokio::pin!(stop);
    loop {
        let answer = ask(next).await?;
        for entry in answer["entries"].as_array().into_iter().flatten() {
            show(entry, as_json)?;
        }
        let after = answer["next"].as_u64().context("next")?;
        ensure!(after >= next, "the log went back");
        let more = after > next;
        next = after;
        if once && (next >= end || !more) {
            if is_stopped {
                tell_stopped();
            }
            return Ok(());
        }
        // reading entries is itself an entry: without the pause it would follow itself
        tokio::select! {
            () = &mut stop => return Ok(()),
            () = tokio::time::sleep(FOLLOW_EVERY), if !once => {}
            () = std::future::ready(()), if once => {}
        }
        if !once && !control::is_running(&folder).await? {
            tell_stopped();
            return Ok(());
        }
    }
}

fn tell_stopped() {
    ui::note(phrase!("The region is stopped: nothing more comes.", "La région est arrêtée : plus rien ne vient."));
}

fn show(entry: &Value, as_json: bool) -> Result<()> {
    if as_json {
        ui::line(serde_json::to_string(entry)?);
        return Ok(());
    }
    let word = |value: &Value| value.as_str().map_or_else(String::new, str::to_owned);
    let event = &entry["event"];
    let line = match event.is_null() {
        true => phrase!("another's", "d’un autre"),
        false => {
            let who = [&event["who"]["name"], &event["who"]["kind"]].into_iter().map(word).find(|w| !w.is_empty()).unwrap_or_default();
            let about =
                [&event["resource"], &event["detail"]].into_iter().map(word).filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ");
            format!("{} | {who} | {about} | {}", word(&event["verb"]), word(&event["outcome"]["ended"]))
        }
    };
    let (index, name) = (entry["index"].as_u64().unwrap_or_default(), word(&entry["entry"]));
    ui::line(format!("{index:>8}  {name:<8}  {}  {:<6} {line}", word(&entry["at"]), word(&entry["phase"])));
    Ok(())
}
