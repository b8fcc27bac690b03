//! Azure Resource Manager: subscriptions, resource groups, resources of the kinds that services bring, tags, roles, and
//! long operations that survive a restart. [`Arm::operations`] is the table of contents.
//!
//! | part | what it holds |
//! |---|---|
//! | `calls/` | one family of calls each |
//! | [`AzureRoles`] | who may do what, judged purely from facts; the roles themselves are in `builtin` |
//! | `worker` | does the steps of long operations under the name of whoever asked |
//! | `model` | what is stored; `target`: what a call is about; `change`: read, decide, commit |
//!
//! Rows are in the space of their subscription; roles are looked up at the exact scope.

mod aliases;
mod builtin;
mod builtin_policies;
mod calls;
mod change;
mod deployments;
mod filter;
pub mod fuzz;
mod model;
mod names;
mod paging;
mod policies;
mod roles;
mod rulings;
mod seed;
mod target;
mod worker;

pub use builtin::{GLOBAL_ADMINISTRATOR, OWNER, ROLES, Role, role};
pub use calls::deny_assignments::{DenyAssignment, allow, deny};
pub use roles::{At, AzureRoles, EXCEPTIONS, Needs, matches};
pub use seed::seed_subscription;
pub use worker::Running;

use base::{Error, Kind, Result};
use calls::{groups, metadata, operations, providers, resources, role_assignments, role_definitions, subscriptions, tags, unbuilt};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use model::{Operation, Purpose};
use service::{Door, Head, Operations, Service, Urls};
use std::sync::Arc;
use tokio::sync::oneshot;
use trust::{Trust, Weight};

/// The service.
pub struct Arm {
    kinds: Vec<Arc<dyn service::Kind>>,
    queue: worker::Queue,
    pub(crate) deployments: deployments::Queue,
    pub(crate) tables: deployments::Tables,
    pub(crate) ready: policies::Ready,
}

/// Where a client polls an operation.
pub(crate) struct OperationUrls {
    /// `Azure-AsyncOperation`.
    pub status: String,
    /// `Location`.
    pub results: String,
}

impl Arm {
    /// `kinds`: everything that can be created, from all services.
    pub fn new(kinds: Vec<Arc<dyn service::Kind>>) -> Arc<Arm> {
        Arc::new(Arm {
            kinds,
            queue: worker::Queue::default(),
            deployments: Default::default(),
            tables: Default::default(),
            ready: Default::default(),
        })
    }

    /// Everything that the region serves, for the templates that name it. Said once; without it Resource Manager's own.
    pub fn serving(&self, services: &[Arc<dyn Service>]) {
        self.tables.set(services);
    }

    /// Starts the worker: takes up what a stop or a crash left unfinished, then what is submitted.
    pub async fn start(self: &Arc<Self>, trust: Trust, urls: Arc<Urls>) -> Result<Running> {
        let deployments = deployments::start(self, trust.clone(), urls.clone()).await?;
        Ok(worker::start(self.clone(), trust, urls).await?.beside(deployments))
    }

    pub(crate) fn urls(&self, head: &Head, operation: &Operation) -> OperationUrls {
        let base = paging::base_url(head);
        let subscription = operation.target.subscription_id().map(|s| s.to_string()).unwrap_or_default();
        let namespace = operation.target.namespace().unwrap_or("Microsoft.Resources");
        let location = head.urls.location.as_str();
        let version = head.query.get("api-version").unwrap_or("2024-11-01");
        let at = |what: &str| {
            format!(
                "{base}/subscriptions/{subscription}/providers/{namespace}/locations/{location}/{what}/{}?api-version={version}",
                operation.id
            )
        };
        match operation.purpose {
            Purpose::DeleteGroup => OperationUrls {
                status: at("operationStatuses"),
                results: format!("{base}/subscriptions/{subscription}/operationresults/{}?api-version={version}", operation.id),
            },
            Purpose::Put | Purpose::Delete => OperationUrls { status: at("operationStatuses"), results: at("operationResults") },
        }
    }

    /// Hands a stored operation to the worker. `done` learns how it ended.
    pub(crate) fn submit(&self, head: &Head, operation: Operation, done: Option<oneshot::Sender<worker::Ended>>) -> OperationUrls {
        let urls = self.urls(head, &operation);
        self.queue.push(operation, done);
        urls
    }
}

/// Rows and actions of a table are static; those of kinds are made once, at start.
fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

impl Service for Arm {
    fn namespace(&self) -> &'static str {
        "Microsoft.Resources"
    }

    fn operations(self: Arc<Self>) -> Operations {
        const SUBSCRIPTION: &str = "/subscriptions/{s}";
        const GROUP: &str = "/subscriptions/{s}/resourceGroups/{g}";
        const GROUPS: &str = "Microsoft.Resources/subscriptions/resourceGroups";
        const ASSIGNMENTS: &str = "/{scope*}/providers/Microsoft.Authorization/roleAssignments";
        const DEFINITIONS: &str = "/{scope*}/providers/Microsoft.Authorization/roleDefinitions";
        const TAGS: &str = "/{scope*}/providers/Microsoft.Resources/tags/default";
        let (get, head, put, patch, post, delete) = (Method::GET, Method::HEAD, Method::PUT, Method::PATCH, Method::POST, Method::DELETE);
        let group_action = |what: &str| leak(format!("{GROUPS}/{what}"));
        let mut table = Operations::of(self.clone())
            .on(Door::control("management", &["management"]), target::tenant)
            .open("Get Metadata Endpoints", get.clone(), "/metadata/endpoints", &[], metadata::endpoints)
            .open("Get Image Aliases", get.clone(), "/images/aliases.json", &[], metadata::aliases)
            .read("List Tenants", get.clone(), "/tenants", &[], &["Microsoft.Resources/tenants/read"], subscriptions::list_tenants)
            .read(
                "List Subscriptions",
                get.clone(),
                "/subscriptions",
                &[],
                &["Microsoft.Resources/subscriptions/read"],
                subscriptions::list,
            )
            .read(
                "List Tenant Providers",
                get.clone(),
                "/providers",
                &[],
                &["Microsoft.Resources/providers/read"],
                providers::list_for_tenant,
            )
            .read(
                "Get Tenant Provider",
                get.clone(),
                "/providers/{ns}",
                &[],
                &["Microsoft.Resources/providers/read"],
                providers::get_for_tenant,
            );
        for (path, name, stem) in unbuilt::ROOTS {
            let (read, write) = (leak(format!("{stem}/read")), leak(format!("{stem}/write")));
            table = table
                .read(name, get.clone(), path, &[], &[read], unbuilt::read)
                .write(name, put.clone(), path, &[], &[write], unbuilt::write)
                .write(name, post.clone(), path, &[], &[write], unbuilt::write);
        }
        table = table
            .target_is(target::subscription)
            .read("Get Subscription", get.clone(), SUBSCRIPTION, &[], &["Microsoft.Resources/subscriptions/read"], subscriptions::get)
            .read(
                "List Locations",
                get.clone(),
                "/subscriptions/{s}/locations",
                &[],
                &["Microsoft.Resources/subscriptions/locations/read"],
                subscriptions::locations,
            )
            .read(
                "List Providers",
                get.clone(),
                "/subscriptions/{s}/providers",
                &[],
                &["Microsoft.Resources/subscriptions/providers/read"],
                providers::list,
            )
            .read(
                "Get Provider",
                get.clone(),
                "/subscriptions/{s}/providers/{ns}",
                &[],
                &["Microsoft.Resources/subscriptions/providers/read"],
                providers::get,
            )
            .write(
                "Register Provider",
                post.clone(),
                "/subscriptions/{s}/providers/{ns}/register",
                &[],
                &["Microsoft.Resources/subscriptions/providers/register/action"],
                providers::register,
            )
            .write(
                "Unregister Provider",
                post.clone(),
                "/subscriptions/{s}/providers/{ns}/unregister",
                &[],
                &["Microsoft.Resources/subscriptions/providers/unregister/action"],
                providers::unregister,
            )
            .read("List Resource Groups", get.clone(), "/subscriptions/{s}/resourceGroups", &[], &[group_action("read")], groups::list)
            .read(
                "List Resources",
                get.clone(),
                "/subscriptions/{s}/resources",
                &[],
                &["Microsoft.Resources/subscriptions/resources/read"],
                resources::list,
            )
            .read(
                "Get Operation Status",
                get.clone(),
                "/subscriptions/{s}/providers/{ns}/locations/{l}/operationStatuses/{id}",
                &[],
                &["Microsoft.Resources/subscriptions/operationresults/read"],
                operations::status,
            )
            .read(
                "Get Operation Result",
                get.clone(),
                "/subscriptions/{s}/providers/{ns}/locations/{l}/operationResults/{id}",
                &[],
                &["Microsoft.Resources/subscriptions/operationresults/read"],
                operations::results,
            )
            .read(
                "Get Operation Result",
                get.clone(),
                "/subscriptions/{s}/operationresults/{id}",
                &[],
                &["Microsoft.Resources/subscriptions/operationresults/read"],
                operations::results,
            );
        for (path, name, stem) in unbuilt::IN_SUBSCRIPTION {
            let (read, write, remove) = (leak(format!("{stem}/read")), leak(format!("{stem}/write")), leak(format!("{stem}/delete")));
            table = table
                .read(name, get.clone(), path, &[], &[read], unbuilt::read)
                .write(name, put.clone(), path, &[], &[write], unbuilt::write)
                .write(name, delete.clone(), path, &[], &[remove], unbuilt::write);
        }
        table = table
            .target_is(target::group)
            .read("Get Resource Group", get.clone(), GROUP, &[], &[group_action("read")], groups::get)
            .read("Check Resource Group", head.clone(), GROUP, &[], &[group_action("read")], groups::exists)
            .write("Put Resource Group", put.clone(), GROUP, &[], &[group_action("write")], groups::put)
            .write("Update Resource Group", patch.clone(), GROUP, &[], &[group_action("write")], groups::patch)
            .write("Delete Resource Group", delete.clone(), GROUP, &[], &[group_action("delete")], groups::delete)
            .read(
                "List Resources of Group",
                get.clone(),
                "/subscriptions/{s}/resourceGroups/{g}/resources",
                &[],
                &[leak(format!("{GROUPS}/resources/read"))],
                resources::list_in_group,
            )
            .target_is(target::scope)
            .read("Get Tags", get.clone(), TAGS, &[], &["Microsoft.Resources/tags/read"], tags::get)
            .write("Put Tags", put.clone(), TAGS, &[], &["Microsoft.Resources/tags/write"], tags::put)
            .write("Update Tags", patch.clone(), TAGS, &[], &["Microsoft.Resources/tags/write"], tags::patch)
            .write("Delete Tags", delete.clone(), TAGS, &[], &["Microsoft.Resources/tags/delete"], tags::delete)
            .read(
                "List Role Definitions",
                get.clone(),
                DEFINITIONS,
                &[],
                &["Microsoft.Authorization/roleDefinitions/read"],
                role_definitions::list,
            )
            .read(
                "Get Role Definition",
                get.clone(),
                leak(format!("{DEFINITIONS}/{{name}}")),
                &[],
                &["Microsoft.Authorization/roleDefinitions/read"],
                role_definitions::get,
            )
            .read(
                "List Role Assignments",
                get.clone(),
                ASSIGNMENTS,
                &[],
                &["Microsoft.Authorization/roleAssignments/read"],
                role_assignments::list,
            )
            .read(
                "Get Role Assignment",
                get.clone(),
                leak(format!("{ASSIGNMENTS}/{{name}}")),
                &[],
                &["Microsoft.Authorization/roleAssignments/read"],
                role_assignments::get,
            )
            .write(
                "Put Role Assignment",
                put.clone(),
                leak(format!("{ASSIGNMENTS}/{{name}}")),
                &[],
                &["Microsoft.Authorization/roleAssignments/write"],
                role_assignments::put,
            )
            .weighing(Weight::Indexed)
            .write(
                "Delete Role Assignment",
                delete.clone(),
                leak(format!("{ASSIGNMENTS}/{{name}}")),
                &[],
                &["Microsoft.Authorization/roleAssignments/delete"],
                role_assignments::delete,
            )
            .weighing(Weight::Indexed);
        table = deployments::rows(table).target_is(target::scope);
        table = calls::rules::rows(table);
        for (path, name, stem) in unbuilt::BELOW_ANY_SCOPE {
            let (read, write, remove) = (leak(format!("{stem}/read")), leak(format!("{stem}/write")), leak(format!("{stem}/delete")));
            table = table
                .read(name, get.clone(), path, &[], &[read], unbuilt::read)
                .write(name, put.clone(), path, &[], &[write], unbuilt::write)
                .write(name, post.clone(), path, &[], &[write], unbuilt::write)
                .write(name, delete.clone(), path, &[], &[remove], unbuilt::write);
        }
        for kind in &self.kinds {
            let (namespace, name) = (kind.namespace(), kind.name());
            let action = |what: &str| leak(format!("{namespace}/{name}/{what}"));
            let path = leak(kind_path(&format!("{GROUP}/providers/{namespace}"), name));
            let verb = |what: &str| leak(format!("{what} {namespace}/{name}"));
            table = table
                .target_is(target::resource)
                .read(verb("Get"), get.clone(), path, &[], &[action("read")], resources::get)
                .read(verb("Check"), head.clone(), path, &[], &[action("read")], resources::exists)
                .write(verb("Put"), put.clone(), path, &[], &[action("write")], resources::put)
                .write(verb("Update"), patch.clone(), path, &[], &[action("write")], resources::patch)
                .write(verb("Delete"), delete.clone(), path, &[], &[action("delete")], resources::delete);
            if !name.contains('/') {
                table = table
                    .target_is(target::group)
                    // lists show what the caller may read; to ask takes no role at the list's own scope
                    .read(
                        verb("List by Group"),
                        get.clone(),
                        leak(format!("{GROUP}/providers/{namespace}/{name}")),
                        &[],
                        &[leak(format!("{GROUPS}/resources/read"))],
                        resources::list_kind,
                    )
                    .target_is(target::subscription)
                    .read(
                        verb("List"),
                        get.clone(),
                        leak(format!("{SUBSCRIPTION}/providers/{namespace}/{name}")),
                        &[],
                        &["Microsoft.Resources/subscriptions/resources/read"],
                        resources::list_kind,
                    );
            }
        }
        // what no row above knows: told precisely, to whoever may look
        for (path, at_group) in
            [("/subscriptions/{s}/resourceGroups/{g}/providers/{ns}/{rest+}", true), ("/subscriptions/{s}/providers/{ns}/{rest+}", false)]
        {
            table = if at_group { table.target_is(target::group) } else { table.target_is(target::subscription) };
            for method in [&get, &head] {
                table = table.read("Unknown Resource", method.clone(), path, &[], &[group_action("read")], operations::unknown_read);
            }
            for method in [&put, &patch, &post, &delete] {
                table = table.write("Unknown Resource", method.clone(), path, &[], &[group_action("write")], operations::unknown_write);
            }
        }
        table.build()
    }

    fn audiences(&self, urls: &Urls, _: &'static str) -> Vec<String> {
        urls.management_audiences()
    }

    fn refuse(&self, head: &Head, error: &Error) -> Response<bytes::Bytes> {
        let mut response = Response::new(wire::arm_error_body(error).to_string().into());
        *response.status_mut() = StatusCode::from_u16(error.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        if let Ok(code) = HeaderValue::from_str(&error.code) {
            headers.insert("x-ms-failure-cause", HeaderValue::from_static("gateway"));
            headers.insert("x-ms-error-code", code);
        }
        if error.kind == Kind::Unauthenticated
            && let Ok(value) = HeaderValue::from_str(&format!(
                "Bearer authorization_uri=\"{}\", {}, error_description=\"{}\"",
                metadata::login_url(head),
                wire::oauth::challenge(&error.message, head.at.seconds()),
                quotable(&error.message)
            ))
        {
            headers.insert(http::header::WWW_AUTHENTICATE, value);
        }
        response
    }

    fn decorate(&self, head: &Head, headers: &mut HeaderMap) {
        let correlation = head.header("x-ms-correlation-request-id").map_or_else(|| head.origin.request.to_string(), str::to_owned);
        if let Ok(value) = HeaderValue::from_str(&correlation) {
            headers.insert("x-ms-correlation-request-id", value);
        }
        headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
}

/// For a quoted string of a header (RFC 9110 section 5.6.4).
fn quotable(message: &str) -> String {
    message.chars().filter(|c| c.is_ascii() && !c.is_ascii_control()).map(|c| if matches!(c, '"' | '\\') { '\'' } else { c }).collect()
}

/// `a/b` below a base: `{base}/a/{name1}/b/{name2}`.
fn kind_path(base: &str, name: &str) -> String {
    name.split('/').enumerate().fold(base.to_owned(), |path, (i, part)| format!("{path}/{part}/{{name{i}}}"))
}
