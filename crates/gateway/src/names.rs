//! The names of the region's certificate. A wildcard covers one label, so each level is listed.

/// Under the region's domain, beside the domain itself and `localhost`.
const LEVELS: &[&str] = &["", "blob.core.", "queue.core.", "table.core.", "file.core.", "dfs.core.", "web.core.", "vault."];

/// Every DNS name the server certificate is for (RFC 6125: the wildcard is the whole left-most label).
pub fn certificate_names(domain: &str) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), domain.to_owned()];
    names.extend(LEVELS.iter().map(|level| format!("*.{level}{domain}")));
    names
}
