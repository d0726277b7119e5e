//! What stands between a request and the store: shape, defaults, allocation and the rules of each kind.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Event, Namespace, Node, Pod, Secret, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events::v1::Event as NewEvent;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::allocate::Allocations;
use crate::failure::Causes;
use crate::object::Name;
use crate::store::Part;
use crate::{Failure, Kind, Random};

mod deployment;
mod endpoints;
pub(crate) mod grammar;
mod metadata;
mod plain;
mod pod;
mod service;
mod unknown;

/// What admission needs to know of the cluster.
pub(crate) struct Context<'a> {
    pub(crate) allocations: &'a Allocations,
    pub(crate) random: &'a mut Random,
    pub(crate) name: &'a Name,
    pub(crate) part: Part,
    /// Whether nothing is to be stored.
    pub(crate) dry_run: bool,
    /// Whether unknown fields are refused.
    pub(crate) strict: bool,
}

/// A kind's defaults and rules.
trait Admit: Serialize + DeserializeOwned {
    /// Fills in what the author left out.
    fn fill(&mut self) {}

    /// What is wrong with it, and with how it changed.
    fn check(&self, _old: Option<&Value>, _causes: &mut Causes) {}
}

impl Admit for Event {}
impl Admit for NewEvent {}
impl Admit for ConfigMap {}
impl Admit for ServiceAccount {}

/// Fails unless the object says that it is of the kind; says so where it says nothing.
pub(crate) fn name_kind(kind: Kind, object: &mut Value) -> Result<(), Failure> {
    let facts = kind.facts();
    let Some(fields) = object.as_object_mut() else {
        return Err(Failure::bad_request(format!("the object provided is not a {}", facts.name)));
    };
    for (field, expected) in [("apiVersion", kind.api_version()), ("kind", facts.name.to_owned())] {
        let given = fields.entry(field).or_insert(Value::Null);
        match given.as_str() {
            None | Some("") => *given = expected.into(),
            Some(text) if text != expected => {
                let message = format!(
                    "the {field} in the data ({text}) does not match the expected {field} ({expected})"
                );
                return Err(Failure::bad_request(message));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Defaults, allocates and checks an object. What the kind does not have is dropped or, when asked to be
/// strict, refused; a value of the wrong type is always refused.
pub(crate) fn admit(
    kind: Kind,
    object: &Value,
    old: Option<&Value>,
    context: Context<'_>,
) -> Result<Value, Failure> {
    let given = Given { kind, object, old, strict: context.strict };
    let name = context.name.name.clone();
    let mut causes = Causes::default();
    let object = match kind {
        Kind::Service => service::admit(given.decode()?, old, context, &mut causes)?,
        Kind::Namespace => given.admit::<Namespace>(&mut causes)?,
        Kind::Node => given.admit::<Node>(&mut causes)?,
        Kind::Pod => given.admit::<Pod>(&mut causes)?,
        Kind::Endpoints => given.admit::<Endpoints>(&mut causes)?,
        Kind::Deployment => given.admit::<Deployment>(&mut causes)?,
        Kind::EndpointSlice => given.admit::<EndpointSlice>(&mut causes)?,
        Kind::Lease => given.admit::<Lease>(&mut causes)?,
        Kind::Secret => given.admit::<Secret>(&mut causes)?,
        Kind::Event => given.admit::<Event>(&mut causes)?,
        Kind::NewEvent => given.admit::<NewEvent>(&mut causes)?,
        Kind::ConfigMap => given.admit::<ConfigMap>(&mut causes)?,
        Kind::ServiceAccount => given.admit::<ServiceAccount>(&mut causes)?,
    };
    let mut all = Causes::default();
    metadata::check(kind, &object, old, &mut all);
    all.append(causes);
    all.check(kind, &name)?;
    Ok(object)
}

struct Given<'a> {
    kind: Kind,
    object: &'a Value,
    old: Option<&'a Value>,
    strict: bool,
}

impl Given<'_> {
    fn admit<T: Admit>(&self, causes: &mut Causes) -> Result<Value, Failure> {
        let mut object: T = self.decode()?;
        object.fill();
        object.check(self.old, causes);
        Ok(encode(&object))
    }

    fn decode<T: DeserializeOwned + Serialize>(&self) -> Result<T, Failure> {
        let object: T = serde_path_to_error::deserialize(self.object).map_err(|error| {
            let (name, version, path) =
                (self.kind.facts().name, self.kind.api_version(), error.path().to_string());
            Failure::bad_request(format!(
                "{name} in version {version:?} cannot be handled as a {name}: {path}: {}",
                error.inner()
            ))
        })?;
        if self.strict
            && let Some(list) = unknown::fields(self.object, &encode(&object))
        {
            return Err(Failure::bad_request(format!("strict decoding error: {list}")));
        }
        Ok(object)
    }
}

fn decode<T: DeserializeOwned>(object: &Value) -> T {
    T::deserialize(object).expect("what is stored decodes")
}

fn encode<T: Serialize>(object: &T) -> Value {
    serde_json::to_value(object).expect("what was decoded from JSON has a form in JSON")
}

/// Whether what the author wants has changed, which `metadata.generation` counts.
pub(crate) fn intent_changed(kind: Kind, old: &Value, new: &Value) -> bool {
    match kind {
        // It has no spec: all but the metadata counts, and of that the labels (as upstream).
        Kind::EndpointSlice => {
            ["endpoints", "ports", "addressType"].iter().any(|field| old.get(field) != new.get(field))
                || ["/metadata/labels", "/metadata/annotations"]
                    .iter()
                    .any(|at| old.pointer(at) != new.pointer(at))
        }
        _ => old.get("spec") != new.get("spec"),
    }
}
