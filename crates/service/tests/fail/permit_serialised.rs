// A permit cannot be written down and used later.
use trust::{Permit, Read};

fn keep(permit: &Permit<Read>) -> String {
    serde_json::to_string(permit).unwrap()
}

fn main() {
    let _ = keep;
}
