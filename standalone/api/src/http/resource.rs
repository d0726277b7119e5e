//! The verbs.

use std::sync::Arc;

use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::{Form, body, include, metadata_only, ok, success};
use super::target::Target;
use super::{Call, event, scale, watch};
use crate::object::{fields, text};
use crate::table::{Include, Table};
use crate::{Api, Deleted, Failure, Kind, Name, Part, Patch, Selection};

const PATCHES: &str =
    "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json";

pub(super) fn answer(api: &Api, target: &Target, call: &Call) -> Result<Response, Failure> {
    let verb = call.method.clone();
    match (target.part.as_deref(), target.name.is_some()) {
        (None, false) => match verb {
            Method::GET => list(api, target, call),
            Method::POST => create(api, target, call),
            Method::DELETE => delete_all(api, target, call),
            _ => Err(Failure::method_not_allowed()),
        },
        (None, true) => match verb {
            Method::GET => get(api, target, call),
            Method::PUT | Method::PATCH => change(api, target, call, Part::Main),
            Method::DELETE => delete(api, target, call),
            _ => Err(Failure::method_not_allowed()),
        },
        (Some("status"), true) if target.kind.facts().status => match verb {
            Method::GET => get(api, target, call),
            Method::PUT | Method::PATCH => change(api, target, call, Part::Status),
            _ => Err(Failure::method_not_allowed()),
        },
        (Some("scale"), true) if target.kind == Kind::Deployment => rescale(api, target, call),
        (Some("binding"), true) if target.kind == Kind::Pod => bind(api, target, call),
        (Some(part), _) => {
            // Told apart from a path that does not exist at all, so that the author of a request learns
            // that it is this server that lacks it.
            api.read(|store| store.get(target.kind.stored(), &target.object()?).map(drop))?;
            Err(Failure::not_served(&format!("{}/{part}", target.kind.facts().plural)))
        }
    }
}

fn get(api: &Api, target: &Target, call: &Call) -> Result<Response, Failure> {
    let object = api.read(|store| store.get(target.kind.stored(), &target.object()?))?;
    single(api, target.kind, object, call, StatusCode::OK)
}

/// One object, in the form that is asked for.
fn single(
    api: &Api,
    kind: Kind,
    object: Arc<Value>,
    call: &Call,
    code: StatusCode,
) -> Result<Response, Failure> {
    let object = event::outward(kind, object);
    Ok(match call.form {
        Form::Plain => body(code, &object),
        Form::Metadata => body(code, &metadata_only(&object)),
        Form::Table => {
            let table = table(api, kind, call)?;
            let version = text(&object, "/metadata/resourceVersion").unwrap_or("").to_owned();
            body(code, &table.of(&[object], &json!({"resourceVersion": version}), true))
        }
    })
}

pub(super) fn table(api: &Api, kind: Kind, call: &Call) -> Result<Table, Failure> {
    let include: Include = include(call.query.text("includeObject"))?;
    Ok(Table { kind, now: api.now(), include })
}

fn list(api: &Api, target: &Target, call: &Call) -> Result<Response, Failure> {
    let kind = target.kind;
    let selection = call.query.selection(kind, target.namespace.as_deref())?;
    if call.query.flag("watch") {
        return watch::answer(api, kind, selection, call);
    }
    if call.query.text("sendInitialEvents").is_some() {
        return Err(Failure::invalid_options("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    let options = call.query.list()?;
    let asked = call.query.number::<u64>("resourceVersion")?.unwrap_or(0);
    let list = api.read(|store| {
        if asked > store.version() {
            return Err(Failure::too_large_version(asked, store.version()));
        }
        store.list(kind.stored(), &selection, &options)
    })?;
    let mut metadata = json!({"resourceVersion": list.version.to_string()});
    if let Some(next) = list.next {
        metadata["continue"] = next.into();
    }
    if let Some(remaining) = list.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    let items: Vec<_> = list.items.into_iter().map(|object| event::outward(kind, object)).collect();
    Ok(match call.form {
        Form::Plain => ok(&collection(kind, &metadata, &items)),
        Form::Table => ok(&table(api, kind, call)?.of(&items, &metadata, true)),
        Form::Metadata => {
            let items: Vec<_> = items.iter().map(|object| metadata_only(object)).collect();
            let (kind, version) = ("PartialObjectMetadataList", "meta.k8s.io/v1");
            ok(&json!({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items}))
        }
    })
}

/// Serialized as it is: a list of many objects is not copied into one value first.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Collection<'a> {
    kind: String,
    api_version: String,
    metadata: &'a Value,
    items: &'a [Arc<Value>],
}

fn collection<'a>(kind: Kind, metadata: &'a Value, items: &'a [Arc<Value>]) -> Collection<'a> {
    Collection {
        kind: format!("{}List", kind.facts().name),
        api_version: kind.api_version(),
        metadata,
        items,
    }
}

fn create(api: &Api, target: &Target, call: &Call) -> Result<Response, Failure> {
    let kind = target.kind;
    let namespace = match (&target.namespace, kind.facts().namespaced) {
        (Some(namespace), _) => namespace,
        (None, false) => "",
        (None, true) => return Err(Failure::method_not_allowed()),
    };
    let object = event::inward(kind, call.object()?);
    let options = call.query.write(api.now())?;
    let object = api.write(|store, _| store.create(kind.stored(), namespace, object, &options))?;
    single(api, kind, object, call, StatusCode::CREATED)
}

/// PUT and PATCH.
fn change(api: &Api, target: &Target, call: &Call, part: Part) -> Result<Response, Failure> {
    let (kind, name) = (target.kind, target.object()?);
    let options = call.query.write(api.now())?;
    if call.method == Method::PATCH {
        let patch = patch(kind, call)?;
        let object = api.write(|store, _| store.patch(kind.stored(), &name, part, &patch, &options))?;
        return single(api, kind, object, call, StatusCode::OK);
    }
    let object = event::inward(kind, call.object()?);
    let (existed, object) = api.write(|store, _| {
        let existed = store.get(kind.stored(), &name).is_ok();
        Ok((existed, store.update(kind.stored(), &name, part, object, &options)?))
    })?;
    single(api, kind, object, call, if existed { StatusCode::OK } else { StatusCode::CREATED })
}

fn patch(kind: Kind, call: &Call) -> Result<Patch, Failure> {
    match call.content.as_str() {
        "application/merge-patch+json" => Ok(Patch::Merge(event_patch(kind, call.json()?))),
        "application/strategic-merge-patch+json" => Ok(Patch::Strategic(event_patch(kind, call.json()?))),
        // Its paths would have to be translated.
        "application/json-patch+json" if kind == Kind::NewEvent => {
            Err(Failure::unsupported_media_type(PATCHES))
        }
        "application/json-patch+json" => Ok(Patch::Json(call.json()?)),
        "application/apply-patch+yaml" | "application/apply-patch+cbor" => {
            Err(Failure::unsupported_media_type(&format!(
                "{PATCHES}; server-side apply is not served by Portolan's in-memory API"
            )))
        }
        _ => Err(Failure::unsupported_media_type(PATCHES)),
    }
}

/// A patch names only the fields that it changes, and may name the version of the form.
fn event_patch(kind: Kind, patch: Value) -> Value {
    let mut patch = event::inward(kind, patch);
    if kind == Kind::NewEvent {
        fields(&mut patch).remove("apiVersion");
    }
    patch
}

fn delete_body(call: &Call) -> Result<Value, Failure> {
    if call.body.is_empty() { Ok(Value::Null) } else { call.object() }
}

fn delete(api: &Api, target: &Target, call: &Call) -> Result<Response, Failure> {
    let (kind, name) = (target.kind, target.object()?);
    let body = delete_body(call)?;
    let delete = call.query.delete(&body)?;
    let mut options = call.query.write(api.now())?;
    options.dry_run |= body.get("dryRun").and_then(Value::as_array).is_some_and(|stages| !stages.is_empty());
    Ok(match api.write(|store, _| store.delete(kind.stored(), &name, &delete, &options))? {
        // Upstream answers with the object for these two, and where it is still there.
        Deleted::Gone(object) if !matches!(kind, Kind::Pod | Kind::Service) => ok(&success(kind, &object)),
        Deleted::Gone(object) | Deleted::Going(object) => ok(&event::outward(kind, object)),
    })
}

fn delete_all(api: &Api, target: &Target, call: &Call) -> Result<Response, Failure> {
    let kind = target.kind;
    if kind.facts().namespaced && target.namespace.is_none() {
        return Err(Failure::method_not_allowed());
    }
    let selection: Selection = call.query.selection(kind, target.namespace.as_deref())?;
    let delete = call.query.delete(&delete_body(call)?)?;
    let options = call.query.write(api.now())?;
    let (version, items) = api.write(|store, _| {
        let list = store.list(kind.stored(), &selection, &crate::ListOptions::default())?;
        for object in &list.items {
            store.delete(kind.stored(), &Name::of(object), &delete, &options)?;
        }
        Ok((list.version, list.items))
    })?;
    let items: Vec<_> = items.into_iter().map(|object| event::outward(kind, object)).collect();
    Ok(ok(&collection(kind, &json!({"resourceVersion": version.to_string()}), &items)))
}

fn rescale(api: &Api, target: &Target, call: &Call) -> Result<Response, Failure> {
    let name = target.object()?;
    let options = call.query.write(api.now())?;
    let deployment = api.read(|store| store.get(Kind::Deployment, &name))?;
    let wanted = match call.method {
        Method::GET => return Ok(ok(&scale::of(&deployment))),
        Method::PUT => call.object()?,
        Method::PATCH => {
            let mut current = scale::of(&deployment);
            patch(Kind::Deployment, call)?.apply(Kind::Deployment, &mut current)?;
            current
        }
        _ => return Err(Failure::method_not_allowed()),
    };
    let deployment = api.write(|store, _| {
        // Read again under the lock: the number goes onto what is there now, unless the scale names a version.
        let current = store.get(Kind::Deployment, &name)?;
        let changed = scale::onto(Value::clone(&current), &wanted)?;
        store.update(Kind::Deployment, &name, Part::Main, changed, &options)
    })?;
    Ok(ok(&scale::of(&deployment)))
}

fn bind(api: &Api, target: &Target, call: &Call) -> Result<Response, Failure> {
    if call.method != Method::POST {
        return Err(Failure::method_not_allowed());
    }
    let (name, binding) = (target.object()?, call.object()?);
    let Some(node) = text(&binding, "/target/name") else {
        return Err(Failure::unprocessable("Binding is invalid: target.name: Required value"));
    };
    let options = call.query.write(api.now())?;
    api.write(|store, _| store.bind(&name, node, &options))?;
    Ok(body(
        StatusCode::CREATED,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}),
    ))
}
