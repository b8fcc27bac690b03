//! `bleu env`: shell lines that make `az`, the SDKs, curl and git trust and find the region.

use crate::folder::{Folder, make_folder, read_small};
use crate::up::Ready;
use crate::{credentials, phrase, ui};
use anyhow::{Context, Result};
use std::path::Path;

/// In which language the lines are.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
pub enum Shell {
    Posix,
    Fish,
    Powershell,
    Json,
}

/// Where a started region answers. Error: it was never started.
pub fn ready(folder: &Folder) -> Result<Ready> {
    let text = read_small(&folder.path("ready.json"))?;
    let text = text.with_context(|| {
        phrase!("The region was never started. Type 'bleu up'.", "La région n’a jamais été démarrée. Tapez « bleu up ».")
    })?;
    let shown = folder.path("ready.json").display().to_string();
    serde_json::from_str(&text)
        .with_context(|| phrase!("'{shown}' is not right. Start the region again.", "« {shown} » n’est pas correct. Redémarrez la région."))
}

/// The variables, in the order in which they are printed.
pub fn variables(folder: &Folder, tenant: Option<&str>) -> Result<Vec<(&'static str, String)>> {
    let ready = ready(folder)?;
    let (client, client_id) = credentials::need(folder, tenant)?;
    let bundle = folder.path("ca-bundle.pem").display().to_string();
    let profile = folder.path(&tenant.map_or("az".to_owned(), |domain| format!("az-{domain}")));
    make_folder(&profile)?;
    let mut all = vec![
        ("REQUESTS_CA_BUNDLE", bundle.clone()),
        ("SSL_CERT_FILE", bundle),
        ("NODE_EXTRA_CA_CERTS", folder.path("ca.pem").display().to_string()),
        ("AZURE_AUTHORITY_HOST", ready.login),
        // not a tenant: with this word MSAL asks no Microsoft host about the authority, and our sign-in finds the tenant
        ("AZURE_TENANT_ID", "adfs".into()),
        ("AZURE_CLIENT_ID", client_id.to_string()),
        ("AZURE_CLIENT_SECRET", client.client_secret),
    ];
    if let Some(subscription) = client.subscription {
        all.push(("AZURE_SUBSCRIPTION_ID", subscription.to_string()));
    }
    all.push(("AZURE_CONFIG_DIR", profile.display().to_string()));
    all.push(("AZURE_CORE_INSTANCE_DISCOVERY", "false".into()));
    all.push(("AZURE_CORE_COLLECT_TELEMETRY", "0".into()));
    Ok(all)
}

pub fn run(data: &Path, shell: Shell, tenant: Option<&str>) -> Result<()> {
    let folder = Folder::existing(data)?;
    ui::bytes(print(&variables(&folder, tenant)?, shell)?.as_bytes());
    Ok(())
}

fn print(variables: &[(&'static str, String)], shell: Shell) -> Result<String> {
    if shell == Shell::Json {
        let all: serde_json::Map<_, _> = variables.iter().map(|(name, value)| (name.to_string(), value.clone().into())).collect();
        return Ok(format!("{}\n", serde_json::to_string_pretty(&all)?));
    }
    let line = |(name, value): &(&str, String)| match shell {
        Shell::Fish => format!("set -gx {name} '{}'\n", value.replace('\\', "\\\\").replace('\'', "\\'")),
        Shell::Powershell => format!("$env:{name} = '{}'\n", value.replace('\'', "''")),
        _ => format!("export {name}={}\n", quoted(value)),
    };
    Ok(variables.iter().map(line).collect())
}

/// A word for a POSIX shell: as it is where that is safe, else between single quotes.
pub fn quoted(text: &str) -> String {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-:=,@+".contains(&b));
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn a_shell_reads_what_was_quoted(value in "[^\0]{0,40}") {
            let script = format!("{}printf %s \"$V\"", print(&[("V", value.clone())], Shell::Posix).unwrap());
            let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
            prop_assert!(output.status.success());
            prop_assert_eq!(output.stdout, value.into_bytes());
        }
    }

    #[test]
    fn other_shells_have_their_own_quotes() {
        let variables = [("V", r"a'b\c".to_owned())];
        assert_eq!(print(&variables, Shell::Fish).unwrap(), "set -gx V 'a\\'b\\\\c'\n");
        assert_eq!(print(&variables, Shell::Powershell).unwrap(), "$env:V = 'a''b\\c'\n");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&print(&variables, Shell::Json).unwrap()).unwrap()["V"], r"a'b\c");
    }
}
