//! What a region is compared with, measured in the same run: the disk, nginx serving the same bytes as plain files, and
//! Azurite, the emulator of its vendor.

use crate::http::{Account, Caller};
use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crypto::HmacKey;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const START_WAIT: Duration = Duration::from_secs(20);
/// Azurite's one account, with the key that its manual gives to everybody.
const AZURITE_ACCOUNT: &str = "devstoreaccount1";
const AZURITE_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Commits a second when sixteen writers of 4 KiB share each fdatasync, and single 1 KiB appends with one each.
pub fn disk_commits(folder: &Path, seconds: f64) -> Result<(f64, f64)> {
    let run = |bytes: usize, shared: usize| -> Result<f64> {
        let mut file = std::fs::File::create(folder.join("probe"))?;
        let (data, begun, mut done) = (vec![7; bytes * shared], Instant::now(), 0);
        while begun.elapsed().as_secs_f64() < seconds {
            file.write_all(&data)?;
            file.sync_data()?;
            done += shared;
        }
        Ok(done as f64 / begun.elapsed().as_secs_f64())
    };
    Ok((run(4 << 10, 16)?, run(1 << 10, 1)?))
}

/// 256 MiB in 4 MiB writes with O_DIRECT, one fdatasync at the end.
pub fn disk_mib_a_second(folder: &Path) -> Result<f64> {
    let target = format!("of={}", folder.join("probe-direct").display());
    let begun = Instant::now();
    let status = Command::new("dd")
        .args(["if=/dev/zero", &target, "bs=4M", "count=64", "oflag=direct", "conv=fdatasync", "status=none"])
        .status()
        .context("dd")?;
    ensure!(status.success(), "dd failed");
    Ok(256.0 / begun.elapsed().as_secs_f64())
}

/// nginx with TLS and as many workers as the region has threads: one for each core.
pub struct Nginx {
    process: Child,
    pub caller: Caller,
}

impl Nginx {
    /// Serves `files` under `/{name}`.
    pub fn start(folder: &Path, files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<Nginx> {
        std::fs::create_dir_all(folder.join("files"))?;
        for (name, bytes) in files {
            std::fs::write(folder.join("files").join(name), bytes)?;
        }
        let now = base::Clock::now(&base::SystemClock);
        let ca = crypto::Ca::generate("bench", now)?;
        let issued = ca.issue_server(&["localhost".into()], &[], now.plus_seconds(-60), now.plus_seconds(86_400))?;
        std::fs::write(folder.join("ca.pem"), ca.certificate_pem())?;
        std::fs::write(folder.join("chain.pem"), &issued.chain_pem)?;
        std::fs::write(folder.join("key.pem"), issued.key_pem.expose())?;
        let (port, workers, at) = (free_port()?, std::thread::available_parallelism()?, folder.display());
        let config = format!(
            "daemon off; worker_processes {workers}; pid {at}/pid; error_log {at}/error.log; user root;
            events {{ worker_connections 256; }}
            http {{ access_log off; sendfile on; tcp_nodelay on; keepalive_requests 100000000; open_file_cache max=2000;
              server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {at}/chain.pem; ssl_certificate_key {at}/key.pem;
                ssl_protocols TLSv1.3; root {at}/files; }} }}"
        );
        std::fs::write(folder.join("nginx.conf"), config)?;
        let mut command = Command::new("nginx");
        // Debian keeps it where an ordinary user does not look
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin")).arg("-c").arg(folder.join("nginx.conf"));
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("nginx (Debian package nginx-light)")?;
        let caller = Caller::tls(&folder.join("ca.pem"), port)?;
        let nginx = Nginx { process, caller };
        wait_for(port, "nginx")?;
        Ok(nginx)
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // its workers end with the master only when asked
        let _ = Command::new("kill").args(["-QUIT", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}

/// Azurite's blob service, without TLS, in a folder of its own.
pub struct Azurite {
    process: Child,
    pub caller: Caller,
    pub account: Account,
}

impl Azurite {
    /// `program`: the `main.js` of its blob service.
    pub async fn start(program: &Path, folder: &Path) -> Result<Azurite> {
        std::fs::create_dir_all(folder)?;
        let port = free_port()?;
        let process = Command::new("node")
            .arg(program)
            .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--silent", "--skipApiVersionCheck", "--disableTelemetry"])
            .arg("--location")
            .arg(folder)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("node, for Azurite")?;
        let key = HmacKey::new(&BASE64_STANDARD.decode(AZURITE_KEY)?);
        let azurite = Azurite { process, caller: Caller::plain(port), account: Account { name: AZURITE_ACCOUNT, key: Arc::new(key) } };
        wait_for(port, "Azurite")?;
        azurite.caller.connect().await?.container(&azurite.account, "photos").await?;
        Ok(azurite)
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn wait_for(port: u16, name: &str) -> Result<()> {
    let begun = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(begun.elapsed() < START_WAIT, "{name} does not start");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
