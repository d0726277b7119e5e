//! The address ranges of pods and Services, against what the machine uses already.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use portolan_runtime::Failure;

/// Fails for ranges that overlap each other or a route of the machine: what is reached there now would
/// not be reached any more. `table` is the text of `/proc/net/route`.
pub(crate) fn check(pods: Ipv4Net, services: Ipv4Net, table: &str) -> Result<(), Failure> {
    if overlap(pods, services) {
        let text = format!("--pod-cidr {pods} overlaps --service-cluster-ip-range {services}");
        return Err(Failure::usage(text));
    }
    let routes = routes(table);
    for (flag, range) in [("--pod-cidr", pods), ("--service-cluster-ip-range", services)] {
        if let Some((route, link)) = routes.iter().find(|(route, _)| overlap(range, *route)) {
            return Err(Failure::usage(format!(
                "{flag} {range} overlaps {route}, which this machine reaches through {link}; choose another range"
            )));
        }
    }
    Ok(())
}

fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

/// Destinations and links of a routing table. A default route leads anywhere, but to nobody in particular.
fn routes(table: &str) -> Vec<(Ipv4Net, &str)> {
    let number = |text: &str| u32::from_str_radix(text, 16).ok().map(|raw| Ipv4Addr::from(raw.to_ne_bytes()));
    let parse = |line: &'_ str| -> Option<Ipv4Net> {
        let fields: Vec<_> = line.split_whitespace().collect();
        Ipv4Net::with_netmask(number(fields.get(1)?)?, number(fields.get(7)?)?).ok()
    };
    let lines = table.lines().skip(1);
    let routes = lines.filter_map(|line| Some((parse(line)?, line.split_whitespace().next()?)));
    routes.filter(|(route, _)| route.prefix_len() > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
        cni0\t0000F40A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";

    #[test]
    #[cfg(target_endian = "little")]
    fn ranges_in_use_are_refused() {
        let check = |pods: &str, services: &str| {
            check(pods.parse().unwrap(), services.parse().unwrap(), TABLE).map_err(|error| error.to_string())
        };
        assert_eq!(check("10.245.0.0/24", "10.96.0.0/16"), Ok(()));
        assert_eq!(
            check("10.244.0.0/24", "10.96.0.0/16"),
            Err("--pod-cidr 10.244.0.0/24 overlaps 10.244.0.0/16, which this machine reaches through cni0; \
                 choose another range"
                .to_owned())
        );
        assert!(check("10.96.3.0/24", "10.96.0.0/16").unwrap_err().contains("--service-cluster-ip-range"));
    }
}
