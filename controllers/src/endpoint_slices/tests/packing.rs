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
    cluster.service = Some(service("v4 :81"));
    assert_eq!(cluster.settle(), "update", "other ports: one write, and no moment without endpoints");
    assert_eq!(cluster.only().meta.name, name);
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
        plan.writes.iter().map(|write| matches!(write, Write::Update { adds: true, .. })).collect();
    assert_eq!(adds, [false, true], "{plan}");
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
