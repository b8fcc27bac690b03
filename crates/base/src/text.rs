//! A message in the two languages of the product.

/// English and French of the same sentence. The locale decides at the edge (command line, sign-in pages).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    pub en: &'static str,
    pub fr: &'static str,
}

impl Text {
    /// `lang` is a BCP 47 or POSIX tag: `fr`, `fr-FR`, `fr_FR.UTF-8`; everything else reads English.
    pub fn of(self, lang: &str) -> &'static str {
        if lang.len() >= 2 && lang[..2].eq_ignore_ascii_case("fr") && !lang[2..].starts_with(|c: char| c.is_ascii_alphabetic()) {
            self.fr
        } else {
            self.en
        }
    }
}
