//! The two languages of the command line. The locale decides, once, as POSIX says: `LC_ALL`, `LC_MESSAGES`, `LANG`. A
//! running region answers each who asks it over its socket in that one's language.

use std::sync::OnceLock;

tokio::task_local! {
    /// The language of whoever is answered now.
    static ASKED_IN: String;
}

/// Does `work` in the language of whoever asked for it.
pub async fn answering<T>(language: String, work: impl Future<Output = T>) -> T {
    ASKED_IN.scope(language, work).await
}

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
    let text = base::Text { en, fr };
    ASKED_IN.try_with(|language| text.of(language)).unwrap_or_else(|_| text.of(language()))
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

    #[tokio::test]
    async fn whoever_asks_is_answered_in_its_language() {
        let said = async || say("yes", "oui");
        assert_eq!(answering("fr_FR.UTF-8".into(), said()).await, "oui");
        assert_eq!(answering("C".into(), said()).await, "yes");
    }

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
