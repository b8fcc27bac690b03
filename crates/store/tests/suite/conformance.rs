//! What every engine must do. A [`World`] opens the same store again and again.

use crate::{SHARD, append, commit, k, put, runtime, value};
use base::Shard;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use store::{
    COMMIT_OPS_MAX, Check, Commit, CommitError, KEY_BYTES_MAX, KeyRange, Kv, Op, PAGE_ROWS_MAX, SimDisk, Store, VALUE_BYTES_MAX, Version,
    counter, queue_key,
};

/// Opens the store of one test, empty the first time.
pub trait World {
    fn open(&self) -> Arc<Store>;
    /// False for an engine that forgets.
    fn keeps(&self) -> bool {
        true
    }
}

struct MemoryWorld;
impl World for MemoryWorld {
    fn open(&self) -> Arc<Store> {
        store::open_memory().unwrap()
    }
    fn keeps(&self) -> bool {
        false
    }
}

struct FjallWorld(tempfile::TempDir);
impl World for FjallWorld {
    fn open(&self) -> Arc<Store> {
        store::open_fjall(self.0.path()).unwrap()
    }
}

struct RedbWorld(tempfile::TempDir);
impl World for RedbWorld {
    fn open(&self) -> Arc<Store> {
        store::open_redb(self.0.path()).unwrap()
    }
}

struct SimWorld(SimDisk);
impl World for SimWorld {
    fn open(&self) -> Arc<Store> {
        store::open_redb_on(Arc::new(self.0.clone())).unwrap()
    }
}

macro_rules! suite {
    ($name:ident, $world:expr) => {
        mod $name {
            use super::*;
            $crate::conformance::cases!($world);
        }
    };
}

macro_rules! cases {
    ($world:expr) => {
        #[test]
        fn checks_decide() {
            $crate::conformance::checks_decide(&$world);
        }
        #[test]
        fn ops_apply_in_order() {
            $crate::conformance::ops_apply_in_order(&$world);
        }
        #[test]
        fn pages_follow_each_other() {
            $crate::conformance::pages_follow_each_other(&$world);
        }
        #[test]
        fn limits_are_kept() {
            $crate::conformance::limits_are_kept(&$world);
        }
        #[test]
        fn a_commit_sent_twice_happens_once() {
            $crate::conformance::a_commit_sent_twice_happens_once(&$world);
        }
        #[test]
        fn queues_have_no_gaps() {
            $crate::conformance::queues_have_no_gaps(&$world);
        }
        #[test]
        fn a_later_committer_fences_the_earlier() {
            $crate::conformance::a_later_committer_fences_the_earlier(&$world);
        }
        #[test]
        fn thirty_two_writers_share_commits() {
            $crate::conformance::thirty_two_writers_share_commits(&$world);
        }
        #[test]
        fn a_reopened_store_has_everything() {
            $crate::conformance::a_reopened_store_has_everything(&$world);
        }
        #[test]
        fn shards_stand_alone() {
            $crate::conformance::shards_stand_alone(&$world);
        }
        #[test]
        fn a_closed_store_says_so() {
            $crate::conformance::a_closed_store_says_so(&$world);
        }
        #[test]
        fn behaves_like_the_model() {
            $crate::conformance::behaves_like_the_model(&$world);
        }
    };
}
pub(crate) use cases;

suite!(memory, MemoryWorld);
suite!(fjall, FjallWorld(tempfile::tempdir().unwrap()));
suite!(redb, RedbWorld(tempfile::tempdir().unwrap()));
suite!(redb_on_simdisk, SimWorld(SimDisk::new(1)));

pub fn checks_decide(world: &dyn World) {
    let kv = world.open();
    runtime().block_on(async {
        let kv: &dyn Kv = &*kv;
        let first = commit(kv, vec![Check::Absent(k("a"))], vec![put("a", "1")]).await.unwrap();
        assert_eq!(first.version, Version(1));
        let conflict = Err(CommitError::Conflict { key: k("a") });
        assert_eq!(commit(kv, vec![Check::Absent(k("a"))], vec![put("a", "2")]).await, conflict);
        assert_eq!(commit(kv, vec![Check::Is(k("a"), Version(9))], vec![put("a", "2")]).await, conflict);
        assert_eq!(commit(kv, vec![Check::Exists(k("b"))], vec![put("a", "2")]).await, Err(CommitError::Conflict { key: k("b") }));
        // a row that is refused beside one that would hold changes nothing
        assert_eq!(commit(kv, vec![Check::Absent(k("b")), Check::Absent(k("a"))], vec![put("b", "2")]).await, conflict);
        assert_eq!(value(kv, "b").await, None);
        assert_eq!(value(kv, "a").await.as_deref(), Some("1"));
        let second = commit(kv, vec![Check::Is(k("a"), first.version), Check::Exists(k("a"))], vec![put("a", "2")]).await.unwrap();
        assert_eq!(second.version, Version(2), "refused commits take no version");
        assert_eq!(kv.get(&k("a")).await.unwrap().unwrap().0, second.version);
        assert_eq!(kv.head(SHARD).await.unwrap().version, second.version);
        commit(kv, vec![], vec![Op::Delete(k("a")), Op::Delete(k("never"))]).await.unwrap();
        assert_eq!(value(kv, "a").await, None);
        commit(kv, vec![Check::Absent(k("a"))], vec![put("a", "3")]).await.unwrap();
        assert_eq!(value(kv, "a").await.as_deref(), Some("3"));
    });
}

pub fn ops_apply_in_order(world: &dyn World) {
    let kv = world.open();
    runtime().block_on(async {
        let kv: &dyn Kv = &*kv;
        let add = |name: &str, n| Op::Add(k(name), n);
        commit(kv, vec![], vec![put("a", "1"), Op::Delete(k("a")), put("a", "2"), add("n", 5), add("n", -7)]).await.unwrap();
        assert_eq!(value(kv, "a").await.as_deref(), Some("2"));
        commit(kv, vec![], vec![add("n", 1)]).await.unwrap();
        let (_, n) = kv.get(&k("n")).await.unwrap().unwrap();
        assert_eq!(counter(&n), Some(-1));
        assert!(matches!(commit(kv, vec![], vec![put("b", "x"), add("n", i64::MIN)]).await, Err(CommitError::Limit(_))));
        assert!(matches!(commit(kv, vec![], vec![put("b", "x"), add("a", 1)]).await, Err(CommitError::Limit(_))));
        assert_eq!(value(kv, "b").await, None, "a refused op undoes the ops before it");
        commit(kv, vec![], vec![]).await.unwrap();
        commit(kv, vec![], vec![Op::Put(k("empty"), Bytes::new()), Op::Put(k("z\0\u{ff}"), Bytes::from_static(&[0, 255, 0]))])
            .await
            .unwrap();
        assert_eq!(kv.get(&k("empty")).await.unwrap().unwrap().1, Bytes::new());
        assert_eq!(&kv.get(&k("z\0\u{ff}")).await.unwrap().unwrap().1[..], &[0, 255, 0]);
    });
}

pub fn pages_follow_each_other(world: &dyn World) {
    let kv = world.open();
    runtime().block_on(async {
        let kv: &dyn Kv = &*kv;
        for start in [0, 800] {
            let ops = (start..start + 800).map(|n| put(&format!("r/{n:05}"), "v")).collect();
            commit(kv, vec![], ops).await.unwrap();
        }
        commit(kv, vec![], vec![put("q", "before"), put("s", "after")]).await.unwrap();
        for reverse in [false, true] {
            for limit in [1, 7, 333, 1_000_000] {
                let most = if limit == 1 { 5 } else { 1_600 };
                let mut range = KeyRange::prefix(&k("r/"));
                let mut seen = Vec::new();
                loop {
                    let page = kv.scan(range.clone(), limit, reverse).await.unwrap();
                    assert!(page.rows.len() <= limit.min(PAGE_ROWS_MAX));
                    seen.extend(page.rows.into_iter().map(|row| row.key));
                    match page.next {
                        Some(next) if seen.len() < most => range = range.resume(next, reverse),
                        _ => break,
                    }
                }
                let mut want: Vec<_> = (0..1_600).map(|n| k(&format!("r/{n:05}"))).collect();
                if reverse {
                    want.reverse();
                }
                want.truncate(most);
                assert_eq!(seen, want, "reverse {reverse}, limit {limit}");
            }
        }
        assert_eq!(kv.scan(KeyRange::prefix(&k("r/")), 1_000, false).await.unwrap().rows.len(), 1_000);
        assert!(kv.scan(KeyRange::prefix(&k("r/")), 0, false).await.unwrap().rows.is_empty());
        assert!(kv.scan(KeyRange { start: k("z"), end: Some(k("a")) }, 10, false).await.unwrap().rows.is_empty());
        let all = kv.scan(KeyRange { start: vec![], end: None }, 1, true).await.unwrap();
        assert_eq!(all.rows[0].key, k("s"), "rows of the store itself are not shown");
    });
}

pub fn limits_are_kept(world: &dyn World) {
    let kv = world.open();
    runtime().block_on(async {
        let kv: &dyn Kv = &*kv;
        let longest = "x".repeat(KEY_BYTES_MAX - 2);
        let limit = |outcome: Result<_, CommitError>| assert!(matches!(outcome, Err(CommitError::Limit(_))), "{outcome:?}");
        limit(commit(kv, vec![], vec![put(&format!("{longest}x"), "")]).await);
        limit(commit(kv, vec![], vec![append(&longest, "")]).await);
        limit(commit(kv, vec![Check::Absent(k(&format!("{longest}x")))], vec![]).await);
        let value_of = |bytes| Bytes::from(vec![1; bytes]);
        limit(commit(kv, vec![], vec![Op::Put(k("a"), value_of(VALUE_BYTES_MAX + 1))]).await);
        limit(commit(kv, vec![], (0..17).map(|n| Op::Put(k(&n.to_string()), value_of(VALUE_BYTES_MAX))).collect()).await);
        limit(commit(kv, vec![], (0..=COMMIT_OPS_MAX).map(|n| put(&n.to_string(), "")).collect()).await);
        limit(commit(kv, (0..=COMMIT_OPS_MAX).map(|n| Check::Absent(k(&n.to_string()))).collect(), vec![]).await);
        limit(commit(kv, vec![], vec![Op::Put(store::key(Shard(8), &[b"a"]), Bytes::new())]).await);
        assert_eq!(kv.scan(KeyRange { start: vec![], end: None }, 10, false).await.unwrap().rows, []);

        commit(kv, vec![], vec![put(&longest, "fits"), Op::Put(k("a"), value_of(VALUE_BYTES_MAX))]).await.unwrap();
        assert_eq!(value(kv, &longest).await.as_deref(), Some("fits"));
        assert_eq!(kv.get(&k("a")).await.unwrap().unwrap().1, value_of(VALUE_BYTES_MAX));
        let queue = "q".repeat(KEY_BYTES_MAX - 10);
        commit(kv, vec![], vec![append(&queue, "fits")]).await.unwrap();
        assert!(kv.get(&queue_key(&k(&queue), 1)).await.unwrap().is_some());
        commit(kv, vec![], (0..COMMIT_OPS_MAX).map(|n| put(&n.to_string(), "")).collect()).await.unwrap();
    });
}

pub fn a_commit_sent_twice_happens_once(world: &dyn World) {
    let kv = world.open();
    runtime().block_on(async {
        let again = Commit {
            shard: SHARD,
            idem: 42,
            checks: vec![Check::Absent(k("a"))],
            ops: vec![put("a", "1"), Op::Add(k("n"), 1), append("q", "x")],
        };
        let (one, two) = tokio::join!(kv.commit(again.clone()), kv.commit(again.clone()));
        assert_eq!(one, two);
        assert_eq!(kv.commit(again.clone()).await, one);
        assert_eq!(kv.resolve(SHARD, 42).await.unwrap(), one.clone().ok());
        assert_eq!(kv.resolve(SHARD, 43).await.unwrap(), None);
        // a refused one may be sent again with the same number, when its checks hold
        let refused = Commit { shard: SHARD, idem: 44, checks: vec![Check::Exists(k("b"))], ops: vec![put("c", "1")] };
        assert!(kv.commit(refused.clone()).await.is_err());
        commit(&*kv, vec![], vec![put("b", "1")]).await.unwrap();
        kv.commit(refused).await.unwrap();
        let kv = if world.keeps() {
            kv.close().await.unwrap();
            drop(kv);
            world.open()
        } else {
            kv.rival()
        };
        assert_eq!(kv.resolve(SHARD, 42).await.unwrap(), one.clone().ok(), "the next committer knows it too");
        assert_eq!(kv.commit(again).await, one);
        let (_, n) = kv.get(&k("n")).await.unwrap().unwrap();
        assert_eq!(counter(&n), Some(1));
    });
}

pub fn queues_have_no_gaps(world: &dyn World) {
    let kv = world.open();
    runtime().block_on(async {
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..16 {
            let kv = kv.clone();
            writers.spawn(async move {
                let mut numbers = Vec::new();
                for round in 0..20 {
                    // eight of the sixteen writers lose each name
                    let name = k(&format!("name/{}/{round}", writer / 2));
                    let ops =
                        vec![Op::Put(name.clone(), Bytes::new()), append("queue", &format!("{writer}-{round}")), append("queue", "second")];
                    match commit(&*kv, vec![Check::Absent(name)], ops).await {
                        Ok(done) => numbers.extend(done.appended),
                        Err(CommitError::Conflict { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                numbers
            });
        }
        let mut numbers: Vec<u64> = writers.join_all().await.into_iter().flatten().collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=320).collect::<Vec<_>>());
        let rows = kv.scan(KeyRange::prefix(&k("queue")), 1_000, false).await.unwrap().rows;
        let keys: Vec<_> = rows.into_iter().map(|row| row.key).collect();
        assert_eq!(keys, (1..=320).map(|n| queue_key(&k("queue"), n)).collect::<Vec<_>>());
    });
}

pub fn a_later_committer_fences_the_earlier(world: &dyn World) {
    let old = world.open();
    runtime().block_on(async {
        let before = commit(&*old, vec![], vec![put("a", "old"), append("q", "1")]).await.unwrap();
        let new = old.rival();
        let taken = new.head(SHARD).await.unwrap();
        assert_eq!((taken.epoch, taken.version), (before.epoch + 1, before.version));
        assert!(matches!(commit(&*old, vec![], vec![put("a", "late")]).await, Err(CommitError::Unavailable(_))));
        assert!(matches!(commit(&*old, vec![], vec![put("b", "late")]).await, Err(CommitError::Unavailable(_))), "for good");
        assert_eq!(old.stopped().await, store::Stopped::TakenOver);
        let after = commit(&*new, vec![], vec![put("a", "new"), append("q", "2")]).await.unwrap();
        assert_eq!((after.epoch, after.version, after.appended), (before.epoch + 1, Version(before.version.0 + 1), vec![2]));
        assert_eq!(value(&*new, "a").await.as_deref(), Some("new"));
        assert_eq!(value(&*new, "b").await, None);

        // many rivals at once: whoever was acknowledged is there, each number once
        let mut rivals = tokio::task::JoinSet::new();
        for rival in 0..6 {
            let kv = new.rival();
            rivals.spawn(async move {
                let mut done = Vec::new();
                for n in 0..30 {
                    match commit(&*kv, vec![], vec![append("race", &format!("{rival}-{n}"))]).await {
                        Ok(committed) => done.push((committed.version, committed.appended[0], format!("{rival}-{n}"))),
                        Err(CommitError::Unavailable(_)) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                done
            });
        }
        let mut done: Vec<_> = rivals.join_all().await.into_iter().flatten().collect();
        done.sort();
        assert!(!done.is_empty());
        assert!(done.windows(2).all(|two| two[0].0 < two[1].0), "each version once: {done:?}");
        let rows = new.scan(KeyRange::prefix(&k("race")), 1_000, false).await.unwrap().rows;
        let have: Vec<_> = rows.iter().map(|row| String::from_utf8(row.value.to_vec()).unwrap()).collect();
        let want: Vec<_> = done.iter().map(|(_, _, text)| text.clone()).collect();
        assert_eq!(have, want);
        assert_eq!(done.iter().map(|(_, number, _)| *number).collect::<Vec<_>>(), (1..=done.len() as u64).collect::<Vec<_>>());
    });
}

pub fn thirty_two_writers_share_commits(world: &dyn World) {
    let kv = world.open();
    runtime().block_on(async {
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..32 {
            let kv = kv.clone();
            writers.spawn(async move {
                for n in 0..10 {
                    // all of them fight for one counter row, by reading and checking it
                    loop {
                        let have = kv.get(&k("shared")).await.unwrap();
                        let (check, next) = match &have {
                            None => (Check::Absent(k("shared")), 1),
                            Some((version, value)) => {
                                (Check::Is(k("shared"), *version), u64::from_be_bytes(value[..].try_into().unwrap()) + 1)
                            }
                        };
                        let ops = vec![
                            Op::Put(k("shared"), Bytes::copy_from_slice(&next.to_be_bytes())),
                            Op::Add(k("sum"), 1),
                            put(&format!("w/{writer}/{n}"), "v"),
                        ];
                        match commit(&*kv, vec![check], ops).await {
                            Ok(_) => break,
                            Err(CommitError::Conflict { .. }) => {}
                            Err(other) => panic!("{other}"),
                        }
                    }
                }
            });
        }
        writers.join_all().await;
        assert_eq!(&kv.get(&k("shared")).await.unwrap().unwrap().1[..], 320u64.to_be_bytes());
        assert_eq!(counter(&kv.get(&k("sum")).await.unwrap().unwrap().1), Some(320));
        assert_eq!(kv.scan(KeyRange::prefix(&k("w/")), 1_000, false).await.unwrap().rows.len(), 320);
        assert_eq!(kv.head(SHARD).await.unwrap().version, Version(320));
    });
}

pub fn a_reopened_store_has_everything(world: &dyn World) {
    if !world.keeps() {
        return;
    }
    runtime().block_on(async {
        let mut version = Version(0);
        let mut epoch = 0;
        for round in 0..4 {
            let kv = world.open();
            let head = kv.head(SHARD).await.unwrap();
            assert_eq!(head.version, version);
            assert!(head.epoch > epoch);
            epoch = head.epoch;
            for n in 0..round {
                assert_eq!(value(&*kv, &format!("r{n}")).await, Some(n.to_string()));
            }
            let done = commit(&*kv, vec![], vec![put(&format!("r{round}"), &round.to_string()), append("q", "x")]).await.unwrap();
            assert_eq!(done.appended, [round + 1]);
            version = done.version;
            // with and without a farewell
            if round % 2 == 0 {
                kv.close().await.unwrap();
            }
            drop(kv);
        }
    });
}

pub fn shards_stand_alone(world: &dyn World) {
    let kv = world.open();
    runtime().block_on(async {
        for shard in [Shard(0), Shard(7), Shard(65_535)] {
            let ops = vec![Op::Put(store::key(shard, &[b"a"]), Bytes::from_static(b"v"))];
            let done = kv.commit(Commit { shard, idem: 1, checks: vec![], ops }).await.unwrap();
            assert_eq!(done.version, Version(1), "each shard counts for itself");
        }
        let found = kv.scan(KeyRange::prefix(&Shard(65_535).0.to_be_bytes()), 10, false).await.unwrap();
        assert_eq!(found.rows.len(), 1);
    });
}

pub fn a_closed_store_says_so(world: &dyn World) {
    let kv = world.open();
    runtime().block_on(async {
        commit(&*kv, vec![], vec![put("a", "1")]).await.unwrap();
        kv.close().await.unwrap();
        assert!(matches!(commit(&*kv, vec![], vec![put("a", "2")]).await, Err(CommitError::Unavailable(_))));
        assert!(kv.head(SHARD).await.is_err());
        kv.close().await.unwrap();
    });
}

#[test]
fn a_store_in_use_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let first = (store::open_fjall(folder.path().join("a")).unwrap(), store::open_redb(folder.path().join("b")).unwrap());
    for second in [store::open_fjall(folder.path().join("a")), store::open_redb(folder.path().join("b"))] {
        assert_eq!(second.err().unwrap().code, "StoreInUse");
    }
    drop(first);
    store::open_fjall(folder.path().join("a")).unwrap();
    store::open_redb(folder.path().join("b")).unwrap();
}

#[test]
fn old_commits_are_forgotten_and_new_ones_are_not() {
    let kv = store::open_memory().unwrap();
    runtime().block_on(async {
        let last = store::IDEM_WINDOW + 2_000;
        let mut by_version = BTreeMap::new();
        for first in (1..=last).step_by(300) {
            let group = (first..last + 1).take(300).map(|n| {
                let commit = Commit { shard: SHARD, idem: n.into(), checks: vec![], ops: vec![] };
                let kv = &kv;
                async move { (n, kv.commit(commit).await.unwrap().version) }
            });
            by_version.extend(futures::future::join_all(group).await.into_iter().map(|(n, version)| (version.0, n)));
        }
        assert!(by_version.keys().copied().eq(1..=last), "each version once");
        for kv in [kv.clone(), kv.rival()] {
            assert_eq!(kv.resolve(SHARD, by_version[&1].into()).await.unwrap(), None);
            for version in [last - store::IDEM_WINDOW + 1, last - 1, last] {
                let found = kv.resolve(SHARD, by_version[&version].into()).await.unwrap();
                assert_eq!(found.unwrap().version, Version(version));
            }
        }
    });
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(u8, u8, u64)>, Vec<(u8, u8)>),
    Scan(u8, u8, usize, bool),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let checks = proptest::collection::vec((0u8..3, 0u8..12, 0u64..8), 0..2);
    let ops = proptest::collection::vec((0u8..4, 0u8..12), 0..5);
    prop_oneof![
        8 => (checks, ops).prop_map(|(checks, ops)| Step::Commit(checks, ops)),
        3 => (0u8..12, 0u8..12, 1usize..6, any::<bool>()).prop_map(|(a, b, limit, reverse)| Step::Scan(a, b, limit, reverse)),
        1 => Just(Step::Reopen),
    ]
}

/// Names of several lengths, some a prefix of others.
fn name(n: u8) -> Vec<u8> {
    let tail = [&b"a"[..], b"", b"a\0", b"b", b"\xff", b"\xff\xff"][n as usize % 6];
    [tail, &b"a"[..n as usize / 6]].concat()
}

pub fn behaves_like_the_model(world: &dyn World) {
    let runtime = runtime();
    let cases = std::sync::atomic::AtomicU16::new(100);
    let config = ProptestConfig { cases: crate::soaked(24, 200), failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(steps in proptest::collection::vec(step(), 1..30))| {
        // each case in an empty shard of the one store
        let shard = Shard(cases.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        runtime.block_on(follow(world, shard, &steps));
    });
}

async fn follow(world: &dyn World, shard: Shard, steps: &[Step]) {
    let name = |n: u8| store::key(shard, &[&name(n)]);
    let mut kv = world.open();
    let mut model: BTreeMap<Vec<u8>, (u64, Vec<u8>)> = BTreeMap::new();
    let mut version = 0;
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Commit(checks, ops) => {
                let checks: Vec<Check> = checks
                    .iter()
                    .map(|(kind, n, v)| match kind {
                        0 => Check::Absent(name(*n)),
                        1 => Check::Exists(name(*n)),
                        _ => Check::Is(name(*n), Version(*v)),
                    })
                    .collect();
                let fails = checks.iter().find(|check| {
                    let have = check.key().and_then(|key| model.get(key)).map(|row| row.0);
                    match check {
                        Check::Absent(_) => have.is_some(),
                        Check::Exists(_) => have.is_none(),
                        Check::Is(_, v) => have != Some(v.0),
                        Check::Room => false,
                    }
                });
                let fails = fails.and_then(|check| check.key().cloned());
                let mut next = model.clone();
                let mut appends = 0;
                let ops: Vec<Op> = ops
                    .iter()
                    .map(|(kind, n)| {
                        let value = format!("{at}-{n}").into_bytes();
                        match kind {
                            0 | 1 => {
                                next.insert(name(*n), (version + 1, value.clone()));
                                Op::Put(name(*n), value.into())
                            }
                            2 => {
                                next.remove(&name(*n));
                                Op::Delete(name(*n))
                            }
                            _ => {
                                let queue = store::key(shard, &[b"zqueue"]);
                                appends += 1;
                                let number = next.keys().filter(|key| key.starts_with(&queue)).count() as u64 + 1;
                                next.insert(queue_key(&queue, number), (version + 1, value.clone()));
                                Op::Append { queue, value: value.into() }
                            }
                        }
                    })
                    .collect();
                let outcome = kv.commit(Commit { shard, idem: 0, checks, ops }).await;
                match fails {
                    Some(key) => assert_eq!(outcome, Err(CommitError::Conflict { key })),
                    None => {
                        version += 1;
                        let done = outcome.unwrap();
                        assert_eq!((done.version.0, done.appended.len()), (version, appends));
                        model = next;
                    }
                }
            }
            Step::Scan(a, b, limit, reverse) => {
                let (start, end) = (name(*a), name(*b));
                let page = kv.scan(KeyRange { start: start.clone(), end: Some(end.clone()) }, *limit, *reverse).await.unwrap();
                let mut want: Vec<_> =
                    if start < end { model.range((Bound::Included(start), Bound::Excluded(end))).collect() } else { vec![] };
                if *reverse {
                    want.reverse();
                }
                assert_eq!(page.next, want.get(*limit).map(|row| row.0.clone()));
                want.truncate(*limit);
                let have: Vec<_> = page.rows.iter().map(|row| (row.key.clone(), (row.version.0, row.value.to_vec()))).collect();
                let want: Vec<_> = want.into_iter().map(|(key, row)| (key.clone(), row.clone())).collect();
                assert_eq!(have, want);
            }
            Step::Reopen if world.keeps() => {
                drop(kv);
                kv = world.open();
            }
            Step::Reopen => kv = kv.rival(),
        }
    }
    for (key, row) in &model {
        let (version, value) = kv.get(key).await.unwrap().unwrap();
        assert_eq!((version.0, value.to_vec()), *row);
    }
    let rows = kv.scan(KeyRange::prefix(&shard.0.to_be_bytes()), 1_000, false).await.unwrap().rows;
    assert_eq!(rows.len(), model.len());
}
