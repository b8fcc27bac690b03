//! The suite on PostgreSQL: a cluster of its own for this test binary, on a Unix socket, as a user that is not root.

use crate::conformance::World;
use crate::{commit, k, put, runtime, value};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use store::{Check, CommitError, Kv, Store};

const BIN: &str = "/usr/lib/postgresql/15/bin";

struct Cluster {
    folder: PathBuf,
    server: Mutex<Option<Child>>,
}

/// As the user postgres when the tests run as root: the server refuses root.
fn as_user(program: &str) -> Command {
    let is_root = rustix::process::geteuid().is_root();
    let program = format!("{BIN}/{program}");
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
    command
}

impl Cluster {
    /// In a short path: a socket's name has 107 bytes at most.
    fn make() -> Cluster {
        assert!(Path::new(BIN).join("postgres").exists(), "{BIN}/postgres is missing: install Debian's package postgresql-15");
        let folder = tempfile::Builder::new().prefix("store-pg-").tempdir_in("/tmp").unwrap().keep();
        if rustix::process::geteuid().is_root() {
            assert!(Command::new("chown").arg("postgres:postgres").arg(&folder).status().unwrap().success());
        }
        let made = as_user("initdb").args(["-U", "bleu", "-A", "trust", "--no-sync", "-D"]).arg(folder.join("data")).output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let cluster = Cluster { folder, server: Mutex::new(None) };
        cluster.start();
        cluster
    }

    fn start(&self) {
        let log = std::fs::File::create(self.folder.join("log")).unwrap();
        let mut server = as_user("postgres");
        server.arg("-D").arg(self.folder.join("data")).arg("-k").arg(&self.folder);
        server.args(["-c", "listen_addresses=", "-c", "max_connections=300", "-c", "shared_buffers=32MB"]);
        let child = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        *self.server.lock().unwrap() = Some(child);
        let connect = self.connect("postgres");
        runtime().block_on(async {
            for _ in 0..2_000 {
                if tokio_postgres::connect(&connect, tokio_postgres::NoTls).await.is_ok() {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            panic!("the server does not answer: {}", std::fs::read_to_string(self.folder.join("log")).unwrap());
        });
    }

    /// The process that was spawned became the server: setpriv replaces itself.
    fn signal(&self, name: &str) {
        if let Some(mut child) = self.server.lock().unwrap().take() {
            let sent = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
            assert!(sent.unwrap().success());
            child.wait().unwrap();
        }
    }

    fn connect(&self, database: &str) -> String {
        format!("host={} user=bleu dbname={database}", self.folder.display())
    }

    fn new_database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let connect = self.connect("postgres");
        let create = format!("CREATE DATABASE {name}");
        runtime().block_on(async {
            let (client, connection) = tokio_postgres::connect(&connect, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute(&create).await.unwrap();
        });
        self.connect(&name)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.signal("INT");
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Shared by the tests, so that one start serves all; a `static` is not dropped, so the last user stops it.
static SHARED: Mutex<std::sync::Weak<Cluster>> = Mutex::new(std::sync::Weak::new());

fn shared() -> Arc<Cluster> {
    let mut shared = SHARED.lock().unwrap_or_else(|e| e.into_inner());
    if let Some(cluster) = shared.upgrade() {
        return cluster;
    }
    let cluster = Arc::new(Cluster::make());
    *shared = Arc::downgrade(&cluster);
    cluster
}

struct PostgresWorld {
    _cluster: Arc<Cluster>,
    connect: String,
    runtime: OnceLock<tokio::runtime::Runtime>,
}

impl PostgresWorld {
    fn new() -> PostgresWorld {
        let cluster = shared();
        let connect = cluster.new_database();
        PostgresWorld { _cluster: cluster, connect, runtime: OnceLock::new() }
    }
}

impl World for PostgresWorld {
    fn open(&self) -> Arc<Store> {
        let runtime = self.runtime.get_or_init(runtime).handle().clone();
        let connect = self.connect.clone();
        // the caller may be inside a runtime already
        std::thread::spawn(move || runtime.block_on(store::open_postgres(&connect)).unwrap()).join().unwrap()
    }
}

mod suite {
    use super::PostgresWorld;
    crate::conformance::cases!(PostgresWorld::new());
}

#[test]
fn a_row_of_an_outside_writer_is_a_conflict() {
    let world = PostgresWorld::new();
    let kv = world.open();
    runtime().block_on(async {
        commit(&*kv, vec![], vec![put("a", "1")]).await.unwrap();
        let (client, connection) = tokio_postgres::connect(&world.connect, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        // a copy of a good row under a key that is taken while the committer believes it free
        client.execute("INSERT INTO kv SELECT k || 'x'::bytea, v FROM kv WHERE k = $1", &[&[&[1][..], &k("a")].concat()]).await.unwrap();
        let refused = commit(&*kv, vec![Check::Absent(k("ax"))], vec![put("ax", "2")]).await;
        assert!(matches!(refused, Err(CommitError::Unavailable(_))), "a row that fails its checksum decides nothing: {refused:?}");
        assert!(kv.get(&k("ax")).await.is_err());
    });
}

#[test]
fn a_database_that_dies_is_found_again_and_nothing_is_lost() {
    let cluster = Cluster::make();
    let kv = runtime().block_on(store::open_postgres(&cluster.connect("postgres"))).unwrap();
    runtime().block_on(async {
        let mut acknowledged = Vec::new();
        for round in 0..3 {
            let before = commit(&*kv, vec![], vec![put(&format!("{round}/before"), "1")]).await.unwrap();
            acknowledged.push(format!("{round}/before"));
            cluster.signal("QUIT");
            // dead: an answer, and not a good one
            let during = commit(&*kv, vec![], vec![put(&format!("{round}/during"), "1")]).await;
            assert!(matches!(during, Err(CommitError::Unknown | CommitError::Unavailable(_))), "{during:?}");
            tokio::task::block_in_place(|| std::thread::scope(|s| s.spawn(|| cluster.start()).join().unwrap()));
            let after = commit(&*kv, vec![], vec![put(&format!("{round}/after"), "1")]).await.unwrap();
            acknowledged.push(format!("{round}/after"));
            assert!(after.epoch > before.epoch, "the committer took a new term");
            assert!(after.version > before.version);
            for name in &acknowledged {
                assert_eq!(value(&*kv, name).await.as_deref(), Some("1"), "{name} is lost");
            }
        }
    });
}
