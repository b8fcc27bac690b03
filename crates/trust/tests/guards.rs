//! What `trust` holds by itself, whoever is above it: the rules of keys and signatures, whose facts a permit may write,
//! and that an act which must be in the log first is there.

use base::{AppId, Error, Kind, Location, ObjectId, RequestId, ResourceId, TenantId};
use store::{Commit, KeyRange, Kv, Op};
use testkit::{Kit, Setup};
use trust::{
    Ask, Assignment, Batch, Caller, Directory, Fact, GlobalName, Limits, Origin, Outcome, Permit, Principal, PrincipalKind, Read, Scoped,
    Tenant, Weight, Write,
};

const READ: &str = "Microsoft.Test/things/read";

async fn add_tenant(kit: &Kit) -> TenantId {
    let tenant = TenantId::random(&*kit.trust.chance());
    let target = ResourceId::tenant(tenant);
    let permit: Permit<Write> =
        kit.region("test").permit("Create Tenant", &["bleu.test/tenants/write"], false, &target, Weight::With, "").await.unwrap();
    let fact = Fact::Tenant(Tenant { id: tenant, name: "Contoso".into(), domains: vec![format!("{tenant}.example")] });
    permit.commit(Batch::new().claim_fact(fact).create_space(Location::new("francecentral").unwrap()), Outcome::done(201)).await.unwrap();
    tenant
}

fn anna(kit: &Kit, tenant: TenantId) -> Caller {
    let chance = kit.trust.chance();
    let (object, app) = (ObjectId::random(&*chance), AppId::random(&*chance));
    Caller::Principal(Principal { tenant, object, app, kind: PrincipalKind::User, name: "anna".into() })
}

/// One read of `detail` in `scope`, which is inside `target`.
async fn ask(kit: &Kit, caller: Caller, target: &ResourceId, scope: &ResourceId, data: bool, detail: &str) -> Result<(), Error> {
    let ask = Ask {
        caller,
        verb: "Get Thing",
        actions: vec![READ.to_owned()],
        data,
        target: target.clone(),
        scope: scope.clone(),
        detail: detail.to_owned(),
        weight: Weight::Batched,
        origin: Origin { request: RequestId::random(&*kit.trust.chance()), peer: None, client_request: None, user_agent: None },
    };
    let permit: Permit<Read> = kit.trust.permit(ask).await?;
    permit.close(Outcome::done(200)).await.map(drop)
}

fn code(result: Result<(), Error>) -> String {
    result.err().map_or_else(|| "allowed".to_owned(), |e| e.code.to_string())
}

#[tokio::test]
async fn a_key_opens_the_data_of_its_account_and_nothing_else() {
    let kit = Kit::start(Setup::new(80)).await;
    let (ours, theirs) = (ResourceId::tenant(add_tenant(&kit).await), ResourceId::tenant(add_tenant(&kit).await));
    let key = || Caller::Key { account: ours.clone(), key: "key1".into() };
    assert_eq!(code(ask(&kit, key(), &ours, &ours, true, "").await), "allowed");
    assert_eq!(code(ask(&kit, key(), &ours, &ours, false, "").await), "AuthorizationFailure", "it manages nothing");
    assert_eq!(code(ask(&kit, key(), &theirs, &theirs, true, "").await), "AuthorizationFailure");
    assert_eq!(code(ask(&kit, Caller::Anonymous, &ours, &ours, true, "").await), "AuthenticationFailed");
}

#[tokio::test]
async fn a_signature_opens_what_its_limits_name_and_nothing_else() {
    let kit = Kit::start(Setup::new(81)).await;
    let (ours, theirs) = (ResourceId::tenant(add_tenant(&kit).await), ResourceId::tenant(add_tenant(&kit).await));
    let [photos, photos2] = ["photos", "photos2"].map(|name| ours.provider("Microsoft.Test/containers", name).unwrap());
    let lent = |scope: &ResourceId, detail: Option<&str>, action: &str| {
        let limits = Limits { actions: vec![action.to_owned()], scope: scope.clone(), detail: detail.map(str::to_owned) };
        Caller::Sas { account: ours.clone(), key: "key1".into(), limits }
    };
    let container = || lent(&photos, None, READ);
    assert_eq!(code(ask(&kit, container(), &ours, &photos, true, "photos/a").await), "allowed");
    for (scope, data) in [(&photos2, true), (&ours, true), (&photos, false)] {
        assert_eq!(code(ask(&kit, container(), &ours, scope, data, "photos/a").await), "AuthorizationFailure", "{scope} {data}");
    }
    assert_eq!(code(ask(&kit, container(), &theirs, &theirs, true, "").await), "AuthorizationFailure");
    let blob = || lent(&photos, Some("photos/a"), READ);
    assert_eq!(code(ask(&kit, blob(), &ours, &photos, true, "photos/a").await), "allowed");
    for detail in ["photos/A", "photos/a/b", "photos/", ""] {
        assert_eq!(code(ask(&kit, blob(), &ours, &photos, true, detail).await), "AuthorizationFailure", "{detail}");
    }
    let writes = lent(&photos, None, "Microsoft.Test/things/write");
    assert_eq!(code(ask(&kit, writes, &ours, &photos, true, "photos/a").await), "AuthorizationPermissionMismatch");
}

#[tokio::test]
async fn a_permit_writes_no_fact_of_another_tenant_nor_beyond_its_target() {
    let kit = Kit::start(Setup::new(82)).await;
    let (ours, theirs) = (add_tenant(&kit).await, add_tenant(&kit).await);
    let group = ResourceId::tenant(ours).provider("Microsoft.Test/groups", "g").unwrap();
    let beside = ResourceId::tenant(ours).provider("Microsoft.Test/groups", "h").unwrap();
    let object = ObjectId::random(&*kit.trust.chance());
    let assignment = |tenant: TenantId, scope: &ResourceId| {
        Fact::Assignment(Assignment {
            id: scope.provider("Microsoft.Authorization/roleAssignments", "11111111-2222-3333-4444-555555555555").unwrap(),
            tenant,
            scope: scope.clone(),
            role: "acdd72a7-3385-48ef-bd42-f606fba81ae7".into(),
            principal: object,
            principal_kind: PrincipalKind::User,
            created: kit.now(),
            created_by: None,
            description: None,
        })
    };
    let scoped = |tenant: TenantId, scope: &ResourceId| {
        let id = scope.provider("Microsoft.Authorization/locks", "l").unwrap();
        Fact::Scoped(Scoped { family: "lock".into(), id, tenant, scope: scope.clone(), value: Vec::new() })
    };
    let principal = |tenant: TenantId| {
        Fact::Principal(Directory {
            tenant,
            object,
            kind: PrincipalKind::User,
            app: None,
            upn: None,
            display_name: "eve".into(),
            enabled: true,
            tokens_valid_from: kit.now(),
        })
    };
    let name = |resource: &ResourceId| Fact::Name(GlobalName { zone: "test".into(), name: "taken".into(), resource: resource.clone() });
    let tenant_fact = Fact::Tenant(Tenant { id: theirs, name: "taken over".into(), domains: Vec::new() });
    let write = |batch: Batch| {
        let kit = &kit;
        let group = &group;
        async move {
            let near = kit.near(anna(kit, ours));
            let permit: Permit<Write> =
                near.permit("Put Thing", &["Microsoft.Test/things/write"], true, group, Weight::Indexed, "").await.unwrap();
            permit.commit(batch, Outcome::done(200)).await.map(drop).map_err(|failed| failed.error.kind)
        }
    };
    for (what, fact) in [
        ("a role for another tenant", assignment(theirs, &group)),
        ("a role beside its target", assignment(ours, &beside)),
        ("a role above its target", assignment(ours, &ResourceId::tenant(ours))),
        ("a lock of another tenant", scoped(theirs, &group)),
        ("a lock beside its target", scoped(ours, &beside)),
        ("a principal of another tenant", principal(theirs)),
        ("a member of another tenant", Fact::Member { tenant: theirs, group: object, member: object }),
        ("a name for another resource", name(&beside)),
        ("another tenant", tenant_fact),
    ] {
        assert_eq!(write(Batch::new().put_fact(fact.clone())).await, Err(Kind::Internal), "{what}, put");
        assert_eq!(write(Batch::new().claim_fact(fact)).await, Err(Kind::Internal), "{what}, claimed");
    }
    for fact in [assignment(ours, &group), scoped(ours, &group), principal(ours), name(&group)] {
        let key = fact.key();
        assert_eq!(write(Batch::new().claim_fact(fact)).await, Ok(()), "{key}");
    }
    // nor removes one
    let theirs_key = Fact::principal_key(theirs, object);
    let near = kit.region("test");
    let target = ResourceId::tenant(theirs);
    let permit: Permit<Write> = near.permit("Seed", &["bleu.test/seed"], false, &target, Weight::With, "").await.unwrap();
    permit.commit(Batch::new().claim_fact(principal(theirs)), Outcome::done(201)).await.unwrap();
    assert_eq!(write(Batch::new().remove_fact(theirs_key.clone())).await, Err(Kind::Internal));
    assert!(kit.trust.facts(|f| f.get(&theirs_key).is_some()));
    kit.audit(Some(ours)).await;
}

/// Whoever forgets the weight of a row is stopped here, whatever service it is in.
#[tokio::test]
async fn what_grants_or_erases_is_not_done_at_a_lower_weight() {
    let kit = Kit::start(Setup::new(86)).await;
    let tenant = add_tenant(&kit).await;
    let target = ResourceId::tenant(tenant);
    let id = target.provider("Microsoft.Authorization/roleAssignments", "11111111-2222-3333-4444-555555555555").unwrap();
    let (object, group) = (ObjectId::random(&*kit.trust.chance()), ObjectId::random(&*kit.trust.chance()));
    let assignment = || {
        Fact::Assignment(Assignment {
            id: id.clone(),
            tenant,
            scope: target.clone(),
            role: "acdd72a7-3385-48ef-bd42-f606fba81ae7".into(),
            principal: object,
            principal_kind: PrincipalKind::User,
            created: kit.now(),
            created_by: None,
            description: None,
        })
    };
    let member = || Fact::Member { tenant, group, member: object };
    let batches = || {
        [
            ("a role", Batch::new().claim_fact(assignment())),
            ("a role changed", Batch::new().put_fact(assignment())),
            ("a role taken", Batch::new().remove_fact(assignment().key())),
            ("a member", Batch::new().put_fact(member())),
            ("a member gone", Batch::new().remove_fact(member().key())),
            ("a credential", Batch::new().set_credential("h", "1", trust::Credential::hmac(vec![1; 32], kit.now()))),
            ("a credential gone", Batch::new().delete_credential("h", "1")),
            ("the end of a space", Batch::new().drop_space()),
        ]
    };
    for weight in [Weight::With, Weight::Before, Weight::Batched, Weight::Indexed] {
        for (what, batch) in batches() {
            let near = kit.near(anna(&kit, tenant));
            let permit: Permit<Write> =
                near.permit("Put Thing", &["Microsoft.Test/things/write"], true, &target, weight, "").await.unwrap();
            let done = permit.commit(batch, Outcome::done(200)).await.map(drop).map_err(|failed| failed.error.kind);
            let wanted = if weight == Weight::Indexed { Ok(()) } else { Err(Kind::Internal) };
            assert_eq!(done, wanted, "{what} at {weight:?}");
        }
    }
    kit.audit(Some(tenant)).await;
}

/// Of an act that makes a tenant, opened before there is one: the operator's record has opening and end, the new tenant's the whole.
#[tokio::test]
async fn the_act_that_makes_an_owner_is_in_the_owners_record() {
    let kit = Kit::start(Setup::new(87)).await;
    let tenant = TenantId::random(&*kit.trust.chance());
    let near = kit.region("test");
    let target = ResourceId::tenant(tenant);
    let permit: Permit<Write> = near.permit("Make", &["bleu.test/make"], false, &target, Weight::Indexed, "").await.unwrap();
    let fact = Fact::Tenant(Tenant { id: tenant, name: "Contoso".into(), domains: Vec::new() });
    let place = base::Location::new("francecentral").unwrap();
    permit.commit(Batch::new().claim_fact(fact).create_space(place), Outcome::done(201)).await.unwrap();
    kit.trust.turn().await.unwrap();
    for (reader, wanted) in [
        (record::Owner::Tenant(tenant), vec![record::Phase::Whole]),
        (record::Owner::Operator, vec![record::Phase::Open, record::Phase::Close]),
        (record::Owner::Region, vec![]),
    ] {
        let entries = kit.trust.entries_from(reader, 0).await.unwrap();
        let made = entries.iter().filter(|(_, _, event)| event.as_ref().is_some_and(|e| e.verb == "Make"));
        assert_eq!(made.map(|(_, entry, _)| entry.draft.phase).collect::<Vec<_>>(), wanted, "{reader}");
        kit.audit(reader).await;
    }
}

/// Released keys and grants: the log has the opening before anything is released.
#[tokio::test]
async fn an_indexed_act_does_not_begin_before_the_log_has_it() {
    let setup = Setup::new(83);
    let (kv, blobs) = (setup.kv.clone(), setup.blobs.clone());
    let kit = Kit::start(setup.on(kv.clone(), blobs)).await;
    let tenant = add_tenant(&kit).await;
    let target = ResourceId::tenant(tenant);
    let near = kit.near(anna(&kit, tenant));
    let entries = kit.trust.entries_from(Some(tenant), 0).await.unwrap().len();
    let permit: Permit<Read> = near.permit("List Keys", &[READ], true, &target, Weight::Indexed, "").await.unwrap();
    assert!(kit.trust.entries_from(Some(tenant), 0).await.unwrap().len() > entries);
    permit.close(Outcome::done(200)).await.unwrap();
    stop_the_log(&kit, &*kv, tenant).await;
    let indexed = std::pin::pin!(near.permit::<Read>("List Keys", &[READ], true, &target, Weight::Indexed, ""));
    // commits are done in their order: whoever comes after it is answered after its opening is durable
    let others = async {
        for _ in 0..3 {
            let permit: Permit<Read> = near.permit("Get Thing", &[READ], true, &target, Weight::Before, "").await.unwrap();
            permit.close(Outcome::done(200)).await.unwrap();
        }
    };
    tokio::select! {
        biased;
        begun = indexed => panic!("it is begun, and the log does not know of it: {begun:?}"),
        () = others => {}
    }
}

async fn put_nothing(kit: &Kit, tenant: TenantId) {
    let near = kit.near(anna(kit, tenant));
    let target = ResourceId::tenant(tenant);
    let permit: Permit<Write> = near.permit("Put Thing", &[READ], true, &target, Weight::With, "").await.unwrap();
    permit.commit(Batch::new(), Outcome::done(200)).await.unwrap();
}

/// What waits in the outbox.
async fn waiting(kv: &dyn Kv) -> Vec<store::Row> {
    kv.scan(KeyRange::prefix(&store::key(base::Shard(0), &[b"o"])), 100, false).await.unwrap().rows
}

/// Takes an entry out of the outbox before the sequencer, which runs beside, has moved it.
async fn stop_the_log(kit: &Kit, kv: &dyn Kv, tenant: TenantId) {
    for _ in 0..100 {
        put_nothing(kit, tenant).await;
        put_nothing(kit, tenant).await;
        let ops = waiting(kv).await.into_iter().take(1).map(|row| Op::Delete(row.key)).collect();
        kv.commit(Commit { shard: base::Shard(0), idem: 0, checks: Vec::new(), ops }).await.unwrap();
        if kit.trust.turn().await.is_err() {
            return;
        }
    }
    panic!("a gap in the outbox stops nothing");
}

/// The sequencer numbers what it moves: an entry that vanished from the outbox must stop it, or nobody would ever know.
#[tokio::test]
async fn an_entry_that_vanished_from_the_outbox_stops_the_log() {
    let setup = Setup::new(84);
    let (kv, blobs) = (setup.kv.clone(), setup.blobs.clone());
    let kit = Kit::start(setup.on(kv.clone(), blobs)).await;
    let tenant = add_tenant(&kit).await;
    stop_the_log(&kit, &*kv, tenant).await;
    let before = kit.trust.entries_from(None, 0).await.unwrap().len();
    put_nothing(&kit, tenant).await;
    assert_eq!(kit.trust.turn().await.unwrap_err().kind, Kind::Internal);
    assert_eq!(kit.trust.entries_from(None, 0).await.unwrap().len(), before, "what lies behind the gap is not given its number");
}
