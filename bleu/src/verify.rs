//! `bleu verify`: checks an exported bundle with no network, no region and no secret.

use crate::folder::read_small;
use crate::{login, phrase, text, ui};
use anyhow::{Context, Result, bail};
use auditor::Verdict;
use record::bundle::{Frame, Manifest};
use record::{SignedNote, TrustKeys};
use std::path::Path;
use std::process::ExitCode;

/// Exit codes: true; not true; not readable.
const NOT_TRUE: u8 = 1;
const UNREADABLE: u8 = 2;
const USER_TRUST_FILES_MAX: usize = 1_000;

pub fn run(bundle: &Path, trust: Option<&Path>, as_json: bool) -> ExitCode {
    match verify(bundle, trust, as_json) {
        Ok(code) => code,
        Err(error) => {
            ui::explain(&error);
            ExitCode::from(UNREADABLE)
        }
    }
}

fn verify(path: &Path, trust: Option<&Path>, as_json: bool) -> Result<ExitCode> {
    let shown = path.display();
    let bundle = std::fs::read(path).with_context(|| phrase!("'{shown}' can't be read.", "« {shown} » ne peut être lu."))?;
    let keys = match trust {
        Some(path) => Some(read_keys(path)?),
        None => keys_of_user(&bundle)?,
    };
    let waiting = ui::waiting(text::say("verifying", "vérification").into());
    let report = auditor::verify(&bundle, keys.as_ref());
    waiting.finish_and_clear();
    if as_json {
        ui::line(report.json());
    } else {
        ui::bytes(report.text(text::language()).as_bytes());
    }
    Ok(match report.verdict {
        Verdict::True => ExitCode::SUCCESS,
        Verdict::Unreadable => ExitCode::from(UNREADABLE),
        _ => ExitCode::from(NOT_TRUE),
    })
}

fn read_keys(path: &Path) -> Result<TrustKeys> {
    let shown = path.display();
    let other = || {
        phrase!(
            "'{shown}' is not a trust file, which is a few lines of text that 'bleu record trust' writes.",
            "« {shown} » n’est pas un fichier de confiance, quelques lignes de texte qu’écrit « bleu record trust »."
        )
    };
    let text = match read_small(path) {
        // what lies on the disk in another shape, such as a bundle
        Err(error) if error.downcast_ref::<std::io::Error>().is_none_or(|e| e.kind() == std::io::ErrorKind::InvalidData) => bail!(other()),
        read => read?.with_context(|| phrase!("There is no file '{shown}'.", "Il n’y a pas de fichier « {shown} »."))?,
    };
    TrustKeys::parse(&text).with_context(other)
}

/// The keys that the user keeps for the log and tenant that the bundle says it is of; never keys inside the bundle.
/// What the bundle says is not believed by this: the wrong keys would not verify it.
fn keys_of_user(bundle: &[u8]) -> Result<Option<TrustKeys>> {
    let Some(folder) = login::trust_folder() else { return Ok(None) };
    let Ok(files) = std::fs::read_dir(&folder) else { return Ok(None) };
    let Some(header) = header(bundle) else { return Ok(None) };
    for file in files.take(USER_TRUST_FILES_MAX) {
        let path = file?.path();
        if path.extension().is_none_or(|e| e != "trust") {
            continue;
        }
        let keys = read_keys(&path)?;
        if keys.log.name() == header.origin && keys.owner.map_or(record::Owner::Region, |(owner, _)| owner) == header.owner {
            let shown = path.display();
            ui::note(phrase!("Keys: {shown}", "Clés : {shown}"));
            return Ok(Some(keys));
        }
    }
    Ok(None)
}

fn header(bundle: &[u8]) -> Option<record::bundle::Header> {
    let frame = Frame::parse(bundle).ok()?;
    let note = SignedNote::parse(frame.manifest).ok()?;
    Some(Manifest::parse(note.text()).ok()?.header)
}

#[cfg(test)]
mod tests {
    #[test]
    fn another_file_than_a_trust_file_is_named_so() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("file");
        for bytes in [&[0xFF, 0xFE][..], &[b'x'; 2 << 20], b"text"] {
            std::fs::write(&path, bytes).unwrap();
            let refused = format!("{:#}", super::read_keys(&path).unwrap_err());
            assert!(refused.contains("is not a trust file") && !refused.contains("UTF-8"), "{refused}");
        }
    }
}
