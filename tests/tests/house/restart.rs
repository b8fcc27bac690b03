//! Long operations outlive the process that accepted them: the power goes at one step of the disk after another while an
//! account is made and a group with an account in it is deleted. Whatever was accepted is done after the next start.

use crate::client::Client;
use crate::soak;
use crate::world::{Customer, World, setup};
use base::SiteName;
use serde_json::Value;
use std::future::Future;
use std::sync::Arc;
use store::{Blobs, Fault, Segments, SimDisk};
use testkit::Answer;

/// Power cuts in a run, spread over the steps that both operations take.
const CUTS: u64 = 16;
const SOAK_SEEDS: u64 = 20;

/// One life of the process: its tasks end with it, wherever they are.
fn life<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn on(disk: &SimDisk, seed: u64) -> (testkit::Setup, Arc<arm::Arm>) {
    let kv = store::open_redb_on(Arc::new(disk.clone())).unwrap();
    let blobs: Arc<dyn Blobs> = Arc::new(Segments::open(SiteName::new("paris-1").unwrap(), Arc::new(disk.clone())).unwrap());
    let (setup, arm) = setup(seed);
    (setup.on(kv, blobs), arm)
}

/// The names of one round: a group to delete with its account, a group to keep and the account to make there.
struct Names {
    doomed: String,
    old: String,
    kept: String,
    new: String,
}

impl Names {
    fn new(round: u64) -> Names {
        let name = |what: &str| format!("{what}{round}");
        Names { doomed: name("doomed"), old: name("oldaccount"), kept: name("kept"), new: name("newaccount") }
    }
}

/// What a client knows of an operation that it asked for: where to poll it, when it was accepted.
fn accepted(answer: &Answer) -> Option<String> {
    if answer.status == 202 {
        return Some(answer.header("location").to_owned());
    }
    let code = answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned();
    assert!(answer.status >= 500 && !code.is_empty(), "a clear error: {} {}", answer.status, answer.text());
    None
}

/// Asks for both operations and watches them until they end or the disk has gone.
async fn ask(client: &Client<'_>, names: &Names, gone: impl Fn() -> bool) -> [Option<String>; 2] {
    let account = client.account(&names.kept, &names.new);
    let made = accepted(&client.arm("", "PUT", &account, Client::account_wish()).await);
    let deleted = accepted(&client.arm("", "DELETE", &client.group(&names.doomed), Value::Null).await);
    for _ in 0..5_000 {
        let mut pending = false;
        for url in [&made, &deleted].into_iter().flatten() {
            pending |= client.arm("", "GET", url, Value::Null).await.status == 202;
        }
        if !pending || gone() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    [made, deleted]
}

async fn prepare(client: &Client<'_>, names: &Names) {
    client.put_group(&names.doomed).await;
    client.put_account(&names.doomed, &names.old).await;
    client.put_group(&names.kept).await;
}

/// All that was asked for is done: at once when it was accepted, when asked again else.
async fn settle(client: &Client<'_>, names: &Names, asked: [Option<String>; 2], cut: u64) {
    let [made, deleted] = asked;
    for (url, method, path) in [(made, "PUT", client.account(&names.kept, &names.new)), (deleted, "DELETE", client.group(&names.doomed))] {
        let mut answer = match &url {
            Some(url) => client.arm("", "GET", url, Value::Null).await,
            None => client.arm("", method, &path, if method == "PUT" { Client::account_wish() } else { Value::Null }).await,
        };
        if answer.status == 202 {
            answer = match url {
                Some(url) => follow(client, &url).await,
                None => client.poll(&answer).await,
            };
        }
        assert!(matches!(answer.status, 200 | 204), "cut {cut}: {method} ends with {} {}", answer.status, answer.text());
    }
    // the account is whole, the group is gone with what was in it, and its names are free
    let account = client.arm("", "GET", &client.account(&names.kept, &names.new), Value::Null).await;
    assert_eq!(account.json()["properties"]["provisioningState"], "Succeeded", "cut {cut}");
    let key = client.key(&names.kept, &names.new).await;
    assert_eq!(client.blob_by_key("", "PUT", &names.new, &key, "/photos?restype=container", "").await.status, 201, "cut {cut}");
    assert_eq!(client.arm("", "GET", &client.group(&names.doomed), Value::Null).await.status, 404, "cut {cut}");
    client.put_account(&names.kept, &names.old).await;
}

async fn follow(client: &Client<'_>, url: &str) -> Answer {
    for _ in 0..5_000 {
        let answer = client.arm("", "GET", url, Value::Null).await;
        if answer.status != 202 {
            return answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    panic!("the operation does not end: {url}");
}

#[test]
fn what_was_accepted_is_done_after_a_power_cut_at_any_step() {
    let seed = std::env::var("BLEU_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(50);
    run(seed);
    for fresh in soak().into_iter().flat_map(|first| first..first + SOAK_SEEDS) {
        run(fresh);
    }
}

fn run(seed: u64) {
    let disk = SimDisk::new(seed);
    // an unhurried round tells how many steps there are
    let (contoso, fabrikam, subscription, steps) = life(async {
        let world = World::first(on(&disk, seed)).await;
        let client = world.owner(&world.contoso).await;
        let names = Names::new(0);
        prepare(&client, &names).await;
        let before = disk.steps();
        let asked = ask(&client, &names, || false).await;
        let steps = disk.steps() - before;
        settle(&client, &names, asked, 0).await;
        (world.contoso.clone(), world.fabrikam.clone(), client.subscription, steps)
    });
    assert!(steps > 8, "{steps} steps");
    disk.crash();
    let (mut halfway, mut refused) = (0, 0);
    let customers = || -> (Customer, Customer) { (contoso.clone(), fabrikam.clone()) };
    for round in 1..=CUTS {
        let (names, cut) = (Names::new(round), 1 + (round - 1) * steps / CUTS);
        let asked = life(async {
            let (contoso, fabrikam) = customers();
            let world = World::again(on(&disk, seed * 1_000 + round), contoso, fabrikam).await;
            let client = world.client(&world.contoso, subscription).await;
            prepare(&client, &names).await;
            let last = disk.steps() + cut;
            disk.fail_step(last, Fault::Power);
            let asked = ask(&client, &names, || disk.steps() >= last).await;
            assert!(disk.steps() >= last, "cut {cut}: the power did not go");
            asked
        });
        refused += asked.iter().filter(|a| a.is_none()).count();
        halfway += u64::from(asked.iter().all(Option::is_some));
        disk.crash();
        life(async {
            let (contoso, fabrikam) = customers();
            let world = World::again(on(&disk, seed * 1_000 + 500 + round), contoso, fabrikam).await;
            let client = world.client(&world.contoso, subscription).await;
            settle(&client, &names, asked, cut).await;
            if round == CUTS {
                world.kit.audit(Some(world.contoso.tenant)).await;
            }
        });
        disk.crash();
    }
    // some cuts came before both were accepted, and some after
    assert!(halfway > 0 && refused > 0, "{halfway} of {CUTS} rounds were cut after both were accepted, {refused} requests refused");
}
