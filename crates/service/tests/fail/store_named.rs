// A service cannot name the store.
use store::Kv;

fn main() {
    let _: Option<&dyn Kv> = None;
}
