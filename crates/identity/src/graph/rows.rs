//! The rows of the directory beyond its four collections: counts, navigations, what was given, batches. They stand before
//! the collections' own rows, because `/users/$count` would be a user called `$count`.

use super::grants::{self, End};
use super::relations::{self, Way};
use super::{
    Graph, READ_APPLICATIONS, READ_GROUPS, READ_MEMBERS, READ_ORGANIZATION, READ_PRINCIPALS, READ_USERS, batch, deleted, delta, objects,
};
use crate::directory::ObjectKind::{Application, Group, ServicePrincipal, User};
use http::Method;
use service::Builder;
use trust::Weight;

const UPDATE_USER: &[&str] = &["microsoft.directory/users/manager/update"];
const OWN_GROUP: &[&str] = &["microsoft.directory/groups/owners/update"];
const OWN_APPLICATION: &[&str] = &["microsoft.directory/applications/owners/update"];
const OWN_PRINCIPAL: &[&str] = &["microsoft.directory/servicePrincipals/owners/update"];
const ASSIGN_ROLE: &[&str] = &["microsoft.directory/servicePrincipals/appRoleAssignedTo/update"];
const READ_CONSENT: &[&str] = &["microsoft.directory/oAuth2PermissionGrants/standard/read"];
const CONSENT: &[&str] = &["microsoft.directory/oAuth2PermissionGrants/allProperties/update"];
const FEDERATE: &[&str] = &["microsoft.directory/applications/credentials/update"];

const READ_DELETED: &[&str] = &["microsoft.directory/deletedItems/read"];
const RESTORE: &[&str] = &["microsoft.directory/deletedItems/restore"];
const PURGE: &[&str] = &["microsoft.directory/deletedItems/delete"];

#[rustfmt::skip] // a table: one row a line
pub(super) fn directory(table: Builder<Graph>) -> Builder<Graph> {
    let table = table
        .read("Batch", Method::POST, "/v1.0/$batch", &[], READ_ORGANIZATION, batch::run)
        .read("Changes of Users", Method::GET, "/v1.0/users/delta", &[], READ_USERS, |_, c, p, n| delta::list(User, c, p, n))
        .read("Changes of Groups", Method::GET, "/v1.0/groups/delta", &[], READ_GROUPS, |_, c, p, n| delta::list(Group, c, p, n))
        .read("Count Users", Method::GET, "/v1.0/users/$count", &[], READ_USERS, |_, c, p, n| objects::count(User, c, p, n))
        .read("Count Groups", Method::GET, "/v1.0/groups/$count", &[], READ_GROUPS, |_, c, p, n| objects::count(Group, c, p, n))
        .read("Count Applications", Method::GET, "/v1.0/applications/$count", &[], READ_APPLICATIONS, |_, c, p, n| objects::count(Application, c, p, n))
        .read("Count Service Principals", Method::GET, "/v1.0/servicePrincipals/$count", &[], READ_PRINCIPALS, |_, c, p, n| objects::count(ServicePrincipal, c, p, n));
    deleted_items(consents(owners(managers(members(table)))))
}

#[rustfmt::skip]
fn members(table: Builder<Graph>) -> Builder<Graph> {
    table
        .read("List Members", Method::GET, "/v1.0/groups/{id}/members", &[], READ_MEMBERS, |_, c, p, n| relations::list(Group, Way::Members, c, p, n))
        .read("List Members of Type", Method::GET, "/v1.0/groups/{id}/members/{cast}", &[], READ_MEMBERS, |_, c, p, n| relations::list(Group, Way::Members, c, p, n))
        .read("List Transitive Members", Method::GET, "/v1.0/groups/{id}/transitiveMembers", &[], READ_MEMBERS, |_, c, p, n| relations::list(Group, Way::TransitiveMembers, c, p, n))
        .read("List Transitive Members of Type", Method::GET, "/v1.0/groups/{id}/transitiveMembers/{cast}", &[], READ_MEMBERS, |_, c, p, n| relations::list(Group, Way::TransitiveMembers, c, p, n))
        .read("List My Groups", Method::GET, "/v1.0/me/memberOf", &[], READ_MEMBERS, |_, c, p, n| relations::list(User, Way::MemberOf, c, p, n))
        .read("List My Groups of Type", Method::GET, "/v1.0/me/memberOf/{cast}", &[], READ_MEMBERS, |_, c, p, n| relations::list(User, Way::MemberOf, c, p, n))
        .read("List All My Groups", Method::GET, "/v1.0/me/transitiveMemberOf", &[], READ_MEMBERS, |_, c, p, n| relations::list(User, Way::TransitiveMemberOf, c, p, n))
        .read("List All My Groups of Type", Method::GET, "/v1.0/me/transitiveMemberOf/{cast}", &[], READ_MEMBERS, |_, c, p, n| relations::list(User, Way::TransitiveMemberOf, c, p, n))
        .read("Get My Groups", Method::POST, "/v1.0/me/getMemberGroups", &[], READ_MEMBERS, |_, c, p, n| relations::all_groups(User, c, p, n))
        .read("Check My Groups", Method::POST, "/v1.0/me/checkMemberGroups", &[], READ_MEMBERS, |_, c, p, n| relations::check_groups(User, c, p, n))
        .read("List Groups of User", Method::GET, "/v1.0/users/{id}/memberOf", &[], READ_MEMBERS, |_, c, p, n| relations::list(User, Way::MemberOf, c, p, n))
        .read("List Groups of User of Type", Method::GET, "/v1.0/users/{id}/memberOf/{cast}", &[], READ_MEMBERS, |_, c, p, n| relations::list(User, Way::MemberOf, c, p, n))
        .read("List All Groups of User", Method::GET, "/v1.0/users/{id}/transitiveMemberOf", &[], READ_MEMBERS, |_, c, p, n| relations::list(User, Way::TransitiveMemberOf, c, p, n))
        .read("List All Groups of User of Type", Method::GET, "/v1.0/users/{id}/transitiveMemberOf/{cast}", &[], READ_MEMBERS, |_, c, p, n| relations::list(User, Way::TransitiveMemberOf, c, p, n))
        .read("Get Groups of User", Method::POST, "/v1.0/users/{id}/getMemberGroups", &[], READ_MEMBERS, |_, c, p, n| relations::all_groups(User, c, p, n))
        .read("Get Objects of User", Method::POST, "/v1.0/users/{id}/getMemberObjects", &[], READ_MEMBERS, |_, c, p, n| relations::all_groups(User, c, p, n))
        .read("Check Groups of User", Method::POST, "/v1.0/users/{id}/checkMemberGroups", &[], READ_MEMBERS, |_, c, p, n| relations::check_groups(User, c, p, n))
        .read("Check Objects of User", Method::POST, "/v1.0/users/{id}/checkMemberObjects", &[], READ_MEMBERS, |_, c, p, n| relations::check_objects(User, c, p, n))
        .read("List Groups of Group", Method::GET, "/v1.0/groups/{id}/memberOf", &[], READ_MEMBERS, |_, c, p, n| relations::list(Group, Way::MemberOf, c, p, n))
        .read("List All Groups of Group", Method::GET, "/v1.0/groups/{id}/transitiveMemberOf", &[], READ_MEMBERS, |_, c, p, n| relations::list(Group, Way::TransitiveMemberOf, c, p, n))
        .read("Get Groups of Group", Method::POST, "/v1.0/groups/{id}/getMemberGroups", &[], READ_MEMBERS, |_, c, p, n| relations::all_groups(Group, c, p, n))
        .read("Get Objects of Group", Method::POST, "/v1.0/groups/{id}/getMemberObjects", &[], READ_MEMBERS, |_, c, p, n| relations::all_groups(Group, c, p, n))
        .read("Check Groups of Group", Method::POST, "/v1.0/groups/{id}/checkMemberGroups", &[], READ_MEMBERS, |_, c, p, n| relations::check_groups(Group, c, p, n))
        .read("List Groups of Principal", Method::GET, "/v1.0/servicePrincipals/{id}/memberOf", &[], READ_MEMBERS, |_, c, p, n| relations::list(ServicePrincipal, Way::MemberOf, c, p, n))
        .read("List All Groups of Principal", Method::GET, "/v1.0/servicePrincipals/{id}/transitiveMemberOf", &[], READ_MEMBERS, |_, c, p, n| relations::list(ServicePrincipal, Way::TransitiveMemberOf, c, p, n))
        .read("Get Groups of Principal", Method::POST, "/v1.0/servicePrincipals/{id}/getMemberGroups", &[], READ_MEMBERS, |_, c, p, n| relations::all_groups(ServicePrincipal, c, p, n))
        .read("Get Objects of Principal", Method::POST, "/v1.0/servicePrincipals/{id}/getMemberObjects", &[], READ_MEMBERS, |_, c, p, n| relations::all_groups(ServicePrincipal, c, p, n))
        .read("Check Groups of Principal", Method::POST, "/v1.0/servicePrincipals/{id}/checkMemberGroups", &[], READ_MEMBERS, |_, c, p, n| relations::check_groups(ServicePrincipal, c, p, n))
}

#[rustfmt::skip]
fn managers(table: Builder<Graph>) -> Builder<Graph> {
    table
        .read("Get My Manager", Method::GET, "/v1.0/me/manager", &[], READ_USERS, |_, c, p, n| relations::manager(c, p, n))
        .read("List My Reports", Method::GET, "/v1.0/me/directReports", &[], READ_USERS, |_, c, p, n| relations::list(User, Way::DirectReports, c, p, n))
        .read("Get Manager", Method::GET, "/v1.0/users/{id}/manager", &[], READ_USERS, |_, c, p, n| relations::manager(c, p, n))
        .write("Set Manager", Method::PUT, "/v1.0/users/{id}/manager/$ref", &[], UPDATE_USER, |_, c, p, n| relations::set_manager(c, p, n))
        .write("Remove Manager", Method::DELETE, "/v1.0/users/{id}/manager/$ref", &[], UPDATE_USER, |_, c, p, n| relations::remove_manager(c, p, n))
        .read("List Reports", Method::GET, "/v1.0/users/{id}/directReports", &[], READ_USERS, |_, c, p, n| relations::list(User, Way::DirectReports, c, p, n))
}

#[rustfmt::skip]
fn owners(table: Builder<Graph>) -> Builder<Graph> {
    table
        .read("List What I Own", Method::GET, "/v1.0/me/ownedObjects", &[], READ_USERS, |_, c, p, n| relations::list(User, Way::OwnedObjects, c, p, n))
        .read("List What I Own of Type", Method::GET, "/v1.0/me/ownedObjects/{cast}", &[], READ_USERS, |_, c, p, n| relations::list(User, Way::OwnedObjects, c, p, n))
        .read("List Owned by User", Method::GET, "/v1.0/users/{id}/ownedObjects", &[], READ_USERS, |_, c, p, n| relations::list(User, Way::OwnedObjects, c, p, n))
        .read("List Owned by Principal", Method::GET, "/v1.0/servicePrincipals/{id}/ownedObjects", &[], READ_PRINCIPALS, |_, c, p, n| relations::list(ServicePrincipal, Way::OwnedObjects, c, p, n))
        .read("List Owners of Group", Method::GET, "/v1.0/groups/{id}/owners", &[], READ_GROUPS, |_, c, p, n| relations::list(Group, Way::Owners, c, p, n))
        .write("Add Owner of Group", Method::POST, "/v1.0/groups/{id}/owners/$ref", &[], OWN_GROUP, |_, c, p, n| relations::add_owner(Group, c, p, n))
        .write("Remove Owner of Group", Method::DELETE, "/v1.0/groups/{id}/owners/{member}/$ref", &[], OWN_GROUP, |_, c, p, n| relations::remove_owner(Group, c, p, n))
        .read("List Owners of Application", Method::GET, "/v1.0/applications/{id}/owners", &[], READ_APPLICATIONS, |_, c, p, n| relations::list(Application, Way::Owners, c, p, n))
        .write("Add Owner of Application", Method::POST, "/v1.0/applications/{id}/owners/$ref", &[], OWN_APPLICATION, |_, c, p, n| relations::add_owner(Application, c, p, n))
        .write("Remove Owner of Application", Method::DELETE, "/v1.0/applications/{id}/owners/{member}/$ref", &[], OWN_APPLICATION, |_, c, p, n| relations::remove_owner(Application, c, p, n))
        .read("List Owners of Principal", Method::GET, "/v1.0/servicePrincipals/{id}/owners", &[], READ_PRINCIPALS, |_, c, p, n| relations::list(ServicePrincipal, Way::Owners, c, p, n))
        .write("Add Owner of Principal", Method::POST, "/v1.0/servicePrincipals/{id}/owners/$ref", &[], OWN_PRINCIPAL, |_, c, p, n| relations::add_owner(ServicePrincipal, c, p, n))
        .write("Remove Owner of Principal", Method::DELETE, "/v1.0/servicePrincipals/{id}/owners/{member}/$ref", &[], OWN_PRINCIPAL, |_, c, p, n| relations::remove_owner(ServicePrincipal, c, p, n))
}

#[rustfmt::skip]
fn consents(table: Builder<Graph>) -> Builder<Graph> {
    let (of, to) = (End::Principal, End::Resource);
    table
        .read("List App Roles of User", Method::GET, "/v1.0/users/{id}/appRoleAssignments", &[], READ_PRINCIPALS, move |_, c, p, n| grants::list_app_roles(User, of, c, p, n))
        .write("Assign App Role to User", Method::POST, "/v1.0/users/{id}/appRoleAssignments", &[], ASSIGN_ROLE, move |_, c, p, n| grants::add_app_role(User, of, c, p, n))
        .weighing(Weight::Indexed)
        .write("Remove App Role of User", Method::DELETE, "/v1.0/users/{id}/appRoleAssignments/{member}", &[], ASSIGN_ROLE, move |_, c, p, n| grants::remove_app_role(User, of, c, p, n))
        .read("List App Roles of Group", Method::GET, "/v1.0/groups/{id}/appRoleAssignments", &[], READ_PRINCIPALS, move |_, c, p, n| grants::list_app_roles(Group, of, c, p, n))
        .write("Assign App Role to Group", Method::POST, "/v1.0/groups/{id}/appRoleAssignments", &[], ASSIGN_ROLE, move |_, c, p, n| grants::add_app_role(Group, of, c, p, n))
        .weighing(Weight::Indexed)
        .write("Remove App Role of Group", Method::DELETE, "/v1.0/groups/{id}/appRoleAssignments/{member}", &[], ASSIGN_ROLE, move |_, c, p, n| grants::remove_app_role(Group, of, c, p, n))
        .read("List App Roles of Principal", Method::GET, "/v1.0/servicePrincipals/{id}/appRoleAssignments", &[], READ_PRINCIPALS, move |_, c, p, n| grants::list_app_roles(ServicePrincipal, of, c, p, n))
        .write("Assign App Role to Principal", Method::POST, "/v1.0/servicePrincipals/{id}/appRoleAssignments", &[], ASSIGN_ROLE, move |_, c, p, n| grants::add_app_role(ServicePrincipal, of, c, p, n))
        .weighing(Weight::Indexed)
        .write("Remove App Role of Principal", Method::DELETE, "/v1.0/servicePrincipals/{id}/appRoleAssignments/{member}", &[], ASSIGN_ROLE, move |_, c, p, n| grants::remove_app_role(ServicePrincipal, of, c, p, n))
        .read("List Assigned to Principal", Method::GET, "/v1.0/servicePrincipals/{id}/appRoleAssignedTo", &[], READ_PRINCIPALS, move |_, c, p, n| grants::list_app_roles(ServicePrincipal, to, c, p, n))
        .write("Assign Own App Role", Method::POST, "/v1.0/servicePrincipals/{id}/appRoleAssignedTo", &[], ASSIGN_ROLE, move |_, c, p, n| grants::add_app_role(ServicePrincipal, to, c, p, n))
        .weighing(Weight::Indexed)
        .write("Remove Own App Role", Method::DELETE, "/v1.0/servicePrincipals/{id}/appRoleAssignedTo/{member}", &[], ASSIGN_ROLE, move |_, c, p, n| grants::remove_app_role(ServicePrincipal, to, c, p, n))
        .read("List Consents", Method::GET, "/v1.0/oauth2PermissionGrants", &[], READ_CONSENT, |_, c, p, n| grants::list_consents(None, c, p, n))
        .read("Get Consent", Method::GET, "/v1.0/oauth2PermissionGrants/{id}", &[], READ_CONSENT, |_, c, p, n| grants::get_consent(c, p, n))
        .write("Add Consent", Method::POST, "/v1.0/oauth2PermissionGrants", &[], CONSENT, |_, c, p, n| grants::add_consent(c, p, n))
        .weighing(Weight::Indexed)
        .write("Update Consent", Method::PATCH, "/v1.0/oauth2PermissionGrants/{id}", &[], CONSENT, |_, c, p, n| grants::change_consent(c, p, n))
        .weighing(Weight::Indexed)
        .write("Remove Consent", Method::DELETE, "/v1.0/oauth2PermissionGrants/{id}", &[], CONSENT, |_, c, p, n| grants::remove_consent(c, p, n))
        .read("List Consents of User", Method::GET, "/v1.0/users/{id}/oauth2PermissionGrants", &[], READ_CONSENT, |_, c, p, n| grants::list_consents(Some((User, "principalId")), c, p, n))
        .read("List Consents of Principal", Method::GET, "/v1.0/servicePrincipals/{id}/oauth2PermissionGrants", &[], READ_CONSENT, |_, c, p, n| grants::list_consents(Some((ServicePrincipal, "clientId")), c, p, n))
        .read("List Federated Credentials", Method::GET, "/v1.0/applications/{id}/federatedIdentityCredentials", &[], READ_APPLICATIONS, |_, c, p, n| grants::list_federated(c, p, n))
        .read("Get Federated Credential", Method::GET, "/v1.0/applications/{id}/federatedIdentityCredentials/{member}", &[], READ_APPLICATIONS, |_, c, p, n| grants::get_federated(c, p, n))
        .write("Add Federated Credential", Method::POST, "/v1.0/applications/{id}/federatedIdentityCredentials", &[], FEDERATE, |_, c, p, n| grants::add_federated(c, p, n))
        .weighing(Weight::Indexed)
        .write("Update Federated Credential", Method::PATCH, "/v1.0/applications/{id}/federatedIdentityCredentials/{member}", &[], FEDERATE, |_, c, p, n| grants::change_federated(c, p, n))
        .weighing(Weight::Indexed)
        .write("Remove Federated Credential", Method::DELETE, "/v1.0/applications/{id}/federatedIdentityCredentials/{member}", &[], FEDERATE, |_, c, p, n| grants::remove_federated(c, p, n))
}

#[rustfmt::skip]
fn deleted_items(table: Builder<Graph>) -> Builder<Graph> {
    table
        .read("List Deleted Items", Method::GET, "/v1.0/directory/deletedItems/{id}", &[], READ_DELETED, |_, c, p, n| deleted::list(c, p, n))
        .write("Restore Deleted Item", Method::POST, "/v1.0/directory/deletedItems/{id}/restore", &[], RESTORE, |_, c, p, n| deleted::restore(c, p, n))
        .weighing(Weight::Indexed)
        .write("Delete Item for Good", Method::DELETE, "/v1.0/directory/deletedItems/{id}", &[], PURGE, |_, c, p, n| deleted::purge(c, p, n))
        .weighing(Weight::Indexed)
}
