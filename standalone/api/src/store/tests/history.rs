use super::*;

fn told(store: &Store, after: u64, labels: &str) -> Vec<String> {
    let selection = Selection { labels: selector::labels(labels).unwrap(), ..Selection::default() };
    let changes = store.changes(Kind::Pod, after, &selection).unwrap();
    assert_eq!(changes.version, store.version());
    let text = |change: &Change| format!("{} {}", change.label(), meta(change.object(), "name").unwrap());
    changes.changes.iter().map(text).collect()
}

#[test]
fn a_watch_hears_what_comes_changes_and_goes() {
    let mut store = store();
    let start = store.version();
    let made = store.make(Kind::Pod, pod("p")).unwrap();
    store.put(Kind::Pod, Part::Main, &edited(&made, "/metadata/labels", json!({"app": "b"}))).unwrap();
    store.delete(Kind::Pod, &default("p"), &DeleteOptions::default(), &options()).unwrap();
    assert_eq!(told(&store, start, ""), ["ADDED p", "MODIFIED p", "DELETED p"]);
    // Who selects by label hears that it came to be selected, or that it is no longer.
    assert_eq!(told(&store, start, "app=a"), ["ADDED p", "DELETED p"]);
    assert_eq!(told(&store, start, "app=b"), ["ADDED p", "DELETED p"]);
    assert_eq!(told(&store, start, "app=c"), [] as [&str; 0]);
    // The last event has the version of the deletion.
    let changes = store.changes(Kind::Pod, start, &Selection::default()).unwrap().changes;
    assert_eq!(meta(changes[2].object(), "resourceVersion").unwrap(), store.version().to_string());
}

#[test]
fn history_is_bounded() {
    let config = Config { history: 3, ..Config::default() };
    let mut store = Store::new(&config, now());
    let start = store.version();
    for name in ["a", "b", "c", "d"] {
        store.make(Kind::Pod, pod(name)).unwrap();
    }
    let expired = store.changes(Kind::Pod, start, &Selection::default()).unwrap_err();
    assert_eq!((expired.code, expired.reason), (410, "Expired"));
    assert_eq!(told(&store, start + 1, "").len(), 3);
    store.compact();
    assert_eq!(store.changes(Kind::Pod, start + 3, &Selection::default()).unwrap_err().code, 410);
    assert_eq!(told(&store, start + 4, "").len(), 0);
}

#[test]
fn pages_are_as_of_one_version() {
    let mut store = store();
    for name in ["a", "b", "c", "d", "e"] {
        store.make(Kind::Pod, pod(name)).unwrap();
    }
    let first = ListOptions { limit: 2, ..ListOptions::default() };
    let page = store.list(Kind::Pod, &Selection::default(), &first).unwrap();
    assert_eq!((page.items.len(), page.remaining), (2, Some(3)));
    store.delete(Kind::Pod, &default("c"), &DeleteOptions::default(), &options()).unwrap();
    store.make(Kind::Pod, pod("cc")).unwrap();
    let second = ListOptions { limit: 2, next: page.next, ..ListOptions::default() };
    let page2 = store.list(Kind::Pod, &Selection::default(), &second).unwrap();
    let names = |list: &List| {
        list.items.iter().map(|item| meta(item, "name").unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((names(&page2), page2.version), (vec!["c".to_owned(), "d".to_owned()], page.version));
    let third = ListOptions { limit: 2, next: page2.next, ..ListOptions::default() };
    let page3 = store.list(Kind::Pod, &Selection::default(), &third).unwrap();
    assert_eq!((names(&page3), page3.next), (vec!["e".to_owned()], None));
    store.compact();
    assert_eq!(store.list(Kind::Pod, &Selection::default(), &third).unwrap_err().code, 410);
}
