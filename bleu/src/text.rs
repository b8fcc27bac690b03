//! The two languages of the command line. The locale decides, once, as POSIX says: `LC_ALL`, `LC_MESSAGES`, `LANG`.

use std::sync::OnceLock;

/// The language tag of this process; `en` where nothing is set.
pub fn language() -> &'static str {
    static LANGUAGE: OnceLock<String> = OnceLock::new();
    LANGUAGE.get_or_init(|| choose(|name| std::env::var(name).ok()))
}

fn choose(variable: impl Fn(&str) -> Option<String>) -> String {
    // an empty variable counts as unset (POSIX.1-2017, 8.2)
    ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(variable).find(|v| !v.is_empty()).unwrap_or_else(|| "en".into())
}

/// One of two sentences.
pub fn say(en: &'static str, fr: &'static str) -> &'static str {
    base::Text { en, fr }.of(language())
}

pub fn is_french() -> bool {
    say("", "fr") == "fr"
}

/// `format!` in the reader's language: English first, French second.
#[macro_export]
macro_rules! phrase {
    ($en:literal, $fr:literal $(, $($rest:tt)*)?) => {
        if $crate::text::is_french() { format!($fr $(, $($rest)*)?) } else { format!($en $(, $($rest)*)?) }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_decides() {
        let with = |set: &[(&str, &str)]| choose(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string()));
        assert_eq!(with(&[]), "en");
        assert_eq!(with(&[("LANG", "fr_FR.UTF-8")]), "fr_FR.UTF-8");
        assert_eq!(with(&[("LANG", "fr_FR.UTF-8"), ("LC_ALL", "C")]), "C");
        assert_eq!(with(&[("LANG", "fr_FR.UTF-8"), ("LC_ALL", "")]), "fr_FR.UTF-8");
        assert_eq!(with(&[("LC_MESSAGES", "fr"), ("LANG", "de")]), "fr");
    }
}
