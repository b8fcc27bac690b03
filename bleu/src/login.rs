//! `bleu login`: makes the region a cloud of the `az` command and signs in, through ordinary `az` commands that it
//! prints; and keeps the region's public keys where `bleu verify` finds them.

use crate::control::{self, Verb};
use crate::folder::{Folder, make_folder, read_small, write_public, write_secret};
use crate::{credentials, env, phrase, ui};
use anyhow::{Context, Result, bail};
use record::TrustKeys;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The name of the cloud. `AzureBleuCloud` is another's: the command knows it already.
const CLOUD: &str = "Bleu";

pub async fn run(data: &Path, tenant: Option<&str>, replace_trust: bool) -> Result<()> {
    let folder = Folder::existing(data)?;
    let variables = env::variables(&folder, tenant)?;
    let (client, client_id) = credentials::need(&folder, tenant)?;
    let url = env::ready(&folder)?.management;

    let az = Az { variables };
    let verb = if az.succeeds(&["cloud", "show", "--name", CLOUD])? { "update" } else { "register" };
    let trust = control::ask(&folder, Verb::Trust { tenant: Some(client.tenant) }).await?;
    keep_trust(&trust, replace_trust)?;

    az.run(&["cloud", verb, "--name", CLOUD, "--endpoint-resource-manager", &url], None)?;
    az.run(&["cloud", "set", "--name", CLOUD], None)?;
    // a file, not an argument: arguments are shown to every user of the machine
    let secret = folder.path(&format!("az/.secret-{}", std::process::id()));
    make_folder(&folder.path("az"))?;
    write_secret(&secret, client.client_secret.as_bytes())?;
    let from_file = format!("@{}", secret.display());
    let (id, tenant_id) = (client_id.to_string(), client.tenant.to_string());
    let signed_in = az.run(
        &["login", "--service-principal", "--username", &id, "--password", &from_file, "--tenant", &tenant_id],
        Some((&from_file, "\"$AZURE_CLIENT_SECRET\"")),
    );
    std::fs::remove_file(&secret)?;
    signed_in?;
    let data = data.display().to_string();
    let data = env::quoted(&data);
    let whose = tenant.map_or(String::new(), |domain| format!(" --tenant {domain}"));
    ui::line(phrase!(
        "Signed in to the cloud {CLOUD}. In a shell with  eval \"$(bleu env --data {data}{whose})\"  the az command is now this region's.",
        "Connecté au cloud {CLOUD}. Dans un shell avec  eval \"$(bleu env --data {data}{whose})\"  la commande az est maintenant celle de cette région."
    ));
    Ok(())
}

/// The `az` command, with the region's variables.
struct Az {
    variables: Vec<(&'static str, String)>,
}

impl Az {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("az");
        command.args(arguments).stdin(Stdio::null());
        for (name, value) in &self.variables {
            // a profile that the person chose stays theirs
            if *name != "AZURE_CONFIG_DIR" || std::env::var_os(name).is_none_or(|v| v.is_empty()) {
                command.env(name, value);
            }
        }
        command
    }

    fn missing(error: std::io::Error) -> anyhow::Error {
        if error.kind() == std::io::ErrorKind::NotFound {
            return anyhow::anyhow!(phrase!(
                "The command 'az' is not installed. Install azure-cli (pip install azure-cli, or your system's package), then type 'bleu login' again.",
                "La commande « az » n’est pas installée. Installez azure-cli (pip install azure-cli, ou le paquet de votre système), puis retapez « bleu login »."
            ));
        }
        anyhow::Error::from(error).context("az")
    }

    fn succeeds(&self, arguments: &[&str]) -> Result<bool> {
        let status = self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().map_err(Az::missing)?;
        Ok(status.success())
    }

    /// Prints the command, with `hidden` shown as something else, and runs it.
    fn run(&self, arguments: &[&str], hidden: Option<(&str, &str)>) -> Result<()> {
        let shown: Vec<String> = arguments
            .iter()
            .map(|a| match hidden {
                Some((secret, instead)) if secret == *a => instead.to_owned(),
                _ => env::quoted(a),
            })
            .collect();
        ui::line(format!("+ az {}", shown.join(" ")));
        let output = self.command(arguments).stdout(Stdio::null()).stderr(Stdio::inherit()).status().map_err(Az::missing)?;
        if !output.success() {
            bail!(phrase!(
                "'az {} {}' failed: what it says stands above.",
                "« az {} {} » a échoué : son message est ci-dessus.",
                arguments[0],
                arguments[1]
            ));
        }
        Ok(())
    }
}

/// Where this user's trust files are: `$XDG_CONFIG_HOME/bleu/trust`, or under `~/.config`.
pub fn trust_folder() -> Option<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME").filter(|v| Path::new(v).is_absolute()).map(PathBuf::from);
    let config = config.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))?;
    Some(config.join("bleu/trust"))
}

/// Keeps the keys of a region for later. Keys that changed are refused: that is what they are kept for.
fn keep_trust(text: &[u8], replace: bool) -> Result<()> {
    let text = std::str::from_utf8(text)?;
    let keys = TrustKeys::parse(text)?;
    let Some(folder) = trust_folder() else { return Ok(()) };
    let path = folder.join(file_name(&keys));
    let shown = path.display().to_string();
    match read_small(&path)? {
        Some(kept) if kept == text => return Ok(()),
        Some(kept) if !replace && !same_region(&kept, &keys) => bail!(phrase!(
            "The region's keys are not those of '{shown}'. If you made the region anew, use --replace-trust; else somebody stands between you and it.",
            "Les clés de la région ne sont pas celles de « {shown} ». Si vous avez recréé la région, utilisez --replace-trust ; sinon, quelqu’un se tient entre elle et vous."
        )),
        _ => {}
    }
    make_folder(&folder).with_context(|| shown.clone())?;
    write_public(&path, text.as_bytes())?;
    ui::line(phrase!("The region's public keys are kept in {shown}.", "Les clés publiques de la région sont conservées dans {shown}."));
    Ok(())
}

/// The same log, region and tenant key, and no witness lost.
fn same_region(kept: &str, keys: &TrustKeys) -> bool {
    TrustKeys::parse(kept).is_ok_and(|old| {
        old.log == keys.log
            && old.region == keys.region
            && old.owner == keys.owner
            && keys.threshold >= old.threshold
            && old.witnesses.iter().all(|w| keys.witnesses.contains(w))
    })
}

/// A tenant has one id in the world; other files are named after the log.
fn file_name(keys: &TrustKeys) -> String {
    match keys.owner {
        Some((record::Owner::Tenant(tenant), _)) => format!("{tenant}.trust"),
        _ => format!("{}.trust", hex::encode(&crypto::sha256(keys.log.to_string().as_bytes())[..8])),
    }
}
