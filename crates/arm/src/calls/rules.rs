//! The rows of everything that rules other things: the tenant's own roles, locks, deny assignments, management groups,
//! policies and their state.

use crate::calls::policy_objects::What;
use crate::calls::{deny_assignments, locks, management_groups, policy_objects, policy_states, role_definitions};
use crate::{Arm, leak, target};
use http::Method;
use service::Builder;
use trust::Weight;

const AUTHORIZATION: &str = "/{scope*}/providers/Microsoft.Authorization";
const STATES: &str = "/{scope*}/providers/Microsoft.PolicyInsights/policyStates/{which}";
const GROUPS: &str = "/providers/Microsoft.Management/managementGroups";
const GROUP: &str = "/providers/Microsoft.Management/managementGroups/{mg}";

fn action(what: &str) -> &'static str {
    leak(format!("Microsoft.Authorization/{what}"))
}

/// Adds them, at the door that the table is at.
pub(crate) fn rows(table: Builder<Arm>) -> Builder<Arm> {
    let table = of_roles(table);
    let table = of_locks(table);
    let table = of_policies(table);
    of_management_groups(table)
}

fn of_roles(table: Builder<Arm>) -> Builder<Arm> {
    let one = leak(format!("{AUTHORIZATION}/roleDefinitions/{{name}}"));
    let (all_denied, one_denied) =
        (leak(format!("{AUTHORIZATION}/denyAssignments")), leak(format!("{AUTHORIZATION}/denyAssignments/{{name}}")));
    table
        .target_is(target::of_tenant)
        .write("Put Role Definition", Method::PUT, one, &[], &[action("roleDefinitions/write")], role_definitions::put)
        .weighing(Weight::Indexed)
        .write("Delete Role Definition", Method::DELETE, one, &[], &[action("roleDefinitions/delete")], role_definitions::delete)
        .weighing(Weight::Indexed)
        .target_is(target::scope)
        .read("List Deny Assignments", Method::GET, all_denied, &[], &[action("denyAssignments/read")], deny_assignments::list)
        .read("Get Deny Assignment", Method::GET, one_denied, &[], &[action("denyAssignments/read")], deny_assignments::get)
        .write("Put Deny Assignment", Method::PUT, one_denied, &[], &[action("denyAssignments/write")], deny_assignments::write)
        .write("Delete Deny Assignment", Method::DELETE, one_denied, &[], &[action("denyAssignments/delete")], deny_assignments::write)
}

fn of_locks(table: Builder<Arm>) -> Builder<Arm> {
    let (all, one) = (leak(format!("{AUTHORIZATION}/locks")), leak(format!("{AUTHORIZATION}/locks/{{name}}")));
    table
        .target_is(target::scope)
        .read("List Locks", Method::GET, all, &[], &[action("locks/read")], locks::list)
        .read("Get Lock", Method::GET, one, &[], &[action("locks/read")], locks::get)
        .write("Put Lock", Method::PUT, one, &[], &[action("locks/write")], locks::put)
        .write("Delete Lock", Method::DELETE, one, &[], &[action("locks/delete")], locks::delete)
}

fn of_policies(mut table: Builder<Arm>) -> Builder<Arm> {
    table = table.target_is(target::scope);
    for what in What::ALL {
        let (kind, noun) = (what.kind(), what.noun());
        let (all, one) = (leak(format!("{AUTHORIZATION}/{kind}")), leak(format!("{AUTHORIZATION}/{kind}/{{name}}")));
        let name = |verb: &str| leak(format!("{verb} {noun}"));
        let needs = |verb: &str| action(&format!("{kind}/{verb}"));
        table = table
            .read(leak(format!("List {noun}s")), Method::GET, all, &[], &[needs("read")], move |_, call, permit, near| {
                policy_objects::list(what, call, permit, near)
            })
            .read(name("Get"), Method::GET, one, &[], &[needs("read")], move |_, call, permit, near| {
                policy_objects::get(what, call, permit, near)
            })
            .write(name("Put"), Method::PUT, one, &[], &[needs("write")], move |arm, call, permit, near| {
                policy_objects::put(what, arm, call, permit, near)
            })
            .write(name("Delete"), Method::DELETE, one, &[], &[needs("delete")], move |_, call, permit, near| {
                policy_objects::delete(what, call, permit, near)
            });
    }
    let state = |what: &str| leak(format!("{STATES}/{what}"));
    let needs = |what: &str| leak(format!("Microsoft.PolicyInsights/policyStates/{what}"));
    table
        .read("Query Policy States", Method::POST, state("queryResults"), &[], &[needs("queryResults/read")], policy_states::query)
        .read("Summarize Policy States", Method::POST, state("summarize"), &[], &[needs("summarize/read")], policy_states::summarize)
        .read(
            "Trigger Policy Evaluation",
            Method::POST,
            state("triggerEvaluation"),
            &[],
            &[needs("triggerEvaluation/action")],
            policy_states::trigger,
        )
}

fn of_management_groups(table: Builder<Arm>) -> Builder<Arm> {
    let group = |what: &str| leak(format!("Microsoft.Management/managementGroups/{what}"));
    let (all, subscriptions, subscription) =
        (GROUPS, leak(format!("{GROUP}/subscriptions")), leak(format!("{GROUP}/subscriptions/{{sub}}")));
    table
        .target_is(target::tenant)
        .read("List Management Groups", Method::GET, all, &[], &[group("read")], management_groups::list)
        .read(
            "List Entities",
            Method::POST,
            "/providers/Microsoft.Management/getEntities",
            &[],
            &[group("read")],
            management_groups::entities,
        )
        .read(
            "Check Management Group Name",
            Method::POST,
            "/providers/Microsoft.Management/checkNameAvailability",
            &[],
            &[group("read")],
            management_groups::check_name,
        )
        .write(
            "Elevate Access",
            Method::POST,
            "/providers/Microsoft.Authorization/elevateAccess",
            &[],
            &["Microsoft.Authorization/elevateAccess/Action"],
            management_groups::elevate,
        )
        .weighing(Weight::Indexed)
        .target_is(target::management_group)
        .read("Get Management Group", Method::GET, GROUP, &[], &[group("read")], management_groups::get)
        .write("Put Management Group", Method::PUT, GROUP, &[], &[group("write")], management_groups::put)
        .weighing(Weight::Indexed)
        .write("Update Management Group", Method::PATCH, GROUP, &[], &[group("write")], management_groups::patch)
        .weighing(Weight::Indexed)
        .write("Delete Management Group", Method::DELETE, GROUP, &[], &[group("delete")], management_groups::delete)
        .weighing(Weight::Indexed)
        .read("List Descendants", Method::GET, leak(format!("{GROUP}/descendants")), &[], &[group("read")], management_groups::descendants)
        .read("List Subscriptions of Group", Method::GET, subscriptions, &[], &[group("read")], management_groups::list_subscriptions)
        .read("Get Subscription of Group", Method::GET, subscription, &[], &[group("read")], management_groups::get_subscription)
        .write("Move Subscription", Method::PUT, subscription, &[], &[group("subscriptions/write")], management_groups::put_subscription)
        .weighing(Weight::Indexed)
        .write(
            "Remove Subscription",
            Method::DELETE,
            subscription,
            &[],
            &[group("subscriptions/delete")],
            management_groups::delete_subscription,
        )
        .weighing(Weight::Indexed)
        .target_is(target::scope)
}
