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

const SECOND: Text = Text { en: "Enter your code", fr: "Saisissez votre code" };
const ONE_TIME_CODE: Text =
    Text { en: "Code of your authenticator, or a recovery code", fr: "Code de votre application d’authentification, ou code de secours" };
pub(super) const WRONG_CODE: Text = Text {
    en: "This code is wrong, or was used already. Wait for the next one.",
    fr: "Ce code est incorrect, ou a déjà servi. Attendez le suivant.",
};
pub(super) const MUST_ENROL: Text = Text {
    en: "Your organisation asks for a second factor. Set up an authenticator first, then start again from the application.",
    fr: "Votre organisation exige un second facteur. Configurez d’abord une application d’authentification, puis recommencez depuis l’application.",
};
pub(super) const SECURITY: Text = Text { en: "Your sign-in security", fr: "Sécurité de votre connexion" };
const SET_UP: Text = Text { en: "Set up an authenticator", fr: "Configurer une application d’authentification" };
const REPLACE: Text = Text { en: "Replace the authenticator", fr: "Remplacer l’application d’authentification" };
const NO_FACTOR: Text = Text { en: "You sign in with a password alone.", fr: "Vous vous connectez avec un mot de passe seul." };
const HAS_FACTOR: Text = Text {
    en: "You sign in with a password and an authenticator. Recovery codes left:",
    fr: "Vous vous connectez avec un mot de passe et une application d’authentification. Codes de secours restants :",
};
const NEW_CODES: Text = Text { en: "New recovery codes", fr: "Nouveaux codes de secours" };
const REMOVE: Text = Text { en: "Remove the authenticator", fr: "Supprimer l’application d’authentification" };
pub(super) const IS_REQUIRED: Text =
    Text { en: "Your organisation asks for a second factor.", fr: "Votre organisation exige un second facteur." };
const SCAN: Text = Text {
    en: "Scan this with your authenticator, or type the key into it. Then enter the code that it shows.",
    fr: "Scannez ceci avec votre application d’authentification, ou saisissez-y la clé. Puis entrez le code affiché.",
};
const KEY: Text = Text { en: "Key", fr: "Clé" };
const CODES: Text = Text { en: "Your recovery codes", fr: "Vos codes de secours" };
const CODES_ONCE: Text = Text {
    en: "Each of these works once, when your authenticator is lost. They are shown only now: print them or write them down.",
    fr: "Chacun fonctionne une fois, si vous perdez votre application d’authentification. Ils ne s’affichent que maintenant : imprimez-les ou notez-les.",
};
const NEW_PASSWORD: Text = Text { en: "New password (12 characters or more)", fr: "Nouveau mot de passe (12 caractères ou plus)" };
const AGAIN: Text = Text { en: "Once more", fr: "Encore une fois" };
const CHANGE: Text = Text { en: "Change the password", fr: "Changer le mot de passe" };
const LEAVE: Text = Text { en: "Leave", fr: "Quitter" };
pub(super) const NOT_THE_SAME: Text =
    Text { en: "The two passwords are not the same.", fr: "Les deux mots de passe ne sont pas identiques." };
pub(super) const WEAK_PASSWORD: Text = Text {
    en: "This password is too easy to guess: take 12 characters or more, not your name, not a common password.",
    fr: "Ce mot de passe est trop facile à deviner : 12 caractères ou plus, ni votre nom, ni un mot de passe courant.",
};
pub(super) const PASSWORD_CHANGED: Text = Text {
    en: "The password is changed. Everything that was signed in with the old one must sign in again.",
    fr: "Le mot de passe est changé. Tout ce qui était connecté avec l’ancien doit se reconnecter.",
};

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

/// The beginning of a form that posts to its own page.
fn form(path: &str, flow: &str) -> String {
    format!("<form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"flow\" value=\"{}\">", escape(path), escape(flow))
}

fn alert(language: &str, wrong: Option<Text>) -> String {
    wrong.map_or_else(String::new, |text| format!("<p class=\"wrong\" role=\"alert\">{}</p>", escape(text.of(language))))
}

fn button(language: &str, class: &str, action: &str, text: Text) -> String {
    format!("<button class=\"{class}\" name=\"action\" value=\"{action}\">{}</button>", escape(text.of(language)))
}

fn code_input(language: &str) -> String {
    format!(
        "<label for=\"c\">{}</label><input id=\"c\" name=\"code\" type=\"text\" autocomplete=\"one-time-code\" spellcheck=\"false\" maxlength=\"32\" autofocus>",
        escape(ONE_TIME_CODE.of(language))
    )
}

/// Asks for the second factor.
pub(super) fn second(language: &str, path: &str, flow: &str, wrong: Option<Text>) -> String {
    let main = [
        alert(language, wrong),
        form(path, flow),
        code_input(language),
        button(language, "main", "sign-in", SIGN_IN),
        button(language, "", "cancel", CANCEL),
        "</form>".into(),
    ];
    document(language, SECOND, &main.concat())
}

/// Sends whoever must enrol to the page for it.
pub(super) fn must_enrol(language: &str) -> String {
    let (text, link) = (escape(MUST_ENROL.of(language)), escape(SET_UP.of(language)));
    document(language, NOT_POSSIBLE, &format!("<p>{text}</p><p><a href=\"/common/security\">{link}</a></p>"))
}

/// What somebody may change. `codes_left` where there is an authenticator.
pub(super) fn security(language: &str, path: &str, flow: &str, codes_left: Option<usize>, wrong: Option<Text>) -> String {
    let say = |text: Text| escape(text.of(language));
    let mut main = alert(language, wrong);
    main += &match codes_left {
        Some(left) => format!("<p>{} {left}</p>", say(HAS_FACTOR)),
        None => format!("<p>{}</p>", say(NO_FACTOR)),
    };
    main += &form(path, flow);
    main += &button(language, "main", "enrol", if codes_left.is_some() { REPLACE } else { SET_UP });
    if codes_left.is_some() {
        main += &button(language, "", "codes", NEW_CODES);
        main += &button(language, "", "remove", REMOVE);
    }
    main += "</form>";
    main += &form(path, flow);
    for (name, text) in [("new", NEW_PASSWORD), ("again", AGAIN)] {
        let _ = write!(
            main,
            "<label for=\"{name}\">{}</label><input id=\"{name}\" name=\"{name}\" type=\"password\" autocomplete=\"new-password\" maxlength=\"256\">",
            say(text)
        );
    }
    main += &button(language, "", "password", CHANGE);
    main += &button(language, "", "cancel", LEAVE);
    main += "</form>";
    document(language, SECURITY, &main)
}

/// A new key for an authenticator, as a picture and as text (Key URI format of authenticator apps).
pub(super) fn enrol(language: &str, path: &str, flow: &str, issuer: &str, upn: &str, secret: &str, wrong: Option<Text>) -> String {
    let (issuer, account) = (wire::percent_encode(issuer, b""), wire::percent_encode(upn, b""));
    let uri = format!("otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits=6&period=30");
    let spaced: Vec<&str> = (0..secret.len()).step_by(4).filter_map(|at| secret.get(at..secret.len().min(at + 4))).collect();
    let main = [
        format!("<p>{}</p>", escape(SCAN.of(language))),
        alert(language, wrong),
        picture(&uri),
        format!("<p>{}: <code>{}</code></p>", escape(KEY.of(language)), escape(&spaced.join(" "))),
        form(path, flow),
        code_input(language),
        button(language, "main", "confirm", CONTINUE),
        button(language, "", "cancel", CANCEL),
        "</form>".into(),
    ];
    document(language, SET_UP, &main.concat())
}

/// A QR code as SVG: black on white in any colour scheme, with the quiet zone that scanners need (ISO/IEC 18004).
fn picture(text: &str) -> String {
    const QUIET: i32 = 4;
    // a text that is too long for one has no picture: the key stands below as text
    let Ok(code) = qrcodegen::QrCode::encode_text(text, qrcodegen::QrCodeEcc::Medium) else { return String::new() };
    let size = code.size() + 2 * QUIET;
    let mut dots = String::new();
    for (x, y) in (0..code.size()).flat_map(|y| (0..code.size()).map(move |x| (x, y))).filter(|(x, y)| code.get_module(*x, *y)) {
        let _ = write!(dots, "M{},{}h1v1h-1z", x + QUIET, y + QUIET);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {size} {size}\" width=\"240\" height=\"240\" role=\"img\" aria-label=\"QR\">\
<rect width=\"{size}\" height=\"{size}\" fill=\"#fff\"/><path d=\"{dots}\" fill=\"#000\"/></svg>"
    )
}

/// Recovery codes, the only time that they are shown.
pub(super) fn codes(language: &str, path: &str, flow: &str, codes: &[String]) -> String {
    let listed: String = codes.iter().map(|code| format!("<li><code>{}</code></li>", escape(code))).collect();
    let main = [
        format!("<p>{}</p><ol>{listed}</ol>", escape(CODES_ONCE.of(language))),
        form(path, flow),
        button(language, "main", "menu", CONTINUE),
        "</form>".into(),
    ];
    document(language, CODES, &main.concat())
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
