//! "Which service is this for?": host and path against the services' tables.

use crate::Inner;
use service::{Door, Head, Matched, Operation, Params, RESERVED_NAMES, Service};
use std::sync::Arc;

/// Where a request goes.
pub(crate) enum Route {
    Row {
        service: Arc<dyn Service>,
        door: Arc<Door>,
        row: Arc<Operation>,
        params: Params,
    },
    /// A door is known, so its dialect can say what is wrong.
    NoRow {
        service: Arc<dyn Service>,
        door: Arc<Door>,
        params: Params,
        other_method: bool,
    },
    /// The host is not one of ours.
    NoDoor,
}

/// Finds the row. On the bare host several doors may claim a path: the first that has a row for it wins.
pub(crate) fn route(inner: &Inner, head: &Head) -> Route {
    let mut fallback: Option<Route> = None;
    let first = head.raw_path.trim_start_matches('/').split('/').next().unwrap_or("").to_ascii_lowercase();
    let reserved = RESERVED_NAMES.contains(&first.as_str());
    let bare = head.host == "localhost" || head.host == inner.urls.domain || head.host.parse::<std::net::IpAddr>().is_ok();
    for (service, table) in &inner.services {
        for (door, host_params, path) in table.doors_for(&head.host, &inner.urls.domain, &head.raw_path) {
            // "/subscriptions/…" is never a storage account, also where no row fits
            if bare && door.data && reserved {
                continue;
            }
            let (service, door) = (service.clone(), door.clone());
            match table.find(&door, head, path) {
                Matched::Row(row, params) => {
                    let mut all = host_params;
                    all.0.extend(params.0);
                    return Route::Row { service, door, row, params: all };
                }
                Matched::OtherMethod => {
                    fallback = better(fallback, Route::NoRow { service, door, params: host_params, other_method: true })
                }
                Matched::Nothing => fallback = better(fallback, Route::NoRow { service, door, params: host_params, other_method: false }),
            }
        }
    }
    fallback.unwrap_or(Route::NoDoor)
}

/// A door that knows the path speaks before one that does not; where none does, the last control-plane door: Resource
/// Manager, which is the widest, comes last in the list.
fn better(have: Option<Route>, new: Route) -> Option<Route> {
    let rank = |r: &Route| match r {
        Route::NoRow { other_method: true, .. } => 2,
        Route::NoRow { door, .. } if !door.data => 1,
        _ => 0,
    };
    match have {
        Some(old) if rank(&old) > rank(&new) || (rank(&old) == rank(&new) && rank(&new) != 1) => Some(old),
        _ => Some(new),
    }
}
