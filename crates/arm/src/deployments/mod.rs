//! Deployments of templates (`Microsoft.Resources/deployments`), at a resource group and at a subscription.
//!
//! A PUT plans the whole template (`template`, pure), stores the deployment, its plan and its template in one commit and
//! answers; the runner does the rest. Each resource is created by a request from inside ([`inside`]) that takes the same
//! way as one from outside, under the name and with the rights of whoever asked for the deployment; a nested deployment
//! is a resource like the others. What the plan waits for (`reference`, `list…`) is asked so too.
//!
//! | part | what it holds |
//! |---|---|
//! | `calls` | what clients call |
//! | `request` | a body, leniently read, to a plan |
//! | `region` | what a template asks of the region |
//! | `inside` | requests from inside |
//! | `run` | takes deployments to their end, through restarts |
//! | `what_if` | what would change |
//! | `export` | a template of what is in a group |
//! | `model` | what is stored |
//!
//! Secrets: the values of `secureString` and `secureObject` parameters are in the stored plan alone, which is sealed like
//! everything else and is let go when the deployment ends (its chunks are deleted an hour later). They are in no answer, no operation, no log line and no entry.

mod calls;
mod export;
mod inside;
mod model;
mod region;
mod request;
mod run;
mod what_if;

pub(crate) use inside::Tables;
pub(crate) use run::{Queue, Running, start};

use crate::model::row_name;
use crate::{Arm, leak};
use base::{Error, ResourceId, Result};
use http::Method;
use model::{DEPLOYMENTS, Deployment, STEPS, Step, TEMPLATES, Template, WORK, Work};
use service::{Builder, Head, Neighbours, Target};
use trust::{Access, Batch, Caller, Permit, Span};

const KIND: &str = "Microsoft.Resources/deployments";

/// The rows, at both scopes.
pub(crate) fn rows(mut table: Builder<Arm>) -> Builder<Arm> {
    table = table.target_is(target);
    for scope in ["/subscriptions/{s}/resourceGroups/{g}", "/subscriptions/{s}"] {
        let all = leak(format!("{scope}/providers/{KIND}"));
        let one = leak(format!("{all}/{{name}}"));
        let below = |what: &str| leak(format!("{one}/{what}"));
        let action = |what: &str| leak(format!("{KIND}/{what}"));
        table = table
            .read("List Deployments", Method::GET, all, &[], &[action("read")], calls::list)
            .read("Get Deployment", Method::GET, one, &[], &[action("read")], calls::get)
            .read("Check Deployment", Method::HEAD, one, &[], &[action("read")], calls::exists)
            .write("Put Deployment", Method::PUT, one, &[], &[action("write")], calls::put)
            .write("Delete Deployment", Method::DELETE, one, &[], &[action("delete")], calls::delete)
            .write("Validate Deployment", Method::POST, below("validate"), &[], &[action("validate/action")], calls::validate)
            .write("What If Deployment", Method::POST, below("whatIf"), &[], &[action("whatIf/action")], calls::what_if)
            .write("Cancel Deployment", Method::POST, below("cancel"), &[], &[action("cancel/action")], calls::cancel)
            .write(
                "Export Deployment Template",
                Method::POST,
                below("exportTemplate"),
                &[],
                &[action("exportTemplate/action")],
                calls::export,
            )
            .read("List Deployment Operations", Method::GET, below("operations"), &[], &[action("operations/read")], calls::operations)
            .read("Get Deployment Operation", Method::GET, below("operations/{op}"), &[], &[action("operations/read")], calls::operation)
            .read(
                "Get Deployment Operation Status",
                Method::GET,
                below("operationStatuses/{op}"),
                &[],
                &[action("operationstatuses/read")],
                calls::status,
            );
    }
    table = table.target_is(crate::target::group).write(
        "Export Resource Group",
        Method::POST,
        "/subscriptions/{s}/resourceGroups/{g}/exportTemplate",
        &[],
        &["Microsoft.Resources/subscriptions/resourceGroups/exportTemplate/action"],
        export::group,
    );
    table = table.target_is(target);
    // clients name a group's operations without a provider
    let operations = "/subscriptions/{s}/resourceGroups/{g}/deployments/{name}/operations";
    let action = leak(format!("{KIND}/operations/read"));
    table.read("List Deployment Operations", Method::GET, operations, &[], &[action], calls::operations).read(
        "Get Deployment Operation",
        Method::GET,
        leak(format!("{operations}/{{op}}")),
        &[],
        &[action],
        calls::operation,
    )
}

/// Rows of the subscription, roles at the deployment (or, for lists, at its scope).
fn target(_: &Arm, head: &Head, caller: &Caller, _: &Neighbours) -> Result<Target> {
    if caller.is_anonymous() {
        return Ok(Target::of(ResourceId::region()));
    }
    crate::names::api_version(head)?;
    let scope = if head.params.has("name") { deployment_id(head)? } else { scope_of(head)? };
    let detail = scope.as_str().get(51..).unwrap_or("").to_owned();
    Ok(Target { resource: crate::target::subscription_id(head)?, scope, detail })
}

/// The group or subscription of the path.
fn scope_of(head: &Head) -> Result<ResourceId> {
    if head.params.has("g") { crate::target::group_id(head) } else { crate::target::subscription_id(head) }
}

/// 1 to 64 letters, digits and `-_.()` (Azure naming rules, "deployments").
fn deployment_id(head: &Head) -> Result<ResourceId> {
    let name = head.params.get("name");
    let legal = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '(' | ')');
    if name.is_empty() || name.chars().count() > 64 || !name.chars().all(legal) || name.ends_with('.') {
        return Err(Error::invalid(
            "InvalidDeploymentName",
            format!("The deployment name '{name}' is not valid: it has 1 to 64 letters, digits, '-', '_', '.', '(' and ')', and does not end with a period."),
        )
        .at("deploymentName"));
    }
    scope_of(head)?.provider(KIND, name)
}

/// Deletes some rows of the deployments of a group that goes. `None`: there are none left.
pub(crate) async fn leftovers<A: Access>(permit: &Permit<A>, group: &ResourceId) -> Result<Option<Batch>> {
    let prefix = format!("{}/", row_name(group));
    let (mut batch, mut found) = (Batch::new(), false);
    let data = permit.data();
    for (name, _) in data.scan::<Step>(STEPS, Span::prefix(&prefix), 400).await?.rows {
        (batch, found) = (batch.delete(STEPS, name), true);
    }
    for (name, row) in data.scan::<Work>(WORK, Span::prefix(&prefix), 100).await?.rows {
        (batch, found) = (batch.delete(WORK, name).drop_content(row.value.text), true);
    }
    for (name, row) in data.scan::<Template>(TEMPLATES, Span::prefix(&prefix), 100).await?.rows {
        (batch, found) = (batch.delete(TEMPLATES, name).drop_content(row.value.text), true);
    }
    for (name, row) in data.scan::<Deployment>(DEPLOYMENTS, Span::prefix(&prefix), 100).await?.rows {
        (batch, found) = (batch.delete(DEPLOYMENTS, name).drop_content(row.value.details), true);
    }
    Ok(found.then_some(batch))
}
