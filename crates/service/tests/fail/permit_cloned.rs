// A permit is one act: it cannot be cloned.
use trust::{Permit, Write};

fn twice(permit: Permit<Write>) -> (Permit<Write>, Permit<Write>) {
    (permit.clone(), permit)
}

fn main() {
    let _ = twice;
}
