// Nor take it, or `Trust`, out of what it is given.
use service::Neighbours;

fn reach(near: &Neighbours) -> &trust::Trust {
    &near.trust
}

fn main() {
    let _ = reach;
}
