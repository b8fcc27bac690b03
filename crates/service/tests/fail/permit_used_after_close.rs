// After closing there is no way to the data.
use trust::{Outcome, Permit, Read};

async fn late(permit: Permit<Read>) -> base::Result<()> {
    let data = permit.data();
    permit.close(Outcome::done(200)).await?;
    let _ = data.content(&trust::Content::empty(), 0..0);
    Ok(())
}

fn main() {
    let _ = late;
}
