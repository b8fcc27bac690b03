//! How a handler reaches what is not under its own permit: by asking, as the same caller, for another one.

use crate::{Body, Call, Handler, Head, Operation, Reply, Target, Urls};
use base::{Clock, Error, ResourceId, Result};
use std::sync::Arc;
use trust::{Access, Ask, Caller, Credentials, Facts, Origin, Permit, Trust, Weight};

/// The caller's further reach. Cheap to clone.
#[derive(Clone)]
pub struct Neighbours {
    trust: Trust,
    /// The part of the region that holds this, if any: nobody acts as another.
    part: Option<&'static str>,
    pub caller: Caller,
    pub origin: Origin,
    pub urls: Arc<Urls>,
    pub clock: Arc<dyn Clock>,
    pub chance: Arc<dyn base::Chance>,
}

impl std::fmt::Debug for Neighbours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Neighbours of {:?}", self.caller)
    }
}

impl Neighbours {
    /// For the gateway, ARM's worker and the test kit. For `Caller::Region` it is that part's.
    pub fn new(trust: Trust, caller: Caller, origin: Origin, urls: Arc<Urls>) -> Neighbours {
        let (clock, chance) = (trust.clock(), trust.chance());
        Neighbours { trust, part: part_of(&caller), caller, origin, urls, clock, chance }
    }
    /// The same reach in the hands of a service: as the region it acts only as the part that it is ([`crate::Service::part`]).
    pub fn for_part(self, part: Option<&'static str>) -> Neighbours {
        Neighbours { part, ..self }
    }
    /// The same reach under another caller: for ARM's worker (`Caller::Worker`) and the token service's own acts.
    pub fn on_behalf(&self, caller: Caller) -> Neighbours {
        Neighbours { caller, ..self.clone() }
    }
    /// A further permit. `scope` is where roles are looked up; `detail` goes into the record.
    pub async fn permit<A: Access>(
        &self,
        verb: &'static str,
        actions: &[&str],
        data: bool,
        target: &ResourceId,
        weight: Weight,
        detail: &str,
    ) -> Result<Permit<A>> {
        if let Some(part) = part_of(&self.caller)
            && self.part != Some(part)
        {
            // a defect, or code that means harm: no caller from outside comes here
            return Err(Error::internal(format!("'{verb}' asks as the part '{part}', which it is not")));
        }
        self.trust
            .permit(Ask {
                caller: self.caller.clone(),
                verb,
                actions: actions.iter().map(|a| (*a).to_owned()).collect(),
                data,
                target: target.clone(),
                scope: target.clone(),
                detail: detail.to_owned(),
                weight,
                origin: self.origin.clone(),
            })
            .await
    }
    /// Has a row answer a request that comes from inside, as this caller: its target, its permit, its handler, as for one
    /// from outside. For Resource Manager, which does what a template asks.
    pub async fn answer(&self, row: &Operation, head: Head, body: Body) -> Result<Reply> {
        let target = (row.target)(&head, &self.caller, self)?;
        self.clone().answer_at(row, target, head, body).await
    }
    /// Has a row answer, as this caller, for a target that is known: the one place where a request gets its permit.
    pub async fn answer_at(self, row: &Operation, target: Target, head: Head, body: Body) -> Result<Reply> {
        let ask = Ask {
            caller: self.caller.clone(),
            verb: row.name,
            actions: row.actions.iter().map(|a| (*a).to_owned()).collect(),
            data: row.door.data,
            target: target.resource,
            scope: target.scope,
            detail: target.detail,
            weight: row.weight,
            origin: self.origin.clone(),
        };
        let call = Call { head, caller: self.caller.clone(), body };
        match &row.handler {
            Handler::Read(handler) => handler(call, self.trust.permit(ask).await?, self).await,
            Handler::Write(handler) => handler(call, self.trust.permit(ask).await?, self).await,
            Handler::Open(_) => Err(Error::internal("an open row has no permit")),
        }
    }
    /// Would the caller be allowed this management action there? For list filters; opens nothing, records nothing.
    pub fn may(&self, action: &str, scope: &ResourceId) -> bool {
        self.trust.may(&self.caller, action, scope)
    }
    /// Reads the facts. Keep the closure short: it holds the lock that commits wait for.
    pub fn facts<T>(&self, read: impl FnOnce(&Facts) -> T) -> T {
        self.trust.facts(read)
    }
    /// Checks passwords, keys, signatures, tokens.
    pub fn credentials(&self) -> Credentials<'_> {
        self.trust.credentials()
    }
}

/// The part that a caller claims to be, also behind a worker.
fn part_of(caller: &Caller) -> Option<&'static str> {
    match caller {
        Caller::Region { part } => Some(part),
        Caller::Worker { on_behalf_of, .. } => part_of(on_behalf_of),
        _ => None,
    }
}
