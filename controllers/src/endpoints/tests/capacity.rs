//! Endpoints of Services with more pods than an object holds.

use super::*;

#[test]
fn the_over_capacity_mark_is_put_right_whatever_it_says() {
    for (mark, held, ready, not_ready, want, marked) in [
        (None, 0, 0, 0, (0, 0), false),
        (None, 999, 997, 4, (997, 3), true),
        (None, 999, 1000, 10, (1000, 0), true),
        (Some("truncated"), 999, 999, 0, (999, 0), false),
        (Some("warning"), 1000, 1000, 0, (1000, 0), false),
        (Some("warning"), 1001, 1001, 0, (1000, 0), true),
        (Some("truncated"), 1000, 1000, 0, (1000, 0), false),
        (Some("invalid"), 1001, 1001, 0, (1000, 0), true),
    ] {
        let service = service("v4 :80");
        let pods = crowd(ready, not_ready, 1, 0);
        let mut before = stored(&service, &pods[..held.min(CAPACITY)], None);
        before.meta.annotations.remove(TRIGGER);
        before.meta.annotations.extend(mark.map(|mark| (OVER_CAPACITY.into(), mark.into())));
        let after = if planned(&service, &pods, Some(&before)).is_empty() {
            before
        } else {
            stored(&service, &pods, Some(&before))
        };
        let case = format!("{mark:?}: {held} -> {ready}, {not_ready}");
        let count = |list: fn(&Subset) -> usize| after.subsets.iter().map(list).sum::<usize>();
        let counts =
            (count(|subset| subset.addresses.len()), count(|subset| subset.not_ready_addresses.len()));
        assert_eq!(counts, want, "{case}");
        let told = after.meta.annotations.get(OVER_CAPACITY).map(AsRef::as_ref);
        assert_eq!(told, marked.then_some("truncated"), "{case}");
    }
}

#[test]
fn shares_of_the_subsets_are_those_that_upstream_computes() {
    let cut = |ready: [usize; 5], not_ready: [usize; 5]| -> (Vec<usize>, Vec<usize>) {
        let groups = ready.into_iter().zip(not_ready).enumerate();
        let pods: Vec<_> = groups
            .flat_map(|(index, (ready, not_ready))| {
                crowd(ready, not_ready, u16::try_from(index).unwrap() + 1, 1000 * index)
            })
            .collect();
        let object = stored(&service("v4 :80>web"), &pods, None);
        let subsets = object.subsets.iter();
        subsets.map(|subset| (subset.addresses.len(), subset.not_ready_addresses.len())).unzip()
    };
    for (ready, not_ready, want_ready, want_not_ready) in [
        (
            [50, 100, 100, 100, 100],
            [50, 100, 100, 100, 100],
            [50, 100, 100, 100, 100],
            [50, 100, 100, 100, 100],
        ),
        ([100; 5], [100; 5], [100; 5], [100; 5]),
        ([90, 110, 50, 10, 20], [101, 200, 200, 201, 298], [90, 110, 50, 10, 20], [73, 144, 144, 145, 214]),
        ([205, 400, 402, 400, 693], [100, 200, 200, 200, 300], [98, 191, 192, 191, 328], [0; 5]),
    ] {
        assert_eq!(cut(ready, not_ready), (want_ready.to_vec(), want_not_ready.to_vec()));
    }
}

/// kube-controller-manager leaves the subset without any address, and the API server refuses the whole object
/// for it, so that the Service's Endpoints stay as they were while more than 1,000 pods are ready.
#[test]
fn a_subset_that_the_cut_empties_is_left_out() {
    let mut pods = crowd(1200, 0, 1, 0);
    pods.extend(crowd(0, 20, 2, 5000));
    let object = stored(&service("v4 :80>web"), &pods, None);
    assert_eq!(object.subsets.len(), 1);
    assert!(object.subsets.iter().all(|subset| !subset.addresses.is_empty()));
}

/// kube-controller-manager compares all pods with the thousand that are stored, finds a difference whenever it
/// looks, and sends a write that changes nothing (kubernetes#127370, #126578: and then waited for the version
/// that this write did not make).
#[test]
fn an_object_that_was_cut_is_written_again_only_when_what_it_tells_changes() {
    let service = service("v4 :80");
    let mut pods = crowd(1000, 200, 1, 0);
    let object = stored(&service, &pods, None);
    assert!(planned(&service, &pods, Some(&object)).is_empty());
    pods.pop();
    assert!(planned(&service, &pods, Some(&object)).is_empty(), "one that was left out went");
    pods[0].ready = false;
    let after = stored(&service, &pods, Some(&object));
    assert_eq!((after.subsets[0].addresses.len(), after.subsets[0].not_ready_addresses.len()), (999, 1));
    assert!(planned(&service, &pods, Some(&after)).is_empty());
}
