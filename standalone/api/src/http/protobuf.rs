//! Bodies in protobuf, as far as kubectl sends them: since 1.36 `kubectl create KIND NAME …` encodes the
//! object so and takes no other way when it is refused. Answers are always JSON, which it accepts.

use std::collections::HashMap;
use std::sync::LazyLock;

use k8s_openapi::ByteString;
use serde_json::{Map, Value};

use crate::Failure;

/// What every such body begins with, before a message that wraps the object.
const MAGIC: &[u8] = b"k8s\0";

/// Messages as `Name: NUMBER FIELD TYPE, …`. Types: `s` text, `i` number, `b` bool (zero = not said),
/// `I` and `B` the same where zero counts, `y` bytes, `-` left out, a message's name; with `[]` repeated,
/// with `{}` a map from text. What is not listed here is refused.
const SCHEMA: &str = "
Meta: 1 name s, 2 generateName s, 3 namespace s, 4 selfLink -, 5 uid s, 6 resourceVersion s, 7 generation -, 8 creationTimestamp -, 11 labels {s}, 12 annotations {s}, 14 finalizers [s], 17 managedFields -
Namespace: 1 metadata Meta, 2 spec NamespaceSpec, 3 status -
NamespaceSpec: 1 finalizers [s]
ConfigMap: 1 metadata Meta, 2 data {s}, 3 binaryData {y}, 4 immutable B
Secret: 1 metadata Meta, 2 data {y}, 3 type s, 4 stringData {s}, 5 immutable B
ServiceAccount: 1 metadata Meta, 4 automountServiceAccountToken B
Service: 1 metadata Meta, 2 spec ServiceSpec, 3 status -
ServiceSpec: 1 ports [ServicePort], 2 selector {s}, 3 clusterIP s, 4 type s, 5 externalIPs [s], 7 sessionAffinity s, 8 loadBalancerIP s, 9 loadBalancerSourceRanges [s], 10 externalName s, 11 externalTrafficPolicy s, 12 healthCheckNodePort i, 13 publishNotReadyAddresses b, 17 ipFamilyPolicy s, 18 clusterIPs [s], 19 ipFamilies [s], 20 allocateLoadBalancerNodePorts B, 21 loadBalancerClass s, 22 internalTrafficPolicy s, 23 trafficDistribution s
ServicePort: 1 name s, 2 protocol s, 3 port i, 4 targetPort IntOrString, 5 nodePort i, 6 appProtocol s
IntOrString: 1 type i, 2 intVal i, 3 strVal s
Deployment: 1 metadata Meta, 2 spec DeploymentSpec, 3 status -
DeploymentSpec: 1 replicas I, 2 selector LabelSelector, 3 template Template, 4 strategy Strategy, 5 minReadySeconds i, 6 revisionHistoryLimit I, 7 paused b, 9 progressDeadlineSeconds I
Strategy: 1 type s
LabelSelector: 1 matchLabels {s}
Template: 1 metadata Meta, 2 spec PodSpec
Pod: 1 metadata Meta, 2 spec PodSpec, 3 status -
PodSpec: 2 containers [Container], 3 restartPolicy s, 4 terminationGracePeriodSeconds I, 6 dnsPolicy s, 7 nodeSelector {s}, 8 serviceAccountName s, 9 serviceAccount s, 10 nodeName s, 11 hostNetwork b, 12 hostPID b, 13 hostIPC b, 14 securityContext -, 16 hostname s, 17 subdomain s, 19 schedulerName s, 20 initContainers [Container], 24 priorityClassName s
Container: 1 name s, 2 image s, 3 command [s], 4 args [s], 5 workingDir s, 6 ports [ContainerPort], 7 env [Env], 8 resources -, 13 terminationMessagePath s, 14 imagePullPolicy s, 16 stdin b, 17 stdinOnce b, 18 tty b, 20 terminationMessagePolicy s
ContainerPort: 1 name s, 2 hostPort i, 3 containerPort i, 4 protocol s, 5 hostIP s
Env: 1 name s, 2 value s
Text: 1 key s, 2 value s
Bytes: 1 key s, 2 value y
";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    One,
    List,
    Map,
}

type Fields = HashMap<u64, (&'static str, Shape, &'static str)>;

static MESSAGES: LazyLock<HashMap<&'static str, Fields>> = LazyLock::new(|| {
    let message = |line: &'static str| {
        let (name, fields) = line.split_once(": ")?;
        let field = |text: &'static str| {
            let mut parts = text.split_whitespace();
            let (number, field, kind) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
            let within = |open, close| kind.strip_prefix(open)?.strip_suffix(close);
            let (shape, kind) = match (within('[', ']'), within('{', '}')) {
                (Some(kind), _) => (Shape::List, kind),
                (_, Some(kind)) => (Shape::Map, kind),
                _ => (Shape::One, kind),
            };
            Some((number, (field, shape, kind)))
        };
        Some((name, fields.split(", ").filter_map(field).collect()))
    };
    SCHEMA.lines().filter_map(message).collect()
});

/// The object in a body.
pub(super) fn object(body: &[u8]) -> Result<Value, Failure> {
    let rest =
        body.strip_prefix(MAGIC).ok_or_else(|| refuse("it does not begin as Kubernetes' protobuf does"))?;
    let (mut kind, mut version, mut raw) = (String::new(), String::new(), &[][..]);
    for part in parts(rest)? {
        match part {
            (1, Wire::Bytes(meta)) => {
                for part in parts(meta)? {
                    match part {
                        (1, Wire::Bytes(text)) => version = utf8(text)?,
                        (2, Wire::Bytes(text)) => kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(object)) => raw = object,
            _ => {}
        }
    }
    let (name, _) = MESSAGES
        .get_key_value(kind.as_str())
        .ok_or_else(|| refuse(&format!("objects of kind {kind:?} are read as JSON only")))?;
    let mut object = message(name, raw)?;
    object.insert("apiVersion".to_owned(), version.into());
    object.insert("kind".to_owned(), kind.into());
    Ok(Value::Object(object))
}

fn refuse(why: &str) -> Failure {
    Failure::unsupported_media_type(&format!(
        "application/json; of application/vnd.kubernetes.protobuf only what kubectl create sends: {why}"
    ))
}

fn message(name: &'static str, bytes: &[u8]) -> Result<Map<String, Value>, Failure> {
    let fields = &MESSAGES[name];
    let mut object = Map::new();
    for (number, wire) in parts(bytes)? {
        let Some(&(field, shape, kind)) = fields.get(&number) else {
            if wire.says_nothing() {
                continue;
            }
            return Err(refuse(&format!("field {number} of {name} is read as JSON only")));
        };
        match shape {
            Shape::One => {
                if let Some(value) = value(kind, &wire)? {
                    object.insert(field.to_owned(), value);
                }
            }
            Shape::List => {
                let list = object.entry(field).or_insert_with(|| Value::Array(Vec::new()));
                let item = value(kind, &wire)?
                    .unwrap_or_else(|| if kind == "s" { "".into() } else { Value::Object(Map::new()) });
                if let Value::Array(list) = list {
                    list.push(item);
                }
            }
            Shape::Map => {
                let Wire::Bytes(entry) = wire else { continue };
                let mut entry = message(if kind == "y" { "Bytes" } else { "Text" }, entry)?;
                let key = entry.get("key").and_then(Value::as_str).unwrap_or("").to_owned();
                let map = object.entry(field).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(map) = map {
                    map.insert(key, entry.remove("value").unwrap_or_else(|| "".into()));
                }
            }
        }
    }
    Ok(object)
}

/// A value, unless it is the zero that Go writes for what was not said.
fn value(kind: &'static str, wire: &Wire<'_>) -> Result<Option<Value>, Failure> {
    Ok(match (kind, wire) {
        ("-", _) => None,
        ("s", Wire::Bytes(text)) => Some(utf8(text)?).filter(|text| !text.is_empty()).map(Value::from),
        ("y", Wire::Bytes(bytes)) => serde_json::to_value(ByteString(bytes.to_vec())).ok(),
        ("i" | "I", Wire::Number(number)) => {
            (kind == "I" || *number != 0).then(|| number.cast_signed().into())
        }
        ("b" | "B", Wire::Number(number)) => (kind == "B" || *number != 0).then(|| (*number != 0).into()),
        ("IntOrString", Wire::Bytes(bytes)) => {
            let mut fields = message(kind, bytes)?;
            let text = fields.contains_key("type");
            Some(fields.remove(if text { "strVal" } else { "intVal" }).unwrap_or_else(|| 0.into()))
        }
        (_, Wire::Bytes(bytes)) => {
            let (name, _) =
                MESSAGES.get_key_value(kind).ok_or_else(|| refuse("a value of the wrong type"))?;
            Some(message(name, bytes)?).filter(|fields| !fields.is_empty()).map(Value::Object)
        }
        _ => return Err(refuse("a value of the wrong type")),
    })
}

fn utf8(bytes: &[u8]) -> Result<String, Failure> {
    String::from_utf8(bytes.to_vec()).map_err(|_| refuse("a text that is not UTF-8"))
}

enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl Wire<'_> {
    fn says_nothing(&self) -> bool {
        matches!(self, Self::Number(0)) || matches!(self, Self::Bytes(bytes) if bytes.is_empty())
    }
}

/// The fields of a message, by number.
fn parts(mut bytes: &[u8]) -> Result<Vec<(u64, Wire<'_>)>, Failure> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let wire = match tag & 7 {
            0 => Wire::Number(varint(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).unwrap_or(usize::MAX);
                let (part, rest) = bytes.split_at_checked(length).ok_or_else(|| refuse("it is cut off"))?;
                bytes = rest;
                Wire::Bytes(part)
            }
            _ => return Err(refuse("a wire type that the API does not use")),
        };
        parts.push((tag >> 3, wire));
    }
    Ok(parts)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Failure> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or_else(|| refuse("it is cut off"))?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(refuse("a number without an end"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_kubectl_create_sends() {
        // `kubectl create service clusterip one --tcp=80`, as it was seen on the wire.
        let body = b"k8s\x00\x0a\x0d\x0a\x02v1\x12\x07Service\x12c\x0a\x1f\x0a\x03one\x12\x00\x1a\x00\x22\x00*\x002\x008\x00B\x00Z\x0a\x0a\x03app\x12\x03one\x12<\x0a\x15\x0a\x0280\x12\x03TCP\x18P\x22\x06\x08\x00\x10P\x1a\x00(\x00\x12\x0a\x0a\x03app\x12\x03one\x1a\x00\x22\x09ClusterIP:\x00B\x00R\x00Z\x00`\x00h\x00\x1a\x02\x0a\x00\x1a\x00\x22\x00";
        assert_eq!(
            object(body).unwrap(),
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "one", "labels": {"app": "one"}},
                "spec": {
                    "type": "ClusterIP", "selector": {"app": "one"},
                    "ports": [{"name": "80", "protocol": "TCP", "port": 80, "targetPort": 80}],
                },
            })
        );
    }

    #[test]
    fn the_rest_is_refused() {
        for body in [&b"{}"[..], b"k8s\0", b"k8s\0\n\xff", b"k8s\0\n\x0a\n\x02v1\x12\x04Node"] {
            assert_eq!(object(body).unwrap_err().code, 415, "{body:?}");
        }
    }
}
