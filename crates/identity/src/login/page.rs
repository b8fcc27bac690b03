//! The pages that people see while they sign in. Plain HTML that works without a script, in French and English; one
//! style, allowed by its digest; nothing loaded from anywhere.

use base::Text;
use base64::prelude::*;
use http::StatusCode;
use service::{Head, Reply};
use std::fmt::Write;
use trust::Receipt;

pub(super) const SIGNED_OUT: Text = Text { en: "You are signed out.", fr: "Vous êtes déconnecté." };
pub(super) const SIGN_IN: Text = Text { en: "Sign in", fr: "Connexion" };
const USER_NAME: Text = Text { en: "User name", fr: "Nom d’utilisateur" };
const PASSWORD: Text = Text { en: "Password", fr: "Mot de passe" };
const CANCEL: Text = Text { en: "Cancel", fr: "Annuler" };
const ACCESS_FOR: Text = Text { en: "to continue to", fr: "pour continuer vers" };
const CONTINUE: Text = Text { en: "Continue", fr: "Continuer" };
pub(super) const RETURNING: Text = Text { en: "Signed in. Returning to the application…", fr: "Connecté. Retour à l’application…" };
pub(super) const NOT_POSSIBLE: Text = Text { en: "Sign-in is not possible", fr: "La connexion n’est pas possible" };
pub(super) const WRONG: Text =
    Text { en: "The user name or the password is wrong.", fr: "Le nom d’utilisateur ou le mot de passe est incorrect." };
pub(super) const LOCKED: Text = Text { en: "Too many wrong attempts. Try again later.", fr: "Trop de tentatives. Réessayez plus tard." };
pub(super) const BUSY: Text =
    Text { en: "Too many people sign in just now. Try again.", fr: "Trop de connexions en ce moment. Réessayez." };
pub(super) const STALE: Text = Text {
    en: "This page is too old, or was opened in another browser. Start again from the application.",
    fr: "Cette page est périmée, ou a été ouverte dans un autre navigateur. Recommencez depuis l’application.",
};
pub(super) const DEVICE: Text = Text { en: "Sign in on another device", fr: "Connexion sur un autre appareil" };
const CODE: Text = Text { en: "Code shown on your device", fr: "Code affiché sur votre appareil" };
pub(super) const UNKNOWN_CODE: Text = Text { en: "This code is not known or has expired.", fr: "Ce code est inconnu ou a expiré." };
pub(super) const TOO_MANY_CODES: Text =
    Text { en: "Too many wrong codes. Wait a minute.", fr: "Trop de codes erronés. Attendez une minute." };
const WARNING: Text = Text {
    en: "Go on only if you started this sign-in yourself, on a device you trust. Nobody else may give you a code.",
    fr: "Continuez seulement si vous avez lancé vous-même cette connexion, sur un appareil de confiance. Personne d’autre ne doit vous donner un code.",
};
const ALLOW: Text = Text { en: "Sign in and allow", fr: "Se connecter et autoriser" };
const REFUSE: Text = Text { en: "Refuse", fr: "Refuser" };
pub(super) const ALLOWED: Text = Text {
    en: "Done. You can close this page and go back to your device.",
    fr: "C’est fait. Vous pouvez fermer cette page et revenir à votre appareil.",
};
pub(super) const REFUSED: Text = Text { en: "Refused. Nothing was signed in.", fr: "Refusé. Aucune connexion n’a été faite." };

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:12vh auto;padding:0 1rem;color:#161616;background:#fff}\
h1{font-size:1.4rem}label{display:block;margin:1rem 0 .2rem}input{width:100%;box-sizing:border-box;font:inherit;padding:.5rem;border:1px solid #666;border-radius:4px}\
button{font:inherit;margin:1.2rem .6rem 0 0;padding:.5rem 1.2rem;border:1px solid #000091;border-radius:4px;background:#fff;color:#000091}\
button.main{background:#000091;color:#fff}p.wrong{color:#b3261e;font-weight:600}p.note{font-size:.9rem}\
@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}input{background:#222;color:#eee}button{background:#161616;color:#b1b1ff;border-color:#8585f6}p.wrong{color:#ff9a93}}";
/// Sends a form by itself; the button beside it does the same by hand.
const SUBMIT: &str = "document.forms[0].submit()";

/// Where a page's forms may lead.
pub(super) enum FormAction<'a> {
    Nowhere,
    Here,
    /// Here, and on to the client's address.
    HereAnd(&'a str),
}

/// The language of a page: `ui_locales` (OpenID Connect Core section 3.1.2.1) before `Accept-Language`; `fr` or `en`.
pub(super) fn language(head: &Head, ui_locales: Option<&str>) -> String {
    let asked = ui_locales.into_iter().flat_map(|l| l.split(' ')).map(|l| (l.trim(), 1000));
    let header = head.header("accept-language").unwrap_or_default();
    let accepted = header.split(',').map(|part| {
        let (tag, rest) = part.split_once(';').unwrap_or((part, ""));
        let weight: f32 = rest.trim().strip_prefix("q=").and_then(|q| q.parse().ok()).unwrap_or(1.0);
        (tag.trim(), (weight.clamp(0.0, 1.0) * 999.0) as i32)
    });
    let known = |tag: &str| {
        tag.get(..2)
            .filter(|_| tag.len() == 2 || tag.as_bytes().get(2).is_some_and(|b| !b.is_ascii_alphabetic()))
            .map(str::to_ascii_lowercase)
    };
    let mut best: Option<(String, i32)> = None;
    for (tag, weight) in asked.chain(accepted).filter(|(_, weight)| *weight > 0) {
        let Some(language) = known(tag).filter(|l| l == "fr" || l == "en") else { continue };
        if best.as_ref().is_none_or(|(_, known)| weight > *known) {
            best = Some((language, weight));
        }
    }
    best.map_or_else(|| "en".into(), |(language, _)| language)
}

/// Text that cannot end an element or an attribute.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn document(language: &str, title: Text, main: &str) -> String {
    let title = escape(title.of(language));
    format!(
        "<!doctype html><html lang=\"{language}\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
<title>{title}</title><style>{STYLE}</style></head><body><main><h1>{title}</h1>{main}</main></body></html>"
    )
}

/// A page that only says something.
pub(super) fn message(language: &str, title: Text, detail: &str) -> String {
    document(language, title, &format!("<p>{}</p>", escape(detail)))
}

/// What a sign-in form shows.
pub(super) struct SignInForm<'a> {
    pub language: &'a str,
    /// The application that asked.
    pub client: &'a str,
    pub path: &'a str,
    /// Hidden: the sealed request.
    pub flow: &'a str,
    pub user_name: &'a str,
    pub wrong: Option<Text>,
    /// Device sign-in warns and calls its buttons by another name.
    pub device: bool,
}

pub(super) fn sign_in(form: &SignInForm<'_>) -> String {
    let say = |text: Text| escape(text.of(form.language));
    let mut main = format!("<p>{} <strong>{}</strong></p>", say(ACCESS_FOR), escape(form.client));
    if form.device {
        main += &format!("<p class=\"note\">{}</p>", say(WARNING));
    }
    if let Some(wrong) = form.wrong {
        main += &format!("<p class=\"wrong\" role=\"alert\">{}</p>", say(wrong));
    }
    let (yes, no) = if form.device { (ALLOW, REFUSE) } else { (SIGN_IN, CANCEL) };
    let _ = write!(
        main,
        "<form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"flow\" value=\"{}\">\
<label for=\"u\">{}</label><input id=\"u\" name=\"username\" type=\"text\" autocomplete=\"username\" autocapitalize=\"none\" spellcheck=\"false\" maxlength=\"320\" value=\"{}\"{}>\
<label for=\"p\">{}</label><input id=\"p\" name=\"password\" type=\"password\" autocomplete=\"current-password\" maxlength=\"256\"{}>\
<button class=\"main\" name=\"action\" value=\"sign-in\">{}</button><button name=\"action\" value=\"cancel\">{}</button></form>",
        escape(form.path),
        escape(form.flow),
        say(USER_NAME),
        escape(form.user_name),
        if form.user_name.is_empty() { " autofocus" } else { "" },
        say(PASSWORD),
        if form.user_name.is_empty() { "" } else { " autofocus" },
        say(yes),
        say(no),
    );
    document(form.language, if form.device { DEVICE } else { SIGN_IN }, &main)
}

/// Asks for the code of a device.
pub(super) fn code(language: &str, path: &str, code: &str, wrong: Option<Text>) -> String {
    let say = |text: Text| escape(text.of(language));
    let mut main = String::new();
    if let Some(wrong) = wrong {
        main += &format!("<p class=\"wrong\" role=\"alert\">{}</p>", say(wrong));
    }
    let _ = write!(
        main,
        "<form method=\"post\" action=\"{}\"><label for=\"c\">{}</label>\
<input id=\"c\" name=\"user_code\" type=\"text\" autocomplete=\"off\" autocapitalize=\"characters\" spellcheck=\"false\" maxlength=\"16\" value=\"{}\" autofocus>\
<button class=\"main\" name=\"action\" value=\"code\">{}</button></form>",
        escape(path),
        say(CODE),
        escape(code),
        say(CONTINUE)
    );
    document(language, DEVICE, &main)
}

/// Hands fields over to the client's address by POST (OAuth 2.0 Form Post Response Mode).
pub(super) fn form_post(language: &str, to: &str, fields: &[(&str, String)]) -> String {
    let mut main = format!("<form method=\"post\" action=\"{}\">", escape(to));
    for (name, value) in fields {
        let _ = write!(main, "<input type=\"hidden\" name=\"{}\" value=\"{}\">", escape(name), escape(value));
    }
    let _ = write!(main, "<button class=\"main\">{}</button></form><script>{SUBMIT}</script>", escape(CONTINUE.of(language)));
    document(language, RETURNING, &main)
}

/// The page under a policy that lets it do nothing but show itself and send its form.
pub(super) fn reply(receipt: Receipt, status: StatusCode, html: &str, action: FormAction<'_>, cookie: Option<&str>) -> Reply {
    let digest = |text: &str| BASE64_STANDARD.encode(crypto::sha256(text.as_bytes()));
    let action = match action {
        FormAction::Nowhere => "'none'".to_owned(),
        FormAction::Here => "'self'".to_owned(),
        FormAction::HereAnd(uri) => format!("'self' {}", origin(uri)),
    };
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; form-action {action}; frame-ancestors 'none'; base-uri 'none'",
        digest(STYLE),
        digest(SUBMIT)
    );
    let reply = Reply::new(receipt, status, html.to_owned())
        .with("content-type", "text/html; charset=utf-8")
        .with("content-security-policy", policy)
        .with("x-frame-options", "DENY")
        .with("referrer-policy", "no-referrer")
        .with("cache-control", "no-store");
    match cookie {
        Some(value) => reply.with("set-cookie", format!("{COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=900")),
        None => reply,
    }
}

/// The scheme, host and port of a URI, as a source of a content policy. Characters that a policy gives meaning to end it.
fn origin(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return String::new() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    format!("{scheme}://{}", authority.chars().take_while(|c| allowed(*c)).collect::<String>())
}

/// Binds a form to the browser that it was shown in: a page of somebody else cannot send it (RFC 6749 section 10.12).
pub(super) const COOKIE: &str = "__Host-bleu-signin";

/// The value of our cookie, if the browser sent one.
pub(super) fn cookie(head: &Head) -> Option<String> {
    let all = head.header("cookie")?;
    let value = all.split(';').find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))?;
    let well_formed = (16..=64).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    well_formed.then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::tests::head;
    use proptest::prelude::*;

    #[test]
    fn people_choose_the_language() {
        let mut head = head();
        for (accept, expected) in [
            ("", "en"),
            ("fr", "fr"),
            ("fr-FR,fr;q=0.9,en;q=0.8", "fr"),
            ("en;q=0.5, fr;q=0.7", "fr"),
            ("de,en;q=0.2", "en"),
            ("fr;q=0", "en"),
            ("frr", "en"),
            ("é", "en"),
        ] {
            head.headers.insert("accept-language", http::HeaderValue::from_str(accept).unwrap_or(http::HeaderValue::from_static("de")));
            assert_eq!(language(&head, None), expected, "{accept}");
        }
        head.headers.insert("accept-language", http::HeaderValue::from_static("en"));
        assert_eq!(language(&head, Some("de fr-CA en")), "fr");
    }

    #[test]
    fn pages_are_whole_and_in_the_language() {
        let form = SignInForm {
            language: "fr",
            client: "<script>",
            path: "/common/oauth2/v2.0/authorize",
            flow: "\"x",
            user_name: "'anna",
            wrong: Some(WRONG),
            device: false,
        };
        let html = sign_in(&form);
        assert!(
            html.contains("Mot de passe")
                && html.contains("lang=\"fr\"")
                && html.contains("&lt;script&gt;")
                && html.contains("&quot;x")
                && html.contains("&#39;anna")
        );
        assert!(!html.contains("<script"));
        assert!(sign_in(&SignInForm { device: true, language: "en", ..form }).contains("Sign in and allow"));
        assert!(form_post("en", "http://localhost:1", &[("code", "a\"b".into())]).contains("value=\"a&quot;b\""));
    }

    #[test]
    fn origins_end_where_a_policy_would_read_on() {
        assert_eq!(origin("http://localhost:8400/x"), "http://localhost:8400");
        assert_eq!(origin("https://a.example; script-src *"), "https://a.example");
        assert_eq!(origin("nothing"), "");
    }

    #[test]
    fn only_our_cookie_is_read() {
        let mut head = head();
        for (sent, expected) in [
            ("a=b; __Host-bleu-signin=0123456789abcdef", Some("0123456789abcdef")),
            ("__Host-bleu-signin=short", None),
            ("x__Host-bleu-signin=0123456789abcdef", None),
            ("__Host-bleu-signin=0123456789abc;def", None),
        ] {
            head.headers.insert("cookie", http::HeaderValue::from_static(sent));
            assert_eq!(cookie(&head).as_deref(), expected, "{sent}");
        }
    }

    proptest! {
        #[test]
        fn escaped_text_opens_nothing(text in "\\PC{0,60}") {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
            let back = escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&");
            prop_assert_eq!(back, text);
        }
    }
}
