//! Stored subsets in shapes that packing does not give, and what makes them different from those wanted.

use super::*;

/// The object of that Service and those pods, its subsets as they are wanted.
fn wanted(service_words: &str, pods: &[&str]) -> (Service, Vec<Pod>, Endpoints) {
    let service = service(service_words);
    let pods: Vec<_> = pods.iter().map(|words| pod(words)).collect();
    let object = stored(&service, &pods, None);
    (service, pods, object)
}

#[test]
fn any_way_to_say_the_same_is_left_as_it_is() {
    let pods = ["a 10.0.0.1", "b 10.0.0.2 unready", "c 10.0.0.3", "d 10.0.0.3 uid=d"];
    let (service, pods, object) = wanted("v4 x:80 y:81 z:82/UDP", &pods);
    let [subset] = &object.subsets[..] else { panic!("{}", text(&object.subsets)) };
    let of = |ports: &[usize], ready: &[usize], not_ready: bool| Subset {
        addresses: ready.iter().map(|index| subset.addresses[*index].clone()).collect(),
        not_ready_addresses: subset.not_ready_addresses.iter().filter(|_| not_ready).cloned().collect(),
        ports: ports.iter().map(|index| subset.ports[*index].clone()).collect(),
    };
    for subsets in [
        vec![of(&[2, 0, 1], &[2, 1, 0], true)],
        vec![of(&[0, 0, 1, 2], &[0, 0, 1, 2], true)],
        vec![of(&[0], &[0, 1, 2], true), of(&[1], &[0, 1, 2], true), of(&[2], &[0, 1, 2], true)],
        vec![of(&[0, 1, 2], &[0], false), of(&[0, 1, 2], &[1, 2], true)],
        // Jumbled.
        vec![
            of(&[0, 1], &[2], true),
            of(&[2], &[0, 1, 2], false),
            of(&[1, 0], &[0, 1], false),
            of(&[2], &[], true),
        ],
        vec![of(&[0, 1, 2], &[0, 1, 2], true), of(&[], &[], false)],
        // As upstream: addresses without a port are nothing beside the same ones with ports.
        vec![of(&[0, 1, 2], &[0, 1, 2], true), of(&[], &[0, 1, 2], true)],
    ] {
        let same = Endpoints { subsets: subsets.clone(), ..object.clone() };
        assert!(planned(&service, &pods, Some(&same)).is_empty(), "{}", text(&subsets));
    }
    // An address that both lists have is not ready.
    let mut both = object.clone();
    both.subsets[0].addresses.push(subset.not_ready_addresses[0].clone());
    assert!(planned(&service, &pods, Some(&both)).is_empty());
}

#[test]
fn any_other_thing_that_is_said_is_put_right() {
    let (service, pods, object) =
        wanted("v4 w:80>web", &["a 10.0.0.1 web=1 host=h.web", "b 10.0.0.2 web=2 unready"]);
    assert_eq!(text(&object.subsets), "w:1/TCP: 10.0.0.1 | w:2/TCP: !10.0.0.2");
    let changes: [fn(&mut Vec<Subset>); 9] = [
        |subsets| drop(subsets.pop()),
        |subsets| {
            let addresses = subsets[1].not_ready_addresses.clone();
            subsets.push(Subset { addresses, ports: Vec::new(), not_ready_addresses: Vec::new() });
        },
        |subsets| subsets[0].addresses[0].ip = "10.0.0.9".parse().unwrap(),
        |subsets| subsets[1].not_ready_addresses[0].ip = "10.0.0.9".parse().unwrap(),
        |subsets| subsets[0].ports[0].port = 2,
        |subsets| subsets[0].addresses[0].hostname = None,
        |subsets| subsets[0].addresses[0].node_name = Some("n2".into()),
        |subsets| subsets[0].addresses[0].target_ref = None,
        |subsets| {
            let address = subsets[1].not_ready_addresses.pop().unwrap();
            subsets[1].addresses.push(address);
        },
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut other = object.clone();
        change(&mut other.subsets);
        let after = stored(&service, &pods, Some(&other));
        assert_eq!(after.subsets, object.subsets, "change {index}");
    }
}
