//! How many Services ask for which distribution of traffic, under upstream's name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use portolan_core::{ObjectName, Service};
use portolan_runtime::Admin;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::endpoint_slices::Distribution;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    traffic_distribution: Arc<str>,
}

#[derive(Clone)]
pub(super) struct Distributions {
    services: Family<Label, Gauge>,
    known: Arc<Mutex<HashMap<ObjectName, Arc<str>>>>,
}

impl Distributions {
    pub(super) fn new(admin: &Admin) -> Self {
        let services = Family::<Label, Gauge>::default();
        admin.register(|registry| {
            let name = "endpoint_slice_controller_services_count_by_traffic_distribution";
            registry.register(name, "Services with a trafficDistribution, by its value", services.clone());
        });
        Self { services, known: Arc::default() }
    }

    /// Services are somebody else's from now on.
    pub(super) fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.services.clear();
    }

    /// A Service was looked at, or is gone. It counts where its traffic is distributed that way.
    pub(super) fn saw(&self, name: &ObjectName, service: Option<&Service>) {
        let service = service.filter(|service| Distribution::of(service).is_some());
        let now = service.and_then(|service| service.traffic_distribution.clone());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(name) == now.as_ref() {
            return;
        }
        let gauge = |value: &Arc<str>| {
            self.services.get_or_create(&Label { traffic_distribution: value.clone() }).clone()
        };
        if let Some(before) = known.remove(name) {
            gauge(&before).dec();
        }
        if let Some(now) = now {
            gauge(&now).inc();
            known.insert(name.clone(), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::testing::service;

    #[test]
    fn services_are_counted_where_they_are() {
        let admin = Admin::new();
        let distributions = Distributions::new(&admin);
        let counts = || {
            let mut text = String::new();
            admin.register(|registry| encode(&mut text, registry).unwrap());
            let counts = text.lines().filter_map(|line| line.split_once("{traffic_distribution=")?.1.into());
            let mut counts: Vec<_> = counts.map(str::to_owned).collect();
            counts.sort();
            counts
        };
        let [web, other] = ["web", "other"].map(|name| ObjectName::new("shop", name));
        distributions.saw(&web, Some(&service("v4 :80 prefer=PreferClose")));
        distributions.saw(&web, Some(&service("v4 :80 prefer=PreferClose")));
        distributions.saw(&other, Some(&service("v4 :80")));
        assert_eq!(counts(), [r#""PreferClose"} 1"#]);
        distributions.saw(&other, Some(&service("v4 :80 prefer=PreferSameNode")));
        distributions.saw(&web, None);
        assert_eq!(counts(), [r#""PreferClose"} 0"#, r#""PreferSameNode"} 1"#]);
        for other in [
            "v4 :80 prefer=Odd",
            "v4 :80 no-selector prefer=PreferClose",
            "v4 :80 prefer=PreferClose note:service.kubernetes.io/topology-mode=Auto",
        ] {
            distributions.saw(&web, Some(&service(other)));
            assert_eq!(counts(), [r#""PreferClose"} 0"#, r#""PreferSameNode"} 1"#], "{other}");
        }
        distributions.forget();
        assert_eq!(counts(), [""; 0]);
    }
}
