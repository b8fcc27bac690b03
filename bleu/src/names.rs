//! `bleu names`: what makes the region's host names resolve here. It changes nothing.

use crate::folder::Folder;
use crate::{env, phrase, ui};
use anyhow::{Result, bail};
use serde_json::json;
use std::path::Path;

const SERVICES: &[&str] = &["blob.core", "queue.core", "table.core", "file.core", "dfs.core", "web.core"];

/// `accounts`: storage accounts to print hosts lines for, since a hosts file has no wildcards.
pub fn run(data: &Path, accounts: &[String], as_json: bool) -> Result<()> {
    let ready = env::ready(&Folder::existing(data)?)?;
    let domain = &ready.domain;
    let mut names: Vec<String> =
        std::iter::once(domain.clone()).chain(["management", "login", "graph", "record"].map(|l| format!("{l}.{domain}"))).collect();
    for account in accounts {
        if !(3..=24).contains(&account.len()) || !account.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            bail!(phrase!("'{account}' is not the name of a storage account.", "« {account} » n’est pas le nom d’un compte de stockage."));
        }
        names.extend(SERVICES.iter().map(|service| format!("{account}.{service}.{domain}")));
    }
    if as_json {
        ui::line(serde_json::to_string(&json!({ "domain": domain, "dns": ready.dns, "names": names }))?);
        return Ok(());
    }
    let hosts: String = names.iter().map(|name| format!("127.0.0.1 {name}\n")).collect();
    ui::line(phrase!(
        "Nothing is needed for localhost: ARM, sign-in, Graph and connection strings use it.\n\n# /etc/hosts: no wildcards, so name your accounts: bleu names ACCOUNT…\n{hosts}",
        "Rien n’est nécessaire pour localhost : ARM, la connexion, Graph et les chaînes de connexion l’utilisent.\n\n# /etc/hosts : pas de joker, nommez donc vos comptes : bleu names COMPTE…\n{hosts}"
    ));
    match ready.dns {
        None => ui::line(phrase!(
            "# or every name at once: start the region with --dns 127.0.0.1:5353 and type 'bleu names' again",
            "# ou tous les noms d’un coup : démarrez la région avec --dns 127.0.0.1:5353 et retapez « bleu names »"
        )),
        Some(at) => ui::line(phrase!(
            "# or every name at once, by the region's own name server at {at}\n# systemd-resolved, in /etc/systemd/resolved.conf.d/bleu.conf:\n[Resolve]\nDNS={at}\nDomains=~{domain}\n\n# dnsmasq:\nserver=/{domain}/{}#{}",
            "# ou tous les noms d’un coup, par le serveur de noms de la région, {at}\n# systemd-resolved, dans /etc/systemd/resolved.conf.d/bleu.conf :\n[Resolve]\nDNS={at}\nDomains=~{domain}\n\n# dnsmasq :\nserver=/{domain}/{}#{}",
            at.ip(),
            at.port()
        )),
    }
    Ok(())
}
