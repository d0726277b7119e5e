//! Services and pools of tests, from words.

use std::sync::Arc;

use jiff::Timestamp;
use portolan_core::{
    AddressRange, ExternalPolicy, Ingress, IpFamily, IpFamilyPolicy, LoadBalancer, LoadBalancerPool, Meta,
    ObjectName, Protocol, Service, ServicePort, ServiceType, TargetPort,
};

use crate::{ADDRESSES_ANNOTATION, POOL_ANNOTATION, SHARING_ANNOTATION};

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// `n/web v6 dual require ip:A pool:P key:K port:80 local select:a made:5 shows:A version:3 label:k=v plain`
pub(super) fn service(words: &str) -> Service {
    let mut words = words.split_whitespace();
    let (namespace, name) = words.next().and_then(|name| name.split_once('/')).expect("namespace/name");
    let mut meta = Meta::named(ObjectName::new(namespace, name));
    meta.uid = format!("uid-{namespace}-{name}").into();
    meta.creation_timestamp = Some(at(0));
    let mut service = Service { meta, kind: ServiceType::LoadBalancer, ..Service::default() };
    let mut said = LoadBalancer::default();
    service.ip_families = vec![IpFamily::V4];
    for word in words {
        let (key, value) = word.split_once(':').unwrap_or((word, ""));
        let mut annotate = |key: &str| service.meta.annotations.insert(key.into(), value.into());
        match key {
            "v6" => service.ip_families = vec![IpFamily::V6],
            "dual" => {
                service.ip_families = IpFamily::ALL.to_vec();
                said.ip_family_policy = IpFamilyPolicy::PreferDualStack;
            }
            "require" => {
                service.ip_families = IpFamily::ALL.to_vec();
                said.ip_family_policy = IpFamilyPolicy::RequireDualStack;
            }
            "ip" => annotate(ADDRESSES_ANNOTATION),
            "field" => said.requested_ip = Some(value.into()),
            "pool" => annotate(POOL_ANNOTATION),
            "key" => annotate(SHARING_ANNOTATION),
            "port" => service.ports.push(port(value.parse().unwrap())),
            "local" => service.external_policy = ExternalPolicy::Local,
            "select" => service.selector = Some([("app".into(), value.into())].into_iter().collect()),
            "made" => service.meta.creation_timestamp = Some(at(value.parse().unwrap())),
            "shows" => said.ingress.push(Ingress::vip(value.parse().unwrap())),
            "shows6" => said.ingress.push(Ingress::vip(value.replace('_', ":").parse().unwrap())),
            "version" => service.meta.resource_version = value.parse().unwrap(),
            "uid" => service.meta.uid = value.into(),
            "label" => {
                let (key, value) = value.split_once('=').unwrap();
                service.meta.labels.insert(key.into(), value.into());
            }
            "plain" => service.kind = ServiceType::ClusterIP,
            other => panic!("{other}?"),
        }
    }
    service.load_balancer = Some(Box::new(said));
    service
}

fn port(number: u16) -> ServicePort {
    ServicePort {
        name: number.to_string().into(),
        protocol: Protocol::Tcp,
        port: number,
        target: TargetPort::Number(number),
        node_port: None,
        app_protocol: None,
    }
}

/// `a 192.0.2.0/30 noauto buggy priority=1 in=NAMESPACE made=5`
pub(super) fn pool(words: &str) -> Arc<LoadBalancerPool> {
    let mut words = words.split_whitespace();
    let meta = Meta::named(ObjectName::cluster_scoped(words.next().unwrap()));
    let mut pool = LoadBalancerPool { meta, ..LoadBalancerPool::default() };
    pool.meta.creation_timestamp = Some(at(0));
    pool.spec.auto_assign = true;
    for word in words {
        match word.split_once('=') {
            None if word == "noauto" => pool.spec.auto_assign = false,
            None if word == "buggy" => pool.spec.avoid_buggy_ips = true,
            None => pool.spec.ranges.push(AddressRange::parse(word).unwrap()),
            Some(("priority", value)) => pool.spec.scope.priority = value.parse().ok(),
            Some(("in", value)) => pool.spec.scope.namespaces.push(value.into()),
            Some(("made", value)) => pool.meta.creation_timestamp = Some(at(value.parse().unwrap())),
            Some((other, _)) => panic!("{other}?"),
        }
    }
    Arc::new(pool)
}
