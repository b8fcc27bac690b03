// Nobody answers without a receipt.
use http::StatusCode;
use service::Reply;

fn answer() -> Reply {
    Reply::new((), StatusCode::OK, "data")
}

fn main() {
    let _ = answer;
}
