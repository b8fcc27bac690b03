//! What a tenant's directory holds, and where.
//!
//! Users, groups, applications and service principals are rows of the tenant's own space (target `/tenants/{id}`), sealed
//! under the tenant's key. What sign-in and rules need of them (name, kind, enabled) stands beside them as facts, written
//! in the same commit. Secrets are `trust`'s credentials: a user's under its object id, an application's under its
//! client id, so that an application may have secrets before it has a service principal.

use base::{AppId, Error, Kind, ObjectId, ResourceId, Result, Stored, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use service::Neighbours;
use trust::{Caller, Directory, Fact, Facts, Keeper, Outcome, Permit, Principal, PrincipalKind, Read, Table, Weight};
use uuid::Uuid;

/// The Azure command's public client: it exists in every tenant.
pub const AZ_CLIENT: AppId = AppId(Uuid::from_u128(0x04b0_7795_8ddb_461a_bbee_02f9_e1bf_7b46));
/// The directory role that may change everything in a directory (Entra's role template id).
pub const GLOBAL_ADMINISTRATOR: &str = "62e90394-69f5-4237-9190-012177145e10";
/// Holds the one password of a user.
pub(crate) const PASSWORD: &str = "password";
/// Holds the one authenticator of a user, and its recovery codes; the id under which Graph shows it.
pub(crate) const AUTHENTICATOR: &str = "0b0f7c2e-6a52-4c1d-9a8e-5d1f3f6f7a10";
pub(crate) const RECOVERY: &str = "recovery";
/// `zone` of the region-wide name facts that keep user principal names unique.
pub(crate) const UPN_ZONE: &str = "upn";

pub(crate) const USERS: Table = Table::of(Keeper::Identity, 1);
pub(crate) const GROUPS: Table = Table::of(Keeper::Identity, 2);
pub(crate) const APPLICATIONS: Table = Table::of(Keeper::Identity, 3);
pub(crate) const SERVICE_PRINCIPALS: Table = Table::of(Keeper::Identity, 4);
/// Client id to the application's object id.
pub(crate) const APPLICATION_BY_CLIENT_ID: Table = Table::of(Keeper::Identity, 5);

/// What a tenant began with: one row, without a name.
pub(crate) const FIRST: Table = Table::of(Keeper::Identity, 6);

/// Owners and managers: `{way}/{from}/{to}`, a row for each direction.
pub(crate) const LINKS: Table = Table::of(Keeper::Identity, 20);
/// Assignments of an application's roles: `of/{principal}/{id}` and `to/{resource}/{id}`.
pub(crate) const APP_ROLES: Table = Table::of(Keeper::Identity, 21);
/// Delegated permissions (`oauth2PermissionGrant`), by id.
pub(crate) const CONSENTS: Table = Table::of(Keeper::Identity, 22);
/// Federated credentials: `{application}/{id}`.
pub(crate) const FEDERATED: Table = Table::of(Keeper::Identity, 23);

/// Deleted objects and the marks of those that are gone for good, by id.
pub(crate) const DELETED: Table = Table::of(Keeper::Identity, 24);
/// Who came to a group or left it last: `{group}/{member}`. For those who ask what changed; rules read the facts.
pub(crate) const MEMBER_MARKS: Table = Table::of(Keeper::Identity, 25);

/// Rules of groups, and whose turn it was (`graph/dynamic.rs`).
pub(crate) const DYNAMIC: Table = Table::of(Keeper::Identity, 26);

/// Whether a member came or left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MemberMark {
    pub present: bool,
}

base::first_version! { MemberMark "identity.member-mark"; }

/// That one object is linked to another; the row's name says all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Link {}

base::first_version! { Link "identity.link"; }

/// The four kinds of directory object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    User,
    Group,
    Application,
    ServicePrincipal,
}

impl ObjectKind {
    pub(crate) const ALL: [ObjectKind; 4] = [ObjectKind::User, ObjectKind::Group, ObjectKind::Application, ObjectKind::ServicePrincipal];

    pub(crate) fn table(self) -> Table {
        match self {
            ObjectKind::User => USERS,
            ObjectKind::Group => GROUPS,
            ObjectKind::Application => APPLICATIONS,
            ObjectKind::ServicePrincipal => SERVICE_PRINCIPALS,
        }
    }
    /// The collection's name in Graph's paths.
    pub(crate) fn collection(self) -> &'static str {
        match self {
            ObjectKind::User => "users",
            ObjectKind::Group => "groups",
            ObjectKind::Application => "applications",
            ObjectKind::ServicePrincipal => "servicePrincipals",
        }
    }
    /// `@odata.type`, without its `#microsoft.graph.`.
    pub(crate) fn odata_type(self) -> &'static str {
        match self {
            ObjectKind::User => "user",
            ObjectKind::Group => "group",
            ObjectKind::Application => "application",
            ObjectKind::ServicePrincipal => "servicePrincipal",
        }
    }
}

/// A directory object as Graph shows it. Its properties are Graph's own JSON, checked when written; kept as text, so
/// that a number or an order of names comes back as it was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Object {
    pub id: ObjectId,
    pub created: Timestamp,
    /// A JSON object; never a secret.
    properties: String,
}

impl Stored for Object {
    const NAME: &'static str = "identity.object";
    const VERSION: u8 = 1;
    type Previous = Object;
    fn upgrade(previous: Object) -> Object {
        previous
    }
}

impl Object {
    pub(crate) fn new(id: ObjectId, created: Timestamp, properties: &Map<String, Value>) -> Object {
        let mut object = Object { id, created, properties: String::new() };
        object.set(properties);
        object
    }
    pub(crate) fn properties(&self) -> Result<Map<String, Value>> {
        serde_json::from_str(&self.properties).map_err(Error::internal)
    }
    pub(crate) fn set(&mut self, properties: &Map<String, Value>) {
        self.properties = Value::Object(properties.clone()).to_string();
    }
    pub(crate) fn name(&self) -> String {
        row_name(self.id)
    }
    /// As Graph shows it: id first, then the properties, with its type.
    pub(crate) fn show(&self, kind: ObjectKind) -> Result<Value> {
        let mut shown = Map::new();
        shown.insert("@odata.type".into(), format!("#microsoft.graph.{}", kind.odata_type()).into());
        shown.insert("id".into(), self.id.to_string().into());
        shown.insert("createdDateTime".into(), self.created.rfc3339().into());
        shown.extend(self.properties()?);
        Ok(Value::Object(shown))
    }
}

/// Which application a client id belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClientIndex {
    pub application: ObjectId,
}

impl Stored for ClientIndex {
    const NAME: &'static str = "identity.client-index";
    const VERSION: u8 = 1;
    type Previous = ClientIndex;
    fn upgrade(previous: ClientIndex) -> ClientIndex {
        previous
    }
}

/// Rows are named by the hyphenated id: they list in the order of their ids.
pub(crate) fn row_name(id: ObjectId) -> String {
    id.to_string()
}

/// The holder of an application's secrets and certificates: its client id (see the module).
pub(crate) fn holder_of(app: AppId) -> ObjectId {
    ObjectId(app.0)
}

/// A verified principal as the record knows it.
pub(crate) fn principal(of: &Directory, app: AppId) -> Principal {
    let name = of.upn.clone().unwrap_or_else(|| of.display_name.clone());
    Principal { tenant: of.tenant, object: of.object, app, kind: of.kind, name }
}

/// The tenant that a token's caller may see in Graph.
pub(crate) fn tenant_of(caller: &Caller) -> Result<TenantId> {
    caller.tenant().ok_or_else(|| Error::new(Kind::Unauthenticated, "InvalidAuthenticationToken", "Access token is empty."))
}

/// Users by name, only if they are users of this tenant (when one is named).
pub(crate) fn find_user(facts: &Facts, name: &str, tenant: Option<TenantId>) -> Option<Directory> {
    let user = facts.user_by_name(name)?;
    (user.kind == PrincipalKind::User && tenant.is_none_or(|t| t == user.tenant)).then(|| user.clone())
}

/// An application of a tenant by its client id, read under the region's own authority: before sign-in there is nobody
/// else. Recorded as such.
pub(crate) async fn application(near: &Neighbours, tenant: TenantId, app: AppId) -> Result<Option<Map<String, Value>>> {
    if near.facts(|f| f.space(&ResourceId::tenant(tenant)).is_none()) {
        return Ok(None);
    }
    let own = near.on_behalf(Caller::Region { part: "identity" });
    let permit: Permit<Read> = own
        .permit("Look up client", &["bleu.identity/clients/read"], false, &ResourceId::tenant(tenant), Weight::Batched, &app.to_string())
        .await?;
    let found = read_application(&permit, app).await;
    let outcome = match &found {
        Ok(_) => Outcome::done(200),
        Err(error) => Outcome::failed(error),
    };
    let _receipt = permit.close(outcome).await?;
    found?.map(|object| object.properties()).transpose()
}

async fn read_application(permit: &Permit<Read>, app: AppId) -> Result<Option<Object>> {
    let Some(index) = permit.data().get::<ClientIndex>(APPLICATION_BY_CLIENT_ID, app.to_string()).await? else { return Ok(None) };
    Ok(permit.data().get::<Object>(APPLICATIONS, row_name(index.value.application)).await?.map(|found| found.value))
}

/// A new user's fact.
pub(crate) fn user_fact(tenant: TenantId, object: ObjectId, upn: &str, display_name: &str, enabled: bool, now: Timestamp) -> Fact {
    Fact::Principal(Directory {
        tenant,
        object,
        kind: PrincipalKind::User,
        app: None,
        upn: Some(upn.to_owned()),
        display_name: display_name.to_owned(),
        enabled,
        tokens_valid_from: now,
    })
}

/// A new service principal's fact.
pub(crate) fn service_principal_fact(
    tenant: TenantId,
    object: ObjectId,
    app: AppId,
    display_name: &str,
    kind: PrincipalKind,
    now: Timestamp,
) -> Fact {
    Fact::Principal(Directory {
        tenant,
        object,
        kind,
        app: Some(app),
        upn: None,
        display_name: display_name.to_owned(),
        enabled: true,
        tokens_valid_from: now,
    })
}

/// The properties of a new application (Graph's `application`). `redirects` are of a public client.
pub(crate) fn application_properties(app: AppId, display_name: &str, redirects: &[&str]) -> Map<String, Value> {
    let properties = json!({
        "appId": app.to_string(),
        "displayName": display_name,
        "identifierUris": [],
        "signInAudience": "AzureADMyOrg",
        "isFallbackPublicClient": !redirects.is_empty(),
        "publicClient": { "redirectUris": redirects },
        "web": { "redirectUris": [] },
        "spa": { "redirectUris": [] },
        "passwordCredentials": [],
        "keyCredentials": [],
    });
    into_map(properties)
}

/// The properties of a new service principal (Graph's `servicePrincipal`).
pub(crate) fn service_principal_properties(tenant: TenantId, application: &Map<String, Value>) -> Map<String, Value> {
    let app_id = application.get("appId").cloned().unwrap_or_default();
    let mut names = vec![app_id.clone()];
    names.extend(application.get("identifierUris").and_then(Value::as_array).into_iter().flatten().cloned());
    let display_name = application.get("displayName").cloned().unwrap_or_default();
    let roles = application.get("appRoles").cloned().unwrap_or_else(|| json!([]));
    let scopes = application.get("api").and_then(|api| api.get("oauth2PermissionScopes")).cloned().unwrap_or_else(|| json!([]));
    into_map(json!({
        "appId": app_id,
        "appDisplayName": display_name.clone(),
        "displayName": display_name,
        "accountEnabled": true,
        "appOwnerOrganizationId": tenant.to_string(),
        "servicePrincipalNames": names,
        "servicePrincipalType": "Application",
        "signInAudience": "AzureADMyOrg",
        "passwordCredentials": [],
        "keyCredentials": [],
        "appRoles": roles,
        "oauth2PermissionScopes": scopes,
        "tags": [],
    }))
}

pub(crate) fn into_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// A password that people may keep (ANSSI, "recommandations relatives à l'authentification multifacteur et aux mots de
/// passe", R21-R23: length before composition). Error `Request_BadRequest`, target `password`.
pub fn check_password(password: &str, upn: &str) -> Result<()> {
    let refuse = |why: &str| {
        Err(Error::invalid(
            "Request_BadRequest",
            format!("The specified password does not comply with password complexity requirements: {why}."),
        )
        .at("password"))
    };
    if password.chars().count() < 12 {
        return refuse("it has fewer than 12 characters");
    }
    if password.len() > 256 {
        return refuse("it is longer than 256 bytes");
    }
    let (lower, upn) = (password.to_lowercase(), upn.to_lowercase());
    let local = upn.split('@').next().unwrap_or(&upn);
    if lower == upn || (local.len() >= 3 && lower.contains(local)) {
        return refuse("it contains the user name");
    }
    if password.chars().collect::<std::collections::HashSet<_>>().len() < 5 {
        return refuse("it repeats a few characters");
    }
    if is_obvious(&lower) {
        return refuse("it is made of what everybody tries first");
    }
    Ok(())
}

/// Words that make most of the passwords in every published list, in the two languages of our pages, and the runs of a
/// keyboard.
const OBVIOUS: &str = "password passwort motdepasse welcome bienvenue bonjour bleu azure microsoft windows admin \
administrator administrateur changeme changeit letmein default secret iloveyou jetaime football \
baseball superman pokemon dragon monkey sunshine princess princesse doudou soleil chouchou marseille \
company entreprise france summer winter spring autumn ete hiver printemps automne qwerty qwertyuiop \
azerty azertyuiop qwertz asdfghjkl qsdfghjklm zxcvbnm wxcvbn abcdefghijklmnopqrstuvwxyz 1q2w3e4r5t \
1a2z3e4r5t qazwsxedc test user root pass login hello january janvier";

/// True when, with obvious words and digits taken out, fewer than five characters are left: `Password2026!`, `azerty12345678`.
/// `lower`: in lower case.
fn is_obvious(lower: &str) -> bool {
    let plain: String = lower
        .chars()
        .map(|c| match c {
            // the substitutions that guessers know
            '@' | '4' => 'a',
            '3' | 'é' | 'è' | 'ê' => 'e',
            '1' | '!' => 'i',
            '0' => 'o',
            '5' | '$' => 's',
            '7' => 't',
            c => c,
        })
        .collect();
    let mut words: Vec<&str> = OBVIOUS.split(' ').collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let left = |text: &str| {
        let mut text: String = text.chars().filter(|c| c.is_alphanumeric()).collect();
        for word in &words {
            text = text.replace(word, "");
        }
        text.chars().filter(|c| c.is_alphabetic()).count()
    };
    left(lower).min(left(&plain)) < 5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_read_back_from_their_first_version() {
        let id = ObjectId(Uuid::from_u128(7));
        let object = Object::new(id, Timestamp(1_795_508_032_123), &into_map(json!({"displayName": "Anna", "n": 1})));
        let bytes = base::encode(&object);
        assert_eq!(base::decode::<Object>(&bytes).unwrap(), object);
        let first = include_bytes!("../tests/samples/object-v1.cbor");
        assert_eq!(base::decode::<Object>(first).unwrap(), object);
    }

    #[test]
    fn links_and_marks_read_back_from_their_first_version() {
        assert_eq!(base::decode::<Link>(b"\x01\xa0").unwrap(), Link {});
        assert_eq!(base::decode::<MemberMark>(b"\x01\xa1\x67present\xf5").unwrap(), MemberMark { present: true });
    }

    #[test]
    fn passwords_are_long_and_not_the_name() {
        assert!(check_password("correct horse battery", "anna@contoso.fr").is_ok());
        for good in ["passwords are for people", "G7#kq!zP2wLm", "trois petits chats 42"] {
            assert!(check_password(good, "anna@contoso.fr").is_ok(), "{good}");
        }
        let obvious = [
            "Password2026!",
            "P@ssw0rd1234",
            "azerty12345678",
            "MotDePasse2026",
            "123456789012",
            "qwertyuiop123",
            "Bienvenue2026!!",
            "admin-admin-admin",
            "welcome welcome",
        ];
        for bad in obvious.into_iter().chain([
            "short",
            "elevenchars",
            "aaaaaaaaaaaaaaaa",
            "Anna-is-my-name",
            "anna@contoso.fr",
            &"ab1c2".repeat(60),
        ]) {
            assert_eq!(check_password(bad, "anna@contoso.fr").unwrap_err().target.as_deref(), Some("password"), "{bad}");
        }
    }

    #[test]
    fn the_azure_commands_client_is_the_published_one() {
        assert_eq!(AZ_CLIENT.to_string(), "04b07795-8ddb-461a-bbee-02f9e1bf7b46");
    }
}
