//! The `bleu` command. Everything is in the library of the same name, so that tests and fuzzers reach it.

fn main() -> std::process::ExitCode {
    bleu::main()
}
