//! What is stored of deployments. Rows are in their subscription's space, named by the folded id below it, so that a list
//! of a scope is one scan of a prefix. What may be longer than a row is JSON text beside it.

use super::region::Region;
use base::{Error, OperationId, ResourceId, Result, Stored, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::Body;
use template::Plan;
use trust::{Access, Caller, Content, Keeper, Permit, Principal, Staged, Table, Write};

/// A plan, or what is shown of a deployment: far above what a template of 4 MiB makes.
const TEXT_BYTES_MAX: usize = 512 << 20;

/// Deployments: `/resourcegroups/a/providers/microsoft.resources/deployments/b`.
pub(crate) const DEPLOYMENTS: Table = Table::of(Keeper::Arm, 30);
/// What is needed to go on, secrets included; it goes when the deployment ends. The same names: what is here is to be done.
pub(crate) const WORK: Table = Table::of(Keeper::Arm, 31);
/// What became of each resource: the deployment's name, its operation's id, and the step's, with `|` between.
pub(crate) const STEPS: Table = Table::of(Keeper::Arm, 32);
/// The template as it was sent, for `exportTemplate`.
pub(crate) const TEMPLATES: Table = Table::of(Keeper::Arm, 33);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    Accepted,
    Running,
    Succeeded,
    Failed,
    Canceled,
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            State::Accepted => "Accepted",
            State::Running => "Running",
            State::Succeeded => "Succeeded",
            State::Failed => "Failed",
            State::Canceled => "Canceled",
        }
    }
    pub(crate) fn is_over(self) -> bool {
        matches!(self, State::Succeeded | State::Failed | State::Canceled)
    }
}

/// What clients may see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Deployment {
    pub id: ResourceId,
    pub operation: OperationId,
    pub location: Option<String>,
    pub tags: String,
    /// `Incremental` or `Complete`.
    pub complete: bool,
    pub state: State,
    pub template_hash: String,
    /// What was asked for, to recognise the same PUT again; a hash.
    pub wish: String,
    /// [`Details`].
    pub details: Content,
    pub correlation: String,
    pub asked_by: Option<Principal>,
    /// Somebody asked for its end.
    pub cancel: bool,
    pub began: Timestamp,
    pub changed: Timestamp,
}

impl Deployment {
    /// Whom the runner acts as.
    pub(crate) fn caller(&self) -> Caller {
        let asked = self.asked_by.clone().map_or(Caller::Region { part: "arm" }, Caller::Principal);
        Caller::Worker { on_behalf_of: Box::new(asked), operation: self.operation }
    }
}

/// What may be longer than a row.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Details {
    /// Secrets without their values.
    pub parameters: Value,
    pub providers: Value,
    pub dependencies: Value,
    pub outputs: Option<Value>,
    /// Ids.
    pub output_resources: Vec<String>,
    /// `{"code", "message", "details"}`.
    pub error: Option<Value>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Work {
    /// [`Needed`].
    pub text: Content,
}

/// The plan, and what the template was told of the region.
#[derive(Serialize, Deserialize)]
pub(crate) struct Needed {
    pub plan: Plan,
    pub facts: Region,
}

/// Puts a value aside as JSON, for the batch that adopts it.
pub(crate) async fn stage<T: Serialize>(permit: &Permit<Write>, value: &T) -> Result<Staged> {
    permit.stage_bytes(serde_json::to_vec(value).map_err(Error::internal)?.into()).await
}

/// Reads what [`stage`] wrote.
pub(crate) async fn read<A: Access, T: DeserializeOwned>(permit: &Permit<A>, content: &Content) -> Result<T> {
    let body = Body::new(Some(content.length), permit.data().content(content, 0..content.length));
    let bytes = service::collect(body, TEXT_BYTES_MAX).await?;
    serde_json::from_slice(&bytes).map_err(Error::internal)
}

/// What became of one resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Sixteen hexadecimal digits.
    pub id: String,
    /// `Create`, `Delete` or `EvaluateDeploymentOutput`.
    pub operation: String,
    pub target: String,
    pub kind: String,
    pub succeeded: bool,
    /// `OK`, `Created`, `Conflict`…
    pub status: String,
    /// `{"error": …}` of what failed.
    pub message: Option<String>,
    pub began: Timestamp,
    pub ended: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Template {
    pub text: Content,
}

macro_rules! first_version {
    ($($name:ident $label:literal;)*) => {$(
        impl Stored for $name {
            const NAME: &'static str = $label;
            const VERSION: u8 = 1;
            type Previous = $name;
            fn upgrade(previous: $name) -> $name { previous }
        }
    )*};
}

first_version! {
    Deployment "arm.deployment";
    Work "arm.deployment.work";
    Step "arm.deployment.step";
    Template "arm.deployment.template";
}

/// A step's row: below its deployment's. A deployment that is put anew has an operation of its own, and so other steps.
pub(crate) fn step_name(deployment: &str, operation: OperationId, id: &str) -> String {
    format!("{deployment}|{operation}|{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes written by the first version: they are read for ever.
    #[test]
    fn the_first_version_is_still_read() {
        let step = Step {
            id: "0123456789ABCDEF".into(),
            operation: "Create".into(),
            target: "/subscriptions/s/resourceGroups/g".into(),
            kind: "Microsoft.Resources/resourceGroups".into(),
            succeeded: false,
            status: "Conflict".into(),
            message: Some("{\"error\":{\"code\":\"é\"}}".into()),
            began: Timestamp(5),
            ended: Timestamp(6),
        };
        let sample = include_str!("../../tests/deployment_step.v1.hex").trim();
        let bytes: Vec<u8> = (0..sample.len()).step_by(2).map(|i| u8::from_str_radix(&sample[i..i + 2], 16).unwrap()).collect();
        let hex: String = base::encode(&step).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(base::decode::<Step>(&bytes).ok(), Some(step), "today's bytes are {hex}");
    }
}
