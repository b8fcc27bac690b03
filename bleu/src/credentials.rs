//! The credential of a tenant's client application, kept for `bleu env` and `bleu login` in a file of mode 0600. It is a
//! customer's, revocable like any other; a region's own secrets are never in it. An administrator's password is shown
//! once to a person; where nobody watches, it waits in a file of mode 0600 until its owner takes it.

use crate::folder::{Folder, make_folder, read_small, write_secret};
use crate::phrase;
use anyhow::{Context, Result};
use base::{AppId, SubscriptionId, TenantId};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A client's credential. Not `Debug`: it must not reach a log.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    pub tenant: TenantId,
    pub domain: String,
    /// `None` where the tenant has none yet.
    pub subscription: Option<SubscriptionId>,
    /// Known once the tenant is made: a crash in between leaves it out, and the next start puts it in.
    pub client_id: Option<AppId>,
    pub client_secret: String,
}

/// The file of a tenant: the first one's, or by domain.
fn path(folder: &Folder, domain: Option<&str>) -> PathBuf {
    match domain {
        None => folder.path("client.json"),
        Some(domain) => folder.path("tenants").join(format!("{domain}.json")),
    }
}

pub fn read(folder: &Folder, domain: Option<&str>) -> Result<Option<Client>> {
    let path = path(folder, domain);
    let Some(text) = read_small(&path)? else { return Ok(None) };
    let shown = path.display();
    let client = serde_json::from_str(&text).with_context(|| phrase!("'{shown}' is not right.", "« {shown} » n’est pas correct."))?;
    Ok(Some(client))
}

/// The credential for a command; says what to do when it is not there.
pub fn need(folder: &Folder, domain: Option<&str>) -> Result<(Client, AppId)> {
    if let Some(domain) = domain {
        // it becomes part of a path
        let plain =
            !domain.is_empty() && domain.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.') && !domain.contains("..");
        anyhow::ensure!(plain, phrase!("'{domain}' is not a domain.", "« {domain} » n’est pas un domaine."));
    }
    let found = read(folder, domain)?.and_then(|c| c.client_id.map(|id| (c, id)));
    found.with_context(|| {
        let shown = path(folder, domain).display().to_string();
        phrase!(
            "There is no credential in '{shown}'. For the first tenant 'bleu up' makes it; for another, 'bleu tenant add' does.",
            "Il n’y a pas d’identifiants dans « {shown} ». « bleu up » crée ceux du premier locataire ; « bleu tenant add », ceux d’un autre."
        )
    })
}

pub fn write(folder: &Folder, domain: Option<&str>, client: &Client) -> Result<()> {
    if domain.is_some() {
        make_folder(&folder.path("tenants"))?;
    }
    write_secret(&path(folder, domain), format!("{}\n", serde_json::to_string_pretty(client)?).as_bytes())
}
