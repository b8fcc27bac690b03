// Nor the token that answers public documents.
use trust::Public;

fn forge() -> Public {
    Public(())
}

fn main() {
    let _ = forge;
}
