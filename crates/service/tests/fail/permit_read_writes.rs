// A read permit has no commit, and cannot stage content.
use trust::{Batch, Outcome, Permit, Read};

async fn write(permit: Permit<Read>) {
    let _ = permit.stage_bytes("x".into()).await;
    let _ = permit.commit(Batch::new(), Outcome::done(201)).await;
}

fn main() {
    let _ = write;
}
