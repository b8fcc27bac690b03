//! Golden files: every operation, every audience, every role. `UPDATE_GOLDEN=1` rewrites them; the difference is read like
//! code. The table of `docs/coverage.md` comes from the same list.

use crate::world::services;
use service::Handler;
use std::path::PathBuf;
use testkit::{Kit, Setup};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Compares a file with what it should be, or rewrites it.
fn golden(path: &str, expected: &str) {
    let path = root().join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, expected).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{} is stale: UPDATE_GOLDEN=1 cargo test -p tests golden", path.display());
}

fn access(handler: &Handler) -> &'static str {
    match handler {
        Handler::Read(_) => "read",
        Handler::Write(_) => "write",
        Handler::Open(_) => "open",
    }
}

#[tokio::test]
async fn operations_are_listed() {
    let kit = Kit::start(Setup::new(1).services(services().0)).await;
    let mut text = String::from("# service | operation | method door path | when | access, weight | actions\n");
    let mut table = String::from("| operation | method | door | path | access | actions |\n|---|---|---|---|---|---|\n");
    for (service, row) in kit.gateway.operations() {
        let when: Vec<String> = row.when.iter().map(|w| format!("{w:?}")).collect();
        let (kind, actions) = (access(&row.handler), row.actions.join(" "));
        text.push_str(&format!(
            "{service} | {} | {} {} {} | {} | {kind}, {:?} | {actions}\n",
            row.name,
            row.method,
            row.door.name,
            row.path,
            when.join(" "),
            row.weight
        ));
        table.push_str(&format!("| {} | {} | {} | `{}` | {kind} | {actions} |\n", row.name, row.method, row.door.name, row.path));
    }
    golden("tests/golden/operations.txt", &text);
    let coverage = std::fs::read_to_string(root().join("docs/coverage.md")).unwrap();
    let (before, rest) = coverage.split_once("<!-- operations:begin -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- operations:end -->").unwrap();
    golden("docs/coverage.md", &format!("{before}<!-- operations:begin -->\n{table}<!-- operations:end -->{after}"));
}

#[tokio::test]
async fn audiences_are_listed() {
    let kit = Kit::start(Setup::new(2).services(services().0)).await;
    let mut lines: Vec<String> = kit.gateway.audiences().into_iter().map(|(door, all)| format!("{door}: {}\n", all.join(" "))).collect();
    lines.sort();
    lines.dedup();
    golden("tests/golden/audiences.txt", &lines.concat());
}

#[tokio::test]
async fn roles_are_listed() {
    let kit = Kit::start(Setup::new(3).services(services().0)).await;
    let mut actions: Vec<(String, bool)> =
        kit.gateway.operations().flat_map(|(_, row)| row.actions.iter().map(|a| ((*a).to_owned(), row.door.data))).collect();
    actions.sort();
    actions.dedup();
    let mut text = String::from("# action (data: asked at a data door) | the roles that grant it\n");
    for (action, data) in actions {
        let roles: Vec<&str> = arm::ROLES.iter().filter(|r| r.grants(&action, data)).map(|r| r.name).collect();
        text.push_str(&format!("{action}{} | {}\n", if data { " (data)" } else { "" }, roles.join(", ")));
    }
    golden("tests/golden/roles.txt", &text);
}

/// Rows that anyone may call, each with the reason. The file is written by hand, and may only shrink.
#[tokio::test]
async fn open_rows_have_reasons() {
    let kit = Kit::start(Setup::new(4).services(services().0)).await;
    let listed = std::fs::read_to_string(root().join("tests/golden/open.txt")).unwrap();
    let mut reasons = Vec::new();
    for line in listed.lines().filter(|line| !line.starts_with('#')) {
        let (name, reason) = line.split_once(" | ").unwrap_or_else(|| panic!("no reason: {line}"));
        assert!(reason.len() > 10, "{name}: {reason:?} is no reason");
        reasons.push(name);
    }
    let mut open: Vec<&str> = kit.gateway.operations().filter(|(_, row)| access(&row.handler) == "open").map(|(_, row)| row.name).collect();
    open.sort();
    reasons.sort();
    assert_eq!(open, reasons, "the rows that are open, and those of tests/golden/open.txt");
}
