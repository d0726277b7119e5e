//! What a real API server wrote (`tests/encodings/make`) reads the same in JSON and in protobuf.

use std::fmt::Debug;

use bytes::Bytes;
use portolan_core::{
    Encoding, EndpointSlice, Endpoints, HostPort, IpAddress, List, Meta, Namespace, Node, ObjectName, Pod,
    Protocol, Service, ServiceCidr, Undecodable, Watched,
};

/// An answer in JSON, and in protobuf as hex.
struct Answer {
    json: &'static str,
    hex: &'static str,
}

macro_rules! answer {
    ($name:literal) => {
        Answer {
            json: include_str!(concat!("encodings/", $name, ".json")),
            hex: include_str!(concat!("encodings/", $name, ".hex")),
        }
    };
}

impl Answer {
    fn protobuf(&self) -> Bytes {
        let digits: Vec<_> = self.hex.bytes().filter_map(|byte| char::from(byte).to_digit(16)).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).expect("a byte")).collect()
    }

    fn both(&self) -> [(Encoding, Bytes); 2] {
        [(Encoding::Json, Bytes::from_static(self.json.as_bytes())), (Encoding::Protobuf, self.protobuf())]
    }

    /// The object, which both encodings must give.
    fn object<T: Watched + PartialEq>(&self) -> T {
        let [json, protobuf] =
            self.both().map(|(encoding, document)| decode::<T>(encoding, &document).expect("it decodes"));
        assert_eq!(json, protobuf);
        assert_eq!(json.problems(), []);
        json
    }
}

fn decode<T: Watched>(encoding: Encoding, document: &Bytes) -> Result<T, Undecodable> {
    T::decode(encoding, &encoding.open(document)?)
}

#[test]
fn every_kind_reads_the_same() {
    let pod: Pod = answer!("pod").object();
    assert!(pod.ready && pod.meta.deleting() && pod.ready_changed.is_some());
    assert_eq!((pod.ips.len(), pod.ports.named().len(), pod.meta.labels.len()), (2, 3, 3));
    let on_node = HostPort { address: None, protocol: Protocol::Udp, port: 5353 };
    assert_eq!(pod.ports.host(), [on_node]);
    let service: Service = answer!("service").object();
    assert_eq!((service.affinity_seconds, service.health_check_node_port), (Some(77), Some(31999)));
    assert_eq!((service.load_balancer_ips.len(), service.source_ranges.len()), (1, 2));
    assert!(service.topology_aware() && service.traffic_distribution.is_some());
    let endpoints: Endpoints = answer!("endpoints").object();
    assert_eq!((endpoints.subsets.len(), endpoints.subsets[0].addresses.len()), (2, 2));
    let slice: EndpointSlice = answer!("slice").object();
    assert_eq!((slice.endpoints.len(), slice.ports.len(), slice.meta.owner_references.len()), (2, 2, 1));
    assert_eq!((slice.endpoints[0].hints.zones().len(), slice.endpoints[0].hints.nodes().len()), (2, 1));
    let node: Node = answer!("node").object();
    assert!(node.ready && node.cpu == 3920 && node.taints.len() == 2 && node.zone.is_some());
    assert_eq!((node.addresses.len(), node.pod_cidrs.len()), (2, 2));
    let namespace: Namespace = answer!("namespace").object();
    assert_eq!(namespace.meta.label("team"), Some("a"));
    let address: IpAddress = answer!("ip_address").object();
    assert_eq!(address.address(), Some("10.96.0.1".parse().unwrap()));
    assert_eq!(
        (address.service.clone(), address.managed()),
        (Some(ObjectName::new("default", "kubernetes")), true)
    );
    let range: ServiceCidr = answer!("service_cidr").object();
    assert_eq!(range.cidrs, ["10.96.0.0/16".parse().unwrap()]);
}

/// What an object is made with does not have these, and the API server would not take them.
fn new(meta: Meta) -> Meta {
    Meta { uid: "".into(), resource_version: 0, creation_timestamp: None, deletion_timestamp: None, ..meta }
}

#[test]
fn what_is_written_is_what_was_read() {
    let mut endpoints: Endpoints = answer!("endpoints").object();
    endpoints.meta = new(endpoints.meta);
    let written = decode::<Endpoints>(Encoding::Protobuf, &endpoints.to_protobuf().into()).unwrap();
    assert_eq!(written, endpoints);
    let mut slice: EndpointSlice = answer!("slice").object();
    slice.meta = new(slice.meta);
    let document = Bytes::from(slice.to_protobuf());
    assert_eq!(decode::<EndpointSlice>(Encoding::Protobuf, &document).unwrap(), slice);
    assert!(
        document.starts_with(b"k8s\0\x0a\x24\x0a\x13discovery.k8s.io/v1\x12\x0dEndpointSlice\x12"),
        "{document:?}"
    );
}

#[test]
fn a_list_reads_the_same() {
    let [json, protobuf] = answer!("list").both().map(|(encoding, document)| {
        let list = List::read(encoding, &encoding.open(&document).unwrap()).unwrap();
        let pods: Vec<_> = list.items.iter().map(|item| Pod::decode(encoding, item).unwrap()).collect();
        (list.resource_version, list.next, pods)
    });
    assert_eq!(json, protobuf);
    assert!(json.1.is_some() && json.2.len() == 1);
}

/// The fields after the object in an envelope, both empty here.
const TRAILER: usize = 4;

#[test]
fn what_is_cut_off_is_no_object() {
    fn check<T: Watched + Debug>(answer: &Answer) {
        for ((encoding, document), trailer) in answer.both().into_iter().zip([0, TRAILER]) {
            for length in 0..document.len() - trailer {
                let cut = document.slice(..length);
                assert!(decode::<T>(encoding, &cut).is_err(), "{} {encoding:?}, {length} bytes", T::KIND);
            }
        }
    }
    check::<Pod>(&answer!("pod"));
    check::<Service>(&answer!("service"));
    check::<Endpoints>(&answer!("endpoints"));
    check::<EndpointSlice>(&answer!("slice"));
    check::<Node>(&answer!("node"));
    check::<Namespace>(&answer!("namespace"));
    check::<IpAddress>(&answer!("ip_address"));
    check::<ServiceCidr>(&answer!("service_cidr"));
}

/// A byte that is wrong may give another object or none, but ends nothing.
#[test]
fn what_is_garbled_ends_nothing() {
    fn check<T: Watched>(answer: &Answer) {
        let document = answer.protobuf();
        let refused = (0..document.len()).flat_map(|place| (0..8).map(move |bit| (place, bit)));
        let refused = refused.filter(|(place, bit)| {
            let mut garbled = document.to_vec();
            garbled[*place] ^= 1 << bit;
            decode::<T>(Encoding::Protobuf, &garbled.into()).is_err()
        });
        assert!(refused.count() > document.len(), "{}: hardly anything was refused", T::KIND);
    }
    check::<Pod>(&answer!("pod"));
    check::<Service>(&answer!("service"));
    check::<Endpoints>(&answer!("endpoints"));
    check::<EndpointSlice>(&answer!("slice"));
    check::<Node>(&answer!("node"));
    check::<Namespace>(&answer!("namespace"));
    check::<IpAddress>(&answer!("ip_address"));
    check::<ServiceCidr>(&answer!("service_cidr"));
}
