//! The suite on PostgreSQL, in a cluster of its own for this test binary.

use crate::cluster::Cluster;
use crate::conformance::World;
use crate::{append, commit, k, put, runtime, soaked, value};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use store::{Check, CommitError, Kv, Op, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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
        let connect = cluster.url(&cluster.new_database());
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
fn a_committer_waits_for_a_rival_that_is_taking_over() {
    let world = PostgresWorld::new();
    let kv = world.open();
    runtime().block_on(async {
        commit(&*kv, vec![], vec![put("a", "1")]).await.unwrap();
        let (mut client, connection) = tokio_postgres::connect(&world.connect, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let epoch_key = [0, b'e', 0, 7];
        let rival = client.transaction().await.unwrap();
        assert_eq!(rival.execute("UPDATE kv SET v = 'another' WHERE k = $1", &[&&epoch_key[..]]).await.unwrap(), 1);
        let waiting = tokio::spawn({
            let kv = kv.clone();
            async move { commit(&*kv, vec![], vec![put("a", "late")]).await }
        });
        // until the server says that the committer waits for the row, or the commit went through
        while !waiting.is_finished() {
            let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            if rival.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 1 {
                break;
            }
        }
        rival.commit().await.unwrap();
        let outcome = waiting.await.unwrap();
        assert!(matches!(outcome, Err(CommitError::Unavailable(_))), "{outcome:?}");
        assert_eq!(value(&*kv, "a").await.as_deref(), Some("1"));
    });
}

/// Stands between store and database, and cuts a connection at the commit that carries [`NEEDLE`].
struct Proxy {
    folder: tempfile::TempDir,
    /// 0: harmless; 1: cut before the request reaches the server; 2: after the server has answered.
    cut: Arc<AtomicU32>,
}

const NEEDLE: &[u8] = b"the commit that is cut";

impl Proxy {
    fn start(cluster: &Cluster) -> Proxy {
        let folder = tempfile::Builder::new().prefix("store-proxy-").tempdir_in("/tmp").unwrap();
        let listener = tokio::net::UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let server = cluster.folder.join(SOCKET);
        let cut = Arc::new(AtomicU32::new(0));
        let proxy = Proxy { folder, cut: cut.clone() };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = tokio::net::UnixStream::connect(&server).await.unwrap();
                tokio::spawn(pass(client, server, cut.clone()));
            }
        });
        proxy
    }
}

const SOCKET: &str = ".s.PGSQL.5432";

async fn pass(mut client: tokio::net::UnixStream, mut server: tokio::net::UnixStream, cut: Arc<AtomicU32>) {
    let (mut ask, mut answer) = (vec![0; 256 << 10], vec![0; 256 << 10]);
    loop {
        tokio::select! {
            n = client.read(&mut ask) => {
                let Ok(n @ 1..) = n else { return };
                let armed = if ask[..n].windows(NEEDLE.len()).any(|w| w == NEEDLE) { cut.swap(0, Ordering::SeqCst) } else { 0 };
                if armed == 1 {
                    return;
                }
                server.write_all(&ask[..n]).await.unwrap();
                if armed == 2 {
                    // its answer says that the commit is durable, and nobody else will hear it
                    assert!(server.read(&mut answer).await.unwrap() > 0);
                    return;
                }
            }
            n = server.read(&mut answer) => {
                let Ok(n @ 1..) = n else { return };
                if client.write_all(&answer[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[test]
fn a_lost_answer_is_found_out() {
    let cluster = shared();
    let direct = cluster.connect(&cluster.new_database());
    runtime().block_on(async {
        let proxy = Proxy::start(&cluster);
        let connect = direct.replace(&cluster.folder.display().to_string(), &proxy.folder.path().display().to_string());
        let kv = store::open_postgres(&connect).await.unwrap();
        let needle = std::str::from_utf8(NEEDLE).unwrap();
        let mut before = commit(&*kv, vec![], vec![append("q", "first")]).await.unwrap();
        for (how, number) in [(1, 2), (2, 3), (1, 4), (2, 5)] {
            proxy.cut.store(how, Ordering::SeqCst);
            let ops = vec![append("q", needle), Op::Add(k("n"), 1)];
            let done = commit(&*kv, vec![], ops).await.unwrap();
            assert_eq!(proxy.cut.load(Ordering::SeqCst), 0, "the connection was cut");
            assert_eq!((done.version.0, &done.appended[..]), (before.version.0 + 1, &[number][..]));
            let after = kv.head(crate::SHARD).await.unwrap();
            assert_eq!((after.epoch, after.version), (before.epoch + 1, done.version));
            let (_, n) = kv.get(&k("n")).await.unwrap().unwrap();
            assert_eq!(store::counter(&n), Some(number as i64 - 1), "done once");
            before = store::Committed { epoch: after.epoch, ..done };
        }
        kv.close().await.unwrap();
    });
}

#[test]
fn a_database_that_dies_is_found_again_and_nothing_is_lost() {
    let cluster = Cluster::make();
    let kv = runtime().block_on(store::open_postgres(&cluster.connect("postgres"))).unwrap();
    runtime().block_on(async {
        let mut acknowledged = Vec::new();
        for round in 0..soaked(3, 30) {
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

/// An authority, and what it signs. Files in PEM.
struct Authority {
    folder: tempfile::TempDir,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        std::fs::write(folder.path().join("root.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { folder, issuer: rcgen::Issuer::new(params, key) }
    }
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
    /// `NAME.pem` and `NAME.key`, for the server names or the user `name`.
    fn issue(&self, name: &str, server_names: &[&str]) {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = server_names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        std::fs::write(self.path(&format!("{name}.pem")), params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

#[test]
fn a_database_over_tls_is_who_it_says_and_so_are_we() {
    use std::os::unix::fs::PermissionsExt;
    let (ours, theirs) = (Authority::new(), Authority::new());
    ours.issue("server", &["127.0.0.1"]);
    ours.issue("bleu", &[]);
    theirs.issue("bleu", &[]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut cluster = Cluster::prepare();
    for (from, to) in [("root.pem", "root.crt"), ("server.pem", "server.crt"), ("server.key", "server.key")] {
        let path = cluster.data().join(to);
        std::fs::copy(ours.path(from), &path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        cluster.give(&path);
    }
    // TCP only with TLS, and only for who shows a certificate of that name
    std::fs::write(cluster.data().join("pg_hba.conf"), "local all all trust\nhostssl all all 127.0.0.1/32 cert\n").unwrap();
    for setting in ["ssl=on", "ssl_ca_file=root.crt", "listen_addresses=127.0.0.1", &format!("port={port}")] {
        cluster.set(setting);
    }
    cluster.start();
    let url = |host: &str, words: &str| format!("postgres://bleu@{host}:{port}/postgres?{words}");
    let root = format!("sslmode=verify-full&sslrootcert={}", ours.path("root.pem"));
    let mine = format!("sslcert={}&sslkey={}", ours.path("bleu.pem"), ours.path("bleu.key"));
    runtime().block_on(async {
        for mode in ["verify-full", "require"] {
            let kv = store::open_postgres(&url("127.0.0.1", &format!("{root}&{mine}").replace("verify-full", mode))).await.unwrap();
            commit(&*kv, vec![], vec![put("a", mode)]).await.unwrap();
            assert_eq!(value(&*kv, "a").await.as_deref(), Some(mode));
            let (client, connection) = tokio_postgres::connect(
                &format!("host={} port={port} user=bleu dbname=postgres", cluster.folder.display()),
                tokio_postgres::NoTls,
            )
            .await
            .unwrap();
            tokio::spawn(connection);
            let clear = "SELECT count(*) FILTER (WHERE s.ssl), count(*) FILTER (WHERE NOT s.ssl) FROM pg_stat_ssl s \
                         JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'bleu'";
            let row = client.query_one(clear, &[]).await.unwrap();
            assert!(row.get::<_, i64>(0) > 0 && row.get::<_, i64>(1) == 0, "{row:?}");
            kv.close().await.unwrap();
        }
        let another = format!("sslmode=verify-full&sslrootcert={}", theirs.path("root.pem"));
        let forged = format!("sslcert={}&sslkey={}", theirs.path("bleu.pem"), theirs.path("bleu.key"));
        for (why, url) in [
            ("an authority that does not speak for it", url("127.0.0.1", &format!("{another}&{mine}"))),
            ("a name that is not the certificate's", url("localhost", &format!("{root}&{mine}"))),
            ("a certificate of ours that it does not know", url("127.0.0.1", &format!("{root}&{forged}"))),
            ("no certificate of ours", url("127.0.0.1", &root)),
            ("no TLS", url("127.0.0.1", "sslmode=disable")),
        ] {
            let Err(error) = store::open_postgres(&url).await else { panic!("connected with {why}") };
            assert_eq!(error.code, "StoreUnavailable", "{why}: {error}");
        }
        // a database without TLS where TLS is asked for
        let plain = shared();
        let proxy_port = bridge(&plain).await;
        let asked = format!("postgres://bleu@127.0.0.1:{proxy_port}/postgres?{root}");
        let Err(error) = store::open_postgres(&asked).await else { panic!("connected in clear") };
        assert_eq!(error.code, "StoreUnavailable");
    });
}

/// TCP in front of a cluster that has only its socket.
async fn bridge(cluster: &Cluster) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, socket) = (listener.local_addr().unwrap().port(), cluster.folder.join(SOCKET));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = tokio::net::UnixStream::connect(&socket).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        }
    });
    port
}
