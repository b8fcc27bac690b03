// Closing consumes the permit.
use trust::{Outcome, Permit, Read};

async fn twice(permit: Permit<Read>) -> base::Result<()> {
    permit.close(Outcome::done(200)).await?;
    permit.close(Outcome::done(200)).await?;
    Ok(())
}

fn main() {
    let _ = twice;
}
