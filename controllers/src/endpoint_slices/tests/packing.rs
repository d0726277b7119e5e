//! How many writes changes cost, and where endpoints go.

use super::*;

fn crowd(cluster: &mut Cluster, pods: std::ops::Range<usize>, rest: &str) {
    for index in pods {
        cluster.pod(&format!("p{index:04} 10.0.{}.{} {rest}", index / 200, index % 200 + 1));
    }
}

fn sizes(cluster: &Cluster) -> Vec<usize> {
    let mut sizes: Vec<_> = cluster.slices.values().map(|slice| slice.endpoints.len()).collect();
    sizes.sort_unstable();
    sizes
}

/// A cluster whose slices hold that many endpoints, and the number of its pods.
fn preset(sizes: &[usize]) -> (Cluster, usize) {
    let mut cluster = Cluster::new("v4 :80", &[]);
    let total = sizes.iter().sum();
    crowd(&mut cluster, 0..total, "");
    cluster.settle();
    let all: Vec<_> = cluster.slices.values().flat_map(|slice| slice.endpoints.clone()).collect();
    let mut all = all.into_iter();
    let template = cluster.slices.pop_first().unwrap().1;
    cluster.slices.clear();
    for (index, size) in sizes.iter().enumerate() {
        let mut slice = template.clone();
        slice.meta.name = format!("web-{index}").into();
        slice.endpoints = all.by_ref().take(*size).collect();
        cluster.slices.insert(slice.meta.name.to_string(), slice);
    }
    assert_eq!(cluster.settle(), "", "whatever the sizes, endpoints stay where they are");
    (cluster, total)
}

#[test]
fn no_slice_holds_more_than_the_most() {
    for (pods, want) in
        [(0, vec![0]), (1, vec![1]), (100, vec![100]), (101, vec![1, 100]), (250, vec![50, 100, 100])]
    {
        let mut cluster = Cluster::new("v4 :80", &[]);
        crowd(&mut cluster, 0..pods, "");
        cluster.settle();
        assert_eq!(sizes(&cluster), want);
        assert!(want.iter().all(|size| *size <= MAX_ENDPOINTS));
    }
}

#[test]
fn new_endpoints_go_where_they_cost_the_fewest_writes() {
    for (before, added, operations, after) in [
        // All fit into one slice that is not full: the one that they fill best.
        (&[60, 70, 20][..], 30, "update", vec![20, 60, 100]),
        (&[60, 70, 20], 60, "update", vec![60, 70, 80]),
        // They fit into none: a new slice, and the half-full ones stay.
        (&[60, 70, 50], 60, "create", vec![50, 60, 60, 70]),
        // A full slice's worth goes to a new slice, the rest to the one that has room.
        (&[60], 120, "update create", vec![80, 100]),
        (&[100], 1, "create", vec![1, 100]),
    ] {
        let (mut cluster, total) = preset(before);
        crowd(&mut cluster, total..total + added, "");
        assert_eq!(cluster.settle(), operations, "{before:?} + {added}");
        assert_eq!(sizes(&cluster), after, "{before:?} + {added}");
    }
}

#[test]
fn slices_that_change_anyway_are_filled_first() {
    let (mut cluster, total) = preset(&[60, 70, 20]);
    cluster.pods.remove("p0000");
    crowd(&mut cluster, total..total + 30, "");
    assert_eq!(cluster.settle(), "update");
    assert_eq!(sizes(&cluster), [20, 70, 89]);
}

#[test]
fn endpoints_that_stay_keep_their_slice() {
    let (mut cluster, total) = preset(&[100, 100]);
    let place = |cluster: &Cluster| {
        let entries = cluster.slices.values().flat_map(|slice| {
            slice.endpoints.iter().map(|endpoint| (endpoint.addresses[0], slice.meta.name.clone()))
        });
        entries.collect::<BTreeMap<_, _>>()
    };
    let before = place(&cluster);
    for index in (0..total).step_by(3) {
        cluster.pods.remove(&format!("p{index:04}"));
    }
    crowd(&mut cluster, total..total + 40, "");
    assert_eq!(cluster.settle(), "update update");
    let after = place(&cluster);
    assert!(before.iter().all(|(ip, slice)| after.get(ip).is_none_or(|now| now == slice)));
}

#[test]
fn an_endpoint_that_is_in_two_slices_is_kept_in_one() {
    let (mut cluster, _) = preset(&[3]);
    let mut copy = cluster.only().clone();
    copy.meta.name = "web-copy".into();
    copy.endpoints.truncate(2);
    cluster.slices.insert("web-copy".to_owned(), copy);
    assert_eq!(cluster.settle(), "delete");
    assert_eq!(sizes(&cluster), [3]);
}

#[test]
fn a_slice_that_is_not_needed_becomes_the_one_that_is() {
    let (mut cluster, _) = preset(&[3]);
    let name = cluster.only().meta.name.clone();
    let slice = cluster.slices.values_mut().next().unwrap();
    slice.meta.annotations.insert("other".into(), "kept".into());
    cluster.service = Some(service("v4 :81"));
    assert_eq!(cluster.settle(), "update", "other ports: one write, and no moment without endpoints");
    assert_eq!(cluster.only().meta.name, name);
    // kube-controller-manager overwrites them (kubernetes#108267).
    assert_eq!(&*cluster.only().meta.annotations["other"], "kept");
    cluster.pods.clear();
    assert_eq!(cluster.settle(), "update", "no pods: the slice becomes the placeholder");
    assert_eq!(cluster.text(), "IPv4 :");
    crowd(&mut cluster, 0..2, "");
    assert_eq!(cluster.settle(), "update", "and back");
    assert_eq!(cluster.only().meta.name, name);
}

#[test]
fn of_many_slices_without_endpoints_one_remains() {
    let (mut cluster, _) = preset(&[100, 100, 10]);
    cluster.pods.clear();
    let plan = cluster.plan();
    assert!(plan.writes.iter().all(|write| write.rank() == 0), "all of it only takes away: {plan}");
    cluster.settle();
    assert_eq!(cluster.text(), "IPv4 :");
}

#[test]
fn what_takes_away_comes_before_what_adds() {
    let (mut cluster, total) = preset(&[100, 100]);
    cluster.pod("p0150 10.0.0.151 unready");
    crowd(&mut cluster, total..total + 1, "");
    cluster.pods.remove("p0000");
    let plan = cluster.plan();
    let adds: Vec<_> =
        plan.writes.iter().map(|write| matches!(write, Write::Update { effect: Effect::Adds, .. })).collect();
    assert_eq!(adds, [false, true], "{plan}");
}

/// Two slices that exchange endpoints cannot both be written first.
#[test]
fn what_moves_to_another_slice_is_there_before_it_goes() {
    let mut cluster = Cluster::new(":80 v4", &[]);
    crowd(&mut cluster, 0..5, "metrics=9090");
    crowd(&mut cluster, 5..10, "");
    cluster.settle();
    let kept = cluster.only().meta.name.clone();
    // Those that have the port become a group of their own.
    cluster.service = Some(service("web:80 m:90>metrics v4"));
    cluster.settle();
    cluster.service = Some(service(":80 v4"));
    assert_eq!(cluster.settle(), "update delete");
    let plan = {
        cluster.service = Some(service("web:80 m:90>metrics v4"));
        cluster.plan()
    };
    let [Write::Create { .. }, Write::Update { target, effect: Effect::Moves, .. }] = &plan.writes[..] else {
        panic!("{plan}")
    };
    assert_eq!(target.name.name, kept);
}

#[test]
fn names_of_new_slices_do_not_depend_on_who_makes_them() {
    let names = || {
        let mut cluster = Cluster::new("v4 v6 :80>web", &[]);
        crowd(&mut cluster, 0..150, "web=80");
        crowd(&mut cluster, 150..250, "web=81 fd00::1");
        cluster.settle();
        cluster.slices.into_keys().collect::<Vec<_>>()
    };
    let first = names();
    assert_eq!(first.len(), 4);
    assert_eq!(first, names());
}

#[test]
fn a_name_that_is_taken_is_passed_over() {
    let mut cluster = Cluster::new("v4 :80", &["a 10.0.0.1"]);
    cluster.settle();
    let name = cluster.only().meta.name.to_string();
    cluster.slices.get_mut(&name).unwrap().meta.labels.clear();
    assert_eq!(cluster.settle(), "create");
    assert_eq!(cluster.slices.len(), 2);
}

/// The scenarios of upstream's `reconciler_test.go`, with the sizes and the writes that it wants.
#[test]
fn scenarios_cost_the_writes_that_they_cost_upstream() {
    // "Some preexisting": the rest of 127 goes to the slice that it fills best.
    let (mut cluster, total) = preset(&[62, 61]);
    crowd(&mut cluster, total..total + 127, "");
    assert_eq!(cluster.settle(), "update create");
    assert_eq!(sizes(&cluster), [61, 89, 100]);
    // "Worse allocation": two creates rather than two updates and a create.
    let (mut cluster, total) = preset(&[74, 74]);
    crowd(&mut cluster, total..total + 152, "");
    assert_eq!(cluster.settle(), "create create");
    assert_eq!(sizes(&cluster), [52, 74, 74, 100]);
    // "Update packing": of slices that change anyway, the fuller one takes what is new.
    let (mut cluster, total) = preset(&[80, 20]);
    cluster.pod("p0000 10.0.0.1 unready");
    cluster.pod("p0080 10.0.0.81 unready");
    crowd(&mut cluster, total..total + 15, "");
    assert_eq!(cluster.settle(), "update update");
    assert_eq!(sizes(&cluster), [20, 95]);
    // "Recycling": nothing is packed anew until every slice has to change.
    let (mut cluster, _) = preset(&[30; 10]);
    cluster.service = Some(service("v4 :81"));
    let operations = cluster.settle();
    assert_eq!((operations.matches("update").count(), operations.matches("delete").count()), (3, 7));
    assert!(!operations.contains("create"), "{operations}");
    assert_eq!(sizes(&cluster), [100, 100, 100]);
}

#[test]
fn what_concerns_every_slice_is_one_update_of_each() {
    let mut cluster = Cluster::new("v4 :80", &[]);
    crowd(&mut cluster, 0..250, "");
    assert_eq!(cluster.settle(), "create create create");
    for (words, operations) in [
        ("v4 :81", "update update update"),
        ("v4 :81 label:foo=bar", "update update update"),
        ("v4 :81 label:foo=bar label:kubernetes.io/service-name=bad", ""),
    ] {
        cluster.service = Some(service(words));
        assert_eq!(cluster.settle(), operations, "{words}");
        assert_eq!(sizes(&cluster), [50, 100, 100]);
    }
    assert!(cluster.slices.values().all(|slice| slice.meta.label("foo") == Some("bar")));
}

#[test]
fn pods_whose_ports_are_in_five_ways_are_in_five_slices() {
    let mut cluster = Cluster::new("v4 :80>http", &[]);
    for way in 0..5 {
        crowd(&mut cluster, way * 60..way * 60 + 60, &format!("http={}", 8080 + way));
    }
    assert_eq!(cluster.settle(), "create create create create create");
    assert_eq!(sizes(&cluster), [60; 5]);
    let mut ports: Vec<_> = cluster.slices.values().map(|slice| slice.ports[0].port).collect();
    ports.sort_unstable();
    assert_eq!(ports, [8080, 8081, 8082, 8083, 8084]);
}
