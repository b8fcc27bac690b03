//! The region under measurement: the release binary, in a folder of its own.

use crate::http::{Account, Caller, Head};
use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use crypto::HmacKey;
use http::Request;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const START_WAIT: Duration = Duration::from_secs(60);

pub struct Region {
    process: Child,
    port: u16,
    pub subscription: String,
    pub ready_after: Duration,
    folder: PathBuf,
}

/// A client of the region's first tenant.
pub struct Client {
    pub caller: Caller,
    pub account: Account,
    pub bearer: String,
}

impl Region {
    pub fn start(program: &Path, folder: &Path) -> Result<Region> {
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
            .with_context(|| format!("cannot start {}", program.display()))?;
        while !ready.exists() {
            if process.try_wait()?.is_some() || begun.elapsed() > START_WAIT {
                let _ = process.kill();
                bail!("the region does not start: {}", std::fs::read_to_string(folder.join("log"))?);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let ready_after = begun.elapsed();
        let document: Value = serde_json::from_slice(&std::fs::read(&ready)?)?;
        let port = document["port"].as_u64().context("port")?.try_into()?;
        let subscription = document["subscription"].as_str().context("subscription")?.to_owned();
        Ok(Region { process, port, subscription, ready_after, folder: folder.to_owned() })
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// In good order.
    pub fn stop(mut self) -> Result<()> {
        ensure!(Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status()?.success(), "kill");
        ensure!(self.process.wait()?.success(), "the region did not stop in good order");
        Ok(())
    }

    /// Signs in, makes a storage account and a container `photos`.
    pub async fn client(&self) -> Result<Client> {
        let caller = Caller::tls(&self.folder.join("data/ca.pem"), self.port)?;
        let mut connection = caller.connect().await?;
        let client: Value = serde_json::from_slice(&std::fs::read(self.folder.join("data/client.json"))?)?;
        let text = |name: &str| client[name].as_str().unwrap_or_default().to_owned();
        let scope = wire::percent_encode(&format!("https://localhost:{}/.default", self.port), b"");
        let secret = wire::percent_encode(&text("client_secret"), b"");
        let form = format!("grant_type=client_credentials&client_id={}&client_secret={secret}&scope={scope}", text("client_id"));
        let sign_in =
            Request::builder().method("POST").uri("/adfs/oauth2/token/").header("content-type", "application/x-www-form-urlencoded");
        let (_, body) = connection.call(sign_in, form.into()).await?;
        let bearer = format!("Bearer {}", serde_json::from_slice::<Value>(&body)?["access_token"].as_str().context("a token")?);

        let group = format!("/subscriptions/{}/resourceGroups/bench", self.subscription);
        connection.arm("PUT", &format!("{group}?api-version=2024-11-01"), &bearer, r#"{"location":"francecentral"}"#).await?;
        let account = format!("{group}/providers/Microsoft.Storage/storageAccounts/benchacct");
        let wish = r#"{"location":"francecentral","sku":{"name":"Standard_LRS"},"kind":"StorageV2"}"#;
        connection.arm("PUT", &format!("{account}?api-version=2025-08-01"), &bearer, wish).await?;
        let keys = Head::arm("POST", &format!("{account}/listKeys?api-version=2025-08-01"), &bearer)?;
        let begun = Instant::now();
        let keys: Value = loop {
            match connection.send(&keys, Bytes::new()).await {
                Ok(body) => break serde_json::from_slice(&body)?,
                Err(error) if begun.elapsed() > Duration::from_secs(10) => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let key = BASE64_STANDARD.decode(keys["keys"][0]["value"].as_str().context("the account's key")?)?;
        let account = Account { name: "benchacct", key: Arc::new(HmacKey::new(&key)) };
        connection.container(&account, "photos").await?;
        Ok(Client { caller, account, bearer })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
