//! Policy definitions and initiatives that come with the region. Ids, names and parameters are Azure's where Azure has the
//! policy, so that scripts that name them work unchanged; those whose id begins with `b1e00000` are ours.

use serde_json::Value;
use std::sync::LazyLock;

/// One of them.
#[derive(Debug)]
pub(crate) struct BuiltIn {
    pub set: bool,
    pub name: String,
    pub properties: Value,
}

impl BuiltIn {
    pub(crate) fn id(&self) -> String {
        let kind = if self.set { "policySetDefinitions" } else { "policyDefinitions" };
        format!("/providers/Microsoft.Authorization/{kind}/{}", self.name)
    }
    pub(crate) fn display_name(&self) -> &str {
        self.properties["displayName"].as_str().unwrap_or(&self.name)
    }
}

/// All, definitions first.
pub(crate) static ALL: LazyLock<Vec<BuiltIn>> = LazyLock::new(|| {
    // the file is part of the program: a test reads it whole
    let file: Value = serde_json::from_str(include_str!("builtin_policies.json")).unwrap_or(Value::Null);
    let all = |kind: &str, set: bool| {
        let items = file[kind].as_array().cloned().unwrap_or_default();
        items.into_iter().map(move |i| BuiltIn {
            set,
            name: i["name"].as_str().unwrap_or("").to_owned(),
            properties: i["properties"].clone(),
        })
    };
    all("policyDefinitions", false).chain(all("policySetDefinitions", true)).collect()
});

/// By the id that clients write: `/providers/Microsoft.Authorization/policyDefinitions/{guid}`, any case.
pub(crate) fn find(id: &str) -> Option<&'static BuiltIn> {
    ALL.iter().find(|b| b.id().eq_ignore_ascii_case(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arm;
    use policy::{Aliases, Definition, Set};

    /// Storage accounts are served in a region; here they need not be, their aliases are known all the same.
    #[test]
    fn every_one_can_be_read_and_each_member_is_there() {
        let arm = Arm::new(Vec::new());
        assert!(arm.path("Microsoft.Storage/storageAccounts/minimumTlsVersion").is_some());
        assert!(ALL.len() > 20 && ALL.iter().any(|b| b.set));
        for one in ALL.iter() {
            assert!(one.name.parse::<base::ObjectId>().is_ok() && !one.display_name().is_empty(), "{}", one.name);
            if !one.set {
                Definition::read(&one.properties, &*arm).unwrap_or_else(|e| panic!("{}: {e}", one.display_name()));
                continue;
            }
            for member in Set::read(&one.properties).unwrap().members {
                let found = find(&member.definition).unwrap_or_else(|| panic!("{} names nothing", member.reference));
                let definition = Definition::read(&found.properties, &*arm).unwrap();
                for (name, _) in &member.parameters {
                    assert!(definition.parameters.iter().any(|(n, _)| n == name), "{} of {}", name, member.reference);
                }
            }
        }
        let mut names: Vec<&str> = ALL.iter().map(|b| b.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
