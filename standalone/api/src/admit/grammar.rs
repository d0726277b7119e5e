//! What names, labels and numbers must look like, with upstream's words for what they do not.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::failure::Causes;

fn alphanumeric(c: char) -> bool {
    c.is_ascii_alphanumeric()
}

fn lower(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// Whether `text` begins and ends with an `edge` and has only `edge` and `inner` characters.
fn spelled(text: &str, edge: fn(char) -> bool, inner: &[char]) -> bool {
    text.starts_with(edge) && text.ends_with(edge) && text.chars().all(|c| edge(c) || inner.contains(&c))
}

/// An RFC 1123 label.
pub(crate) fn label(text: &str) -> Result<(), &'static str> {
    if text.len() > 63 {
        return Err("must be no more than 63 characters");
    }
    if !spelled(text, lower, &['-']) {
        if subdomain(text).is_ok() {
            return Err("must not contain dots");
        }
        return Err(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
        );
    }
    Ok(())
}

/// An RFC 1123 subdomain.
pub(crate) fn subdomain(text: &str) -> Result<(), &'static str> {
    if text.len() > 253 {
        return Err("must be no more than 253 characters");
    }
    if !text.split('.').all(|part| spelled(part, lower, &['-'])) {
        return Err(
            r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        );
    }
    Ok(())
}

/// A label's value.
pub(crate) fn label_value(text: &str) -> Result<(), &'static str> {
    if text.len() > 63 {
        return Err("must be no more than 63 bytes");
    }
    if !text.is_empty() && !spelled(text, alphanumeric, &['-', '_', '.']) {
        return Err(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        );
    }
    Ok(())
}

/// A name with an optional domain before it, such as `app.kubernetes.io/name`.
pub(crate) fn qualified(text: &str) -> Result<(), &'static str> {
    let name = match text.split_once('/') {
        Some((prefix, _)) if subdomain(prefix).is_err() => {
            return Err("prefix part must be a lowercase RFC 1123 subdomain");
        }
        Some((_, name)) => name,
        None => text,
    };
    if name.is_empty() {
        return Err("name part must be non-empty");
    }
    if name.len() > 63 {
        return Err("name part must be no more than 63 bytes");
    }
    if !spelled(name, alphanumeric, &['-', '_', '.']) {
        return Err(
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        );
    }
    Ok(())
}

/// The name of a port (RFC 6335).
pub(crate) fn port_name(text: &str) -> Result<(), &'static str> {
    if text.len() > 15 {
        return Err("must be no more than 15 characters");
    }
    if !text.chars().all(|c| lower(c) || c == '-') {
        return Err("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !text.contains(|c: char| c.is_ascii_lowercase()) {
        return Err("must contain at least one letter (a-z)");
    }
    if text.contains("--") {
        return Err("must not contain consecutive hyphens");
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err("must not begin or end with a hyphen");
    }
    Ok(())
}

/// Adds what is wrong with a port's number.
pub(crate) fn port(field: String, number: i32, causes: &mut Causes) {
    if !(1..=65535).contains(&number) {
        causes.invalid(field, number, "must be between 1 and 65535, inclusive");
    }
}

/// Adds that a protocol is not known.
pub(crate) fn protocol(field: String, protocol: Option<&str>, causes: &mut Causes) {
    match protocol {
        Some("TCP" | "UDP" | "SCTP") => {}
        None | Some("") => causes.required(field, ""),
        Some(other) => causes.unsupported(field, other, &["SCTP", "TCP", "UDP"]),
    }
}

/// Adds what the grammar says against a text.
pub(crate) fn text(
    field: impl Into<String>,
    text: &str,
    grammar: fn(&str) -> Result<(), &'static str>,
    causes: &mut Causes,
) {
    if let Err(why) = grammar(text) {
        causes.invalid(field, text, why);
    }
}

/// Adds why an address cannot be an endpoint; returns the address.
pub(crate) fn endpoint_address(field: &str, text: &str, causes: &mut Causes) -> Option<IpAddr> {
    let Ok(address) = text.parse::<IpAddr>() else {
        causes.invalid(field, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
        return None;
    };
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    if address.is_unspecified() {
        causes.invalid(field, text, "may not be unspecified");
    } else if address.is_loopback() {
        causes.invalid(field, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    } else if link_local {
        causes.invalid(field, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    } else if address.is_multicast() {
        causes.invalid(field, text, "may not be in the multicast range (224.0.0.0/4, ff00::/8)");
    }
    Some(address)
}

/// A range of addresses, as fields take it that are older than strict checks (KEP-4858).
pub(crate) fn cidr(field: impl Into<String>, text: &str, causes: &mut Causes) {
    // What is octal to some and decimal to others.
    let padded = |part: &str| part.len() > 1 && part.starts_with('0');
    let (address, length) = text.rsplit_once('/').unwrap_or((text, ""));
    let why = match text.parse::<IpNet>() {
        Ok(net) if padded(length) || net.addr().is_ipv4() && address.split('.').any(padded) => {
            "must not have leading 0s in IP or prefix length"
        }
        Err(_) => "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        Ok(IpNet::V6(net)) if net.addr().to_ipv4_mapped().is_some() => {
            "must not have an IPv4-mapped IPv6 address"
        }
        Ok(net) if net != net.trunc() => "must not have bits set beyond the prefix length",
        Ok(_) => return,
    };
    causes.invalid(field, text, why);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "a".repeat(64);
        for (grammar, good, bad) in [
            (label as fn(&str) -> _, vec!["a", "0-a"], vec!["", "-a", "a.b", "A", &long]),
            (subdomain, vec!["a.b", "a-0.c"], vec!["", "a..b", "a_b"]),
            (label_value, vec!["", "A_b.c-1"], vec!["-a", "a b", &long]),
            (qualified, vec!["app", "a.b/App_1"], vec!["", "a/", "A/b", "a/b/c", &long]),
            (port_name, vec!["http", "p-80"], vec!["", "80", "a--b", "-a", "HTTP", "a234567890123456"]),
        ] {
            for text in good {
                assert!(grammar(text).is_ok(), "{text:?}");
            }
            for text in bad {
                assert!(grammar(text).is_err(), "{text:?}");
            }
        }
    }

    #[test]
    fn addresses_that_lead_into_the_node_are_no_endpoints() {
        for (text, good) in
            [("10.0.0.1", true), ("127.0.0.1", false), ("169.254.1.1", false), ("::", false), ("x", false)]
        {
            let mut causes = Causes::default();
            endpoint_address("ip", text, &mut causes);
            assert_eq!(causes.is_empty(), good, "{text}");
        }
    }
}
