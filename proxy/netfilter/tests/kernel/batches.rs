//! How batches succeed and fail.

use std::time::{Duration, Instant};

use portolan_netfilter::model::{
    Chain, DataType, Element, Expression, Family, KeyType, Register, Rule, Set, SetData, Table, TableFlags,
    TableId, Verdict,
};
use portolan_netfilter::{Batch, Error, ErrorKind, Memory, Netfilter, Operation, Socket};

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use crate::namespace::{in_namespace, nft_listing};

fn table() -> TableId {
    TableId::new(Family::Ip, "batches")
}

/// A table with a chain and a map from addresses to classes.
fn base() -> Batch {
    let mut batch = Batch::new();
    let data = SetData::Value(KeyType::of(&[DataType::CLASSID]));
    batch.push(Table::new(table()));
    batch.push(Chain::regular(table(), "chain"));
    batch.push(Set::map(table(), "map", KeyType::of(&[DataType::IPV4_ADDR]), data));
    batch
}

fn elements(numbers: std::ops::Range<u32>, value: u32) -> Vec<Element> {
    numbers.map(|n| Element::map(n.to_be_bytes(), value.to_ne_bytes().to_vec())).collect()
}

fn add(elements: Vec<Element>) -> Operation {
    Operation::AddElements { table: table(), set: "map".to_owned(), elements }
}

fn delete(elements: Vec<Element>) -> Operation {
    Operation::DeleteElements { table: table(), set: "map".to_owned(), elements }
}

fn verdict(verdict: Verdict) -> Rule {
    let dest = Register::VERDICT;
    Rule::new(table(), "chain", vec![Expression::Immediate { dest, data: verdict.into() }])
}

#[test]
fn fifty_thousand_elements_in_one_batch() {
    in_namespace(|| {
        let mut socket = Socket::open().expect("socket");
        let many = elements(0..50_000, 7);
        let mut batch = base();
        batch.push(add(many.clone()));
        let start = Instant::now();
        socket.send(&batch).expect("send");
        let sent = start.elapsed();
        let mut read = socket.elements(&table(), "map").expect("elements");
        println!("50k elements: sent in {sent:?}, read in {:?}", start.elapsed() - sent);
        read.sort_by(|a, b| a.key.cmp(&b.key));
        assert!(read == many, "{} elements differ from {}", read.len(), many.len());
        socket.send(&vec![delete(many)].into()).expect("delete");
        assert_eq!(socket.elements(&table(), "map").expect("elements"), []);
    });
}

#[test]
fn ten_thousand_rules_and_sets_are_answered_once() {
    in_namespace(|| {
        let mut socket = Socket::open().expect("socket");
        let mut batch = base();
        for number in 0..10_000 {
            batch.push(verdict(Verdict::Continue));
            batch.push(Chain::regular(table(), format!("chain-{number}")));
        }
        socket.send(&batch).expect("send");
        assert_eq!(socket.rules(&table()).expect("rules").len(), 10_000);
        assert_eq!(socket.chains(&table()).expect("chains").len(), 10_001);
    });
}

#[test]
fn a_refused_batch_changes_nothing_and_names_the_element() {
    in_namespace(|| {
        let mut socket = Socket::open().expect("socket");
        socket.send(&base()).expect("base");
        socket.send(&vec![add(elements(4_321..4_322, 1))].into()).expect("one");
        let batch = Batch::from(vec![
            Operation::from(Chain::regular(table(), "new")),
            add(elements(0..5_000, 2)),
            Operation::from(verdict(Verdict::Goto("absent".to_owned()))),
        ]);
        let error = socket.send(&batch).expect_err("exists with other data");
        assert_eq!(error.kind(), ErrorKind::Exists, "{error}");
        let failures: Vec<_> = error.failures().iter().map(|f| (f.index, f.element)).collect();
        assert_eq!(failures, [(Some(1), Some(4_321)), (Some(2), None)]);
        assert!(
            error.to_string().contains("add 5000 elements to ip batches map (element 4321): "),
            "{error}"
        );
        assert_eq!(error.failures()[1].errno, portolan_netfilter::Errno::ENOENT);
        assert_eq!(socket.chains(&table()).expect("chains").len(), 1);
        assert_eq!(socket.elements(&table(), "map").expect("elements").len(), 1);
    });
}

#[test]
fn replacing_an_element_is_delete_and_add_in_one_batch() {
    in_namespace(|| {
        let mut socket = Socket::open().expect("socket");
        let mut batch = base();
        batch.push(add(elements(1..3, 1)));
        socket.send(&batch).expect("base");
        socket.send(&vec![delete(elements(1..2, 0)), add(elements(1..2, 5))].into()).expect("replace");
        let mut read = socket.elements(&table(), "map").expect("elements");
        read.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(read, [elements(1..2, 5), elements(2..3, 1)].concat());
    });
}

#[test]
fn every_operation_on_rules_chains_and_sets() {
    in_namespace(|| {
        every_operation(&mut Socket::open().expect("socket"));
        every_operation(&mut Memory::new());
    });
}

fn every_operation(netfilter: &mut dyn Netfilter) {
    let mut batch = base();
    batch.push(verdict(Verdict::Accept)).push(verdict(Verdict::Drop)).push(add(elements(0..9, 1)));
    netfilter.apply(&batch).expect("base");
    let read = |netfilter: &mut dyn Netfilter| netfilter.ruleset(&table()).expect("read").expect("table");
    let old: Vec<u64> = read(netfilter).rules.iter().filter_map(|rule| rule.handle).collect();
    let batch = Batch::from(vec![
        Operation::InsertRule { rule: verdict(Verdict::Continue), before: None },
        Operation::InsertRule { rule: verdict(Verdict::Return), before: Some(old[1]) },
        Operation::ReplaceRule(Rule { handle: Some(old[1]), ..verdict(Verdict::Accept) }),
        Operation::DeleteRule { table: table(), chain: "chain".to_owned(), handle: old[0] },
        Operation::FlushSet { table: table(), set: "map".to_owned() },
    ]);
    netfilter.apply(&batch).expect("changes");
    let changed = read(netfilter);
    let rules: Vec<_> = changed.rules.iter().map(|rule| rule.expressions.clone()).collect();
    let expected = [Verdict::Continue, Verdict::Return, Verdict::Accept];
    assert_eq!(rules, expected.map(|end| verdict(end).expressions));
    assert_eq!(changed.sets[0].elements, []);
    let refused = |netfilter: &mut dyn Netfilter, operation: Operation, kind: ErrorKind| {
        let error = netfilter.apply(&vec![operation].into()).expect_err("refused");
        assert_eq!(error.kind(), kind, "{error}");
    };
    refused(netfilter, delete(elements(3..4, 0)), ErrorKind::Missing);
    refused(netfilter, verdict(Verdict::Jump("absent".to_owned())).into(), ErrorKind::Missing);
    let set = "absent".to_owned();
    refused(netfilter, Operation::FlushSet { table: table(), set }, ErrorKind::Missing);
    netfilter.apply(&vec![Chain::regular(table(), "target").into()].into()).expect("chain");
    netfilter.apply(&vec![verdict(Verdict::Jump("target".to_owned())).into()].into()).expect("jump");
    let chain = "target".to_owned();
    refused(netfilter, Operation::DeleteChain { table: table(), chain }, ErrorKind::Busy);
    let batch = Batch::from(vec![
        Operation::FlushChain { table: table(), chain: "chain".to_owned() },
        Operation::DeleteChain { table: table(), chain: "chain".to_owned() },
        Operation::DeleteChain { table: table(), chain: "target".to_owned() },
        Operation::DeleteSet { table: table(), set: "map".to_owned() },
    ]);
    netfilter.apply(&batch).expect("removal");
    let rest = read(netfilter);
    assert_eq!((rest.chains.len(), rest.sets.len(), rest.rules.len()), (0, 0, 0));
    netfilter.apply(&vec![Operation::DeleteTable(table())].into()).expect("delete");
    assert_eq!(netfilter.ruleset(&table()).expect("read"), None);
}

#[test]
fn a_batch_for_another_generation_is_refused() {
    in_namespace(|| {
        let mut socket = Socket::open().expect("socket");
        let generation = socket.generation().expect("generation");
        socket.send_at(&base(), generation).expect("current");
        assert_ne!(socket.generation().expect("generation"), generation);
        let error = socket.send_at(&base(), generation).expect_err("outdated");
        assert_eq!(error.kind(), ErrorKind::Changed, "{error}");
    });
}

#[test]
fn an_owned_table_survives_its_owner_and_is_adopted() {
    in_namespace(|| {
        let owned = || {
            let flags = TableFlags::OWNER | TableFlags::PERSIST;
            Batch::from(vec![Operation::from(Table::new(table()).with_flags(flags))])
        };
        let mut owner = Socket::open().expect("socket");
        owner.send(&base()).expect("base");
        let error = owner.send(&owned()).expect_err("a table does not become owned");
        assert_eq!(error.kind(), ErrorKind::NotSupported, "{error}");
        owner.send(&vec![Operation::DeleteTable(table())].into()).expect("delete");
        owner.send(&owned()).expect("own");
        let mut contents = base();
        let error = owner.send(&contents).expect_err("an owned table does not become free");
        assert_eq!(error.kind(), ErrorKind::NotSupported, "{error}");
        contents.operations.remove(0);
        owner.send(&contents).expect("the owner's own changes");
        let mut other = Socket::open().expect("socket");
        let error = other.send(&owned()).expect_err("owned by another");
        assert_eq!(error.kind(), ErrorKind::NotPermitted, "{error}");
        let error = other.send(&vec![Operation::DeleteTable(table())].into()).expect_err("owned by another");
        assert_eq!(error.kind(), ErrorKind::NotPermitted, "{error}");
        drop(owner);
        // The closed socket lives on for a moment in the programs that other tests start at that time.
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut read = || other.ruleset(&table()).expect("read").expect("the table");
        let mut orphan = read();
        while orphan.table.flags.contains(TableFlags::OWNER) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
            orphan = read();
        }
        assert_eq!(orphan.table.flags, TableFlags::PERSIST);
        assert_eq!(orphan.chains.len(), 1);
        other.send(&owned()).expect("adopt");
        nft_listing();
    });
}

#[test]
fn an_unprivileged_batch_is_not_permitted() {
    in_namespace(|| {
        let none = CapabilitySet::empty();
        // Of this thread only.
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
            .expect("capabilities");
        let error = Socket::open().and_then(|mut socket| socket.send(&base())).expect_err("no rights");
        assert_eq!(error.kind(), ErrorKind::NotPermitted, "{error}");
        assert!(matches!(error, Error::Rejected { .. }), "{error}");
    });
}
