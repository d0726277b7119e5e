//! Fields that a kind does not have.

use serde_json::Value;

/// Lists the fields of `given` that did not survive into `shaped`, or nothing.
pub(super) fn fields(given: &Value, shaped: &Value) -> Option<String> {
    let mut unknown = Vec::new();
    compare(given, shaped, "", &mut unknown);
    (!unknown.is_empty()).then(|| unknown.join(", "))
}

fn compare(given: &Value, shaped: &Value, at: &str, unknown: &mut Vec<String>) {
    match (given, shaped) {
        (Value::Object(given), Value::Object(shaped)) => {
            for (field, value) in given.iter().filter(|(_, value)| !value.is_null()) {
                let at = if at.is_empty() { field.clone() } else { format!("{at}.{field}") };
                match shaped.get(field) {
                    Some(shaped) => compare(value, shaped, &at, unknown),
                    None => unknown.push(format!("unknown field {at:?}")),
                }
            }
        }
        (Value::Array(given), Value::Array(shaped)) => {
            for (index, (given, shaped)) in given.iter().zip(shaped).enumerate() {
                compare(given, shaped, &format!("{at}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}
