//! Subscriptions are made by the region, not by a call.

use crate::OWNER;
use base::{Error, ObjectId, ResourceId, Result, SubscriptionId, TenantId};
use service::Neighbours;
use trust::{Assignment, Batch, Fact, Outcome, Permit, Subscription, Weight, Write};

/// Makes a subscription of a tenant, with its space, and gives `owners` (principals of the tenant) the Owner role. `near`
/// is `Caller::Region { part: "arm" }`. Does nothing when it is there. Errors: an owner that is not in the tenant.
pub async fn seed_subscription(near: &Neighbours, tenant: TenantId, id: SubscriptionId, name: &str, owners: &[ObjectId]) -> Result<()> {
    if near.facts(|f| f.subscription(id).is_some()) {
        return Ok(());
    }
    let target = ResourceId::subscription(id);
    let permit: Permit<Write> =
        near.permit("Create Subscription", &["bleu.arm/subscriptions/write"], false, &target, Weight::Indexed, name).await?;
    let fact = Fact::Subscription(Subscription { id, tenant, name: name.to_owned() });
    let mut batch = Batch::new().claim_fact(fact).create_space(near.urls.location.clone());
    for owner in owners {
        let kind = near.facts(|f| f.principal(*owner).filter(|p| p.tenant == tenant).map(|p| p.kind));
        let principal_kind = kind.ok_or_else(|| Error::invalid("PrincipalNotFound", format!("Principal {owner} is not in the tenant.")))?;
        let guid = ObjectId::random(&*near.chance).to_string();
        batch = batch.claim_fact(Fact::Assignment(Assignment {
            id: target.provider("Microsoft.Authorization/roleAssignments", &guid)?,
            tenant,
            scope: target.clone(),
            role: OWNER.to_owned(),
            principal: *owner,
            principal_kind,
            created: near.clock.now(),
            created_by: None,
            description: None,
        }));
    }
    permit.commit(batch, Outcome::done(201)).await?;
    Ok(())
}
