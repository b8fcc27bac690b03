//! `bleu tenant add`: a further customer, with its own directory, administrator, client and keys.

use crate::control::{self, Verb};
use crate::folder::Folder;
use crate::settings::Settings;
use crate::{env, phrase, ui};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::Path;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

pub async fn add(data: &Path, name: &str, domain: Option<&str>, as_json: bool) -> Result<()> {
    let folder = Folder::existing(data)?;
    let region = Settings::read(&folder)?.context("region.toml")?.domain;
    let domain = match domain {
        Some(domain) => domain.to_ascii_lowercase(),
        None => format!("{}.{region}", label(name)?),
    };
    let plain = domain.len() <= 200
        && domain.split('.').count() >= 2
        && domain.split('.').all(|l| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    if !plain {
        bail!(phrase!("'{domain}' is not a domain.", "« {domain} » n’est pas un domaine."));
    }
    let answer: Value =
        serde_json::from_slice(&control::ask(&folder, Verb::AddTenant { name: name.into(), domain: domain.clone() }).await?)?;
    if as_json {
        ui::line(answer.to_string());
        return Ok(());
    }
    let word = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    let (tenant, admin, password, data) =
        (word("tenant"), word("administrator"), word("password"), env::quoted(&data.display().to_string()));
    ui::line(phrase!(
        "Tenant {tenant}, {domain}.\n\nAdministrator, shown this once and kept nowhere:\n  {admin}\n  {password}\n\nTo use it:\n  eval \"$(bleu env --data {data} --tenant {domain})\"\n  bleu login --data {data} --tenant {domain}",
        "Locataire {tenant}, {domain}.\n\nAdministrateur, affiché cette seule fois et conservé nulle part :\n  {admin}\n  {password}\n\nPour l’utiliser :\n  eval \"$(bleu env --data {data} --tenant {domain})\"\n  bleu login --data {data} --tenant {domain}"
    ));
    Ok(())
}

/// A label of a domain from a name: `Société Générale` becomes `societe-generale`.
fn label(name: &str) -> Result<String> {
    let mut label = String::new();
    // letters without their marks: é is e and a mark
    let plain = name.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(|c| match c {
        'œ' | 'Œ' => ['o', 'e'],
        'æ' | 'Æ' => ['a', 'e'],
        'ß' => ['s', 's'],
        'ø' | 'Ø' => ['o', '\0'],
        'ł' | 'Ł' => ['l', '\0'],
        c => [c, '\0'],
    });
    for c in plain.filter(|c| *c != '\0') {
        match c.is_ascii_alphanumeric() {
            true => label.push(c.to_ascii_lowercase()),
            false if !label.is_empty() && !label.ends_with('-') => label.push('-'),
            false => {}
        }
    }
    let label = label.trim_end_matches('-').to_owned();
    if label.is_empty() || label.len() > 63 {
        bail!(phrase!("Choose a domain for '{name}' with --domain.", "Choisissez un domaine pour « {name} » avec --domain."));
    }
    Ok(label)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_becomes_a_label() {
        assert_eq!(super::label("Contoso SA").unwrap(), "contoso-sa");
        assert_eq!(super::label("  L'Oréal & Fils!").unwrap(), "l-oreal-fils");
        assert_eq!(super::label("deuxième").unwrap(), "deuxieme");
        assert_eq!(super::label("Cœur & Straße").unwrap(), "coeur-strasse");
        assert!(super::label("北京").is_err());
    }
}
