//! The first things of a tenant: the tenant itself with its space and keys, an administrator, a client application for
//! programs, and the Azure command's public client.

use crate::directory::*;
use base::{AppId, Error, Kind, Location, ObjectId, ResourceId, Result, Stored, TenantId};
use crypto::SecretBytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use service::Neighbours;
use trust::{Assignment, Batch, Credential, Fact, GlobalName, Outcome, PrincipalKind, Read, Tenant, Weight, Write};

/// What a new tenant begins with.
#[derive(Clone, Debug)]
pub struct Seed {
    pub tenant: TenantId,
    /// `Contoso`.
    pub name: String,
    /// The tenant's first verified domain, unique in the region: `contoso.bleu.localhost`.
    pub domain: String,
    pub location: Location,
    /// Display name of the client application.
    pub client_name: String,
    /// The secrets to set, so that a caller which keeps them first loses nothing to a crash; `None` makes random ones.
    pub admin_password: Option<SecretBytes>,
    pub client_secret: Option<SecretBytes>,
}

/// What there is afterwards. Secrets are there only when this call made the tenant.
#[derive(Debug)]
pub struct Seeded {
    pub tenant: TenantId,
    pub admin: ObjectId,
    /// `admin@{domain}`.
    pub admin_name: String,
    pub admin_password: Option<SecretBytes>,
    /// The client id of the client application.
    pub client: AppId,
    /// Its service principal: who gets roles.
    pub client_object: ObjectId,
    pub client_secret: Option<SecretBytes>,
}

/// Makes the tenant, all or nothing, unless it is there. `near` acts as `Caller::Region { part: "identity" }`.
/// Errors: `DomainTaken` (kind Conflict); a password that [`check_password`] refuses.
pub async fn seed(near: &Neighbours, seed: &Seed) -> Result<Seeded> {
    if near.facts(|f| f.tenant(seed.tenant).is_some()) {
        return found(near, seed).await;
    }
    let domain = seed.domain.to_ascii_lowercase();
    if near.facts(|f| f.tenant_by_domain(&domain).is_some()) {
        return Err(Error::new(Kind::Conflict, "DomainTaken", format!("The domain '{domain}' is another tenant's.")).at("domain"));
    }
    let target = ResourceId::tenant(seed.tenant);
    let admin_name = format!("admin@{domain}");
    let random = |bytes| SecretBytes::from(crypto::random_secret_text(&*near.chance, bytes));
    let admin_password = seed.admin_password.clone().unwrap_or_else(|| random(18));
    let client_secret = seed.client_secret.clone().unwrap_or_else(|| random(30));
    let text = std::str::from_utf8(admin_password.expose())
        .map_err(|_| Error::invalid("Request_BadRequest", "The password is not text.").at("password"))?;
    check_password(text, &admin_name)?;
    let admin_credential = password_credential(near, admin_password.clone(), None, 0).await?;
    let client_credential = password_credential(near, client_secret.clone(), None, 3).await?;
    // it gives the first grants: the opening is the operator's, as there is no tenant yet, the whole act the new tenant's
    let permit = near.permit::<Write>("Create tenant", &["bleu.identity/tenants/write"], false, &target, Weight::Indexed, "").await?;

    let now = near.clock.now();
    let admin = ObjectId::random(&*near.chance);
    let (client, key_id) = (AppId::random(&*near.chance), ObjectId::random(&*near.chance).to_string());
    let mut batch = Batch::new()
        .create_space(seed.location.clone())
        .put_fact(Fact::Tenant(Tenant { id: seed.tenant, name: seed.name.clone(), domains: vec![domain.clone()] }))
        .claim_fact(Fact::Name(GlobalName { zone: "domain".into(), name: domain.clone(), resource: target.clone() }))
        .claim_fact(Fact::Name(GlobalName { zone: UPN_ZONE.into(), name: admin_name.clone(), resource: target.clone() }))
        .put_fact(user_fact(seed.tenant, admin, &admin_name, "Administrator", true, now))
        .put(USERS, row_name(admin), &Object::new(admin, now, &admin_properties(&admin_name)))
        .set_credential(&admin.to_string(), PASSWORD, admin_credential)
        .put_fact(administrator(near, seed.tenant, admin)?);

    let mut application = application_properties(client, &seed.client_name, &[]);
    let hint: String = String::from_utf8_lossy(client_secret.expose()).chars().take(3).collect();
    application.insert(
        "passwordCredentials".into(),
        json!([{ "keyId": key_id, "displayName": "first", "startDateTime": now.rfc3339(), "endDateTime": null, "hint": hint }]),
    );
    let (with_client, client_object) = add_application(near, batch, seed.tenant, client, &application);
    batch = with_client.set_credential(&holder_of(client).to_string(), &key_id, client_credential);
    let az = application_properties(AZ_CLIENT, "Microsoft Azure CLI", &["http://localhost", "http://127.0.0.1"]);
    let (batch, _) = add_application(near, batch, seed.tenant, AZ_CLIENT, &az);
    let batch = batch.put(FIRST, "", &First { admin, client, client_object });

    let _receipt = permit.commit(batch, Outcome::done(201)).await?;
    Ok(Seeded {
        tenant: seed.tenant,
        admin,
        admin_name,
        admin_password: Some(admin_password),
        client,
        client_object,
        client_secret: Some(client_secret),
    })
}

/// Argon2id takes a while: not on a thread that serves requests.
pub(crate) async fn password_credential(
    near: &Neighbours,
    secret: SecretBytes,
    expires: Option<base::Timestamp>,
    hint_chars: usize,
) -> Result<Credential> {
    let (chance, now) = (near.chance.clone(), near.clock.now());
    tokio::task::spawn_blocking(move || Credential::password(&*chance, &secret, now, expires, hint_chars)).await.map_err(Error::internal)?
}

fn admin_properties(upn: &str) -> Map<String, Value> {
    into_map(json!({
        "accountEnabled": true,
        "displayName": "Administrator",
        "mailNickname": "admin",
        "userPrincipalName": upn,
        "userType": "Member",
    }))
}

/// The directory role of the first user: at the tenant, so over its directory, not over any subscription.
fn administrator(near: &Neighbours, tenant: TenantId, admin: ObjectId) -> Result<Fact> {
    let scope = ResourceId::tenant(tenant);
    Ok(Fact::Assignment(Assignment {
        id: scope.provider("Microsoft.Authorization/roleAssignments", &ObjectId::random(&*near.chance).to_string())?,
        tenant,
        scope,
        role: GLOBAL_ADMINISTRATOR.into(),
        principal: admin,
        principal_kind: PrincipalKind::User,
        created: near.clock.now(),
        created_by: None,
        description: Some("The tenant's first administrator".into()),
    }))
}

/// An application with its service principal; the second value is the service principal's object id.
pub(crate) fn add_application(
    near: &Neighbours,
    batch: Batch,
    tenant: TenantId,
    app: AppId,
    properties: &Map<String, Value>,
) -> (Batch, ObjectId) {
    let now = near.clock.now();
    let (application, principal) = (ObjectId::random(&*near.chance), ObjectId::random(&*near.chance));
    let name = properties.get("displayName").and_then(Value::as_str).unwrap_or_default();
    let batch = batch
        .put(APPLICATIONS, row_name(application), &Object::new(application, now, properties))
        .put(APPLICATION_BY_CLIENT_ID, app.to_string(), &ClientIndex { application })
        .put(SERVICE_PRINCIPALS, row_name(principal), &Object::new(principal, now, &service_principal_properties(tenant, properties)))
        .put_fact(service_principal_fact(tenant, principal, app, name, PrincipalKind::ServicePrincipal, now));
    (batch, principal)
}

/// A tenant's first objects. They may be renamed or deleted later, and the region must start all the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct First {
    admin: ObjectId,
    client: AppId,
    client_object: ObjectId,
}

impl Stored for First {
    const NAME: &'static str = "identity.first";
    const VERSION: u8 = 1;
    type Previous = First;
    fn upgrade(previous: First) -> First {
        previous
    }
}

/// A second call: nothing is changed and no secret is told.
async fn found(near: &Neighbours, seed: &Seed) -> Result<Seeded> {
    let target = ResourceId::tenant(seed.tenant);
    let permit =
        near.permit::<Read>("Look up tenant", &["bleu.identity/tenants/read"], false, &target, Weight::Batched, &seed.name).await?;
    let first = permit.data().get::<First>(FIRST, "").await;
    let outcome = match &first {
        Ok(_) => Outcome::done(200),
        Err(error) => Outcome::failed(error),
    };
    let _receipt = permit.close(outcome).await?;
    let first = first?.ok_or_else(|| Error::internal(format!("tenant {} has no first objects", seed.tenant)))?.value;
    Ok(Seeded {
        tenant: seed.tenant,
        admin: first.admin,
        admin_name: format!("admin@{}", seed.domain.to_ascii_lowercase()),
        admin_password: None,
        client: first.client,
        client_object: first.client_object,
        client_secret: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_objects_read_back_from_their_first_version() {
        let first = First {
            admin: ObjectId(uuid::Uuid::from_u128(1)),
            client: AppId(uuid::Uuid::from_u128(2)),
            client_object: ObjectId(uuid::Uuid::from_u128(3)),
        };
        assert_eq!(base::decode::<First>(&base::encode(&first)).unwrap(), first);
        assert_eq!(base::decode::<First>(include_bytes!("../tests/samples/first-v1.cbor")).unwrap(), first);
    }
}
