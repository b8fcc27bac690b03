//! The second factor, from the pages that people see: enrolment, sign-in with it, and what must not get past it.

use super::*;

const URL: &str = "https://login.bleu.localhost/common/security";
const ADMIN: &str = "admin@contoso.example";

/// A browser: it keeps the cookie and the form of the page before.
pub(super) struct Browser<'a> {
    w: &'a World,
    url: String,
    cookie: String,
    flow: String,
}

impl<'a> Browser<'a> {
    pub(super) async fn open(w: &'a World, url: &str) -> Browser<'a> {
        let known = page(&w.kit.call("GET", url, &[], "").await);
        Browser { w, url: url.split('?').next().unwrap().into(), cookie: known.cookie, flow: known.flow }
    }
    pub(super) async fn send(&mut self, fields: &[(&str, &str)]) -> Answer {
        let answer = self.again(fields).await;
        let cookie = answer.header("set-cookie");
        if !cookie.is_empty() {
            self.cookie = cookie.split(';').next().unwrap().to_owned();
        }
        if let Some(rest) = answer.text().split("name=\"flow\" value=\"").nth(1) {
            self.flow = rest.split('"').next().unwrap().to_owned();
        }
        answer
    }
    /// The same form, without remembering what came of it.
    async fn again(&self, fields: &[(&str, &str)]) -> Answer {
        let fields = form(&[&[("flow", self.flow.as_str())], fields].concat());
        self.w.kit.call("POST", &self.url, &[("cookie", &self.cookie)], fields).await
    }
    pub(super) async fn password(&mut self, name: &str, password: &str) -> Answer {
        self.send(&[("username", name), ("password", password), ("action", "sign-in")]).await
    }
    pub(super) async fn code(&mut self, code: &str) -> Answer {
        self.send(&[("code", code), ("action", "sign-in")]).await
    }
}

/// A person's authenticator, and the codes for the day it is lost.
pub(super) struct Enrolled {
    key: Vec<u8>,
    pub(super) recovery: Vec<String>,
}

impl Enrolled {
    /// The code of now, `ahead` steps on.
    pub(super) fn code(&self, w: &World, ahead: i64) -> String {
        crypto::totp(&self.key, u64::try_from(w.kit.clock.now().seconds() / 30 + ahead).unwrap())
    }
}

use base::Clock;

fn key_of(page: &str) -> Vec<u8> {
    let text = page.split("<code>").nth(1).unwrap().split('<').next().unwrap().replace(' ', "");
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: String = text.bytes().map(|b| format!("{:05b}", letters.iter().position(|l| *l == b).unwrap())).collect();
    (0..bits.len() / 8).map(|at| u8::from_str_radix(&bits[at * 8..at * 8 + 8], 2).unwrap()).collect()
}

fn codes_of(page: &str) -> Vec<String> {
    page.split("<li><code>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
}

pub(super) async fn enrol(w: &World, name: &str, password: &str) -> Enrolled {
    let mut browser = Browser::open(w, URL).await;
    let menu = browser.password(name, password).await;
    assert!(menu.status == 200 && menu.text().contains("value=\"enrol\""), "{}", menu.text());
    let shown = browser.send(&[("action", "enrol")]).await;
    assert!(shown.text().contains("<svg") && !shown.text().contains("<script"));
    let mut enrolled = Enrolled { key: key_of(shown.text()), recovery: Vec::new() };
    assert_eq!(enrolled.key.len(), 20);
    // what is shown is not yet what is needed
    assert_eq!(w.user_token(name, password, ARM).await.status, 200);
    assert_eq!(browser.send(&[("action", "confirm"), ("code", "000000")]).await.status, 400);
    let done = browser.send(&[("action", "confirm"), ("code", &enrolled.code(w, 0))]).await;
    assert_eq!(done.status, 200, "{}", done.text());
    enrolled.recovery = codes_of(done.text());
    assert_eq!(enrolled.recovery.len(), 10);
    enrolled
}

async fn browser_at_code<'a>(w: &'a World) -> Browser<'a> {
    let mut browser = Browser::open(w, &authorize_url("query")).await;
    let half = browser.password(ADMIN, ADMIN_PASSWORD).await;
    assert!(half.status == 200 && half.text().contains("one-time-code") && half.header("location").is_empty(), "{}", half.text());
    browser
}

async fn redeem(w: &World, back: &Answer) -> Answer {
    let code = back.header("location").split("code=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", &*AZ_CLIENT.to_string()),
        ("code", &code),
        ("redirect_uri", "http://localhost:52311"),
        ("code_verifier", VERIFIER),
    ];
    w.post(&format!("{LOGIN}/organizations/oauth2/v2.0/token"), &fields).await
}

#[tokio::test]
async fn a_person_enrols_and_signs_in_with_a_code() {
    let w = world(301).await;
    let before = w.user_token(ADMIN, ADMIN_PASSWORD, ARM).await.json();
    assert_eq!(claims(before["access_token"].as_str().unwrap())["amr"], json!(["pwd"]));
    let enrolled = enrol(&w, ADMIN, ADMIN_PASSWORD).await;

    // the password alone: nothing for scripts, nothing for the session of before; a wrong one says what it always said
    let token = format!("{LOGIN}/organizations/oauth2/v2.0/token");
    assert_eq!(refusal(&w.user_token(ADMIN, ADMIN_PASSWORD, ARM).await), (400, "interaction_required".into(), 50076));
    assert_eq!(refusal(&w.user_token(ADMIN, "wrong", ARM).await), (400, "invalid_grant".into(), 50126));
    let refresh = |ticket: String| {
        let (w, token) = (&w, &token);
        async move { w.post(token, &[("grant_type", "refresh_token"), ("client_id", &AZ_CLIENT.to_string()), ("refresh_token", &ticket)]).await }
    };
    assert_eq!(refusal(&refresh(before["refresh_token"].as_str().unwrap().into()).await), (400, "interaction_required".into(), 50076));

    let mut browser = browser_at_code(&w).await;
    // the code that enrolled is used up; the next one works, once
    let used = browser.code(&enrolled.code(&w, 0)).await;
    assert!(used.status == 400 && used.text().contains("was used already"), "{}", used.text());
    assert_eq!(browser.code("").await.status, 400);
    let code = enrolled.code(&w, 1);
    let back = browser.again(&[("code", &code), ("action", "sign-in")]).await;
    assert_eq!(back.status, 303, "{}", back.text());
    assert!(!back.header("x-bleu-entry").is_empty());
    assert_eq!(browser.again(&[("code", &code), ("action", "sign-in")]).await.status, 400, "replayed");
    let tokens = redeem(&w, &back).await.json();
    for name in ["access_token", "id_token"] {
        let claims = claims(tokens[name].as_str().unwrap());
        assert_eq!((&claims["amr"], &claims["acr"]), (&json!(["pwd", "mfa"]), &json!("1")), "{name}");
    }
    // and what was proved stays proved for the session
    let later = refresh(tokens["refresh_token"].as_str().unwrap().into()).await;
    assert_eq!(claims(later.json()["access_token"].as_str().unwrap())["amr"], json!(["pwd", "mfa"]));
    w.kit.audit(Some(w.contoso.tenant)).await;
}

#[tokio::test]
async fn a_device_is_allowed_with_a_code_and_a_recovery_code_works_once() {
    let w = world(302).await;
    let enrolled = enrol(&w, ADMIN, ADMIN_PASSWORD).await;
    for (recovery, fits) in [(&enrolled.recovery[3], true), (&enrolled.recovery[3], false), (&enrolled.recovery[4], true)] {
        let az = AZ_CLIENT.to_string();
        let begun = w.post("https://localhost/adfs/oauth2/devicecode", &[("client_id", &az), ("scope", "openid")]).await.json();
        let url = "https://localhost/devicelogin";
        let known = page(&w.post(url, &[("user_code", begun["user_code"].as_str().unwrap())]).await);
        let mut browser = Browser { w: &w, url: url.into(), cookie: known.cookie, flow: known.flow };
        assert!(browser.password(ADMIN, ADMIN_PASSWORD).await.text().contains("one-time-code"));
        let device_code = begun["device_code"].as_str().unwrap();
        let poll = || async {
            let fields = [("grant_type", "device_code"), ("client_id", az.as_str()), ("device_code", device_code)];
            w.post("https://localhost/adfs/oauth2/token/", &fields).await
        };
        assert_eq!(refusal(&poll().await).1, "authorization_pending", "half a sign-in is none");
        assert_eq!(browser.code(&recovery.to_lowercase()).await.status, if fits { 200 } else { 400 });
        w.kit.clock.advance_seconds(6);
        let tokens = poll().await;
        match fits {
            true => assert_eq!(claims(tokens.json()["access_token"].as_str().unwrap())["amr"], json!(["pwd", "mfa"])),
            false => assert_eq!(refusal(&tokens).1, "authorization_pending"),
        }
    }
}

/// Whoever knows the password guesses codes no faster than passwords: the right password does not clear the count.
#[tokio::test]
async fn guessed_codes_lock_out_like_guessed_passwords_and_the_password_does_not_help() {
    let w = world(303).await;
    let enrolled = enrol(&w, ADMIN, ADMIN_PASSWORD).await;
    for _ in 0..9 {
        let mut browser = browser_at_code(&w).await;
        assert!(browser.code("000000").await.text().contains("This code is wrong"));
    }
    let mut browser = browser_at_code(&w).await;
    browser.code("000000").await;
    let right = browser.code(&enrolled.code(&w, 1)).await;
    assert!(right.status == 400 && right.text().contains("Too many wrong attempts"), "{}", right.text());
    assert_eq!(refusal(&w.user_token(ADMIN, ADMIN_PASSWORD, ARM).await).2, 50053, "one count for both");
    w.kit.clock.advance_seconds(120);
    assert_eq!(browser_at_code(&w).await.code(&enrolled.code(&w, 0)).await.status, 303);
}

#[tokio::test]
async fn a_code_is_for_its_person_its_browser_and_a_password_that_still_holds() {
    let w = world(304).await;
    let graph = w.admin_for(GRAPH).await;
    let anna = json!({"accountEnabled": true, "displayName": "Anna", "mailNickname": "anna", "userPrincipalName": "anna@contoso.example", "passwordProfile": {"password": "a pass phrase of hers"}});
    assert_eq!(w.graph("POST", "/users", &graph, anna).await.status, 201);
    let admins = enrol(&w, ADMIN, ADMIN_PASSWORD).await;
    w.kit.clock.advance_seconds(60);
    let annas = enrol(&w, "anna@contoso.example", "a pass phrase of hers").await;
    w.kit.clock.advance_seconds(60);
    // another person's codes
    let mut browser = browser_at_code(&w).await;
    assert_eq!(browser.code(&annas.code(&w, 0)).await.status, 400);
    assert_eq!(browser.code(&annas.recovery[0]).await.status, 400);
    // another browser: none, and the one whose cookie was known before the password
    let before = Browser::open(&w, &authorize_url("query")).await;
    let mut after = Browser { w: &w, url: before.url.clone(), cookie: before.cookie.clone(), flow: before.flow.clone() };
    after.password(ADMIN, ADMIN_PASSWORD).await;
    assert_ne!(before.cookie, after.cookie);
    let code = admins.code(&w, 0);
    for cookie in [before.cookie.clone(), String::new()] {
        let fixed = Browser { w: &w, url: after.url.clone(), cookie, flow: after.flow.clone() };
        let stale = fixed.again(&[("code", &code), ("action", "sign-in")]).await;
        assert!(stale.status == 400 && stale.text().contains("another browser"), "{}", stale.text());
    }
    // a form of the page before does not pass for one that knows the password
    assert_eq!(before.again(&[("code", &code), ("action", "sign-in")]).await.status, 400);
    // disabled between password and code
    let id = w.contoso.admin.to_string();
    let mut revoked = browser_at_code(&w).await;
    assert_eq!(w.graph("POST", &format!("/users/{id}/revokeSignInSessions"), &graph, Value::Null).await.status, 200);
    w.kit.clock.advance_seconds(2);
    assert_eq!(revoked.code(&code).await.status, 400);
}

#[tokio::test]
async fn an_authenticator_is_changed_only_by_who_has_it() {
    let w = world(305).await;
    // two browsers know the password; the first enrols
    let mut thief = Browser::open(&w, URL).await;
    thief.password(ADMIN, ADMIN_PASSWORD).await;
    let shown = thief.send(&[("action", "enrol")]).await;
    let thiefs = Enrolled { key: key_of(shown.text()), recovery: Vec::new() };
    let own = enrol(&w, ADMIN, ADMIN_PASSWORD).await;
    let late = thief.send(&[("action", "confirm"), ("code", &thiefs.code(&w, 0))]).await;
    assert!(late.status == 400 && late.text().contains("too old"), "{}", late.text());
    // later the password alone comes no further than the code
    let mut thief = Browser::open(&w, URL).await;
    let asked = thief.password(ADMIN, ADMIN_PASSWORD).await;
    assert!(asked.text().contains("one-time-code"));
    for action in ["enrol", "remove", "codes", "password"] {
        let tried = thief.send(&[("action", action), ("new", "a new pass phrase"), ("again", "a new pass phrase")]).await;
        assert!(tried.status == 400 && !tried.text().contains("<svg"), "{action}");
    }
    // a page of somebody else sends no form of ours
    assert_eq!(w.post(URL, &[("action", "remove")]).await.status, 400);

    w.kit.clock.advance_seconds(120);
    let mut owner = Browser::open(&w, URL).await;
    owner.password(ADMIN, ADMIN_PASSWORD).await;
    assert!(owner.code(&own.code(&w, 0)).await.text().contains("value=\"remove\""));
    let fresh = codes_of(owner.send(&[("action", "codes")]).await.text());
    assert!(fresh.len() == 10 && fresh.iter().all(|code| !own.recovery.contains(code)));
    assert!(owner.send(&[("action", "remove")]).await.text().contains("password alone"));
    assert_eq!(w.user_token(ADMIN, ADMIN_PASSWORD, ARM).await.status, 200);
    let bundle = w.kit.trust.export(Some(w.contoso.tenant)).await.unwrap();
    for verb in ["Register authenticator", "Register recovery codes", "Delete authenticator"] {
        assert!(bundle.windows(verb.len()).any(|b| b == verb.as_bytes()), "{verb}");
    }
    for secret in [&own.recovery[0], &crypto::base32(&own.key)] {
        assert!(!bundle.windows(secret.len()).any(|b| b == secret.as_bytes()), "a secret is in the record");
    }
}

#[tokio::test]
async fn a_person_changes_the_password_and_every_session_ends() {
    let w = world(306).await;
    let old = w.user_token(ADMIN, ADMIN_PASSWORD, ARM).await.json()["refresh_token"].as_str().unwrap().to_owned();
    let mut browser = Browser::open(&w, URL).await;
    browser.password(ADMIN, ADMIN_PASSWORD).await;
    for (new, again) in [("a new pass phrase", "another pass phrase"), ("short", "short"), ("password1234", "password1234"), ("", "")] {
        let refused = browser.send(&[("action", "password"), ("new", new), ("again", again)]).await;
        assert!(refused.status == 400 && refused.text().contains("role=\"alert\""), "{new}");
    }
    assert_eq!(browser.send(&[("action", "password"), ("new", "a new pass phrase"), ("again", "a new pass phrase")]).await.status, 200);
    w.kit.clock.advance_seconds(2);
    assert_eq!(refusal(&w.user_token(ADMIN, ADMIN_PASSWORD, ARM).await).2, 50126);
    assert_eq!(w.user_token(ADMIN, "a new pass phrase", ARM).await.status, 200);
    let token = format!("{LOGIN}/organizations/oauth2/v2.0/token");
    let fields = [("grant_type", "refresh_token"), ("client_id", &*AZ_CLIENT.to_string()), ("refresh_token", &old)];
    assert_eq!(refusal(&w.post(&token, &fields).await).2, 50173);
    assert_eq!(browser.send(&[("action", "enrol")]).await.status, 400, "its own seat too");
}

#[tokio::test]
async fn the_pages_are_french_too() {
    let w = world(307).await;
    let shown = w.kit.call("GET", URL, &[("accept-language", "fr")], "").await;
    assert!(shown.text().contains("Sécurité de votre connexion"));
    let known = page(&shown);
    let fields = form(&[("flow", &known.flow), ("username", ADMIN), ("password", ADMIN_PASSWORD)]);
    let menu = w.kit.call("POST", URL, &[("cookie", &known.cookie), ("accept-language", "fr")], fields).await;
    assert!(menu.text().contains("Configurer une application") && menu.text().contains("lang=\"fr\""));
}

fn policy(users: Value) -> Value {
    json!({
        "displayName": "A second factor",
        "state": "enabled",
        "conditions": {"users": users, "applications": {"includeApplications": ["All"]}},
        "grantControls": {"operator": "OR", "builtInControls": ["mfa"]},
    })
}

#[tokio::test]
async fn a_tenant_asks_its_administrators_or_everybody_for_a_second_factor() {
    let w = world(308).await;
    let graph = w.admin_for(GRAPH).await;
    let anna = json!({"accountEnabled": true, "displayName": "Anna", "mailNickname": "anna", "userPrincipalName": "anna@contoso.example", "passwordProfile": {"password": "a pass phrase of hers"}});
    assert_eq!(w.graph("POST", "/users", &graph, anna).await.status, 201);
    let session = w.user_token(ADMIN, ADMIN_PASSWORD, ARM).await.json()["refresh_token"].as_str().unwrap().to_owned();
    let policies = "/identity/conditionalAccess/policies";
    let made = w.graph("POST", policies, &graph, policy(json!({"includeRoles": [GLOBAL_ADMINISTRATOR]}))).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(w.graph("POST", policies, &graph, policy(json!({"includeGroups": [id]}))).await.status, 501);

    // administrators, and nobody else
    assert_eq!(refusal(&w.user_token(ADMIN, ADMIN_PASSWORD, ARM).await), (400, "interaction_required".into(), 50079));
    assert_eq!(w.user_token("anna@contoso.example", "a pass phrase of hers", ARM).await.status, 200);
    let token = format!("{LOGIN}/organizations/oauth2/v2.0/token");
    let fields = [("grant_type", "refresh_token"), ("client_id", &*AZ_CLIENT.to_string()), ("refresh_token", &session)];
    assert_eq!(refusal(&w.post(&token, &fields).await).2, 50079, "a session of before");
    assert_eq!(w.client_token(&format!("{ARM}/.default")).await.status, 200, "programs have no telephone");
    // a browser is sent to the page that enrols, and it can
    let mut browser = Browser::open(&w, &authorize_url("query")).await;
    let sent = browser.password(ADMIN, ADMIN_PASSWORD).await;
    assert!(sent.status == 400 && sent.text().contains("href=\"/common/security\"") && sent.header("location").is_empty());
    let mut page = Browser::open(&w, URL).await;
    page.password(ADMIN, ADMIN_PASSWORD).await;
    let key = key_of(page.send(&[("action", "enrol")]).await.text());
    let enrolled = Enrolled { key, recovery: Vec::new() };
    assert_eq!(page.send(&[("action", "confirm"), ("code", &enrolled.code(&w, 0))]).await.status, 200);
    let removed = page.send(&[("action", "remove")]).await;
    assert!(removed.status == 400 && removed.text().contains("role=\"alert\""), "what is asked for stays");
    assert_eq!(browser_at_code(&w).await.code(&enrolled.code(&w, 1)).await.status, 303);

    // everybody but one; then nobody
    let change = json!({"conditions": {"users": {"includeUsers": ["All"], "excludeUsers": [w.contoso.admin.to_string()]}, "applications": {"includeApplications": ["All"]}}});
    assert_eq!(w.graph("PATCH", &format!("{policies}/{id}"), &graph, change).await.status, 204);
    assert_eq!(refusal(&w.user_token("anna@contoso.example", "a pass phrase of hers", ARM).await).2, 50079);
    let shown = w.graph("GET", &format!("{policies}/{id}"), &graph, Value::Null).await.json();
    assert_eq!((&shown["conditions"]["users"]["includeUsers"][0], &shown["displayName"]), (&json!("All"), &json!("A second factor")));
    assert_eq!(w.graph("GET", policies, &graph, Value::Null).await.json()["value"].as_array().unwrap().len(), 1);
    assert_eq!(w.graph("DELETE", &format!("{policies}/{id}"), &graph, Value::Null).await.status, 204);
    assert_eq!(w.graph("GET", &format!("{policies}/{id}"), &graph, Value::Null).await.status, 404);
    let annas = w.user_token("anna@contoso.example", "a pass phrase of hers", GRAPH).await.json();
    // who does not administer neither sees nor makes policies
    let annas = annas["access_token"].as_str().unwrap();
    assert_eq!(w.graph("GET", policies, annas, Value::Null).await.status, 403);
    assert_eq!(w.graph("POST", policies, annas, policy(json!({"includeUsers": ["All"]}))).await.status, 403);
}

#[tokio::test]
async fn an_administrator_takes_a_lost_authenticator_away() {
    let w = world(309).await;
    let graph = w.admin_for(GRAPH).await;
    let anna = json!({"accountEnabled": true, "displayName": "Anna", "mailNickname": "anna", "userPrincipalName": "anna@contoso.example", "passwordProfile": {"password": "a pass phrase of hers"}});
    assert_eq!(w.graph("POST", "/users", &graph, anna).await.status, 201);
    let annas =
        w.user_token("anna@contoso.example", "a pass phrase of hers", GRAPH).await.json()["access_token"].as_str().unwrap().to_owned();
    let methods = |of: String, token: String| {
        let w = &w;
        async move { w.graph("GET", &format!("{of}/authentication/methods"), &token, Value::Null).await }
    };
    let mine = methods("/me".into(), annas.clone()).await.json();
    assert_eq!(mine["value"].as_array().unwrap().len(), 1, "{mine}");
    enrol(&w, "anna@contoso.example", "a pass phrase of hers").await;
    let mine = methods("/me".into(), annas.clone()).await.json();
    assert_eq!(mine["value"][1]["@odata.type"], "#microsoft.graph.softwareOathAuthenticationMethod");
    assert!(mine["value"][1]["secretKey"].is_null());
    // others' are an administrator's to see, and to take away
    let id = w.contoso.admin.to_string();
    assert_eq!(methods(format!("/users/{id}"), annas.clone()).await.status, 403);
    assert_eq!(methods("/users/anna@contoso.example".into(), graph.clone()).await.json()["value"].as_array().unwrap().len(), 2);
    let method = mine["value"][1]["id"].as_str().unwrap();
    let path = format!("/users/anna@contoso.example/authentication/softwareOathMethods/{method}");
    assert_eq!(w.graph("DELETE", &path, &annas, Value::Null).await.status, 403);
    assert_eq!(w.graph("DELETE", &path, &graph, Value::Null).await.status, 204);
    assert_eq!(w.graph("DELETE", &path, &graph, Value::Null).await.status, 404);
    assert_eq!(w.user_token("anna@contoso.example", "a pass phrase of hers", GRAPH).await.status, 200);
}

/// A token that was given out before lives on in a client's store: every door refuses it from the next request on.
#[tokio::test]
async fn revoking_and_disabling_take_effect_at_once_and_say_what_to_do() {
    let w = world(310).await;
    let graph = w.admin_for(GRAPH).await;
    let anna = json!({"accountEnabled": true, "displayName": "Anna", "mailNickname": "anna", "userPrincipalName": "anna@contoso.example", "passwordProfile": {"password": "a pass phrase of hers"}});
    let id = w.graph("POST", "/users", &graph, anna).await.json()["id"].as_str().unwrap().to_owned();
    let fresh = || async {
        let answer = w.user_token("anna@contoso.example", "a pass phrase of hers", GRAPH).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["access_token"].as_str().unwrap().to_owned()
    };
    let annas = fresh().await;
    assert_eq!(w.graph("GET", "/me", &annas, Value::Null).await.status, 200);
    assert_eq!(w.graph("POST", &format!("/users/{id}/revokeSignInSessions"), &graph, Value::Null).await.status, 200);
    let refused = w.graph("GET", "/me", &annas, Value::Null).await;
    assert_eq!(refused.status, 401);
    assert!(refused.text().contains("TokenIssuedBeforeRevocationTimestamp"), "{}", refused.text());
    let told = refused.header("www-authenticate").to_owned();
    assert!(told.contains("error=\"insufficient_claims\""), "{told}");
    let claims = told.split("claims=\"").nth(1).unwrap().split('"').next().unwrap();
    let claims: Value = serde_json::from_slice(&BASE64_STANDARD.decode(claims).unwrap()).unwrap();
    assert_eq!(claims["access_token"]["nbf"]["essential"], true);
    // whoever signs in again is in again, with a token that the challenge asks for
    w.kit.clock.advance_seconds(2);
    let again = fresh().await;
    let nbf = super::claims(&again)["nbf"].as_i64().unwrap();
    assert!(nbf >= claims["access_token"]["nbf"]["value"].as_str().unwrap().parse().unwrap());
    assert_eq!(w.graph("GET", "/me", &again, Value::Null).await.status, 200);
    assert_eq!(w.graph("PATCH", &format!("/users/{id}"), &graph, json!({"accountEnabled": false})).await.status, 204);
    let refused = w.graph("GET", "/me", &again, Value::Null).await;
    assert!(refused.status == 401 && refused.header("www-authenticate").contains("invalid_token"), "{}", refused.text());
}
