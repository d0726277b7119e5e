//! Cells of Endpoints and EndpointSlices: the first few of a list.

use serde_json::Value;

use crate::object::list;

const SHOWN: usize = 3;

fn shorten(mut all: Vec<String>, none: &str) -> String {
    if all.is_empty() {
        return none.to_owned();
    }
    let more = all.len().saturating_sub(SHOWN);
    all.truncate(SHOWN);
    let shown = all.join(",");
    if more > 0 { format!("{shown} + {more} more...") } else { shown }
}

pub(super) fn of_endpoints(object: &Value) -> String {
    let mut all = Vec::new();
    for subset in list(object, "/subsets") {
        let addresses = list(subset, "/addresses").iter().filter_map(|address| address["ip"].as_str());
        for address in addresses {
            let joined = |port: &Value| match address.contains(':') {
                true => format!("[{address}]:{port}"),
                false => format!("{address}:{port}"),
            };
            match list(subset, "/ports") {
                [] => all.push(address.to_owned()),
                ports => all.extend(ports.iter().map(|port| joined(&port["port"]))),
            }
        }
    }
    shorten(all, "<none>")
}

/// Ports and addresses.
pub(super) fn of_slice(object: &Value) -> (String, String) {
    let ports = list(object, "/ports").iter().map(|port| port["port"].to_string()).collect();
    let addresses = list(object, "/endpoints").iter().flat_map(|endpoint| list(endpoint, "/addresses"));
    let addresses = addresses.filter_map(Value::as_str).map(str::to_owned).collect();
    (shorten(ports, "<unset>"), shorten(addresses, "<unset>"))
}
