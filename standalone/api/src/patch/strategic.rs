//! Strategic merge patch: lists of objects are merged by a key that the kind gives, and directives that
//! begin with `$` say what merging cannot.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::object::fields;
use crate::{Failure, Kind};

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";

pub(super) fn merge(kind: Kind, object: &mut Value, patch: &Value) -> Result<(), Failure> {
    let Some(patch) = patch.as_object() else {
        return Err(Failure::bad_request("a strategic merge patch is a JSON object"));
    };
    merge_fields(kind, "", fields(object), patch)
}

/// How a list is merged.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Strategy {
    /// The patch's list takes the place of the old.
    Replace,
    /// Texts that are not yet there are added.
    Union,
    /// Elements with the same value of this field are the same.
    ByKey(&'static str),
}

/// Upstream's `patchStrategy` and `patchMergeKey` of the fields of the served kinds.
fn strategy(kind: Kind, parent: &str, field: &str) -> Strategy {
    use Strategy::{ByKey, Replace, Union};
    match (kind, parent, field) {
        (_, "metadata", "finalizers") | (Kind::Node, "spec", "podCIDRs") => Union,
        (_, "metadata", "ownerReferences") => ByKey("uid"),
        (Kind::Service, "spec", "ports") => ByKey("port"),
        (_, "containers" | "initContainers", "ports") => ByKey("containerPort"),
        (_, _, "containers" | "initContainers" | "ephemeralContainers" | "volumes" | "env") => ByKey("name"),
        (_, _, "imagePullSecrets" | "resourceClaims" | "schedulingGates") => ByKey("name"),
        (Kind::ServiceAccount, "", "secrets") => ByKey("name"),
        (_, _, "volumeMounts") => ByKey("mountPath"),
        (_, _, "volumeDevices") => ByKey("devicePath"),
        (_, _, "hostAliases" | "podIPs" | "hostIPs") => ByKey("ip"),
        (_, _, "topologySpreadConstraints") => ByKey("topologyKey"),
        (Kind::Node, "status", "addresses") | (_, "status", "conditions") => ByKey("type"),
        _ => Replace,
    }
}

fn merge_fields(
    kind: Kind,
    parent: &str,
    target: &mut Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<(), Failure> {
    match patch.get(DIRECTIVE).and_then(Value::as_str) {
        Some("replace") => {
            *target = patch.clone();
            target.remove(DIRECTIVE);
            return Ok(());
        }
        Some("delete") => {
            target.clear();
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => return Err(Failure::bad_request(format!("unknown patch directive {other:?}"))),
    }
    if let Some(retained) = patch.get(RETAIN).and_then(Value::as_array) {
        target.retain(|field, _| retained.iter().any(|kept| kept == field));
    }
    for (field, value) in patch.iter().filter(|(field, _)| !field.starts_with('$')) {
        match value {
            Value::Null => {
                target.remove(field);
            }
            Value::Object(patch) if patch.get(DIRECTIVE).and_then(Value::as_str) == Some("delete") => {
                target.remove(field);
            }
            Value::Object(patch) => {
                let part = fields(target.entry(field).or_insert(Value::Null));
                merge_fields(kind, field, part, patch)?;
            }
            Value::Array(patch) => {
                let list = target.entry(field).or_insert(Value::Null);
                let items = list.as_array().cloned().unwrap_or_default();
                *list = Value::Array(merge_list(kind, parent, field, items, patch)?);
            }
            value => {
                target.insert(field.clone(), value.clone());
            }
        }
    }
    for (directive, value) in patch {
        let Some(values) = value.as_array() else { continue };
        if let Some(field) = directive.strip_prefix(DELETE)
            && let Some(Value::Array(items)) = target.get_mut(field)
        {
            items.retain(|item| !values.contains(item));
        }
        if let Some(field) = directive.strip_prefix(ORDER)
            && let Some(Value::Array(items)) = target.get_mut(field)
        {
            order(strategy(kind, parent, field), items, values);
        }
    }
    Ok(())
}

fn merge_list(
    kind: Kind,
    parent: &str,
    field: &str,
    mut items: Vec<Value>,
    patch: &[Value],
) -> Result<Vec<Value>, Failure> {
    let directive = |item: &Value| item.get(DIRECTIVE).and_then(Value::as_str).map(str::to_owned);
    let strategy = strategy(kind, parent, field);
    if strategy == Strategy::Replace || patch.iter().any(|item| directive(item).as_deref() == Some("replace"))
    {
        let kept = patch.iter().filter(|item| directive(item).is_none());
        return Ok(kept.cloned().collect());
    }
    let Strategy::ByKey(key) = strategy else {
        for item in patch {
            if !items.contains(item) {
                items.push(item.clone());
            }
        }
        return Ok(items);
    };
    for item in patch {
        let Some(change) = item.as_object() else {
            return Err(Failure::bad_request(format!("{field}: elements must be objects")));
        };
        let Some(wanted) = change.get(key) else {
            let message = format!("map: {item} does not contain declared merge key: {key}");
            return Err(Failure::bad_request(message));
        };
        let found = find(&items, patch, key, wanted, change);
        match (directive(item).as_deref(), found) {
            (Some("delete"), Some(index)) => {
                items.remove(index);
            }
            (Some("delete"), None) => {}
            (_, Some(index)) => merge_fields(kind, field, fields(&mut items[index]), change)?,
            (_, None) => {
                let mut added = Map::new();
                merge_fields(kind, field, &mut added, change)?;
                items.push(Value::Object(added));
            }
        }
    }
    Ok(items)
}

/// The element that is meant.
///
/// Differs from upstream: where several ports share a number (DNS over UDP and TCP), the protocol tells
/// them apart; upstream's key is the number alone and merges the wrong one (kubernetes#105610).
fn find(
    items: &[Value],
    patch: &[Value],
    key: &str,
    wanted: &Value,
    change: &Map<String, Value>,
) -> Option<usize> {
    let same = |item: &&Value| item.get(key) == Some(wanted);
    let shared = items.iter().filter(same).count() > 1 || patch.iter().filter(same).count() > 1;
    let protocol = |item: Option<&Value>| item.and_then(Value::as_str).unwrap_or("TCP").to_owned();
    let by_protocol = shared && matches!(key, "port" | "containerPort");
    items.iter().position(|item| {
        same(&item) && (!by_protocol || protocol(item.get("protocol")) == protocol(change.get("protocol")))
    })
}

/// Puts elements into the order of the author's list; what the author does not know comes last.
fn order(strategy: Strategy, items: &mut [Value], wanted: &[Value]) {
    let identity = |item: &Value| match strategy {
        Strategy::ByKey(key) => {
            let protocol = if matches!(key, "port" | "containerPort") { item.get("protocol") } else { None };
            (item.get(key).cloned(), protocol.cloned())
        }
        _ => (Some(item.clone()), None),
    };
    let mut places = HashMap::new();
    for (place, item) in wanted.iter().enumerate() {
        let (key, protocol) = identity(item);
        let key = key.map(|key| key.to_string());
        // By number alone too: an author who gives no protocol means the only port of that number.
        places.entry((key.clone(), None)).or_insert(place);
        places.insert((key, protocol.map(|protocol| protocol.to_string())), place);
    }
    items.sort_by_key(|item| {
        let (key, protocol) = identity(item);
        let (key, protocol) = (key.map(|key| key.to_string()), protocol.map(|protocol| protocol.to_string()));
        let exact = places.get(&(key.clone(), protocol));
        exact.or_else(|| places.get(&(key, None))).copied().unwrap_or(usize::MAX)
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(kind: Kind, object: Value, patch: &Value, expected: &Value) {
        let mut patched = object;
        merge(kind, &mut patched, patch).unwrap();
        assert_eq!(patched, *expected, "patch {patch}");
    }

    #[test]
    fn lists_merge_by_their_key() {
        check(
            Kind::Service,
            json!({"spec": {"ports": [{"port": 80, "nodePort": 30001}, {"port": 443}]}}),
            &json!({"spec": {"ports": [{"port": 80, "name": "http"}, {"port": 443, "$patch": "delete"}, {"port": 81}]}}),
            &json!({"spec": {"ports": [{"port": 80, "nodePort": 30001, "name": "http"}, {"port": 81}]}}),
        );
        check(
            Kind::Pod,
            json!({"spec": {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}]}}),
            &json!({"spec": {"containers": [{"name": "a", "env": [{"name": "X", "value": "2"}, {"name": "Y", "value": "3"}]}]}}),
            &json!({"spec": {"containers": [{"name": "a", "env": [{"name": "X", "value": "2"}, {"name": "Y", "value": "3"}]}]}}),
        );
    }

    #[test]
    fn ports_that_share_a_number_are_told_apart_by_protocol() {
        check(
            Kind::Service,
            json!({"spec": {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}}),
            &json!({"spec": {"ports": [{"port": 53, "protocol": "TCP", "name": "dns-tcp"}]}}),
            &json!({"spec": {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP", "name": "dns-tcp"}]}}),
        );
        // A single port changes its protocol.
        check(
            Kind::Service,
            json!({"spec": {"ports": [{"port": 80, "protocol": "TCP"}]}}),
            &json!({"spec": {"ports": [{"port": 80, "protocol": "UDP"}]}}),
            &json!({"spec": {"ports": [{"port": 80, "protocol": "UDP"}]}}),
        );
    }

    #[test]
    fn directives() {
        check(
            Kind::Service,
            json!({"spec": {"ports": [{"port": 1}, {"port": 2}], "externalIPs": ["a"]}}),
            &json!({"spec": {"$setElementOrder/ports": [{"port": 2}, {"port": 1}], "externalIPs": ["b"]}}),
            &json!({"spec": {"ports": [{"port": 2}, {"port": 1}], "externalIPs": ["b"]}}),
        );
        check(
            Kind::Deployment,
            json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {}}}, "metadata": {"finalizers": ["a", "b"]}}),
            &json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}, "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}}),
            &json!({"spec": {"strategy": {"type": "Recreate"}}, "metadata": {"finalizers": ["b", "c"]}}),
        );
        check(
            Kind::Service,
            json!({"spec": {"selector": {"a": "1", "b": "2"}, "ports": [{"port": 1}]}}),
            &json!({"spec": {"selector": {"$patch": "replace", "c": "3"}, "ports": [{"$patch": "replace"}, {"port": 2}]}}),
            &json!({"spec": {"selector": {"c": "3"}, "ports": [{"port": 2}]}}),
        );
        let mut object = json!({});
        let patch = json!({"spec": {"ports": [{"name": "x"}]}});
        assert_eq!(merge(Kind::Service, &mut object, &patch).unwrap_err().code, 400);
    }
}
