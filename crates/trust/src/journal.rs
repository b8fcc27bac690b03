//! The outbox side of the record: an act becomes an event, a draft with its commitment, and one append operation that
//! goes into the same commit as the effect.

use crate::keys::{Keys, OwnerKeys};
use crate::{Ask, Caller, Ended, Origin, Outcome, Principal, PrincipalKind, layout};
use base::{Chance, EntryId, Error, ResourceId, Result, TenantId, Timestamp};
use bytes::Bytes;
use crypto::{SealKey, open_record, seal_record};
use record::{Actor, Digest, Draft, Event, Opening, Owner, Phase, Tag, Weight, Who, bounded};
use serde::{Deserialize, Serialize};
use store::Op;

/// A row of the outbox: the public draft, and the sealed opening with its owner.
#[derive(Serialize, Deserialize)]
pub(crate) struct OutboxRow {
    pub draft: Bytes,
    pub owner: Owner,
    pub sealed: Bytes,
}

base::first_version! { OutboxRow "trust.outbox"; }

/// What every entry of this process carries.
pub(crate) struct Scribe {
    pub code: Digest,
}

/// An entry about to be written.
pub(crate) struct Note<'a> {
    pub event: &'a Event,
    pub weight: Weight,
    pub phase: Phase,
    pub opens: Option<EntryId>,
    pub at: Timestamp,
}

impl Scribe {
    /// The operation that puts an entry into the outbox. Give it to the commit whose effect it records.
    pub fn entry(&self, note: Note<'_>, owner: &OwnerKeys, chance: &dyn Chance) -> Result<Op> {
        let event = note.event.encode()?;
        let salt: [u8; 32] = crypto::random_array(chance);
        let opening = Opening { salt, event };
        let commitment = opening.commitment();
        let draft = Draft {
            at: note.at,
            weight: note.weight,
            phase: note.phase,
            opens: note.opens,
            code: self.code,
            tag: Tag::from_mac(owner.tag.sign(&commitment.0)),
            commitment,
        };
        let mut plain = opening.salt.to_vec();
        plain.extend_from_slice(&opening.event);
        let row = OutboxRow {
            draft: draft.encode()?.into(),
            owner: note.event.owner,
            sealed: seal_record(&owner.record, chance, &commitment.0, &plain).into(),
        };
        Ok(Op::Append { queue: layout::outbox(), value: base::encode(&row).into() })
    }
}

/// Unseals an opening.
pub(crate) fn open(key: &SealKey, commitment: &Digest, sealed: &[u8]) -> Result<Opening> {
    let plain = open_record(key, &commitment.0, sealed)?;
    let (salt, event) = plain.split_first_chunk::<32>().ok_or_else(|| Error::internal("an opening is too short"))?;
    Ok(Opening { salt: *salt, event: event.to_vec() })
}

/// Whose record an act goes into: what is no tenant's is the operator's. A caller is not named in what everyone opens.
pub(crate) fn owner_of(tenant: Option<TenantId>) -> Owner {
    tenant.map_or(Owner::Operator, Owner::Tenant)
}

/// The caller, as the record names it.
pub(crate) fn who(caller: &Caller) -> Who {
    match caller {
        Caller::Anonymous => Who::anonymous(),
        Caller::Principal(p) => principal(p),
        Caller::Key { key, .. } => Who { kind: Actor::Key, name: Some(key.clone()), ..Who::default() },
        Caller::Sas { key, .. } => Who { kind: Actor::Sas, name: Some(key.clone()), ..Who::default() },
        Caller::Worker { on_behalf_of, operation } => {
            let inner = who(on_behalf_of);
            Who { kind: Actor::Worker, on_behalf_of: inner.object, operation: Some(*operation), ..inner }
        }
        Caller::Region { part } => Who { name: Some((*part).to_owned()), ..Who::region() },
    }
}

fn principal(p: &Principal) -> Who {
    let kind = match p.kind {
        PrincipalKind::User => Actor::User,
        PrincipalKind::ManagedIdentity => Actor::ManagedIdentity,
        PrincipalKind::ServicePrincipal | PrincipalKind::Group => Actor::ServicePrincipal,
    };
    Who {
        kind,
        tenant: Some(p.tenant),
        object: Some(p.object),
        app: Some(p.app),
        name: Some(cut(&p.name)),
        on_behalf_of: None,
        operation: None,
    }
}

/// An event for an ask: everything but how it ended.
pub(crate) fn event(ask: &Ask, owner: Option<TenantId>, because: &str) -> Event {
    let mut event = Event::new(owner_of(owner), who(&ask.caller), ask.verb, ask.target.clone());
    event.action = cut(&ask.actions.join(" "));
    event.detail = bounded(&ask.detail, record::DETAIL_BYTES_MAX);
    event.grant = (!because.is_empty()).then(|| cut(because));
    from(&mut event, &ask.origin);
    event
}

pub(crate) fn from(event: &mut Event, origin: &Origin) {
    event.from = origin.peer;
    event.request = Some(origin.request);
    event.client_request = origin.client_request.as_deref().map(cut);
    event.user_agent = origin.user_agent.as_deref().map(cut);
}

pub(crate) fn ended(event: &mut Event, outcome: &Outcome) {
    event.outcome = outcome_of(outcome);
    event.bytes_in = outcome.bytes_in;
    event.bytes_out = outcome.bytes_out;
    event.digest = outcome.digest.map(Digest);
    event.facts.extend(outcome.facts.iter().map(|(n, v)| record::Fact::new(*n, cut(v))));
}

pub(crate) fn outcome_of(outcome: &Outcome) -> record::Outcome {
    let code = cut(&outcome.code);
    match outcome.result {
        Ended::Done => record::Outcome::done(outcome.status),
        Ended::Refused => record::Outcome::refused(code, outcome.status),
        Ended::Failed => record::Outcome::failed(code, outcome.status),
        Ended::Unfinished => record::Outcome { code, ..record::Outcome::unfinished() },
    }
}

pub(crate) fn cut(text: &str) -> String {
    bounded(text, record::TEXT_BYTES_MAX)
}

/// An event of the region's own life.
pub(crate) fn own(verb: &record::catalogue::Verb, facts: &[(&str, &str)]) -> Event {
    let mut event = Event::new(Owner::Region, Who::region(), verb.name, ResourceId::region());
    event.facts = facts.iter().map(|(n, v)| record::Fact::new(*n, cut(v))).collect();
    event
}

/// The keys that seal an event's opening.
pub(crate) fn keys_of(keys: &Keys, event: &Event) -> Result<std::sync::Arc<OwnerKeys>> {
    keys.of(event.owner)
}
