//! Microsoft Graph v1.0, as far as a directory goes: users, groups, applications, service principals.
//!
//! Everybody in a tenant may read its directory; changes take a directory role (`microsoft.directory/…` actions at
//! `/tenants/{id}`). A caller sees its own tenant and no other: the target is made of the token's tenant, never of the
//! request.

mod answer;
mod applications;
mod batch;
mod body;
mod deleted;
mod delta;
mod dynamic;
mod grants;
mod groups;
mod objects;
mod protection;
mod query;
mod relations;
mod rows;
mod users;

pub use batch::fuzz_batch;
pub use body::fuzz_body;
pub use dynamic::fuzz_rule;
pub use query::fuzz_query;

use crate::directory::{ObjectKind, tenant_of};
use base::{Error, Kind};
use bytes::Bytes;
use http::{HeaderValue, Method};
use serde_json::{Value, json};
use service::{Door, Head, Operations, Service, Target, Urls};
use std::sync::Arc;
use trust::Weight;

const READ_USERS: &[&str] = &["microsoft.directory/users/standard/read"];
const READ_GROUPS: &[&str] = &["microsoft.directory/groups/standard/read"];
const READ_MEMBERS: &[&str] = &["microsoft.directory/groups/members/read"];
const READ_APPLICATIONS: &[&str] = &["microsoft.directory/applications/standard/read"];
const READ_PRINCIPALS: &[&str] = &["microsoft.directory/servicePrincipals/standard/read"];
const READ_ORGANIZATION: &[&str] = &["microsoft.directory/organization/standard/read"];

/// The directory's service.
#[derive(Debug, Default)]
pub struct Graph;

impl Service for Graph {
    fn namespace(&self) -> &'static str {
        "microsoft.directory"
    }

    #[rustfmt::skip] // a table: one row a line
    fn operations(self: Arc<Self>) -> Operations {
        use ObjectKind::{Application, Group, ServicePrincipal, User};
        let table = Operations::of(self)
            .on(Door::control("graph", &["graph"]), |_, _, caller, _| Ok(Target::of(base::ResourceId::tenant(tenant_of(caller)?))));
        protection::rows(rows::directory(table))
            .read("Get Me", Method::GET, "/v1.0/me", &[], READ_USERS, objects::me)
            .read("Get Organization", Method::GET, "/v1.0/organization", &[], READ_ORGANIZATION, objects::organization)
            .read("Get Directory Objects", Method::POST, "/v1.0/directoryObjects/getByIds", &[], READ_USERS, objects::by_ids)
            .read("Get Directory Object", Method::GET, "/v1.0/directoryObjects/{id}", &[], READ_USERS, objects::any)
            .read("Check Member Groups", Method::POST, "/v1.0/directoryObjects/{id}/checkMemberGroups", &[], READ_MEMBERS, groups::check_groups)
            .read("Get Member Groups", Method::POST, "/v1.0/directoryObjects/{id}/getMemberGroups", &[], READ_MEMBERS, groups::all_groups)
            .read("List Users", Method::GET, "/v1.0/users", &[], READ_USERS, |_, c, p, n| objects::list(User, c, p, n))
            .read("Get User", Method::GET, "/v1.0/users/{id}", &[], READ_USERS, |_, c, p, n| objects::get(User, c, p, n))
            .write("Create User", Method::POST, "/v1.0/users", &[], &["microsoft.directory/users/create"], users::create)
            .weighing(Weight::Indexed)
            .write("Update User", Method::PATCH, "/v1.0/users/{id}", &[], &["microsoft.directory/users/basic/update", "microsoft.directory/users/password/update"], users::update)
            .weighing(Weight::Indexed)
            .write("Delete User", Method::DELETE, "/v1.0/users/{id}", &[], &["microsoft.directory/users/delete"], users::delete)
            .weighing(Weight::Indexed)
            .write("Revoke Sessions", Method::POST, "/v1.0/users/{id}/revokeSignInSessions", &[], &["microsoft.directory/users/invalidateAllRefreshTokens"], users::revoke)
            .read("List Groups", Method::GET, "/v1.0/groups", &[], READ_GROUPS, |_, c, p, n| objects::list(Group, c, p, n))
            .read("Get Group", Method::GET, "/v1.0/groups/{id}", &[], READ_GROUPS, |_, c, p, n| objects::get(Group, c, p, n))
            .write("Create Group", Method::POST, "/v1.0/groups", &[], &["microsoft.directory/groups/create"], groups::create)
            .weighing(Weight::Indexed)
            .write("Update Group", Method::PATCH, "/v1.0/groups/{id}", &[], &["microsoft.directory/groups/basic/update", "microsoft.directory/groups/dynamicMembershipRule/update"], groups::update)
            .weighing(Weight::Indexed)
            .write("Delete Group", Method::DELETE, "/v1.0/groups/{id}", &[], &["microsoft.directory/groups/delete"], groups::delete)
            .weighing(Weight::Indexed)
            .write("Add Member", Method::POST, "/v1.0/groups/{id}/members/$ref", &[], &["microsoft.directory/groups/members/update"], groups::add_member)
            .weighing(Weight::Indexed)
            .write("Remove Member", Method::DELETE, "/v1.0/groups/{id}/members/{member}/$ref", &[], &["microsoft.directory/groups/members/update"], groups::remove_member)
            .weighing(Weight::Indexed)
            .read("List Applications", Method::GET, "/v1.0/applications", &[], READ_APPLICATIONS, |_, c, p, n| objects::list(Application, c, p, n))
            .read("Get Application", Method::GET, "/v1.0/applications/{id}", &[], READ_APPLICATIONS, |_, c, p, n| objects::get(Application, c, p, n))
            .write("Create Application", Method::POST, "/v1.0/applications", &[], &["microsoft.directory/applications/create"], applications::create)
            .weighing(Weight::Indexed)
            .write("Update Application", Method::PATCH, "/v1.0/applications/{id}", &[], &["microsoft.directory/applications/basic/update", "microsoft.directory/applications/credentials/update"], applications::update)
            .weighing(Weight::Indexed)
            .write("Delete Application", Method::DELETE, "/v1.0/applications/{id}", &[], &["microsoft.directory/applications/delete"], applications::delete)
            .weighing(Weight::Indexed)
            .write("Add Password", Method::POST, "/v1.0/applications/{id}/addPassword", &[], &["microsoft.directory/applications/credentials/update"], |_, c, p, n| applications::add_password(Application, c, p, n))
            .weighing(Weight::Indexed)
            .write("Remove Password", Method::POST, "/v1.0/applications/{id}/removePassword", &[], &["microsoft.directory/applications/credentials/update"], |_, c, p, n| applications::remove_password(Application, c, p, n))
            .weighing(Weight::Indexed)
            .read("List Service Principals", Method::GET, "/v1.0/servicePrincipals", &[], READ_PRINCIPALS, |_, c, p, n| objects::list(ServicePrincipal, c, p, n))
            .read("Get Service Principal", Method::GET, "/v1.0/servicePrincipals/{id}", &[], READ_PRINCIPALS, |_, c, p, n| objects::get(ServicePrincipal, c, p, n))
            .write("Create Service Principal", Method::POST, "/v1.0/servicePrincipals", &[], &["microsoft.directory/servicePrincipals/create"], applications::create_principal)
            .write("Update Service Principal", Method::PATCH, "/v1.0/servicePrincipals/{id}", &[], &["microsoft.directory/servicePrincipals/basic/update", "microsoft.directory/servicePrincipals/enable", "microsoft.directory/servicePrincipals/credentials/update"], applications::update_principal)
            .weighing(Weight::Indexed)
            .write("Add Password of Principal", Method::POST, "/v1.0/servicePrincipals/{id}/addPassword", &[], &["microsoft.directory/servicePrincipals/credentials/update"], |_, c, p, n| applications::add_password(ServicePrincipal, c, p, n))
            .weighing(Weight::Indexed)
            .write("Remove Password of Principal", Method::POST, "/v1.0/servicePrincipals/{id}/removePassword", &[], &["microsoft.directory/servicePrincipals/credentials/update"], |_, c, p, n| applications::remove_password(ServicePrincipal, c, p, n))
            .weighing(Weight::Indexed)
            .write("Delete Service Principal", Method::DELETE, "/v1.0/servicePrincipals/{id}", &[], &["microsoft.directory/servicePrincipals/delete"], applications::delete_principal)
            .weighing(Weight::Indexed)
            // on the bare host nobody else may answer for these paths, and the words say which call is missing
            .read("Not Built (GET)", Method::GET, "/v1.0/{call+}", &[], READ_ORGANIZATION, objects::not_built)
            .read("Not Built (POST)", Method::POST, "/v1.0/{call+}", &[], READ_ORGANIZATION, objects::not_built)
            .read("Not Built (PATCH)", Method::PATCH, "/v1.0/{call+}", &[], READ_ORGANIZATION, objects::not_built)
            .read("Not Built (PUT)", Method::PUT, "/v1.0/{call+}", &[], READ_ORGANIZATION, objects::not_built)
            .read("Not Built (DELETE)", Method::DELETE, "/v1.0/{call+}", &[], READ_ORGANIZATION, objects::not_built)
            .build()
    }

    /// Ours, and the names that clients ask for literally.
    fn audiences(&self, urls: &Urls, _: &'static str) -> Vec<String> {
        let mut all = vec!["00000003-0000-0000-c000-000000000000".to_owned()];
        for address in [urls.host("graph"), urls.local(), "https://graph.microsoft.com".into()] {
            all.extend([format!("{address}/"), address]);
        }
        all
    }

    fn refuse(&self, head: &Head, error: &Error) -> http::Response<Bytes> {
        let mut response = http::Response::new(Bytes::from(odata_error(head, error).to_string()));
        *response.status_mut() = http::StatusCode::from_u16(error.kind.status()).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/json; charset=utf-8"));
        if error.kind == Kind::Unauthenticated {
            let challenge = format!(
                "Bearer realm=\"\", authorization_uri=\"{}/common/oauth2/v2.0/authorize\", {}",
                crate::urls::sign_in_of(&head.urls, &head.host),
                wire::oauth::challenge(&error.message, head.at.seconds())
            );
            if let Ok(challenge) = HeaderValue::from_str(&challenge) {
                headers.insert("www-authenticate", challenge);
            }
        }
        response
    }

    fn decorate(&self, head: &Head, headers: &mut http::HeaderMap) {
        headers.entry("cache-control").or_insert(HeaderValue::from_static("no-cache"));
        headers.entry("odata-version").or_insert(HeaderValue::from_static("4.0"));
        if let Ok(id) = HeaderValue::from_str(&head.origin.request.to_string()) {
            headers.insert("request-id", id);
        }
    }
}

/// OData JSON Format 4.01, section 21, with Graph's `innerError`.
fn odata_error(head: &Head, error: &Error) -> Value {
    let (code, message) = match error.kind {
        Kind::Forbidden => ("Authorization_RequestDenied", "Insufficient privileges to complete the operation."),
        Kind::Unauthenticated => ("InvalidAuthenticationToken", error.message.as_str()),
        Kind::NotFound => ("Request_ResourceNotFound", error.message.as_str()),
        Kind::Internal => ("generalException", error.message.as_str()),
        Kind::Unavailable => ("serviceNotAvailable", error.message.as_str()),
        Kind::Conflict if !error.code.starts_with("Request_") => {
            ("Directory_ConcurrencyViolation", "The object was changed at the same time. Try again.")
        }
        _ => (error.code.as_ref(), error.message.as_str()),
    };
    let request = head.origin.request.to_string();
    json!({"error": {
        "code": code,
        "message": message,
        "innerError": {
            "date": head.at.rfc3339().get(..19).unwrap_or_default(),
            "request-id": request,
            "client-request-id": head.origin.client_request.as_deref().unwrap_or(&request),
        },
    }})
}

fn bad_request(message: impl Into<String>) -> Error {
    Error::invalid("Request_BadRequest", message)
}

fn not_found(id: &str) -> Error {
    let id: String = id.chars().filter(|c| !c.is_control()).take(200).collect();
    Error::new(
        Kind::NotFound,
        "Request_ResourceNotFound",
        format!("Resource '{id}' does not exist or one of its queried reference-property objects are not present."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::tests::head;

    #[test]
    fn errors_are_odata() {
        let cases = [
            (Error::new(Kind::Forbidden, "AuthorizationFailed", "x"), "Authorization_RequestDenied"),
            (Error::new(Kind::NotFound, "ResourceNotFound", "x"), "Request_ResourceNotFound"),
            (Error::new(Kind::Unauthenticated, "ExpiredAuthenticationToken", "x"), "InvalidAuthenticationToken"),
            (Error::new(Kind::Conflict, "Conflict", "x"), "Directory_ConcurrencyViolation"),
            (bad_request("x"), "Request_BadRequest"),
            (Error::internal("secret"), "generalException"),
        ];
        for (error, code) in cases {
            let body = odata_error(&head(), &error);
            assert_eq!(body["error"]["code"], code);
            assert!(body["error"]["message"].is_string() && body["error"]["innerError"]["request-id"].is_string());
            assert!(!body.to_string().contains("secret"));
        }
        let response = Graph.refuse(&head(), &Error::new(Kind::Unauthenticated, "x", "x"));
        assert!(response.status() == 401 && response.headers().contains_key("www-authenticate"));
    }

    #[test]
    fn every_row_needs_an_action_of_the_directory() {
        for row in Arc::new(Graph).operations().rows {
            assert!(!row.actions.is_empty() && row.actions.iter().all(|a| a.starts_with("microsoft.directory/")), "{row:?}");
            assert_eq!(matches!(row.handler, service::Handler::Read(_)), row.actions.iter().all(|a| a.ends_with("/read")), "{row:?}");
        }
    }
}
