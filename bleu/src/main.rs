//! The `bleu` command. Everything is in the library of the same name, so that tests and fuzzers reach it.

/// The system's keeps what many threads freed: after large bodies a region held twice the memory. Chosen by measurement,
/// see docs/decisions/0007-allocator.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    bleu::main()
}
