//! A PostgreSQL cluster of one's own, for as long as a test needs it: on a Unix socket, on request also on loopback, as a
//! user that is not root. The tests of the whole house use this file, too.

#![allow(dead_code, reason = "several test binaries use this file, and none all of it")]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

const BIN: &str = "/usr/lib/postgresql/15/bin";
/// A server that died leaves children who go on for a moment, and hold its memory.
const STARTS_MAX: usize = 200;

pub struct Cluster {
    /// Holds the data and the socket.
    pub folder: PathBuf,
    settings: Vec<String>,
    server: Mutex<Option<Child>>,
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// As the user postgres when the tests run as root: the server refuses root.
fn as_user(program: &str) -> Command {
    let program = format!("{BIN}/{program}");
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
    command
}

impl Cluster {
    pub fn make() -> Cluster {
        let cluster = Cluster::prepare();
        cluster.start();
        cluster
    }

    /// Made and not started. In a short path: a socket's name has 107 bytes at most.
    pub fn prepare() -> Cluster {
        assert!(Path::new(BIN).join("postgres").exists(), "{BIN}/postgres is missing: install Debian's package postgresql-15");
        let folder = tempfile::Builder::new().prefix("store-pg-").tempdir_in("/tmp").unwrap().keep();
        let cluster = Cluster { folder, settings: Vec::new(), server: Mutex::new(None) };
        cluster.give(&cluster.folder);
        let made = as_user("initdb").args(["-U", "bleu", "-A", "trust", "--no-sync", "-D"]).arg(cluster.data()).output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        cluster
    }

    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A setting of the next start, as in `ssl=on`.
    pub fn set(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    /// Makes a file the server's.
    pub fn give(&self, path: &Path) {
        if is_root() {
            assert!(Command::new("chown").arg("postgres:postgres").arg(path).status().unwrap().success());
        }
    }

    /// Returns when it takes connections.
    pub fn start(&self) {
        let mut said = String::new();
        for _ in 0..STARTS_MAX {
            match self.try_start() {
                Ok(child) => return *self.server.lock().unwrap() = Some(child),
                Err(why) => said = why,
            }
            assert!(said.contains("shared memory block") || said.contains("postmaster.pid"), "the server ended: {said}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("the server does not start: {said}");
    }

    fn try_start(&self) -> Result<Child, String> {
        let mut server = as_user("postgres");
        server.arg("-D").arg(self.data()).arg("-k").arg(&self.folder);
        server.args(["-c", "listen_addresses=", "-c", "max_connections=300", "-c", "shared_buffers=32MB"]);
        server.args(self.settings.iter().flat_map(|setting| ["-c", setting]));
        let mut child = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).env("LC_ALL", "C").spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut said = Vec::new();
        for line in log.by_ref() {
            said.push(line);
            if said.last().is_some_and(|line| line.contains("ready to accept connections")) {
                // a server whose log nobody reads would stop
                std::thread::spawn(move || log.for_each(drop));
                return Ok(child);
            }
        }
        child.wait().unwrap();
        Err(said.join("\n"))
    }

    /// Sends a signal and waits for the end. The process that was spawned became the server: setpriv replaces itself.
    pub fn signal(&self, name: &str) {
        if let Some(mut child) = self.server.lock().unwrap().take() {
            let sent = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
            assert!(sent.unwrap().success());
            child.wait().unwrap();
        }
    }

    /// As a libpq connection string.
    pub fn connect(&self, database: &str) -> String {
        format!("host={} user=bleu dbname={database}", self.folder.display())
    }

    /// As the URL that `bleu up --engine` takes.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://bleu@{}/{database}", self.folder.display().to_string().replace('/', "%2F"))
    }

    /// Runs SQL in a database; gives what it printed, unadorned.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let mut psql = as_user("psql");
        psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", "bleu", "-d", database, "-c", sql, "-h"]).arg(&self.folder);
        let output = psql.current_dir("/").output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The name of an empty database.
    pub fn new_database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.signal("INT");
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
