//! A region whose rows are in PostgreSQL: everything that a region on fjall does, and what happens when region, database or
//! the way between them goes away.

use crate::cluster::Cluster;
use crate::load::{BACK_SECONDS_MAX, Load, WRITERS, all_there, killed_under_load, put, verified};
use crate::process::{Http, Region, account, token};
use crate::soak;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

const PUTS: usize = 160;
/// Puts that succeed before and after each death of the database.
const ROUND: usize = 40;
#[tokio::test(flavor = "multi_thread")]
async fn a_region_lives_in_a_database() {
    let (cluster, folder) = (Cluster::make(), tempfile::tempdir().unwrap());
    let url = cluster.url("postgres");
    let region = Region::start_with(folder.path(), &["--engine", &url]);
    let (base, ca) = (region.url(), folder.path().join("data/ca.pem"));
    let http = Http::new(&ca);
    let key = Arc::new(account(&http, &base, folder.path(), &region.subscription()).await);
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (http, base, key) = (http.clone(), base.clone(), key.clone());
        writers.push(tokio::spawn(async move {
            for number in (writer..PUTS).step_by(WRITERS) {
                let (status, body) = put(&http, &base, &key, number).await.unwrap();
                assert_eq!(status, 201, "{body:?}");
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    region.kill();
    // rows are in the database, and nowhere else
    assert!(!folder.path().join("data/store").exists());
    assert!(cluster.psql("postgres", "SELECT count(*) FROM kv").parse::<usize>().unwrap() > PUTS);

    // the engine is remembered
    let region = Region::start(folder.path());
    let (base, http) = (region.url(), Http::new(&ca));
    all_there(&http, &base, &key, 0..PUTS).await;
    let said = verified(folder.path());
    assert!(said.contains(&format!("Put Blob, account key key1: done {PUTS}")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_outlives_the_deaths_of_its_database() {
    let (cluster, folder) = (Arc::new(Cluster::make()), tempfile::tempdir().unwrap());
    let region = Region::start_with(folder.path(), &["--engine", &cluster.url("postgres")]);
    let (base, http) = (region.url(), Http::new(&folder.path().join("data/ca.pem")));
    let key = Arc::new(account(&http, &base, folder.path(), &region.subscription()).await);
    let next = Arc::new(AtomicUsize::new(0));
    let mut all = Vec::new();
    // told to stop, at once, and with no word at all
    for signal in ["INT", "QUIT", "KILL"].into_iter().cycle().take(if soak().is_some() { 30 } else { 3 }) {
        let load = Load::start(&http, &base, &key, &next);
        load.until(ROUND, "before").await;
        let dying = cluster.clone();
        tokio::task::spawn_blocking(move || dying.signal(signal)).await.unwrap();
        load.until_refused().await;
        let rising = cluster.clone();
        tokio::task::spawn_blocking(move || rising.start()).await.unwrap();
        load.until(load.done() + ROUND, "after").await;
        let (acknowledged, refused) = load.stop().await;
        assert!(refused.iter().all(|((status, code), _)| *status == 503 && !code.is_empty()), "a clear refusal: {refused:?}");
        all.extend(acknowledged);
        all_there(&http, &base, &key, all.iter().copied()).await;
        verified(folder.path());
    }
    // the same once more for what only a start does: the sweep of what was left open
    region.kill();
    let region = Region::start(folder.path());
    let (base, http) = (region.url(), Http::new(&folder.path().join("data/ca.pem")));
    all_there(&http, &base, &key, all.iter().copied()).await;
    verified(folder.path());
}

/// Every region has a tenant of its own, so an ARM call tells that it works.
async fn works(region: &Region, folder: &Path, name: &str) {
    let http = Http::new(&folder.join("data/ca.pem"));
    let (status, said) = group(&http, region, folder, name).await;
    assert_eq!(status, 201, "{said}");
}

async fn group(http: &Http, region: &Region, folder: &Path, name: &str) -> (u16, String) {
    let token = token(http, &region.url(), folder).await;
    let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
    let url = format!("{}/subscriptions/{}/resourceGroups/{name}?api-version=2024-11-01", region.url(), region.subscription());
    let (status, _, body) = http.call("PUT", &url, &headers, r#"{"location":"francecentral"}"#).await;
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_for_one_region() {
    let cluster = Cluster::make();
    let (mine, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = cluster.url(&cluster.new_database());
    let region = Region::start_with(mine.path(), &["--engine", &url]);
    let refused = Region::try_start(other.path(), &["--engine", &url]).err().expect("a second region in the same database");
    assert!(refused.contains("root.key") && refused.contains("--engine"), "{refused}");
    works(&region, mine.path(), "first").await;
    // nothing was made: another engine is still a choice
    assert!(!other.path().join("data/keys").exists());
    let own = cluster.url(&cluster.new_database());
    let second = Region::start_with(other.path(), &["--engine", &own]);
    works(&second, other.path(), "first").await;
    drop(second);
    // and now its settings are bent by hand
    let settings = other.path().join("data/region.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, text.replace(&own, &url)).unwrap();
    let refused = Region::try_start(other.path(), &[]).err().expect("a region in another's database");
    assert!(refused.contains("is another region's") && refused.contains("--engine"), "{refused}");
    // an empty database is none of its own either
    std::fs::write(&settings, text.replace(&own, &cluster.url(&cluster.new_database()))).unwrap();
    let refused = Region::try_start(other.path(), &[]).err().expect("a region in an empty database");
    assert!(refused.contains("no region is in it"), "{refused}");
    works(&region, mine.path(), "second").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_later_start_of_a_region_ends_the_earlier() {
    let cluster = Cluster::make();
    let (first, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut region = Region::start_with(first.path(), &["--engine", &cluster.url("postgres")]);
    works(&region, first.path(), "before").await;
    std::fs::create_dir(copy.path().join("data")).unwrap();
    for name in ["region.toml", "client.json", "keys", "sites", "witness"] {
        let copied =
            std::process::Command::new("cp").arg("-r").arg(first.path().join("data").join(name)).arg(copy.path().join("data")).status();
        assert!(copied.unwrap().success(), "{name}");
    }
    let later = Region::start(copy.path());
    works(&later, copy.path(), "after").await;
    // the earlier one learns it at its next write, which it refuses
    let http = Http::new(&first.path().join("data/ca.pem"));
    let client: serde_json::Value = serde_json::from_slice(&std::fs::read(first.path().join("data/client.json")).unwrap()).unwrap();
    let form = format!("grant_type=client_credentials&client_id={}&client_secret=wrong&scope=x", client["client_id"].as_str().unwrap());
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let _ = http.try_call("POST", &format!("{}/adfs/oauth2/token/", region.url()), &headers, form).await;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = region.process.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < Duration::from_secs(BACK_SECONDS_MAX), "the earlier one goes on: {}", region.said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(!status.success());
    assert!(region.said().contains("Another process has taken over"), "{}", region.said());
    works(&later, copy.path(), "at-last").await;
}

#[test]
fn a_database_that_is_not_there_leaves_the_choice_open() {
    let folder = tempfile::tempdir().unwrap();
    for (url, word) in [
        ("postgres://bleu@%2Fno%2Fsuch%2Ffolder/bleu", "database is not available"),
        ("postgres://bleu@database.example/bleu", "sslmode=verify-full"),
        ("postgres://bleu:secret@localhost/bleu", "password"),
    ] {
        let refused = Region::try_start(folder.path(), &["--engine", url]).err().expect("there is no database");
        assert!(refused.contains(word), "{url}: {refused}");
    }
    Region::start_with(folder.path(), &["--engine", "redb"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_of_the_region_under_load_loses_nothing() {
    let cluster = Cluster::make();
    killed_under_load(&["--engine", &cluster.url("postgres")], if soak().is_some() { 20 } else { 1 }).await;
}
