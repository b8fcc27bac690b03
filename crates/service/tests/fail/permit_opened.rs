// The constructor that `trust` uses is its own.
use trust::{Ask, Permit, Read, Trust};

async fn forge(trust: &Trust, ask: Ask) -> base::Result<Permit<Read>> {
    Permit::open(trust, ask, String::new()).await
}

fn main() {
    let _ = forge;
}
