//! A disk that is nearly full is emptied by its customers: what only adds is refused in each dialect, what deletes goes to
//! its end, operations of the worker included, and the record goes on.

use crate::world::{World, setup};
use base::SiteName;
use serde_json::{Value, json};
use std::sync::Arc;
use store::disk::Disk;
use store::{Blobs, CONTENT_RESERVE_BYTES, ROWS_RESERVE_BYTES, Segments, SimDisk};

#[tokio::test]
async fn a_nearly_full_region_deletes_and_records() {
    let disk = SimDisk::new(81);
    let kv = store::open_redb_on(Arc::new(disk.clone())).unwrap();
    let blobs: Arc<dyn Blobs> = Arc::new(Segments::open(SiteName::new("paris-1").unwrap(), Arc::new(disk.clone())).unwrap());
    let (setup, arm) = setup(81);
    let world = World::first((setup.on(kv, blobs), arm)).await;
    let client = world.owner(&world.contoso).await;
    client.put_group("doomed").await;
    client.put_account("doomed", "acct").await;
    let key = client.key("doomed", "acct").await;
    let blob = async |method: &str, path: &str, length: usize| {
        let answer = client.blob_by_key("", method, "acct", &key, path, "x".repeat(length)).await;
        (answer.status, answer.header("x-ms-error-code").to_owned())
    };
    assert_eq!(blob("PUT", "/photos?restype=container", 0).await.0, 201);
    assert_eq!(blob("PUT", "/photos/large", 100_000).await.0, 201);
    let leave = |bytes: u64| disk.set_capacity_bytes(u64::MAX - disk.free_bytes().unwrap() + bytes);

    leave(CONTENT_RESERVE_BYTES - (1 << 20));
    assert_eq!(blob("PUT", "/photos/other", 100_000).await, (503, "DiskFull".into()));
    assert_eq!(blob("PUT", "/photos/small", 10).await.0, 201);

    disk.set_capacity_bytes(u64::MAX);
    leave(ROWS_RESERVE_BYTES - (1 << 20));
    assert_eq!(blob("PUT", "/photos/tiny", 10).await, (503, "DiskFull".into()));
    let refused = client.arm("", "PUT", &client.group("more"), json!({"location": "francecentral"})).await;
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (503, Some("DiskFull")));
    assert_eq!(blob("GET", "/photos/large", 0).await.0, 200);
    assert_eq!(blob("DELETE", "/photos/large", 0).await.0, 202);
    let accepted = client.arm("", "DELETE", &client.group("doomed"), Value::Null).await;
    assert!(matches!(client.poll(&accepted).await.status, 200 | 204));
    assert_eq!(client.arm("", "GET", &client.group("doomed"), Value::Null).await.status, 404);
    world.kit.audit(Some(world.contoso.tenant)).await;
}
