//! What a region is compared with, measured in the same run: the disk, and nginx serving the same bytes as plain files.

use anyhow::{Context, Result, ensure};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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

/// nginx with TLS and two workers, as the region has on two cores.
pub struct Nginx {
    process: Child,
    pub port: u16,
    pub ca: PathBuf,
}

impl Nginx {
    /// Serves `count` files of each size under `/{name}-{number}`, filled with the number.
    pub fn start(folder: &Path, sizes: &[(usize, &str)], count: usize) -> Result<Nginx> {
        let folder = folder.join(format!("nginx-{}", sizes[0].1));
        std::fs::create_dir_all(folder.join("files"))?;
        for (size, name) in sizes {
            for number in 0..count {
                std::fs::write(folder.join("files").join(format!("{name}-{number}")), vec![number as u8; *size])?;
            }
        }
        let now = base::Clock::now(&base::SystemClock);
        let ca = crypto::Ca::generate("bench", now)?;
        let issued = ca.issue_server(&["localhost".into()], &[], now.plus_seconds(-60), now.plus_seconds(86_400))?;
        std::fs::write(folder.join("ca.pem"), ca.certificate_pem())?;
        std::fs::write(folder.join("chain.pem"), &issued.chain_pem)?;
        std::fs::write(folder.join("key.pem"), issued.key_pem.expose())?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let at = folder.display();
        let config = format!(
            "daemon off; worker_processes 2; pid {at}/pid; error_log {at}/error.log; user root;
            events {{ worker_connections 256; }}
            http {{ access_log off; sendfile on; tcp_nodelay on; keepalive_requests 100000000; open_file_cache max=2000;
              server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {at}/chain.pem; ssl_certificate_key {at}/key.pem;
                ssl_protocols TLSv1.3; root {at}/files; }} }}"
        );
        std::fs::write(folder.join("nginx.conf"), config)?;
        let process = Command::new("nginx")
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("nginx (Debian package nginx-light)")?;
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(begun.elapsed() < Duration::from_secs(10), "nginx does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Nginx { process, port, ca: folder.join("ca.pem") })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // its workers end with the master only when asked
        let _ = Command::new("kill").args(["-QUIT", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}
