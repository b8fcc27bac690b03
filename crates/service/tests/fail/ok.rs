// What a service may do: so that the refusals beside this file fail for their own reason, not for a wrong import.
use http::StatusCode;
use service::Reply;
use trust::{Batch, Outcome, Permit, Read, Write};

async fn read(permit: Permit<Read>) -> base::Result<Reply> {
    let receipt = permit.close(Outcome::done(200)).await?;
    Ok(Reply::new(receipt, StatusCode::OK, "x"))
}

async fn write(permit: Permit<Write>) -> base::Result<Reply> {
    let receipt = permit.commit(Batch::new(), Outcome::done(201)).await?;
    Ok(Reply::new(receipt, StatusCode::CREATED, ""))
}

fn main() {
    let _ = (read, write);
}
