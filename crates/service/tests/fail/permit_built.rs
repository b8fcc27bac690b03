// A permit cannot be built: its fields are private to `trust`.
use trust::{Permit, Read};

fn forge() -> Permit<Read> {
    Permit { open: true, ..todo!() }
}

fn main() {
    forge();
}
