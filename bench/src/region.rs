//! The region under measurement: the release binary, in a folder of its own.

use crate::http::Caller;
use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use crypto::HmacKey;
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub struct Region {
    process: Child,
    pub port: u16,
    pub subscription: String,
    pub ready_after: Duration,
}

/// A storage account with a container `photos`.
#[derive(Clone)]
pub struct Account {
    pub name: &'static str,
    pub key: Arc<HmacKey>,
    pub bearer: String,
}

impl Region {
    pub fn start(program: &str, folder: &Path) -> Result<Region> {
        let ready = folder.join("ready");
        let _ = std::fs::remove_file(&ready);
        let begun = Instant::now();
        let mut process = Command::new(program)
            .args(["up", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.join("data"))
            .arg("--ready-file")
            .arg(&ready)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log"))?)
            .spawn()
            .context("bleu")?;
        while !ready.exists() {
            if process.try_wait()?.is_some() || begun.elapsed() > Duration::from_secs(30) {
                bail!("the region does not start: {}", std::fs::read_to_string(folder.join("log"))?);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let ready_after = begun.elapsed();
        let document: Value = serde_json::from_slice(&std::fs::read(&ready)?)?;
        let port = document["port"].as_u64().context("port")? as u16;
        let subscription = document["subscription"].as_str().context("subscription")?.to_owned();
        Ok(Region { process, port, subscription, ready_after })
    }

    pub fn resident_mib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
    }

    /// In good order.
    pub fn stop(mut self) -> Result<()> {
        ensure!(Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status()?.success(), "kill");
        ensure!(self.process.wait()?.success(), "the region did not stop in good order");
        Ok(())
    }

    pub async fn account(&self, caller: &Caller, folder: &Path) -> Result<Account> {
        let client: Value = serde_json::from_slice(&std::fs::read(folder.join("data/client.json"))?)?;
        let text = |name: &str| client[name].as_str().unwrap_or_default().to_owned();
        let scope = wire::percent_encode(&format!("https://localhost:{}/.default", self.port), b"");
        let secret = wire::percent_encode(&text("client_secret"), b"");
        let form = format!("grant_type=client_credentials&client_id={}&client_secret={secret}&scope={scope}", text("client_id"));
        let mut connection = caller.connect().await?;
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        let (_, body) = connection.call("POST", "/adfs/oauth2/token/", &kind, form.into()).await?;
        let bearer = format!("Bearer {}", serde_json::from_slice::<Value>(&body)?["access_token"].as_str().context("a token")?);
        let group = format!("/subscriptions/{}/resourceGroups/bench", self.subscription);
        connection.arm("PUT", &format!("{group}?api-version=2024-11-01"), &bearer, r#"{"location":"francecentral"}"#).await?;
        let account = format!("{group}/providers/Microsoft.Storage/storageAccounts/benchacct");
        let wish = r#"{"location":"francecentral","sku":{"name":"Standard_LRS"},"kind":"StorageV2"}"#;
        connection.arm("PUT", &format!("{account}?api-version=2025-08-01"), &bearer, wish).await?;
        let mut keys = Value::Null;
        for _ in 0..100 {
            let headers = [("authorization", bearer.as_str())];
            let (parts, body) =
                connection.call("POST", &format!("{account}/listKeys?api-version=2025-08-01"), &headers, Bytes::new()).await?;
            if parts.status.is_success() {
                keys = serde_json::from_slice(&body)?;
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let key = BASE64_STANDARD.decode(keys["keys"][0]["value"].as_str().context("the account's key")?)?;
        let account = Account { name: "benchacct", key: Arc::new(HmacKey::new(&key)), bearer };
        connection.container(&account, "photos").await?;
        Ok(account)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Uploads by blocks of 8 MiB, four at once.
pub async fn put_blocks(caller: &Caller, account: &Account, name: &str, body: &Bytes) -> Result<()> {
    const BLOCK: usize = 8 << 20;
    let ids: Vec<String> = (0..body.len().div_ceil(BLOCK)).map(|n| BASE64_STANDARD.encode(format!("{n:08}"))).collect();
    let mut tasks = Vec::new();
    for writer in 0..4 {
        let (mut connection, account, name, body, ids) =
            (caller.connect().await?, account.clone(), name.to_owned(), body.clone(), ids.clone());
        tasks.push(tokio::spawn(async move {
            for number in (writer..ids.len()).step_by(4) {
                let part = body.slice(number * BLOCK..((number + 1) * BLOCK).min(body.len()));
                connection.put_block(&account, &name, &ids[number], part).await?;
            }
            Ok::<_, anyhow::Error>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    caller.connect().await?.put_block_list(account, name, &ids).await
}
