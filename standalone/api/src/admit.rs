//! What stands between a request and the store: shape, defaults, allocation and the rules of each kind.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node, Pod, Secret, Service, ServiceAccount,
};
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
}

/// A kind's defaults and rules.
trait Admit: Serialize + DeserializeOwned {
    /// Fills in what the author left out.
    fn fill(&mut self) {}

    /// What is wrong with it, and with how it changed.
    fn check(&self, _old: Option<&Self>, _causes: &mut Causes) {}
}

/// Gives an object the shape of its kind: what the kind does not have is dropped or, when asked to be
/// strict, refused; a value of the wrong type is always refused.
pub(crate) fn shape(kind: Kind, mut object: Value, strict: bool) -> Result<Value, Failure> {
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
    let shaped = match kind {
        Kind::Namespace => reshape::<Namespace>(&object),
        Kind::Node => reshape::<Node>(&object),
        Kind::Pod => reshape::<Pod>(&object),
        Kind::Service => reshape::<Service>(&object),
        Kind::Endpoints => reshape::<Endpoints>(&object),
        Kind::Event => reshape::<Event>(&object),
        Kind::ConfigMap => reshape::<ConfigMap>(&object),
        Kind::Secret => reshape::<Secret>(&object),
        Kind::ServiceAccount => reshape::<ServiceAccount>(&object),
        Kind::Deployment => reshape::<Deployment>(&object),
        Kind::EndpointSlice => reshape::<EndpointSlice>(&object),
        Kind::Lease => reshape::<Lease>(&object),
        Kind::NewEvent => reshape::<NewEvent>(&object),
    };
    let shaped = shaped.map_err(|error| {
        let (name, version) = (facts.name, kind.api_version());
        let path = error.path().to_string();
        let message =
            format!("{name} in version {version:?} cannot be handled as a {name}: {path}: {}", error.inner());
        Failure::bad_request(message)
    })?;
    if strict && let Some(list) = unknown::fields(&object, &shaped) {
        return Err(Failure::bad_request(format!("strict decoding error: {list}")));
    }
    Ok(shaped)
}

fn reshape<T: DeserializeOwned + Serialize>(
    object: &Value,
) -> Result<Value, serde_path_to_error::Error<serde_json::Error>> {
    let typed: T = serde_path_to_error::deserialize(object)?;
    Ok(serde_json::to_value(typed).expect("what was decoded from JSON has a form in JSON"))
}

/// Defaults, allocates and checks an object of the right shape.
pub(crate) fn admit(
    kind: Kind,
    object: Value,
    old: Option<&Value>,
    context: Context<'_>,
) -> Result<Value, Failure> {
    let mut causes = Causes::default();
    metadata::check(kind, &object, old, &mut causes);
    let name = context.name.name.clone();
    let object = match kind {
        Kind::Service => service::admit(object, old, context, &mut causes)?,
        Kind::Namespace => apply::<Namespace>(object, old, &mut causes),
        Kind::Node => apply::<Node>(object, old, &mut causes),
        Kind::Pod => apply::<Pod>(object, old, &mut causes),
        Kind::Endpoints => apply::<Endpoints>(object, old, &mut causes),
        Kind::Deployment => apply::<Deployment>(object, old, &mut causes),
        Kind::EndpointSlice => apply::<EndpointSlice>(object, old, &mut causes),
        Kind::Lease => apply::<Lease>(object, old, &mut causes),
        Kind::Secret => apply::<Secret>(object, old, &mut causes),
        Kind::Event | Kind::NewEvent | Kind::ConfigMap | Kind::ServiceAccount => object,
    };
    causes.check(kind, &name)?;
    Ok(object)
}

fn apply<T: Admit>(object: Value, old: Option<&Value>, causes: &mut Causes) -> Value {
    let mut object: T = decode(object);
    object.fill();
    let old = old.map(|old| decode::<T>(old.clone()));
    object.check(old.as_ref(), causes);
    encode(&object)
}

fn decode<T: DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).expect("what is stored or was given its shape decodes")
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
