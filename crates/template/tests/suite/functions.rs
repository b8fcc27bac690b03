//! Each function, with the values of its documentation where it has some.

use crate::{SUB, TENANT, plan, template, value};
use serde_json::{Value, json};

#[track_caller]
fn check(cases: &[(&str, Value)]) {
    for (expression, want) in cases {
        match value(expression) {
            Ok(found) => assert_eq!(&found, want, "{expression}"),
            Err(error) => panic!("{expression}: {error}"),
        }
    }
}
#[track_caller]
fn refused(cases: &[&str]) {
    for expression in cases {
        let found = value(expression);
        assert!(found.as_ref().is_err_and(|e| &*e.code == "InvalidTemplate"), "{expression}: {found:?}");
    }
}

#[test]
fn arrays() {
    check(&[
        ("array(1)", json!([1])),
        ("array('efgh')", json!(["efgh"])),
        ("array(createArray(1, 2))", json!([1, 2])),
        ("concat(createArray('1-1', '1-2'), createArray('2-1'))", json!(["1-1", "1-2", "2-1"])),
        ("concat('prefix', '-', 5)", json!("prefix-5")),
        ("contains('OneTwoThree', 'e')", json!(true)),
        ("contains('OneTwoThree', 'z')", json!(false)),
        ("contains(createObject('one', 'a'), 'ONE')", json!(true)),
        ("contains(createArray('one', 'two'), 'two')", json!(true)),
        ("contains(createArray('one', 'two'), 'Two')", json!(false)),
        ("createArray()", json!([])),
        ("empty(createArray())", json!(true)),
        ("empty('')", json!(true)),
        ("empty(createObject('a', 1))", json!(false)),
        ("empty(null())", json!(true)),
        ("first(createArray('one', 'two'))", json!("one")),
        ("first('One Two Three')", json!("O")),
        ("last('One Two Three')", json!("e")),
        ("last(createArray(1, 2, 3))", json!(3)),
        ("first(createArray())", Value::Null),
        ("indexFromEnd(createArray('a', 'b', 'c'), 1)", json!("c")),
        ("tryIndexFromEnd(createArray('a'), 2)", Value::Null),
        ("indexOf('test', 't')", json!(0)),
        ("lastIndexOf('test', 't')", json!(3)),
        ("indexOf('abcdef', 'CD')", json!(2)),
        ("lastIndexOf('abcdef', 'AB')", json!(0)),
        ("indexOf('abcdef', 'z')", json!(-1)),
        ("indexOf(createArray('one', 'two', 'two'), 'two')", json!(1)),
        ("lastIndexOf(createArray('one', 'two', 'two'), 'two')", json!(2)),
        ("intersection(createArray('one', 'two', 'three'), createArray('two', 'three'))", json!(["two", "three"])),
        (
            "intersection(json('{\"one\": \"a\", \"two\": \"b\", \"three\": \"c\"}'), json('{\"one\": \"a\", \"two\": \"z\", \"three\": \"c\"}'))",
            json!({"one": "a", "three": "c"}),
        ),
        ("length(createArray('one', 'two', 'three'))", json!(3)),
        ("length('One Two Three')", json!(13)),
        ("length(createObject('a', 1))", json!(1)),
        ("range(5, 3)", json!([5, 6, 7])),
        ("skip(createArray('one', 'two', 'three'), 2)", json!(["three"])),
        ("skip('one two three', 4)", json!("two three")),
        ("take(createArray('one', 'two', 'three'), 2)", json!(["one", "two"])),
        ("take('one two three', 2)", json!("on")),
        ("take('a', 9)", json!("a")),
        ("tryGet(createObject('a', createArray(1, 2)), 'a', 1)", json!(2)),
        ("tryGet(createObject('a', 1), 'b')", Value::Null),
        ("union(createArray('one', 'two'), createArray('two', 'four'))", json!(["one", "two", "four"])),
        (
            "union(json('{\"a\": {\"x\": 1, \"y\": 2}, \"b\": 1}'), json('{\"a\": {\"y\": 3}, \"c\": 2}'))",
            json!({"a": {"x": 1, "y": 3}, "b": 1, "c": 2}),
        ),
    ]);
    refused(&[
        "range(0, 10001)",
        "first(1)",
        "indexFromEnd(createArray(1), 2)",
        "length(1)",
        "tryGet(createArray(1), 'a')",
        "concat('a', createArray())",
        "contains(1, 1)",
    ]);
}

#[test]
fn address_ranges() {
    check(&[
        (
            "parseCidr('10.144.0.0/20')",
            json!({"network": "10.144.0.0", "netmask": "255.255.240.0", "broadcast": "10.144.15.255", "firstUsable": "10.144.0.1", "lastUsable": "10.144.15.254", "cidr": 20}),
        ),
        (
            "parseCidr('fdad:3236:5555::/48')",
            json!({"network": "fdad:3236:5555::", "netmask": "ffff:ffff:ffff::", "firstUsable": "fdad:3236:5555::", "lastUsable": "fdad:3236:5555:ffff:ffff:ffff:ffff:ffff", "cidr": 48}),
        ),
        (
            "map(range(0, 3), lambda('i', cidrSubnet('10.144.0.0/20', 24, lambdaVariables('i'))))",
            json!(["10.144.0.0/24", "10.144.1.0/24", "10.144.2.0/24"]),
        ),
        ("cidrSubnet('fdad:3236:5555::/48', 52, 1)", json!("fdad:3236:5555:1000::/52")),
        (
            "map(range(0, 3), lambda('i', cidrHost('10.144.3.0/24', lambdaVariables('i'))))",
            json!(["10.144.3.1", "10.144.3.2", "10.144.3.3"]),
        ),
        ("parseCidr('::/0').lastUsable", json!("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
        ("parseCidr('10.0.0.1/32').firstUsable", json!("10.0.0.1")),
    ]);
    refused(&[
        "parseCidr('10.0.0.0')",
        "parseCidr('10.0.0.0/33')",
        "cidrSubnet('10.0.0.0/24', 23, 0)",
        "cidrSubnet('10.0.0.0/24', 25, 2)",
        "cidrHost('10.0.0.0/30', 2)",
        "cidrHost('10.0.0.0/30', -1)",
        "parseCidr('10.0.0.0/+8')",
    ]);
}

#[test]
fn comparison_and_logic() {
    check(&[
        ("coalesce(null(), null(), 'default')", json!("default")),
        ("coalesce(null())", Value::Null),
        ("equals(1, 2)", json!(false)),
        ("equals('a', 'A')", json!(false)),
        ("equals(createObject('a', 1, 'b', 2), createObject('b', 2, 'a', 1))", json!(true)),
        ("less(1, 2)", json!(true)),
        ("less('banana', 'apple')", json!(false)),
        ("lessOrEquals(2, 2)", json!(true)),
        ("greater('banana', 'apple')", json!(true)),
        ("greaterOrEquals(1, 2)", json!(false)),
        ("and(true(), not(false()))", json!(true)),
        ("and(false(), fail('never'))", json!(false)),
        ("or(true(), fail('never'))", json!(true)),
        ("if(equals('a', 'a'), 'yes', fail('never'))", json!("yes")),
        ("bool('true')", json!(true)),
        ("bool(0)", json!(false)),
    ]);
    refused(&["less(1, 'a')", "and(1, true())", "not('x')", "bool('x')", "if('x', 1, 2)"]);
    assert!(value("fail('my own words')").unwrap_err().message.contains("my own words"));
}

#[test]
fn dates() {
    check(&[
        ("dateTimeAdd('2020-04-07 14:53:14Z', 'P3Y')", json!("4/7/2023 2:53:14 PM")),
        ("dateTimeAdd('2020-04-07 14:53:14Z', '-P9D')", json!("3/29/2020 2:53:14 PM")),
        ("dateTimeAdd('2020-04-07 14:53:14Z', 'PT1H')", json!("4/7/2020 3:53:14 PM")),
        ("dateTimeAdd('4/7/2020 2:53:14 PM', 'P1DT1S', 'u')", json!("2020-04-08 14:53:15Z")),
        ("dateTimeAdd('20200407T145314Z', 'P1M', 'yyyy-MM-ddTHH:mm:ssZ')", json!("2020-05-07T14:53:14Z")),
        ("dateTimeFromEpoch(1683040573)", json!("2023-05-02T15:16:13Z")),
        ("dateTimeToEpoch('2023-05-02T15:16:13Z')", json!(1683040573)),
        ("dateTimeToEpoch('2023-05-02T17:16:13+02:00')", json!(1683040573)),
        ("dateTimeAdd('2026-11-24', 'PT0S', 'ddd d MMM yy, h tt')", json!("Tue 24 Nov 26, 12 AM")),
    ]);
    refused(&[
        "dateTimeAdd('x', 'P1D')",
        "dateTimeAdd('2020-04-07', '1D')",
        "dateTimeAdd('2020-04-07', 'P')",
        "dateTimeAdd('2020-04-07', 'P99999999Y')",
        "dateTimeToEpoch('2020-13-01')",
        "utcNow()",
    ]);
    let parameters = json!({"a": {"type": "string", "defaultValue": "[utcNow()]"}, "b": {"type": "string", "defaultValue": "[utcNow('d')]"}, "c": {"type": "string", "defaultValue": "[newGuid()]"}});
    let plan = plan(&template(json!({"parameters": parameters})), json!({})).unwrap();
    let values: Vec<&str> = plan.parameters().map(|p| p.value.unwrap().as_str().unwrap()).collect();
    assert_eq!(values, ["20261124T080352Z", "11/24/2026", "7f1a9b5c-5c0f-4a8e-9a53-0d7e35a0f001"]);
}

#[test]
fn lambdas() {
    let dogs = "json('[{\"name\":\"Evie\",\"age\":5},{\"name\":\"Casper\",\"age\":3},{\"name\":\"Indy\",\"age\":2}]')";
    let of = |text: &str| text.replace("DOGS", dogs);
    for (expression, want) in [
        (of("map(DOGS, lambda('d', lambdaVariables('d').name))"), json!(["Evie", "Casper", "Indy"])),
        (of("map(DOGS, lambda('d', 'i', add(lambdaVariables('d').age, lambdaVariables('i'))))"), json!([5, 4, 4])),
        (of("filter(DOGS, lambda('d', greaterOrEquals(lambdaVariables('d').age, 3)))[1].name"), json!("Casper")),
        (
            of(
                "reduce(map(DOGS, lambda('d', lambdaVariables('d').age)), 0, lambda('a', 'b', add(lambdaVariables('a'), lambdaVariables('b'))))",
            ),
            json!(10),
        ),
        (
            of(
                "map(sort(DOGS, lambda('a', 'b', less(lambdaVariables('a').age, lambdaVariables('b').age))), lambda('d', lambdaVariables('d').age))",
            ),
            json!([2, 3, 5]),
        ),
        (
            of("toObject(DOGS, lambda('d', lambdaVariables('d').name), lambda('d', lambdaVariables('d').age))"),
            json!({"Evie": 5, "Casper": 3, "Indy": 2}),
        ),
        (
            "groupBy(createArray('foo', 'bar', 'baz'), lambda('x', substring(lambdaVariables('x'), 0, 1)))".into(),
            json!({"f": ["foo"], "b": ["bar", "baz"]}),
        ),
        (
            "mapValues(createObject('foo', 'a', 'bar', 'b'), lambda('v', toUpper(lambdaVariables('v'))))".into(),
            json!({"foo": "A", "bar": "B"}),
        ),
        (
            "map(range(0, 2), lambda('i', map(range(0, 2), lambda('j', add(mul(lambdaVariables('i'), 10), lambdaVariables('j'))))))".into(),
            json!([[0, 1], [10, 11]]),
        ),
    ] {
        check(&[(expression.as_str(), want)]);
    }
    refused(&[
        "lambda('x', 1)",
        "map(createArray(1), 1)",
        "map(createArray(1), lambda(1))",
        "lambdaVariables('x')",
        "filter(createArray(1), lambda('x', 1))",
        "sort(createArray(1, 2), lambda('x', true()))",
    ]);
}

#[test]
fn numbers() {
    check(&[
        ("add(5, 3)", json!(8)),
        ("sub(7, 3)", json!(4)),
        ("mul(5, 3)", json!(15)),
        ("div(8, 3)", json!(2)),
        ("mod(7, 3)", json!(1)),
        ("int('4')", json!(4)),
        ("int(float('4.9'))", json!(4)),
        ("float('3.5')", json!(3.5)),
        ("max(0, 3, 2, 5, 4)", json!(5)),
        ("min(createArray(0, 3, 2, 5, 4))", json!(0)),
    ]);
    refused(&[
        "add(9223372036854775807, 1)",
        "div(1, 0)",
        "div(-9223372036854775808, -1)",
        "mod(1, 0)",
        "int('x')",
        "max(createArray())",
        "add('1', 2)",
    ]);
}

#[test]
fn objects() {
    check(&[
        (
            "createObject('intProp', 1, 'stringProp', 'abc', 'nullProp', null())",
            json!({"intProp": 1, "stringProp": "abc", "nullProp": null}),
        ),
        ("items(json('{\"item002\": 2, \"item001\": 1}'))", json!([{"key": "item001", "value": 1}, {"key": "item002", "value": 2}])),
        ("objectKeys(createObject('b', 1, 'a', 2))", json!(["a", "b"])),
        ("shallowMerge(createArray(json('{\"a\": {\"x\": 1}}'), json('{\"a\": {\"y\": 2}, \"b\": 1}')))", json!({"a": {"y": 2}, "b": 1})),
        ("json('null')", Value::Null),
        ("json('[1, 2] // lenient')", json!([1, 2])),
        ("null()", Value::Null),
        ("json('{\"a\": {\"B\": 1}}').A.b", json!(1)),
    ]);
    refused(&[
        "createObject('a')",
        "json('{')",
        "items(1)",
        "shallowMerge(createArray(1))",
        "createObject('a', 1).b",
        "createArray(1)[1]",
        "createArray(1)[-1]",
        "createArray(1).a",
    ]);
}

#[test]
fn texts() {
    check(&[
        ("base64('one, two, three')", json!("b25lLCB0d28sIHRocmVl")),
        ("base64ToString('b25lLCB0d28sIHRocmVl')", json!("one, two, three")),
        ("base64ToJson(base64('{\"one\": \"a\"}'))", json!({"one": "a"})),
        ("dataUri('Hello')", json!("data:text/plain;charset=utf8;base64,SGVsbG8=")),
        ("dataUriToString('data:;base64,SGVsbG8sIFdvcmxkIQ==')", json!("Hello, World!")),
        ("endsWith('abcdef', 'EF')", json!(true)),
        ("startsWith('abcdef', 'AB')", json!(true)),
        ("startsWith('abcdef', 'e')", json!(false)),
        ("format('{0}, {1}. Formatted number: {2:N0}', 'Hello', 'User', 8175133)", json!("Hello, User. Formatted number: 8,175,133")),
        ("format('{{{0,4}|{0,-4}|{0:D3}|{0:00.0}|{0:X}|{1}}}', 42, true())", json!("{  42|42  |042|42.0|2A|True}")),
        ("join(createArray('one', 'two', 3), ';')", json!("one;two;3")),
        ("padLeft('123', 10, '0')", json!("0000000123")),
        ("padLeft(7, 3)", json!("  7")),
        ("replace('123-123-1234', '-', '')", json!("1231231234")),
        ("split('one,two,three', ',')", json!(["one", "two", "three"])),
        ("split('one;two,three', createArray(',', ';'))", json!(["one", "two", "three"])),
        ("string(createObject('a', 1, 'b', createArray('x', null())))", json!("{\"a\":1,\"b\":[\"x\",null]}")),
        ("string(5)", json!("5")),
        ("string(true())", json!("True")),
        ("substring('one two three', 4, 3)", json!("two")),
        ("substring('abc', 3)", json!("")),
        ("toLower('One Two')", json!("one two")),
        ("toUpper('One Two')", json!("ONE TWO")),
        ("trim('    one two three   ')", json!("one two three")),
        ("uniqueString('hello', 'world')", json!("a7wkljktk6wne")),
        ("length(guid('a', 'b'))", json!(36)),
        ("uri('http://contoso.org/firstpath/', 'nested/azuredeploy.json')", json!("http://contoso.org/firstpath/nested/azuredeploy.json")),
        ("uri('http://contoso.org/firstpath', 'nested/azuredeploy.json')", json!("http://contoso.org/nested/azuredeploy.json")),
        (
            "uriComponent('http://contoso.com/resources/nested/azuredeploy.json')",
            json!("http%3A%2F%2Fcontoso.com%2Fresources%2Fnested%2Fazuredeploy.json"),
        ),
        ("uriComponentToString('http%3A%2F%2Fcontoso.com')", json!("http://contoso.com")),
        ("'it''s'", json!("it's")),
    ]);
    refused(&[
        "base64ToString('!')",
        "dataUriToString('x')",
        "format('{1}', 1)",
        "format('{', 1)",
        "format('{0:Q}', 1)",
        "padLeft('a', 99999999)",
        "replace('a', '', 'b')",
        "substring('abc', 4)",
        "substring('abc', 1, 9)",
        "uri('x', 'y')",
        "newGuid()",
        "trim(1)",
    ]);
}

#[test]
fn scopes_and_ids() {
    let group = format!("/subscriptions/{SUB}/resourceGroups/rg");
    check(&[
        ("subscription().subscriptionId", json!(SUB)),
        ("tenant().tenantId", json!(TENANT)),
        ("resourceGroup().location", json!("francecentral")),
        ("managementGroup().name", json!("mg")),
        ("deployment().name", json!("main")),
        ("deployer().objectId", json!("0a")),
        ("environment().suffixes.storage", json!("core.localhost")),
        ("resourceId('Microsoft.Storage/storageAccounts', 'a')", json!(format!("{group}/providers/Microsoft.Storage/storageAccounts/a"))),
        (
            "resourceId('other', 'Microsoft.Sql/servers/databases', 's', 'd')",
            json!(format!("/subscriptions/{SUB}/resourceGroups/other/providers/Microsoft.Sql/servers/s/databases/d")),
        ),
        (
            "resourceId('11111111-1111-1111-1111-111111111111', 'g', 'A.B/c', 'd')",
            json!("/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/g/providers/A.B/c/d"),
        ),
        (
            "subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'x')",
            json!(format!("/subscriptions/{SUB}/providers/Microsoft.Authorization/roleDefinitions/x")),
        ),
        ("subscriptionResourceId('Microsoft.Resources/resourceGroups', 'x')", json!(format!("/subscriptions/{SUB}/resourceGroups/x"))),
        ("tenantResourceId('Microsoft.Authorization/roleDefinitions', 'x')", json!("/providers/Microsoft.Authorization/roleDefinitions/x")),
        (
            "managementGroupResourceId('Microsoft.Authorization/policyDefinitions', 'x')",
            json!("/providers/Microsoft.Management/managementGroups/mg/providers/Microsoft.Authorization/policyDefinitions/x"),
        ),
        ("extensionResourceId('/subscriptions/a', 'B.C/d', 'e')", json!("/subscriptions/a/providers/B.C/d/e")),
        ("pickZones('Microsoft.Compute', 'virtualMachines', 'francecentral', 2)", json!(["1", "2"])),
        ("providers('Microsoft.Storage', 'storageAccounts').locations[0]", json!("francecentral")),
        ("toLogicalZone(subscription().subscriptionId, 'francecentral', '1')", json!("1")),
        ("toPhysicalZones(subscription().subscriptionId, 'francecentral', createArray('1'))", json!(["1"])),
    ]);
    refused(&[
        "resourceId('a', 'b')",
        "resourceId('A.B/c', 'd', 'e')",
        "copyIndex()",
        "parameters('nothing')",
        "variables('nothing')",
        "nothing()",
        "reference('nothing')",
        "listKeys('nothing', '1')",
        "contoso.nothing()",
        "toLogicalZone('a', 'b', createArray())",
    ]);
}
