// Nobody adds a third kind of access.
struct Everything;

impl trust::Access for Everything {
    const WRITES: bool = true;
}

fn main() {}
