//! Azure Storage: accounts, and blobs in them. [`Storage::operations`] is the table of contents.
//!
//! An account is a *space* of its own (see `trust`): its rows, its bytes and its two keys are sealed under the account's
//! key, and all disappear with it. Resource Manager keeps what a client wished of an account ([`kinds`]); this
//! service keeps what is in it ([`model`]).

pub mod auth;
mod calls;
mod kinds;
pub mod model;
pub mod wire;

use base::{Error, Fut, Kind, ResourceId, Result};
use calls::{account, blob, block, container, list, management, unbuilt};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use service::{Door, Head, Neighbours, Operations, Service, Target, Urls, absent, comp, header, query};
use std::sync::Arc;
use trust::{Caller, Limits, Weight};

pub use calls::sweep;

/// Every reader of outside bytes in this crate.
pub mod fuzz {
    pub use crate::auth::{fuzz_sas, fuzz_shared_key};
    pub use crate::wire::{fuzz_block_list, fuzz_headers, fuzz_service_properties};
}

/// RBAC actions of the blob service.
pub(crate) mod actions {
    pub const CONTAINERS_READ: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/read";
    pub const CONTAINERS_WRITE: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/write";
    pub const CONTAINERS_DELETE: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/delete";
    pub const BLOBS_READ: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read";
    pub const BLOBS_WRITE: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write";
    pub const BLOBS_DELETE: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete";
    pub const TAGS_READ: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags/read";
    pub const TAGS_WRITE: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/tags/write";
    pub const SERVICE_READ: &str = "Microsoft.Storage/storageAccounts/blobServices/read";
    pub const SERVICE_WRITE: &str = "Microsoft.Storage/storageAccounts/blobServices/write";
    pub const DELEGATION_KEY: &str = "Microsoft.Storage/storageAccounts/blobServices/generateUserDelegationKey/action";
    /// Not Azure's: a signature with `w` has it, one with `c` alone may only make what does not exist.
    pub const OVERWRITE: &str = "bleu.storage/blobs/overwrite";
}
use actions::*;

macro_rules! at_account {
    ($rest:literal) => {
        concat!("/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Storage/storageAccounts/{account}", $rest)
    };
}

/// The service.
#[derive(Debug, Default)]
pub struct Storage;

impl Service for Storage {
    fn namespace(&self) -> &'static str {
        "Microsoft.Storage"
    }

    fn kinds(&self) -> Vec<Arc<dyn service::Kind>> {
        vec![Arc::new(kinds::storage_accounts::StorageAccounts)]
    }

    fn operations(self: Arc<Self>) -> Operations {
        const BLOB: &str = "/{container}/{blob+}";
        const CONTAINER: &str = "/{container}";
        let (get, head, put, post, delete) = (Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::DELETE);
        let in_container = query("restype", "container");
        let on = |more: service::When| [in_container.clone(), more];
        Operations::of(self)
            .on(Door::data("blob", &["{account}.blob.core"], Some("/{account}")), blob_target)
            // the account
            .read("List Containers", get.clone(), "/", &[comp("list")], &[CONTAINERS_READ], list::containers)
            .read(
                "Get Blob Service Properties",
                get.clone(),
                "/",
                &[query("restype", "service"), comp("properties")],
                &[SERVICE_READ],
                account::properties,
            )
            .write(
                "Set Blob Service Properties",
                put.clone(),
                "/",
                &[query("restype", "service"), comp("properties")],
                &[SERVICE_WRITE],
                account::set_properties,
            )
            .read("Get Blob Service Stats", get.clone(), "/", &[query("restype", "service"), comp("stats")], &[SERVICE_READ], unbuilt::read)
            .read(
                "Get Account Information",
                get.clone(),
                "/",
                &[query("restype", "account"), comp("properties")],
                &[SERVICE_READ],
                account::information,
            )
            .read(
                "Get Account Information",
                head.clone(),
                "/",
                &[query("restype", "account"), comp("properties")],
                &[SERVICE_READ],
                account::information,
            )
            .write(
                "Get User Delegation Key",
                post.clone(),
                "/",
                &[query("restype", "service"), comp("userdelegationkey")],
                &[DELEGATION_KEY],
                unbuilt::write,
            )
            .weighing(Weight::Indexed)
            .write("Blob Batch", post.clone(), "/", &[comp("batch")], &[BLOBS_DELETE], unbuilt::write)
            .read("Find Blobs by Tags", get.clone(), "/", &[comp("blobs")], &[TAGS_READ], unbuilt::read)
            // containers
            .read(
                "Get Account Information",
                get.clone(),
                CONTAINER,
                &[query("restype", "account"), comp("properties")],
                &[CONTAINERS_READ],
                account::information,
            )
            .read("List Blobs", get.clone(), CONTAINER, &on(comp("list")), &[BLOBS_READ], list::blobs)
            .read("Get Container Properties", get.clone(), CONTAINER, &on(absent("comp")), &[CONTAINERS_READ], container::properties)
            .read("Get Container Properties", head.clone(), CONTAINER, &on(absent("comp")), &[CONTAINERS_READ], container::properties)
            .read("Get Container Metadata", get.clone(), CONTAINER, &on(comp("metadata")), &[CONTAINERS_READ], container::properties)
            .read("Get Container Metadata", head.clone(), CONTAINER, &on(comp("metadata")), &[CONTAINERS_READ], container::properties)
            .read("Get Container ACL", get.clone(), CONTAINER, &on(comp("acl")), &[CONTAINERS_READ], container::acl)
            .write("Create Container", put.clone(), CONTAINER, &on(absent("comp")), &[CONTAINERS_WRITE], container::create)
            .write("Set Container Metadata", put.clone(), CONTAINER, &on(comp("metadata")), &[CONTAINERS_WRITE], container::set_metadata)
            .write("Set Container ACL", put.clone(), CONTAINER, &on(comp("acl")), &[CONTAINERS_WRITE], container::set_acl)
            .write("Delete Container", delete.clone(), CONTAINER, &on(absent("comp")), &[CONTAINERS_DELETE], container::delete)
            .write("Lease Container", put.clone(), CONTAINER, &on(comp("lease")), &[CONTAINERS_WRITE], unbuilt::write)
            .write("Restore Container", put.clone(), CONTAINER, &on(comp("undelete")), &[CONTAINERS_WRITE], unbuilt::write)
            .write("Rename Container", put.clone(), CONTAINER, &on(comp("rename")), &[CONTAINERS_WRITE], unbuilt::write)
            .write("Blob Batch", post.clone(), CONTAINER, &on(comp("batch")), &[BLOBS_DELETE], unbuilt::write)
            .read("Find Blobs by Tags in Container", get.clone(), CONTAINER, &on(comp("blobs")), &[TAGS_READ], unbuilt::read)
            // blobs
            .read("Get Blob", get.clone(), BLOB, &[absent("comp"), absent("restype")], &[BLOBS_READ], blob::get)
            .read("Get Blob Properties", head.clone(), BLOB, &[absent("comp")], &[BLOBS_READ], blob::properties)
            .read("Get Blob Metadata", get.clone(), BLOB, &[comp("metadata")], &[BLOBS_READ], blob::properties)
            .read("Get Blob Metadata", head.clone(), BLOB, &[comp("metadata")], &[BLOBS_READ], blob::properties)
            .read("Get Block List", get.clone(), BLOB, &[comp("blocklist")], &[BLOBS_READ], block::list)
            .read(
                "Get Account Information",
                get.clone(),
                BLOB,
                &[query("restype", "account"), comp("properties")],
                &[BLOBS_READ],
                account::information,
            )
            .write("Copy Blob", put.clone(), BLOB, &[absent("comp"), header("x-ms-copy-source")], &[BLOBS_WRITE], unbuilt::write)
            .write("Put Blob", put.clone(), BLOB, &[absent("comp")], &[BLOBS_WRITE], blob::put)
            .write("Put Block from URL", put.clone(), BLOB, &[comp("block"), header("x-ms-copy-source")], &[BLOBS_WRITE], unbuilt::write)
            .write("Put Block", put.clone(), BLOB, &[comp("block")], &[BLOBS_WRITE], block::put)
            .write("Put Block List", put.clone(), BLOB, &[comp("blocklist")], &[BLOBS_WRITE], block::commit)
            .write("Set Blob Properties", put.clone(), BLOB, &[comp("properties")], &[BLOBS_WRITE], blob::set_properties)
            .write("Set Blob Metadata", put.clone(), BLOB, &[comp("metadata")], &[BLOBS_WRITE], blob::set_metadata)
            .write("Set Blob Tier", put.clone(), BLOB, &[comp("tier")], &[BLOBS_WRITE], blob::set_tier)
            .write("Delete Blob", delete.clone(), BLOB, &[absent("comp")], &[BLOBS_DELETE], blob::delete)
            .write("Lease Blob", put.clone(), BLOB, &[comp("lease")], &[BLOBS_WRITE], unbuilt::write)
            .write("Snapshot Blob", put.clone(), BLOB, &[comp("snapshot")], &[BLOBS_WRITE], unbuilt::write)
            .write("Abort Copy Blob", put.clone(), BLOB, &[comp("copy")], &[BLOBS_WRITE], unbuilt::write)
            .write("Undelete Blob", put.clone(), BLOB, &[comp("undelete")], &[BLOBS_WRITE], unbuilt::write)
            .write("Append Block", put.clone(), BLOB, &[comp("appendblock")], &[BLOBS_WRITE], unbuilt::write)
            .write("Seal Append Blob", put.clone(), BLOB, &[comp("seal")], &[BLOBS_WRITE], unbuilt::write)
            .write("Put Page", put.clone(), BLOB, &[comp("page")], &[BLOBS_WRITE], unbuilt::write)
            .read("Get Page Ranges", get.clone(), BLOB, &[comp("pagelist")], &[BLOBS_READ], unbuilt::read)
            .write("Incremental Copy Blob", put.clone(), BLOB, &[comp("incrementalcopy")], &[BLOBS_WRITE], unbuilt::write)
            .read("Get Blob Tags", get.clone(), BLOB, &[comp("tags")], &[TAGS_READ], unbuilt::read)
            .write("Set Blob Tags", put.clone(), BLOB, &[comp("tags")], &[TAGS_WRITE], unbuilt::write)
            .read("Query Blob Contents", post.clone(), BLOB, &[comp("query")], &[BLOBS_READ], unbuilt::read)
            .write("Set Blob Expiry", put.clone(), BLOB, &[comp("expiry")], &[BLOBS_WRITE], unbuilt::write)
            .write("Set Blob Immutability Policy", put.clone(), BLOB, &[comp("immutabilityPolicies")], &[BLOBS_WRITE], unbuilt::write)
            .write(
                "Delete Blob Immutability Policy",
                delete.clone(),
                BLOB,
                &[comp("immutabilityPolicies")],
                &[BLOBS_DELETE],
                unbuilt::write,
            )
            .write("Set Blob Legal Hold", put.clone(), BLOB, &[comp("legalhold")], &[BLOBS_WRITE], unbuilt::write)
            // Resource Manager: what is not a resource of its own
            .on(Door::control("management", &["management"]), subscription_target)
            .read(
                "Check Storage Account Name",
                post.clone(),
                "/subscriptions/{subscription}/providers/Microsoft.Storage/checkNameAvailability",
                &[],
                &["Microsoft.Storage/checkNameAvailability/read"],
                management::check_name,
            )
            .read(
                "List Storage SKUs",
                get.clone(),
                "/subscriptions/{subscription}/providers/Microsoft.Storage/skus",
                &[],
                &["Microsoft.Storage/skus/read"],
                management::skus,
            )
            .target_is(account_target)
            .read(
                "List Account Keys",
                post.clone(),
                at_account!("/listKeys"),
                &[],
                &["Microsoft.Storage/storageAccounts/listKeys/action"],
                management::list_keys,
            )
            .weighing(Weight::Indexed)
            .write(
                "Regenerate Account Key",
                post.clone(),
                at_account!("/regenerateKey"),
                &[],
                &["Microsoft.Storage/storageAccounts/regenerateKey/action"],
                management::regenerate_key,
            )
            .weighing(Weight::Indexed)
            .read(
                "List Account SAS",
                post.clone(),
                at_account!("/listAccountSas"),
                &[],
                &["Microsoft.Storage/storageAccounts/listAccountSas/action"],
                management::account_sas,
            )
            .weighing(Weight::Indexed)
            .read(
                "List Service SAS",
                post,
                at_account!("/listServiceSas"),
                &[],
                &["Microsoft.Storage/storageAccounts/listServiceSas/action"],
                unbuilt::read,
            )
            .read("List Blob Services", get.clone(), at_account!("/blobServices"), &[], &[SERVICE_READ], management::blob_services)
            .read("Show Blob Service", get.clone(), at_account!("/blobServices/default"), &[], &[SERVICE_READ], management::blob_service)
            .write(
                "Set Blob Service",
                put.clone(),
                at_account!("/blobServices/default"),
                &[],
                &[SERVICE_WRITE],
                management::set_blob_service,
            )
            .read(
                "List Account Containers",
                get.clone(),
                at_account!("/blobServices/default/containers"),
                &[],
                &[CONTAINERS_READ],
                management::containers,
            )
            .read(
                "Show Account Container",
                get,
                at_account!("/blobServices/default/containers/{container}"),
                &[],
                &[CONTAINERS_READ],
                management::show_container,
            )
            .write(
                "Put Account Container",
                put,
                at_account!("/blobServices/default/containers/{container}"),
                &[],
                &[CONTAINERS_WRITE],
                management::put_container,
            )
            .write(
                "Delete Account Container",
                delete,
                at_account!("/blobServices/default/containers/{container}"),
                &[],
                &[CONTAINERS_DELETE],
                management::delete_container,
            )
            .build()
    }

    fn authenticate<'a>(&'a self, head: &'a Head, near: &'a Neighbours) -> Fut<'a, Result<Option<Caller>>> {
        Box::pin(async move { if head.door == "blob" { authenticate(head, near).await } else { Ok(None) } })
    }

    /// Golden: `tests/golden/audiences.txt`.
    fn audiences(&self, urls: &Urls, door: &'static str) -> Vec<String> {
        if door != "blob" {
            return urls.management_audiences();
        }
        // an audience that is one account's URL is not taken: nothing here would hold it to that account
        ["https://storage.azure.com".to_owned(), urls.host("storage")].into_iter().flat_map(|a| [format!("{a}/"), a]).collect()
    }

    fn refuse(&self, head: &Head, error: &Error) -> Response<bytes::Bytes> {
        if head.door == "blob" { refuse_blob(head, error) } else { refuse_management(head, error) }
    }

    fn decorate(&self, head: &Head, headers: &mut HeaderMap) {
        if head.door != "blob" {
            return;
        }
        if let Some(version) = version(head).ok().flatten().and_then(|v| HeaderValue::from_str(&v).ok()) {
            headers.insert("x-ms-version", version);
        }
        if let Some(id) = head.headers.get("x-ms-client-request-id").filter(|v| v.len() <= 1_024) {
            headers.insert("x-ms-client-request-id", id.clone());
        }
    }
}

/// The version a call is made in: the header, else the signature's. Error: not `yyyy-mm-dd`.
fn version(head: &Head) -> Result<Option<String>> {
    if let Some(value) = crate::wire::text(&head.headers, "x-ms-version")? {
        return if crate::wire::is_version(value) { Ok(Some(value.to_owned())) } else { Err(crate::wire::bad_header("x-ms-version")) };
    }
    Ok(head.query.get("sv").filter(|v| crate::wire::is_version(v)).map(str::to_owned))
}

/// The account of the host or path, and what in it the call is about. An account that does not exist looks like one of
/// somebody else's.
fn blob_target(_: &Storage, head: &Head, caller: &Caller, near: &Neighbours) -> Result<Target> {
    let bearer = matches!(caller, Caller::Principal(_));
    if version(head)?.is_none() && bearer {
        return Err(crate::wire::missing_header("x-ms-version"));
    }
    let account = near.facts(|f| f.resolve("storage", head.params.get("account")).cloned()).ok_or_else(hidden)?;
    let (container, blob) = (head.params.get("container"), head.params.get("blob"));
    if container.is_empty() {
        return Ok(Target::of(account));
    }
    crate::wire::check_container_name(container)?;
    let scope = container_scope(&account, container)?;
    if blob.is_empty() {
        // what is listed is said: in the record, and to the conditions of a role ("prefix")
        let prefix = head.query.get("prefix").filter(|p| !p.is_empty() && head.query.get("comp") == Some("list"));
        let detail = prefix.map_or_else(|| container.to_owned(), |p| format!("{container}?prefix={p}"));
        return Ok(Target { resource: account, scope, detail });
    }
    crate::wire::check_blob_name(blob)?;
    Ok(Target { resource: account, scope, detail: format!("{container}/{blob}") })
}

fn hidden() -> Error {
    Error::new(Kind::NotFound, "ResourceNotFound", "The specified resource does not exist.")
}

pub(crate) fn container_scope(account: &ResourceId, container: &str) -> Result<ResourceId> {
    account.child("blobServices", "default")?.child("containers", container)
}

fn subscription_target(_: &Storage, head: &Head, _: &Caller, _: &Neighbours) -> Result<Target> {
    needs_api_version(head)?;
    Ok(Target::of(ResourceId::parse(&format!("/subscriptions/{}", head.params.get("subscription")))?))
}

fn account_target(_: &Storage, head: &Head, _: &Caller, _: &Neighbours) -> Result<Target> {
    needs_api_version(head)?;
    let p = |name| head.params.get(name);
    let group = ResourceId::parse(&format!("/subscriptions/{}/resourceGroups/{}", p("subscription"), p("group")))?;
    let account = group.provider("Microsoft.Storage/storageAccounts", p("account"))?;
    if !head.params.has("container") {
        return Ok(Target::of(account));
    }
    crate::wire::check_container_name(p("container"))?;
    Ok(Target { scope: container_scope(&account, p("container"))?, resource: account, detail: p("container").to_owned() })
}

fn needs_api_version(head: &Head) -> Result<()> {
    match head.query.get("api-version") {
        Some(v) if v.get(..10).is_some_and(crate::wire::is_version) => Ok(()),
        Some(_) => Err(Error::invalid("InvalidApiVersionParameter", "The api-version is not in the form yyyy-mm-dd.").at("api-version")),
        None => Err(Error::invalid(
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )
        .at("api-version")),
    }
}

/// Shared Key and SAS; `None` for what is neither.
async fn authenticate(head: &Head, near: &Neighbours) -> Result<Option<Caller>> {
    let name = head.params.get("account");
    let account = near.facts(|f| f.resolve("storage", name).cloned());
    let authorization = head.header("authorization");
    if let Some(parsed) = authorization.and_then(auth::SharedKey::parse) {
        let parsed = parsed?;
        if !parsed.account.eq_ignore_ascii_case(name) {
            return Err(auth::failed("The account in the Authorization header is not the account of the URL."));
        }
        auth::check_date(head, head.at)?;
        let account = account.ok_or_else(wrong_key)?;
        for message in auth::shared_key_messages(head, &parsed.account, parsed.lite) {
            if let Some(key) = near.credentials().check_mac(&account, message.as_bytes(), &parsed.mac).await? {
                return Ok(Some(Caller::Key { account, key }));
            }
        }
        return Err(wrong_key());
    }
    // a request that has both is judged by its Authorization header
    if authorization.is_some() {
        return Ok(None);
    }
    let Some(sas) = auth::Sas::parse(&head.query) else { return Ok(None) };
    let sas = sas?;
    let account = account.ok_or_else(wrong_key)?;
    let (container, blob) = (head.params.get("container"), head.params.get("blob"));
    let message = sas.message(name, container, blob);
    let key = near.credentials().check_mac(&account, message.as_bytes(), &sas.mac).await?.ok_or_else(wrong_key)?;
    sas.check(head.at, head.origin.peer)?;
    let scope = match sas.reach {
        auth::Reach::Account { .. } => account.clone(),
        _ => container_scope(&account, container)?,
    };
    let detail = matches!(sas.reach, auth::Reach::Blob).then(|| format!("{container}/{blob}"));
    let actions = granted(head, &sas).into_iter().map(str::to_owned).collect();
    Ok(Some(Caller::Sas { account, key, limits: Limits { actions, scope, detail } }))
}

fn wrong_key() -> Error {
    auth::failed("The signature does not match.")
}

/// The actions that a signature grants *to this call*. One RBAC action covers calls that a signature tells apart (reading
/// a blob and listing a container), so the letters are held against the call itself.
fn granted(head: &Head, sas: &auth::Sas) -> Vec<&'static str> {
    use auth::Level::{Container, Object, Service};
    // folded, as the table matches it: "comp=ACL" is no other call than "comp=acl"
    let (method, comp) = (&head.method, head.query.get("comp").unwrap_or("").to_ascii_lowercase());
    let (comp, restype) = (comp.as_str(), head.query.get("restype").unwrap_or(""));
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let level = match (head.params.has("blob"), head.params.has("container")) {
        (true, _) => Object,
        (_, true) => Container,
        _ => Service,
    };
    if restype.eq_ignore_ascii_case("account") {
        // "Get Account Information" goes with any signature on the account
        let any = matches!(sas.reach, auth::Reach::Account { .. });
        return if any { vec![SERVICE_READ, CONTAINERS_READ, BLOBS_READ] } else { Vec::new() };
    }
    let needs: Option<(&str, &[&'static str])> = match level {
        Service if reads && comp == "list" => Some(("l", &[CONTAINERS_READ])),
        Service if reads => Some(("r", &[SERVICE_READ])),
        Service => Some(("w", &[SERVICE_WRITE])),
        Container if reads && comp == "list" => Some(("l", &[BLOBS_READ])),
        // no signature opens the access policies
        Container if comp == "acl" => None,
        Container if reads => Some(("r", &[CONTAINERS_READ])),
        Container if *method == Method::DELETE => Some(("d", &[CONTAINERS_DELETE])),
        Container if *method == Method::PUT && comp.is_empty() => Some(("cw", &[CONTAINERS_WRITE])),
        Container => Some(("w", &[CONTAINERS_WRITE])),
        Object if comp == "tags" => Some(("t", &[TAGS_READ, TAGS_WRITE])),
        Object if reads => Some(("r", &[BLOBS_READ])),
        Object if *method == Method::DELETE => Some(("d", &[BLOBS_DELETE])),
        Object if *method == Method::PUT && matches!(comp, "" | "block" | "blocklist") => Some(("cw", &[BLOBS_WRITE])),
        Object => Some(("w", &[BLOBS_WRITE])),
    };
    let Some((letters, actions)) = needs else { return Vec::new() };
    if !sas.allows(level, letters) {
        return Vec::new();
    }
    let mut actions = actions.to_vec();
    if sas.allows(level, "w") {
        actions.push(OVERWRITE);
    }
    actions
}

/// XML, and the code in a header for those who get no body.
fn refuse_blob(head: &Head, error: &Error) -> Response<bytes::Bytes> {
    let (mut status, mut code, mut message) = (error.kind.status(), error.code.as_ref(), error.message.as_str());
    if error.kind == Kind::Unauthenticated {
        let unsigned = !head.headers.contains_key("authorization");
        (code, message) = if unsigned {
            (
                "NoAuthenticationInformation",
                "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.",
            )
        } else {
            ("InvalidAuthenticationInfo", message)
        };
    }
    if error.kind == Kind::NotFound && !matches!(code, "ContainerNotFound" | "BlobNotFound") {
        // the rules speak of resource ids, which a caller of this door may not know
        (code, message) = ("ResourceNotFound", "The specified resource does not exist.");
    }
    if error.kind == Kind::Forbidden && code == "AuthorizationFailed" {
        (code, message) =
            ("AuthorizationPermissionMismatch", "This request is not authorized to perform this operation using this permission.");
    }
    if error.kind == Kind::Cancelled {
        status = 400;
    }
    let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    if let Ok(code) = HeaderValue::from_str(code) {
        response = response.header("x-ms-error-code", code);
    }
    if error.kind == Kind::Unauthenticated {
        let challenge =
            format!("Bearer authorization_uri={}/common/oauth2/authorize resource_id=https://storage.azure.com", head.urls.host("login"));
        response = response.header("www-authenticate", challenge);
    }
    if error.kind == Kind::Throttled || error.kind == Kind::Unavailable {
        response = response.header("retry-after", "1");
    }
    if matches!(error.kind, Kind::NotModified) {
        return response.body(bytes::Bytes::new()).unwrap_or_default();
    }
    let body = crate::wire::error_xml(code, message, &head.origin.request.to_string(), head.at);
    response.header("content-type", "application/xml").body(body.into()).unwrap_or_default()
}

fn refuse_management(head: &Head, error: &Error) -> Response<bytes::Bytes> {
    let mut inner = serde_json::json!({ "code": error.code, "message": error.message });
    if let Some(target) = &error.target {
        inner["target"] = target.clone().into();
    }
    let mut response = Response::builder().status(error.kind.status()).header("content-type", "application/json; charset=utf-8");
    if error.kind == Kind::Unauthenticated {
        let challenge = format!("Bearer authorization_uri=\"{}/common\", error=\"invalid_token\"", head.urls.host("login"));
        response = response.header("www-authenticate", challenge);
    }
    if let Ok(code) = HeaderValue::from_str(&error.code) {
        response = response.header(HeaderName::from_static("x-ms-failure-cause"), code);
    }
    response.body(serde_json::json!({ "error": inner }).to_string().into()).unwrap_or_default()
}
