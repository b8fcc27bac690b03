//! The table of a service: which call, at which door, needs which actions, and who handles it. Routing, role actions,
//! the refusal tests and the coverage list are all read from it.
//!
//! A *door* is a family of host names (`{account}.blob.core`) and, where clients know no other name than `localhost`,
//! a path prefix (`/{account}`). A *row* is one operation. Rows are tried in order; the first that fits answers.

use crate::{Call, Head, Neighbours, Params, Reply};
use base::{Fut, ResourceId, Result};
use http::Method;
use std::future::Future;
use std::sync::Arc;
use trust::{Caller, Permit, Public, Read, Weight, Write};

/// First path segments that mean the control plane on a bare host: no storage account may be called so.
pub const RESERVED_NAMES: &[&str] = &[
    "subscriptions",
    "providers",
    "tenants",
    "metadata",
    "adfs",
    "common",
    "organizations",
    "consumers",
    "batch",
    "images",
    "static",
    "tile",
    "record",
    "v1.0",
    "beta",
    "msi",
    "devicelogin",
    "$batch",
];

/// A family of host names that means one dialect.
#[derive(Clone, Debug)]
pub struct Door {
    /// `blob`, `management`, `login`, `graph`: also `Head::door`.
    pub name: &'static str,
    /// Label patterns under the region's domain: `management`, `{account}.blob.core`.
    pub hosts: Vec<&'static str>,
    /// Served on `localhost`, `127.0.0.1` and the bare domain too, under this path prefix (empty for none).
    pub path_prefix: Option<&'static str>,
    /// Resource Manager's paths compare without case and may hold empty segments; blob names may not be touched.
    pub lenient_paths: bool,
    /// Its actions are data actions.
    pub data: bool,
    /// The weight of its writes and reads in the record.
    pub writes: Weight,
    pub reads: Weight,
}

impl Door {
    /// A control-plane door: lenient paths, management actions, writes recorded before, reads batched.
    pub fn control(name: &'static str, hosts: &[&'static str]) -> Door {
        Door {
            name,
            hosts: hosts.to_vec(),
            path_prefix: Some(""),
            lenient_paths: true,
            data: false,
            writes: Weight::Before,
            reads: Weight::Batched,
        }
    }
    /// A data-plane door: exact paths, data actions, writes recorded with their effect, reads batched.
    pub fn data(name: &'static str, hosts: &[&'static str], path_prefix: Option<&'static str>) -> Door {
        Door { name, hosts: hosts.to_vec(), path_prefix, lenient_paths: false, data: true, writes: Weight::With, reads: Weight::Batched }
    }
}

/// A condition on query or headers: Azure tells calls apart by them too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    QueryIs(&'static str, &'static str),
    QueryAbsent(&'static str),
    QueryPresent(&'static str),
    HeaderPresent(&'static str),
    NamesDirectory,
}

/// `comp=value`.
pub fn comp(value: &'static str) -> When {
    When::QueryIs("comp", value)
}
/// The query parameter has this value (compared without case).
pub fn query(name: &'static str, value: &'static str) -> When {
    When::QueryIs(name, value)
}
/// The query parameter is not there.
pub fn absent(name: &'static str) -> When {
    When::QueryAbsent(name)
}
/// The query parameter is there, whatever its value.
pub fn present(name: &'static str) -> When {
    When::QueryPresent(name)
}
/// The header is there.
pub fn header(name: &'static str) -> When {
    When::HeaderPresent(name)
}

/// On a bare host: the path begins with a directory's name (`common` and its like, a GUID, a domain), which no storage
/// account can have. Where it does not hold, the row is not there at all: the path is somebody else's.
pub fn names_directory() -> When {
    When::NamesDirectory
}

/// First path segments that name no directory of their own, and yet sign-in.
const DIRECTORIES: [&str; 4] = ["common", "organizations", "consumers", "adfs"];

fn names_a_directory(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or("");
    DIRECTORIES.iter().any(|d| d.eq_ignore_ascii_case(first)) || first.contains('.') || first.parse::<base::TenantId>().is_ok()
}

impl When {
    fn holds(&self, head: &Head) -> bool {
        match self {
            When::QueryIs(name, value) => head.query.get(name).is_some_and(|v| v.eq_ignore_ascii_case(value)),
            When::QueryAbsent(name) => !head.query.has(name),
            When::QueryPresent(name) => head.query.has(name),
            When::HeaderPresent(name) => head.headers.contains_key(*name),
            When::NamesDirectory => !is_bare(&head.host, &head.urls.domain) || names_a_directory(&head.raw_path),
        }
    }
}

/// What a call is about: whose rows and bytes, where roles are looked up, what inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub resource: ResourceId,
    pub scope: ResourceId,
    pub detail: String,
}

impl Target {
    pub fn of(resource: ResourceId) -> Target {
        Target { scope: resource.clone(), resource, detail: String::new() }
    }
}

type Answer = Fut<'static, Result<Reply>>;

/// Who answers, and what it is given.
#[derive(Clone)]
pub enum Handler {
    Read(Arc<dyn Fn(Call, Permit<Read>, Neighbours) -> Answer + Send + Sync>),
    Write(Arc<dyn Fn(Call, Permit<Write>, Neighbours) -> Answer + Send + Sync>),
    /// No permit and no caller: metadata documents, sign-in.
    Open(Arc<dyn Fn(Call, Public, Neighbours) -> Answer + Send + Sync>),
}

type TargetOf = Arc<dyn Fn(&Head, &Caller, &Neighbours) -> Result<Target> + Send + Sync>;

/// One row.
#[derive(Clone)]
pub struct Operation {
    pub name: &'static str,
    pub door: Arc<Door>,
    pub method: Method,
    /// `/{container}/{blob+}`; `{x+}` takes the rest (at least one segment), `{x*}` any number.
    pub path: &'static str,
    pub when: Vec<When>,
    /// All are needed.
    pub actions: Vec<&'static str>,
    pub weight: Weight,
    pub handler: Handler,
    pub target: TargetOf,
    pattern: Pattern,
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} {} at {})", self.name, self.method, self.path, self.door.name)
    }
}

/// A service's table.
pub struct Operations {
    pub doors: Vec<Arc<Door>>,
    pub rows: Vec<Arc<Operation>>,
}

/// Builds a table: `Operations::of(service).on(door, target).read(..).write(..)`.
pub struct Builder<S> {
    service: Arc<S>,
    doors: Vec<Arc<Door>>,
    rows: Vec<Operation>,
    target: TargetOf,
}

impl Operations {
    pub fn of<S: Send + Sync + 'static>(service: Arc<S>) -> Builder<S> {
        Builder { service, doors: Vec::new(), rows: Vec::new(), target: Arc::new(|_, _, _| Ok(Target::of(ResourceId::region()))) }
    }
}

impl<S: Send + Sync + 'static> Builder<S> {
    /// The rows that follow are at this door. `target` finds what a call is about; it must not reveal what exists.
    pub fn on(mut self, door: Door, target: fn(&S, &Head, &Caller, &Neighbours) -> Result<Target>) -> Self {
        self.doors.push(Arc::new(door));
        self.target_is(target)
    }
    /// The rows that follow find their target so, at the same door.
    pub fn target_is(mut self, target: fn(&S, &Head, &Caller, &Neighbours) -> Result<Target>) -> Self {
        let service = self.service.clone();
        self.target = Arc::new(move |head, caller, near| target(&service, head, caller, near));
        self
    }
    pub fn read<H, F>(
        self,
        name: &'static str,
        method: Method,
        path: &'static str,
        when: &[When],
        actions: &[&'static str],
        handler: H,
    ) -> Self
    where
        H: Fn(Arc<S>, Call, Permit<Read>, Neighbours) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Reply>> + Send + 'static,
    {
        let service = self.service.clone();
        let weight = self.door().reads;
        self.row(
            name,
            method,
            path,
            when,
            actions,
            weight,
            Handler::Read(Arc::new(move |c, p, n| Box::pin(handler(service.clone(), c, p, n)))),
        )
    }
    pub fn write<H, F>(
        self,
        name: &'static str,
        method: Method,
        path: &'static str,
        when: &[When],
        actions: &[&'static str],
        handler: H,
    ) -> Self
    where
        H: Fn(Arc<S>, Call, Permit<Write>, Neighbours) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Reply>> + Send + 'static,
    {
        let service = self.service.clone();
        let weight = self.door().writes;
        self.row(
            name,
            method,
            path,
            when,
            actions,
            weight,
            Handler::Write(Arc::new(move |c, p, n| Box::pin(handler(service.clone(), c, p, n)))),
        )
    }
    /// A row that needs no caller.
    pub fn open<H, F>(self, name: &'static str, method: Method, path: &'static str, when: &[When], handler: H) -> Self
    where
        H: Fn(Arc<S>, Call, Public, Neighbours) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Reply>> + Send + 'static,
    {
        let service = self.service.clone();
        self.row(
            name,
            method,
            path,
            when,
            &[],
            Weight::Batched,
            Handler::Open(Arc::new(move |c, p, n| Box::pin(handler(service.clone(), c, p, n)))),
        )
    }
    /// The row just added is recorded at another weight (key release: [`Weight::Indexed`]).
    pub fn weighing(mut self, weight: Weight) -> Self {
        if let Some(row) = self.rows.last_mut() {
            row.weight = weight;
        }
        self
    }
    pub fn build(self) -> Operations {
        Operations { doors: self.doors, rows: self.rows.into_iter().map(Arc::new).collect() }
    }

    fn door(&self) -> &Arc<Door> {
        // a table begins with `on`: a row without a door is a defect that every test meets at once
        self.doors.last().expect("`on` comes before the first row")
    }
    #[allow(clippy::too_many_arguments)] // one row of a table, spelt out
    fn row(
        mut self,
        name: &'static str,
        method: Method,
        path: &'static str,
        when: &[When],
        actions: &[&'static str],
        weight: Weight,
        handler: Handler,
    ) -> Self {
        let row = Operation {
            name,
            door: self.door().clone(),
            method,
            path,
            when: when.to_vec(),
            actions: actions.to_vec(),
            weight,
            handler,
            target: self.target.clone(),
            pattern: Pattern::of(path),
        };
        self.rows.push(row);
        self
    }
}

/// What [`Operations::find`] found.
#[derive(Debug)]
pub enum Matched {
    Row(Arc<Operation>, Params),
    /// The path is known, the method (or its query) is not.
    OtherMethod,
    Nothing,
}

impl Operations {
    /// The doors of a host name, with the host's captures and what is left of the path. `bare` hosts (`localhost`, the
    /// domain itself, a loopback address) match doors by path prefix; several doors may then claim the path.
    pub fn doors_for<'a>(
        &'a self,
        host: &'a str,
        domain: &'a str,
        raw_path: &'a str,
    ) -> impl Iterator<Item = (&'a Arc<Door>, Params, &'a str)> {
        let bare = is_bare(host, domain);
        let label = host.strip_suffix(domain).and_then(|h| h.strip_suffix('.'));
        self.doors.iter().filter_map(move |door| {
            if bare {
                let (params, rest) = strip_prefix(door.path_prefix?, raw_path)?;
                return Some((door, params, rest));
            }
            let params = door.hosts.iter().find_map(|pattern| match_host(pattern, label?))?;
            Some((door, params, raw_path))
        })
    }

    /// The row for a head whose door and path are known. `path` is still percent-encoded.
    pub fn find(&self, door: &Door, head: &Head, path: &str) -> Matched {
        let segments = segments(path, door.lenient_paths);
        let mut known = false;
        for row in self.rows.iter().filter(|r| r.door.name == door.name) {
            let Some(got) = row.pattern.fits(&segments, door.lenient_paths) else { continue };
            if row.when.contains(&When::NamesDirectory) && !When::NamesDirectory.holds(head) {
                continue;
            }
            if row.method == head.method && row.when.iter().all(|w| w.holds(head)) {
                if let Some(params) = row.pattern.capture(got) {
                    return Matched::Row(row.clone(), params);
                }
            } else {
                known = known || row.pattern.capture(got).is_some();
            }
        }
        if known { Matched::OtherMethod } else { Matched::Nothing }
    }
}

/// The host names that every door with a path shares.
fn is_bare(host: &str, domain: &str) -> bool {
    host == domain || host == "localhost" || host.parse::<std::net::IpAddr>().is_ok()
}

fn match_host(pattern: &'static str, label: &str) -> Option<Params> {
    let (want, got): (Vec<&'static str>, Vec<&str>) = (pattern.split('.').collect(), label.split('.').collect());
    if want.len() != got.len() {
        return None;
    }
    let mut params = Params::default();
    for (w, g) in want.into_iter().zip(got) {
        match capture(w) {
            Some(name) => params.0.push((name, g.to_owned())),
            None if w == g => {}
            None => return None,
        }
    }
    Some(params)
}

fn strip_prefix<'a>(prefix: &'static str, raw_path: &'a str) -> Option<(Params, &'a str)> {
    if prefix.is_empty() {
        return Some((Params::default(), raw_path));
    }
    // one captured segment is all that path style needs
    let rest = raw_path.strip_prefix('/')?;
    let (first, rest) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    if first.is_empty() {
        return None;
    }
    Some((Params(vec![(capture(prefix.trim_start_matches('/'))?, wire::percent_decode(first)?)]), rest))
}

fn capture(segment: &'static str) -> Option<&'static str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// The segments of a percent-encoded path; lenient ones leave out those that are empty.
fn segments(path: &str, lenient: bool) -> Vec<&str> {
    path.strip_prefix('/').unwrap_or(path).split('/').filter(|s| !(lenient && s.is_empty())).collect()
}

/// A row's path, taken apart once: every request is held against many rows.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    before: Vec<Segment>,
    /// `{x+}` or `{x*}`: its name, and whether it takes at least one segment.
    rest: Option<(&'static str, bool)>,
    after: Vec<Segment>,
}

#[derive(Clone, Copy, Debug)]
enum Segment {
    Text(&'static str),
    Capture(&'static str),
}

impl Pattern {
    /// At most one `{x+}` or `{x*}`.
    pub(crate) fn of(path: &'static str) -> Pattern {
        let mut pattern = Pattern { before: Vec::new(), rest: None, after: Vec::new() };
        for segment in path.split('/').filter(|s| !s.is_empty()) {
            let segment = match capture(segment) {
                Some(name) if name.ends_with(['+', '*']) && pattern.rest.is_none() => {
                    pattern.rest = Some((name.trim_end_matches(['+', '*']), name.ends_with('+')));
                    continue;
                }
                Some(name) => Segment::Capture(name),
                None => Segment::Text(segment),
            };
            if pattern.rest.is_none() { pattern.before.push(segment) } else { pattern.after.push(segment) }
        }
        pattern
    }

    fn len(&self) -> usize {
        self.before.len() + self.after.len() + usize::from(self.rest.is_some())
    }

    /// The segments that count, where the path is one of this pattern's.
    fn fits<'s, 'p>(&self, got: &'s [&'p str], lenient: bool) -> Option<&'s [&'p str]> {
        let mut got = got;
        if !lenient && let [front @ .., ""] = got {
            let ends_in_rest = self.rest.is_some() && self.after.is_empty();
            if got.len() <= self.len() + 1 && !(got.len() > 1 && ends_in_rest && got.len() > self.len()) {
                got = front; // "/container/" is "/container", and "/" is no segment at all
            }
        }
        let fixed = self.before.len() + self.after.len();
        if got.len() < fixed || (self.rest.is_none() && got.len() != fixed) {
            return None;
        }
        let same = |(want, got): (&Segment, &&str)| match want {
            Segment::Capture(_) => !got.is_empty(),
            Segment::Text(text) => text == got || (lenient && text.eq_ignore_ascii_case(got)),
        };
        let (front, back) = (&got[..self.before.len()], &got[got.len() - self.after.len()..]);
        if !self.before.iter().zip(front).all(same) || !self.after.iter().zip(back).all(same) {
            return None;
        }
        let middle = &got[self.before.len()..got.len() - self.after.len()];
        let is_empty = middle.is_empty() || matches!(middle, [""]);
        (!(is_empty && self.rest.is_some_and(|(_, at_least_one)| at_least_one))).then_some(got)
    }

    /// What a path that fits has in its captures; `None`: a segment is not percent-encoded UTF-8.
    fn capture(&self, got: &[&str]) -> Option<Params> {
        let mut params = Params::default();
        let mut take = |want: &[Segment], got: &[&str]| {
            for (want, got) in want.iter().zip(got) {
                if let Segment::Capture(name) = want {
                    params.0.push((name, wire::percent_decode(got)?));
                }
            }
            Some(())
        };
        take(&self.before, &got[..self.before.len()])?;
        let back = got.len() - self.after.len();
        let rest = match self.rest {
            Some((name, _)) => Some((name, wire::percent_decode(&got[self.before.len()..back].join("/"))?)),
            None => None,
        };
        take(&self.after, &got[back..])?;
        // the captures in the order of the path
        let at = params.0.len() - self.after.iter().filter(|s| matches!(s, Segment::Capture(_))).count();
        params.0.splice(at..at, rest);
        Some(params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(pattern: &'static str, path: &str, lenient: bool) -> Option<Vec<(&'static str, String)>> {
        let (pattern, got) = (Pattern::of(pattern), segments(path, lenient));
        pattern.capture(pattern.fits(&got, lenient)?).map(|p| p.0)
    }

    #[test]
    fn paths_match_as_their_clients_send_them() {
        assert_eq!(captured("/", "/", false), Some(vec![]));
        assert_eq!(captured("/{container}", "/c", false), Some(vec![("container", "c".into())]));
        assert_eq!(captured("/{container}", "/c/", false), Some(vec![("container", "c".into())]));
        assert_eq!(captured("/{container}", "/", false), None);
        assert_eq!(captured("/{container}/{blob+}", "/c/", false), None);
        assert_eq!(captured("/{container}/{blob+}", "/c/a//b/", false), Some(vec![("container", "c".into()), ("blob", "a//b/".into())]));
        assert_eq!(captured("/{container}/{blob+}", "/c/d/", false), Some(vec![("container", "c".into()), ("blob", "d/".into())]));
        assert_eq!(
            captured("/{container}/{blob+}", "/c/%C3%A9%20%2F", false),
            Some(vec![("container", "c".into()), ("blob", "é /".into())])
        );
        assert_eq!(captured("/{container}/{blob+}", "/c/%FF", false), None);
        assert_eq!(
            captured("/subscriptions/{s}/resourceGroups/{g}", "/Subscriptions/1//resourcegroups/RG/", true),
            Some(vec![("s", "1".into()), ("g", "RG".into())])
        );
        let scoped = "/{scope*}/providers/Microsoft.Authorization/roleAssignments/{name}";
        assert_eq!(
            captured(scoped, "/subscriptions/1/providers/Microsoft.Authorization/roleAssignments/x", true),
            Some(vec![("scope", "subscriptions/1".into()), ("name", "x".into())])
        );
        assert_eq!(
            captured(scoped, "/providers/Microsoft.Authorization/roleAssignments/x", true),
            Some(vec![("scope", String::new()), ("name", "x".into())])
        );
    }

    #[test]
    fn directories_have_names_that_no_storage_account_can_have() {
        for yes in
            ["/common/x", "/ADFS/oauth2/token", "/contoso.example/oauth2/token", "/1b7d918a-0000-4000-8000-000000000000/x", "//consumers"]
        {
            assert!(names_a_directory(yes), "{yes}");
        }
        for no in ["/acct/oauth2/token", "/oauth2/discovery/keys", "/", "", "/commonx/y"] {
            assert!(!names_a_directory(no), "{no}");
        }
    }

    #[test]
    fn hosts_match_label_by_label() {
        assert_eq!(match_host("{account}.blob.core", "acct.blob.core").unwrap().get("account"), "acct");
        assert!(match_host("{account}.blob.core", "a.b.blob.core").is_none());
        assert!(match_host("management", "login").is_none());
    }
}
