//! Policies upon a resource: which apply, what they change, what they refuse, what they only note.
//!
//! The order is Azure's ("effects: order of evaluation"): what is disabled is not looked at; `append` and `modify` change
//! the wish; then `deny` judges what came of it; then `audit` notes. An expression that has no value refuses: nothing
//! passes because a policy could not be understood.

use crate::condition::{Evaluation, Surroundings};
use crate::definition::{Definition, Effect, Mode, Modify};
use crate::expression::{Fault, Names};
use crate::subject::{Aliases, Changed, Field, Subject, put, remove};
use base::{Error, Kind};
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// One definition as an assignment puts it upon a scope, its parameters resolved.
#[derive(Clone, Debug)]
pub struct Applied {
    pub assignment_id: String,
    pub assignment_name: String,
    pub assignment_display_name: String,
    /// The scope of the assignment.
    pub scope: String,
    /// False for `DoNotEnforce`: judged for the compliance state only.
    pub enforced: bool,
    pub parameters: Map<String, Value>,
    /// Why, in the words of whoever assigned it.
    pub message: Option<String>,
    pub definition: Arc<Definition>,
    pub definition_id: String,
    pub definition_name: String,
    pub definition_display_name: String,
    /// Of a member of an initiative: the initiative's id, name, display name, and the member's reference.
    pub set: Option<InSet>,
    /// Worked out at its first use.
    pub once: Once,
}

/// What follows from the rest of an [`Applied`], worked out once.
#[derive(Clone, Debug, Default)]
pub struct Once {
    about: OnceLock<Value>,
    effect: OnceLock<Result<Effect, Fault>>,
}

#[derive(Clone, Debug)]
pub struct InSet {
    pub id: String,
    pub name: String,
    pub display_name: String,
    pub reference: String,
}

/// What one policy says of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compliance {
    /// The policy's condition does not hold: nothing to object.
    Compliant,
    NonCompliant,
    /// Under an exemption: whoever knows exemptions says so.
    Exempt,
    /// Not for this kind of resource, or disabled.
    NotApplicable,
}

impl Compliance {
    pub fn name(self) -> &'static str {
        match self {
            Compliance::Compliant => "Compliant",
            Compliance::NonCompliant => "NonCompliant",
            Compliance::Exempt => "Exempt",
            Compliance::NotApplicable => "NotApplicable",
        }
    }
}

/// Why a write is refused.
#[derive(Clone, Debug)]
pub struct Denial {
    pub policy: Arc<Applied>,
    pub effect: Effect,
    /// What was compared with what.
    pub evaluated: Vec<Value>,
    /// The policy could not be evaluated.
    pub fault: Option<Fault>,
}

/// What came of all policies.
#[derive(Debug)]
pub struct Decision {
    /// The wish with what `append` and `modify` made of it.
    pub subject: Subject,
    pub changed: bool,
    pub denials: Vec<Denial>,
    /// Noted only: assignment id, definition id.
    pub audits: Vec<(String, String)>,
}

impl Applied {
    fn policy(&self) -> &Value {
        self.once.about.get_or_init(|| self.about())
    }
    fn about(&self) -> Value {
        let mut about = json!({"assignmentId": self.assignment_id, "definitionId": self.definition_id});
        if let Some(set) = &self.set {
            about["setDefinitionId"] = json!(set.id);
            about["definitionReferenceId"] = json!(set.reference);
        }
        about
    }
    /// What it does here. Error, in words: its effect can't be told.
    pub fn effect(&self) -> Result<Effect, Fault> {
        // it follows from the parameters alone: what else an expression asks for it has not, and that is a fault
        let work = || {
            let effect = self.definition.effect.value(&OfSet(&self.parameters))?;
            let text = effect.as_str().ok_or("the effect is not a string")?;
            Effect::read(text).ok_or_else(|| format!("the effect '{text}' is not known"))
        };
        self.once.effect.get_or_init(work).clone()
    }
    fn looks_at(&self, subject: &Subject) -> bool {
        match self.definition.mode {
            Mode::All => true,
            Mode::Other => false,
            Mode::Indexed => {
                let kind = subject.kind().to_ascii_lowercase();
                !matches!(kind.as_str(), "microsoft.resources/subscriptions/resourcegroups" | "microsoft.resources/resourcegroups")
                    && subject.body.get("location").is_some_and(|l| !l.is_null())
            }
        }
    }
    /// What the policy says of a resource that is there. `exists` looks for the related resources of `…IfNotExists`.
    pub fn compliance(
        &self,
        subject: &Subject,
        around: &Surroundings,
        aliases: &dyn Aliases,
        exists: &dyn Fn(&Applied, &Subject) -> bool,
    ) -> Compliance {
        let Ok(effect) = self.effect() else { return Compliance::NonCompliant };
        if !self.looks_at(subject) || matches!(effect, Effect::Disabled | Effect::DenyAction | Effect::Manual) {
            return Compliance::NotApplicable;
        }
        let about = self.policy();
        let evaluation = Evaluation::new(subject, &self.parameters, around, aliases, about);
        let held = evaluation.holds(&self.definition.condition);
        let conditional = matches!(effect, Effect::AuditIfNotExists | Effect::DeployIfNotExists);
        match held {
            Ok(false) if conditional => Compliance::NotApplicable,
            Ok(false) => Compliance::Compliant,
            Ok(true) if conditional && exists(self, subject) => Compliance::Compliant,
            Ok(true) if effect == Effect::Modify && !self.would_modify(subject, &evaluation) => Compliance::Compliant,
            _ => Compliance::NonCompliant,
        }
    }
    /// The related resource of `…IfNotExists` satisfies the policy.
    pub fn satisfied_by(&self, subject: &Subject, related: &Subject, around: &Surroundings, aliases: &dyn Aliases) -> bool {
        let Some(existence) = &self.definition.existence else { return false };
        let about = self.policy();
        if let Some(name) = &existence.name {
            let evaluation = Evaluation::new(subject, &self.parameters, around, aliases, about);
            let wanted = name.value(&evaluation).ok().and_then(|n| n.as_str().map(str::to_owned));
            let full = related.full_name();
            if !wanted.is_some_and(|w| w.eq_ignore_ascii_case(&full) || w.eq_ignore_ascii_case(related.text("name"))) {
                return false;
            }
        }
        let evaluation = Evaluation::new(related, &self.parameters, around, aliases, about);
        related.kind().eq_ignore_ascii_case(&existence.kind)
            && existence.condition.as_ref().is_none_or(|c| evaluation.holds(c).unwrap_or(false))
    }
    fn would_modify(&self, subject: &Subject, evaluation: &Evaluation<'_>) -> bool {
        let mut copy = subject.clone();
        !matches!(self.modify(&mut copy, evaluation), Ok(changes) if changes.is_empty())
    }

    /// Does what `modify` says. What it wrote: field and value.
    fn modify(&self, subject: &mut Subject, evaluation: &Evaluation<'_>) -> Result<Vec<(Field, Value)>, Fault> {
        let mut written = Vec::new();
        for operation in &self.definition.operations {
            if let Some(condition) = &operation.condition
                && !evaluation_true(&*condition.value(evaluation)?)
            {
                continue;
            }
            let field = evaluation.field(&operation.field)?.0.into_owned();
            let Some(value) = &operation.value else {
                if remove(subject, &field) {
                    written.push((field, Value::Null));
                }
                continue;
            };
            let value = value.value(evaluation)?.into_owned();
            // a computed value that is not there adds nothing
            if value.is_null() {
                continue;
            }
            if put(subject, &field, &value, operation.kind == Modify::AddOrReplace)? == Changed::Yes {
                written.push((field, value));
            }
        }
        Ok(written)
    }
}

fn evaluation_true(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value.as_str().is_some_and(|s| s.eq_ignore_ascii_case("true")))
}

/// Judges a wish before it is carried out. `policies` are those that reach the resource and from which it is not exempt.
pub fn judge(mut subject: Subject, policies: &[Arc<Applied>], around: &Surroundings, aliases: &dyn Aliases) -> Decision {
    let mut denials = Vec::new();
    let (mut audits, mut changed) = (Vec::new(), false);
    let mut written: HashMap<String, Value> = HashMap::new();
    // what can't be told is looked at with those that refuse
    let active: Vec<(&Arc<Applied>, Result<Effect, Fault>)> =
        policies.iter().filter(|p| p.looks_at(&subject)).map(|p| (p, p.effect())).collect();
    for (policy, effect) in &active {
        let Ok(effect @ (Effect::Append | Effect::Modify)) = effect else { continue };
        if !policy.enforced {
            continue;
        }
        match alter(&mut subject, policy, *effect, around, aliases, &mut written) {
            Ok(Altered::Nothing) => {}
            Ok(Altered::Something) => changed = true,
            Ok(Altered::Refused) => denials.push(denial(&subject, policy, *effect, around, aliases, None)),
            Err(fault) => denials.push(denial(&subject, policy, *effect, around, aliases, Some(fault))),
        }
    }
    for (policy, effect) in &active {
        let effect = match effect {
            Ok(effect) => *effect,
            Err(fault) => {
                if policy.enforced {
                    denials.push(denial(&subject, policy, Effect::Deny, around, aliases, Some(fault.clone())));
                }
                continue;
            }
        };
        if !matches!(effect, Effect::Deny | Effect::Audit) {
            continue;
        }
        let about = policy.policy();
        let evaluation = Evaluation::new(&subject, &policy.parameters, around, aliases, about);
        let held = evaluation.holds(&policy.definition.condition);
        match held {
            Ok(false) => {}
            Ok(true) if effect == Effect::Deny && policy.enforced => denials.push(denial(&subject, policy, effect, around, aliases, None)),
            Err(fault) if policy.enforced => denials.push(denial(&subject, policy, effect, around, aliases, Some(fault))),
            _ => audits.push((policy.assignment_id.clone(), policy.definition_id.clone())),
        }
    }
    Decision { subject, changed, denials, audits }
}

/// Judges a deletion: `denyAction` (Azure Policy, "denyAction effect").
pub fn judge_delete(subject: &Subject, policies: &[Arc<Applied>], around: &Surroundings, aliases: &dyn Aliases) -> Vec<Denial> {
    let mut denials = Vec::new();
    for policy in policies.iter().filter(|p| p.enforced && p.definition.mode != Mode::Other) {
        if !matches!(policy.effect(), Ok(Effect::DenyAction)) {
            continue;
        }
        let about = policy.policy();
        let evaluation = Evaluation::new(subject, &policy.parameters, around, aliases, about);
        match evaluation.holds(&policy.definition.condition) {
            Ok(false) => {}
            Ok(true) => denials.push(denial(subject, policy, Effect::DenyAction, around, aliases, None)),
            Err(fault) => denials.push(denial(subject, policy, Effect::DenyAction, around, aliases, Some(fault))),
        }
    }
    denials
}

enum Altered {
    Nothing,
    Something,
    Refused,
}

fn alter(
    subject: &mut Subject,
    policy: &Arc<Applied>,
    effect: Effect,
    around: &Surroundings,
    aliases: &dyn Aliases,
    written: &mut HashMap<String, Value>,
) -> Result<Altered, Fault> {
    let (before, about) = (subject.clone(), policy.policy());
    let evaluation = Evaluation::new(&before, &policy.parameters, around, aliases, about);
    if !evaluation.holds(&policy.definition.condition)? {
        return Ok(Altered::Nothing);
    }
    let definition = &policy.definition;
    if effect == Effect::Modify {
        let mut next = subject.clone();
        let changes = policy.modify(&mut next, &evaluation)?;
        let other = changes.iter().any(|(field, value)| written.get(&format!("{field:?}").to_lowercase()).is_some_and(|v| v != value));
        if other {
            return Ok(if definition.conflict_denies { Altered::Refused } else { Altered::Nothing });
        }
        let something = !changes.is_empty();
        written.extend(changes.into_iter().map(|(field, value)| (format!("{field:?}").to_lowercase(), value)));
        *subject = next;
        return Ok(if something { Altered::Something } else { Altered::Nothing });
    }
    let mut altered = Altered::Nothing;
    for (field, value) in &definition.append {
        let field = evaluation.field(field)?.0.into_owned();
        match put(subject, &field, &*value.value(&evaluation)?, false)? {
            Changed::Yes => altered = Altered::Something,
            Changed::No => {}
            // another value stands there: `append` then refuses
            Changed::Other => return Ok(Altered::Refused),
        }
    }
    Ok(altered)
}

fn denial(
    subject: &Subject,
    policy: &Arc<Applied>,
    effect: Effect,
    around: &Surroundings,
    aliases: &dyn Aliases,
    fault: Option<Fault>,
) -> Denial {
    let about = policy.policy();
    let mut evaluation = Evaluation::new(subject, &policy.parameters, around, aliases, about);
    evaluation.trace = Some(RefCell::new(Vec::new()));
    // again, this time telling why
    let _ = evaluation.holds(&policy.definition.condition);
    let evaluated = evaluation.trace.take().map(RefCell::into_inner).unwrap_or_default();
    Denial { policy: policy.clone(), effect, evaluated, fault }
}

impl Denial {
    /// `additionalInfo` of the error, as Azure prints it.
    fn info(&self) -> Value {
        let p = &self.policy;
        let mut info = json!({
            "evaluationDetails": {"evaluatedExpressions": self.evaluated},
            "policyDefinitionId": p.definition_id,
            "policyDefinitionName": p.definition_name,
            "policyDefinitionDisplayName": p.definition_display_name,
            "policyDefinitionEffect": self.effect.name(),
            "policyAssignmentId": p.assignment_id,
            "policyAssignmentName": p.assignment_name,
            "policyAssignmentDisplayName": p.assignment_display_name,
            "policyAssignmentScope": p.scope,
            "policyAssignmentParameters": p.parameters.iter().map(|(k, v)| (k.clone(), json!({"value": v}))).collect::<Map<_, _>>(),
            "policyExemptionIds": [],
            "policyEnrollmentIds": [],
        });
        if let Some(set) = &p.set {
            info["policySetDefinitionId"] = json!(set.id);
            info["policySetDefinitionName"] = json!(set.name);
            info["policySetDefinitionDisplayName"] = json!(set.display_name);
            info["policyDefinitionReferenceId"] = json!(set.reference);
        }
        if let Some(fault) = &self.fault {
            info["evaluationDetails"]["reason"] = json!(fault);
        }
        json!({"type": "PolicyViolation", "info": info})
    }

    fn identifiers(&self) -> Value {
        let p = &self.policy;
        let mut found = json!({
            "policyAssignment": {"name": p.assignment_display_name, "id": p.assignment_id},
            "policyDefinition": {"name": p.definition_display_name, "id": p.definition_id},
        });
        if let Some(set) = &p.set {
            found["policySetDefinition"] = json!({"name": set.display_name, "id": set.id});
        }
        found
    }
}

/// The refusal in Resource Manager's words: `RequestDisallowedByPolicy`, with a `PolicyViolation` for each.
pub fn refusal(name: &str, denials: &[Denial]) -> Error {
    let reasons: Vec<&str> = denials.iter().filter_map(|d| d.policy.message.as_deref()).collect();
    let identifiers = Value::Array(denials.iter().map(Denial::identifiers).collect());
    let mut message = format!("Resource '{name}' was disallowed by policy. ");
    if reasons.is_empty() {
        message.push_str(&format!("Policy identifiers: '{identifiers}'."));
    } else {
        message.push_str(&format!("Reasons: '{}'. See error details for policy resource IDs.", reasons.join("', '")));
    }
    let info: Vec<Value> = denials.iter().map(Denial::info).collect();
    Error::new(Kind::Forbidden, "RequestDisallowedByPolicy", message).at(name.to_owned()).with_info(Value::Array(info).to_string())
}

/// For whoever computes a member's parameters from its initiative's.
pub(crate) struct OfSet<'a>(pub &'a Map<String, Value>);
impl Names for OfSet<'_> {
    fn call(&self, name: &str, a: &[Value]) -> Option<Result<Value, Fault>> {
        match (name, a) {
            ("parameters", [Value::String(wanted)]) => Some(
                self.0
                    .iter()
                    .find(|(k, _)| k.eq_ignore_ascii_case(wanted))
                    .map(|(_, v)| v.clone())
                    .ok_or_else(|| format!("the parameter '{wanted}' has no value")),
            ),
            _ => None,
        }
    }
}

/// The values that an initiative gives one of its members. Error, in words.
pub fn member_parameters(member: &crate::definition::Member, of_set: &Map<String, Value>) -> Result<Map<String, Value>, Fault> {
    let names = OfSet(of_set);
    member.parameters.iter().map(|(name, operand)| Ok((name.clone(), operand.value(&names)?.into_owned()))).collect()
}
