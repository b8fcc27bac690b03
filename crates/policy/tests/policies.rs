//! Policies in the manner of Azure's built-in ones, upon resources.

use policy::{
    Aliases, Applied, Compliance, Decision, Definition, Effect, Set, Subject, Surroundings, arguments, judge, judge_delete, refusal,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::sync::Arc;

struct Storage;
impl Aliases for Storage {
    fn path(&self, alias: &str) -> Option<String> {
        let known = [
            "supportsHttpsTrafficOnly",
            "minimumTlsVersion",
            "networkAcls.defaultAction",
            "networkAcls.ipRules[*]",
            "networkAcls.ipRules[*].value",
            "list[*]",
            "sku.name",
        ];
        let property = alias.strip_prefix("Microsoft.Storage/storageAccounts/")?;
        let found = known.iter().find(|k| k.eq_ignore_ascii_case(property))?;
        Some(if found.starts_with("sku") { (*found).to_owned() } else { format!("properties.{found}") })
    }
    fn serves(&self, kind: &str) -> bool {
        kind.eq_ignore_ascii_case("Microsoft.Storage/storageAccounts")
    }
}

fn account(properties: Value, tags: Value) -> Subject {
    Subject {
        body: json!({
            "id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/acct", "name": "acct",
            "type": "Microsoft.Storage/storageAccounts", "location": "francecentral", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2",
            "tags": tags, "properties": properties,
        }),
    }
}

fn definition(properties: &Value) -> Definition {
    Definition::read(properties, &Storage).unwrap()
}

fn applied(properties: &Value, parameters: Value) -> Arc<Applied> {
    let definition = definition(properties);
    let parameters = arguments(&definition.parameters, Some(&parameters), "a1", "d1").unwrap();
    Arc::new(Applied {
        assignment_id: "/subscriptions/s/providers/Microsoft.Authorization/policyAssignments/a1".into(),
        assignment_name: "a1".into(),
        assignment_display_name: "Assigned".into(),
        scope: "/subscriptions/s".into(),
        enforced: true,
        parameters,
        message: None,
        definition: Arc::new(definition),
        definition_id: "/providers/Microsoft.Authorization/policyDefinitions/d1".into(),
        definition_name: "d1".into(),
        definition_display_name: "Defined".into(),
        set: None,
        once: Default::default(),
    })
}

fn around() -> Surroundings {
    Surroundings {
        now: base::Timestamp::parse_rfc3339("2026-11-24T12:00:00Z").unwrap(),
        resource_group: json!({"name": "g", "location": "francecentral", "tags": {"CostCenter": "42"}}),
        subscription: json!({"subscriptionId": "s"}),
        api_version: "2025-08-01".into(),
    }
}

fn decide(properties: Value, parameters: Value, subject: Subject) -> Decision {
    judge(subject, &[applied(&properties, parameters)], &around(), &Storage)
}

fn rule(condition: Value) -> Value {
    json!({"mode": "All", "policyRule": {"if": condition, "then": {"effect": "deny"}}})
}

fn denied(condition: Value, subject: Subject) -> bool {
    !decide(rule(condition), json!({}), subject).denials.is_empty()
}

fn allowed_locations() -> Value {
    json!({
        "displayName": "Allowed locations", "mode": "Indexed",
        "parameters": {"listOfAllowedLocations": {"type": "Array", "metadata": {"strongType": "location"}}},
        "policyRule": {
            "if": {"allOf": [
                {"field": "location", "notIn": "[parameters('listOfAllowedLocations')]"},
                {"field": "location", "notEquals": "global"},
                {"field": "type", "notEquals": "Microsoft.AzureActiveDirectory/b2cDirectories"},
            ]},
            "then": {"effect": "deny"},
        },
    })
}

#[test]
fn a_location_that_is_not_allowed_is_denied_with_its_reason() {
    let there = json!({"listOfAllowedLocations": {"value": ["westeurope", "France Central", "francecentral"]}});
    assert!(decide(allowed_locations(), there, account(json!({}), json!({}))).denials.is_empty());
    let elsewhere = json!({"listOfAllowedLocations": {"value": ["westeurope"]}});
    let decision = decide(allowed_locations(), elsewhere, account(json!({}), json!({})));
    let error = refusal("acct", &decision.denials);
    assert_eq!((error.kind, &*error.code), (base::Kind::Forbidden, "RequestDisallowedByPolicy"));
    assert!(
        error
            .message
            .starts_with("Resource 'acct' was disallowed by policy. Policy identifiers: '[{\"policyAssignment\":{\"name\":\"Assigned\","),
        "{}",
        error.message
    );
    let info: Value = serde_json::from_str(&error.info.unwrap()).unwrap();
    assert_eq!(info[0]["type"], "PolicyViolation");
    assert_eq!(info[0]["info"]["policyAssignmentParameters"], json!({"listOfAllowedLocations": {"value": ["westeurope"]}}));
    assert_eq!(
        info[0]["info"]["evaluationDetails"]["evaluatedExpressions"][0],
        json!({"result": "True", "expressionKind": "Field", "expression": "location", "path": "location",
            "expressionValue": "francecentral", "targetValue": ["westeurope"], "operator": "NotIn"})
    );
}

#[test]
fn a_reason_in_the_assigners_words_is_told() {
    let mut policy = applied(&rule(json!({"field": "type", "like": "Microsoft.Storage/*"})), json!({}));
    Arc::get_mut(&mut policy).unwrap().message = Some("Ask the platform team.".into());
    let decision = judge(account(json!({}), json!({})), &[policy], &around(), &Storage);
    let error = refusal("acct", &decision.denials);
    assert_eq!(
        error.message,
        "Resource 'acct' was disallowed by policy. Reasons: 'Ask the platform team.'. See error details for policy resource IDs."
    );
}

#[test]
fn conditions_nest_and_every_array_element_counts() {
    let s = |properties| account(properties, json!({"env": "prod"}));
    let rules = |values: &[&str]| s(json!({"networkAcls": {"ipRules": values.iter().map(|v| json!({"value": v})).collect::<Vec<_>>()}}));
    let all = "Microsoft.Storage/storageAccounts/networkAcls.ipRules[*].value";
    let each = "Microsoft.Storage/storageAccounts/networkAcls.ipRules[*]";
    assert!(denied(json!({"field": all, "like": "10.*"}), rules(&["10.0.0.1", "10.0.0.2"])));
    assert!(!denied(json!({"field": all, "like": "10.*"}), rules(&["10.0.0.1", "11.0.0.2"])));
    assert!(denied(json!({"not": {"field": all, "like": "10.*"}}), rules(&["10.0.0.1", "11.0.0.2"])));
    // an empty or missing array: every element of none
    assert!(denied(json!({"field": all, "equals": "x"}), rules(&[])));
    assert!(denied(json!({"field": each, "exists": false}), s(json!({}))));
    assert!(denied(json!({"field": each, "exists": "true"}), rules(&["1"])));
    let count = |inner: Value, n: u32| json!({"count": {"field": each, "where": inner}, "greaterOrEquals": n});
    assert!(denied(count(json!({"field": all, "like": "10.*"}), 1), rules(&["10.0.0.1", "11.0.0.2"])));
    assert!(!denied(count(json!({"field": all, "like": "10.*"}), 2), rules(&["10.0.0.1", "11.0.0.2"])));
    assert!(denied(
        count(json!({"value": "[current('Microsoft.Storage/storageAccounts/networkAcls.ipRules[*].value')]", "equals": "11.0.0.2"}), 1),
        rules(&["10.0.0.1", "11.0.0.2"])
    ));
    assert!(denied(
        json!({"count": {"value": ["x", "y"], "name": "v", "where": {"value": "[contains(field('name'), current('v'))]", "equals": false}}, "equals": 2}),
        s(json!({}))
    ));
    assert!(denied(json!({"count": {"field": each}, "equals": 2}), rules(&["1", "2"])));
    let both = json!({"allOf": [{"field": "tags.ENV", "in": ["PROD"]}, {"field": "kind", "match": "???????V#"}]});
    assert!(denied(json!({"anyOf": [{"field": "name", "equals": "no"}, both]}), s(json!({}))));
    assert!(denied(json!({"field": "tags", "containsKey": "Env"}), s(json!({}))));
    assert!(denied(json!({"field": "tags['owner']", "exists": false}), s(json!({}))));
    assert!(denied(json!({"field": "tags['owner']", "notEquals": "x"}), s(json!({}))));
    assert!(!denied(json!({"field": "tags['owner']", "equals": ""}), s(json!({}))));
    assert!(denied(json!({"value": "[resourceGroup().tags.costcenter]", "equals": "42"}), s(json!({}))));
    assert!(denied(json!({"value": "[utcNow()]", "greater": "2026-11-24"}), s(json!({}))));
    assert!(denied(json!({"field": "[concat('tags[', 'env', ']')]", "equals": "prod"}), s(json!({}))));
    assert!(denied(json!({"field": "Microsoft.Storage/storageAccounts/sku.name", "notIn": ["Premium_LRS"]}), s(json!({}))));
}

#[test]
fn a_policy_that_has_no_value_refuses() {
    let decision =
        decide(rule(json!({"value": "[split(field('tags.none'), '-')[3]]", "equals": "x"})), json!({}), account(json!({}), json!({})));
    assert!(decision.denials[0].fault.is_some());
    // but not where the assignment is not enforced
    let mut policy = applied(&rule(json!({"field": "type", "exists": true})), json!({}));
    Arc::get_mut(&mut policy).unwrap().enforced = false;
    let decision = judge(account(json!({}), json!({})), &[policy], &around(), &Storage);
    assert!(decision.denials.is_empty() && decision.audits.len() == 1);
}

fn inherit_tag() -> Value {
    json!({
        "mode": "Indexed", "parameters": {"tagName": {"type": "String"}},
        "policyRule": {
            "if": {"allOf": [
                {"field": "[concat('tags[', parameters('tagName'), ']')]", "exists": "false"},
                {"value": "[resourceGroup().tags[parameters('tagName')]]", "notEquals": ""},
            ]},
            "then": {"effect": "modify", "details": {"roleDefinitionIds": ["/providers/x"], "operations": [
                {"operation": "add", "field": "[concat('tags[', parameters('tagName'), ']')]", "value": "[resourceGroup().tags[parameters('tagName')]]"},
            ]}},
        },
    })
}

#[test]
fn modify_and_append_change_the_wish() {
    let decision = decide(inherit_tag(), json!({"tagName": {"value": "CostCenter"}}), account(json!({}), json!({"a": "b"})));
    assert!(decision.changed && decision.denials.is_empty(), "{:?}", decision.denials);
    assert_eq!(decision.subject.body["tags"], json!({"a": "b", "CostCenter": "42"}));

    // a group without the tag gives none, and stops nobody
    let decision = decide(inherit_tag(), json!({"tagName": {"value": "Owner"}}), account(json!({}), json!({"a": "b"})));
    assert!(!decision.changed && decision.denials.is_empty());

    let https = json!({"mode": "All", "policyRule": {"if": {"field": "type", "equals": "Microsoft.Storage/storageAccounts"}, "then": {"effect": "append", "details": [
        {"field": "Microsoft.Storage/storageAccounts/supportsHttpsTrafficOnly", "value": true},
        {"field": "Microsoft.Storage/storageAccounts/networkAcls.ipRules[*]", "value": {"value": "10.0.0.1"}},
    ]}}});
    let decision = decide(https.clone(), json!({}), account(json!({}), json!({})));
    assert_eq!(
        decision.subject.body["properties"],
        json!({"supportsHttpsTrafficOnly": true, "networkAcls": {"ipRules": [{"value": "10.0.0.1"}]}})
    );
    // another value is there: append refuses
    let decision = decide(https, json!({}), account(json!({"supportsHttpsTrafficOnly": false}), json!({})));
    assert_eq!((decision.denials.len(), decision.denials[0].effect), (1, Effect::Append));
}

#[test]
fn modifications_that_disagree_refuse_or_are_left_out() {
    let set = |value: &str, conflict: &str| {
        applied(
            &json!({"mode": "All", "policyRule": {"if": {"field": "type", "exists": true}, "then": {"effect": "modify", "details": {"conflictEffect": conflict,
                "operations": [{"operation": "addOrReplace", "field": "tags.env", "value": value}]}}}}),
            json!({}),
        )
    };
    let denied = judge(account(json!({}), json!({})), &[set("a", "deny"), set("b", "deny")], &around(), &Storage);
    assert_eq!(denied.denials.len(), 1);
    let kept = judge(account(json!({}), json!({})), &[set("a", "deny"), set("b", "audit")], &around(), &Storage);
    assert_eq!((kept.denials.len(), &kept.subject.body["tags"]["env"]), (0, &json!("a")));
    let remove = applied(
        &json!({"mode": "All", "policyRule": {"if": {"field": "tags.old", "exists": true}, "then": {"effect": "modify", "details": {
            "operations": [{"operation": "Remove", "field": "tags.old"}, {"operation": "add", "field": "tags.new", "value": "x", "condition": "[greaterOrEquals(requestContext().apiVersion, '2030-01-01')]"}]}}}}),
        json!({}),
    );
    let done = judge(account(json!({}), json!({"old": "1"})), &[remove], &around(), &Storage);
    assert_eq!(done.subject.body["tags"], json!({}));
}

#[test]
fn deny_sees_what_modify_made() {
    let require = applied(&rule(json!({"field": "tags.CostCenter", "exists": false})), json!({}));
    let inherit = applied(&inherit_tag(), json!({"tagName": {"value": "CostCenter"}}));
    assert_eq!(judge(account(json!({}), json!({})), std::slice::from_ref(&require), &around(), &Storage).denials.len(), 1);
    assert_eq!(judge(account(json!({}), json!({})), &[require, inherit], &around(), &Storage).denials.len(), 0);
}

#[test]
fn audits_deletions_and_related_resources() {
    let audit = json!({"mode": "All", "parameters": {"effect": {"type": "String", "allowedValues": ["Audit", "Deny", "Disabled"], "defaultValue": "Audit"}},
        "policyRule": {"if": {"field": "Microsoft.Storage/storageAccounts/minimumTlsVersion", "notEquals": "TLS1_2"}, "then": {"effect": "[parameters('effect')]"}}});
    let s = account(json!({}), json!({}));
    assert_eq!(decide(audit.clone(), json!({}), s.clone()).audits.len(), 1);
    assert_eq!(decide(audit.clone(), json!({"effect": {"value": "Deny"}}), s.clone()).denials.len(), 1);
    assert_eq!(decide(audit.clone(), json!({"effect": {"value": "disabled"}}), s.clone()).audits.len(), 0);
    let compliance = |p: &Applied, s: &Subject| p.compliance(s, &around(), &Storage, &|_, _| false);
    let policy = applied(&audit, json!({}));
    assert_eq!(compliance(&policy, &s), Compliance::NonCompliant);
    assert_eq!(compliance(&policy, &account(json!({"minimumTlsVersion": "TLS1_2"}), json!({}))), Compliance::Compliant);
    let keep = applied(
        &json!({"mode": "All", "policyRule": {"if": {"field": "tags.env", "equals": "prod"}, "then": {"effect": "denyAction", "details": {"actionNames": ["delete"]}}}}),
        json!({}),
    );
    assert_eq!(judge_delete(&account(json!({}), json!({"env": "prod"})), std::slice::from_ref(&keep), &around(), &Storage).len(), 1);
    assert_eq!(judge_delete(&account(json!({}), json!({"env": "test"})), &[keep], &around(), &Storage).len(), 0);

    let beside = applied(
        &json!({"mode": "All", "policyRule": {"if": {"field": "type", "equals": "Microsoft.Storage/storageAccounts"}, "then": {"effect": "auditIfNotExists", "details": {
        "type": "Microsoft.Authorization/locks", "existenceCondition": {"field": "kind", "equals": "[field('name')]"}}}}}),
        json!({}),
    );
    let lock = |kind: &str| Subject {
        body: json!({"id": "/x/providers/Microsoft.Authorization/locks/l", "name": "l", "type": "Microsoft.Authorization/locks", "kind": kind}),
    };
    assert!(beside.satisfied_by(&s, &lock("l"), &around(), &Storage));
    assert!(!beside.satisfied_by(&s, &lock("m"), &around(), &Storage));
    assert_eq!(beside.compliance(&s, &around(), &Storage, &|_, _| true), Compliance::Compliant);
    assert_eq!(beside.compliance(&s, &around(), &Storage, &|_, _| false), Compliance::NonCompliant);
}

#[test]
fn malformed_definitions_are_refused_by_name() {
    let deny = json!({"effect": "deny"});
    let field = json!({"field": "name", "equals": "x"});
    for (properties, why) in [
        (json!({}), "policyRule"),
        (json!({"policyRule": {"if": field}}), "'then'"),
        (json!({"policyRule": {"then": deny}}), "'if'"),
        (json!({"policyRule": {"if": field, "then": {}}}), "'effect'"),
        (json!({"policyRule": {"if": field, "then": {"effect": "explode"}}}), "explode"),
        (json!({"policyRule": {"if": field, "then": deny, "else": 1}}), "else"),
        (json!({"policyRule": {"if": {"field": "name"}, "then": deny}}), "operator"),
        (json!({"policyRule": {"if": {"field": "name", "equals": 1, "like": "x"}, "then": deny}}), "operator"),
        (json!({"policyRule": {"if": {"field": "name", "equals": 1, "allOf": []}, "then": deny}}), "allOf"),
        (json!({"policyRule": {"if": {"field": "name", "equals": 1, "other": []}, "then": deny}}), "other"),
        (json!({"policyRule": {"if": {"source": "x", "equals": 1}, "then": deny}}), "source"),
        (json!({"policyRule": {"if": {"field": "Microsoft.Storage/storageAccounts/nothing", "equals": 1}, "then": deny}}), "alias"),
        (json!({"policyRule": {"if": {"field": "name", "equals": "[parameters('x')]"}, "then": deny}}), "parameter 'x'"),
        (json!({"policyRule": {"if": {"field": "name", "equals": "[reference('x')]"}, "then": deny}}), "reference"),
        (json!({"policyRule": {"if": {"field": "name", "equals": "[concat('x']"}, "then": deny}}), "parse"),
        (json!({"policyRule": {"if": {"field": "name", "like": "*x*"}, "then": deny}}), "wildcard"),
        (json!({"policyRule": {"if": {"field": "name", "in": "x"}, "then": deny}}), "array"),
        (json!({"policyRule": {"if": {"count": {"field": "name"}, "equals": 1}, "then": deny}}), "[*]"),
        (json!({"policyRule": {"if": field, "then": {"effect": "append"}}}), "append"),
        (
            json!({"policyRule": {"if": field, "then": {"effect": "modify", "details": {"operations": [{"operation": "add", "field": "tags.x"}]}}}}),
            "value",
        ),
        (json!({"policyRule": {"if": field, "then": {"effect": "auditIfNotExists", "details": {}}}}), "type"),
        (json!({"mode": "Nothing", "policyRule": {"if": field, "then": deny}}), "mode"),
    ] {
        let error = Definition::read(&properties, &Storage).unwrap_err();
        assert_eq!(error.code, "InvalidPolicyRule", "{properties}");
        assert!(error.message.contains(why), "{properties}: {}", error.message);
    }
    let mut deep = json!({"field": "name", "equals": "x"});
    for _ in 0..40 {
        deep = json!({"not": deep});
    }
    assert!(Definition::read(&rule(deep), &Storage).is_err());
    let wide = json!({"anyOf": vec![json!({"field": "name", "equals": "x"}); 600]});
    assert!(Definition::read(&rule(wide), &Storage).is_err());
}

#[test]
fn parameters_are_what_was_declared() {
    let declared = definition(
        &json!({"parameters": {"n": {"type": "Integer", "allowedValues": [1, 2]}, "s": {"type": "String", "defaultValue": "d"}},
        "policyRule": {"if": {"field": "name", "equals": "[parameters('s')]"}, "then": {"effect": "deny"}}}),
    )
    .parameters;
    let code = |given: Value| arguments(&declared, Some(&given), "a", "d").unwrap_err().code.into_owned();
    assert_eq!(code(json!({})), "MissingPolicyParameter");
    assert_eq!(code(json!({"n": {"value": 3}})), "PolicyParameterValueNotAllowed");
    assert_eq!(code(json!({"n": {"value": "1"}})), "InvalidPolicyParameterType");
    assert_eq!(code(json!({"n": {"value": 1}, "x": {"value": 1}})), "UndefinedPolicyParameter");
    assert_eq!(Value::Object(arguments(&declared, Some(&json!({"N": {"value": 2}})), "a", "d").unwrap()), json!({"n": 2, "s": "d"}));
    let bad =
        json!({"parameters": {"n": {"type": "Nothing"}}, "policyRule": {"if": {"field": "name", "equals": 1}, "then": {"effect": "deny"}}});
    assert_eq!(Definition::read(&bad, &Storage).unwrap_err().code, "InvalidPolicyParameters");
}

#[test]
fn initiatives_give_their_members_parameters() {
    let set = Set::read(&json!({
        "parameters": {"where": {"type": "Array"}},
        "policyDefinitions": [
            {"policyDefinitionId": "/providers/Microsoft.Authorization/policyDefinitions/d1", "parameters": {"listOfAllowedLocations": {"value": "[parameters('where')]"}}},
            {"policyDefinitionId": "/providers/Microsoft.Authorization/policyDefinitions/d1", "policyDefinitionReferenceId": "second"},
        ],
    }))
    .unwrap();
    let of_set = Map::from_iter([("where".to_owned(), json!(["x"]))]);
    assert_eq!(Value::Object(policy::member_parameters(&set.members[0], &of_set).unwrap()), json!({"listOfAllowedLocations": ["x"]}));
    assert_eq!(set.members[0].reference, "d1_1");
    for bad in [
        json!({}),
        json!({"policyDefinitions": []}),
        json!({"policyDefinitions": [{"x": 1}]}),
        json!({"policyDefinitions": [{"policyDefinitionId": "/a", "parameters": {"x": {"value": "[parameters('no')]"}}}]}),
    ] {
        assert_eq!(Set::read(&bad).unwrap_err().code, "InvalidPolicySetDefinitionRequest", "{bad}");
    }
}

#[test]
fn a_count_of_counts_ends() {
    let mut inner = json!({"field": "name", "equals": "no"});
    for i in 0..5 {
        inner = json!({"count": {"value": "[range(0, 1000)]", "name": format!("n{i}"), "where": inner}, "equals": 1});
    }
    let began = std::time::Instant::now();
    let decision = decide(rule(inner), json!({}), account(json!({"list": [1]}), json!({})));
    assert!(decision.denials[0].fault.as_ref().unwrap().contains("comparisons"));
    assert!(began.elapsed().as_secs() < 20);
}

/// JSON that looks like a policy often enough to reach the depths.
fn policyish() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "name",
        "type",
        "tags",
        "tags.a",
        "x/list[*]",
        "[field('name')]",
        "[current('v')]",
        "[parameters('p')]",
        "[concat('a', 'b')]",
        "deny",
        "audit",
        "a*",
        "",
        "[",
        "[[",
        "[add(1, 2)]",
        "true",
        "modify",
        "N.S/t/a[*].b",
    ]);
    let leaf = prop_oneof![
        word.prop_map(|w| json!(w)),
        any::<i64>().prop_map(|n| json!(n)),
        any::<bool>().prop_map(|b| json!(b)),
        Just(Value::Null)
    ];
    let key = prop::sample::select(vec![
        "allOf",
        "anyOf",
        "not",
        "field",
        "value",
        "count",
        "where",
        "name",
        "equals",
        "notIn",
        "in",
        "like",
        "match",
        "exists",
        "greater",
        "contains",
        "containsKey",
        "if",
        "then",
        "effect",
        "details",
        "policyRule",
        "parameters",
        "mode",
        "operations",
        "operation",
        "type",
    ]);
    leaf.prop_recursive(6, 48, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::vec((key.clone(), inner), 0..4)
                .prop_map(|pairs| { Value::Object(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()) })
        ]
    })
}

proptest! {
    #[test]
    fn policies_do_not_panic(condition in policyish(), details in policyish()) {
        policy::fuzz::fuzz_policy(json!({"policyRule": {"if": condition, "then": {"effect": "deny"}}}).to_string().as_bytes());
        let modify = json!({"policyRule": {"if": {"field": "name", "exists": true}, "then": {"effect": "modify", "details": {"operations": [{"operation": "addOrReplace", "field": "N.S/t/a[*].b", "value": details}]}}}});
        policy::fuzz::fuzz_policy(modify.to_string().as_bytes());
    }
    #[test]
    fn expressions_do_not_panic(text in "[a-z(),'0-9. \\[\\]é-]{0,40}") { policy::fuzz::fuzz_expression(text.as_bytes()); }
    #[test]
    fn calls_do_not_panic(name in prop::sample::select(vec!["substring", "split", "padLeft", "indexOf", "lastIndexOf", "skip", "take", "range", "format", "addDays", "ipRangeContains", "replace", "div", "mod", "mul"]),
        a in "('[aéİß*1-9/.:-]{0,6}'|-?[0-9]{1,19})", b in "('[aéİß*1-9/.-]{0,6}'|-?[0-9]{1,19})", c in "('[aéİ]{0,3}'|-?[0-9]{1,19})") {
        policy::fuzz::fuzz_expression(format!("{name}({a},{b})").as_bytes());
        policy::fuzz::fuzz_expression(format!("{name}({a},{b},{c})").as_bytes());
    }
    #[test]
    fn conditions_do_not_panic(parts in prop::collection::vec(prop::sample::select(vec![
        "(", ")", "!", "NOT ", " AND ", " OR ", "@Resource[a:b]", "@Request[c:d]", " StringEquals ", " ForAnyOfAnyValues:StringLike ", "'a*'", "{'a', 'b'}", "ActionMatches{'a'}", "Exists ", "5", "true",
    ]), 0..14)) { policy::fuzz::fuzz_condition(parts.concat().as_bytes()); }
    #[test]
    fn any_text_is_no_condition_that_panics(text in "\\PC{0,60}") { policy::fuzz::fuzz_condition(text.as_bytes()); }
}
