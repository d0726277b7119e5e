//! What the rules do to packets, judged in memory: the evaluator on what the product would install, the
//! slow reference, and for the cases of `netns/cases` their own words. Needs neither root nor a kernel.

mod random;

use portolan_rules::evaluate::Memory;
use portolan_tests::case;
use portolan_tests::judgement::{judge, text};
use portolan_tests::kernel::Kernel;
use portolan_tests::product::Product;
use portolan_tests::reference::expect;

#[test]
fn reference_says_what_the_cases_say() {
    for case in case::all() {
        for v4 in [true, false] {
            let world = case.world(v4);
            for line in &case.flows {
                for protocol in &line.protocols {
                    let flow = line.flow(protocol, v4);
                    let got = text(&expect(&world, &flow));
                    assert_eq!(got, line.want, "{}: {flow:?}", case.name);
                }
            }
        }
    }
}

#[test]
fn rules_do_what_the_cases_say() {
    let mut wrong = Vec::new();
    for v4 in [true, false] {
        // One product for all cases, so that each is also a change from the one before.
        let mut product = Product::start(Kernel::new(), v4).expect("an empty kernel");
        for case in case::all() {
            let world = case.world(v4);
            product.sync(&world).unwrap_or_else(|error| panic!("{}: {error}", case.name));
            let ruleset = product.read_back().expect("readable");
            for line in &case.flows {
                for protocol in &line.protocols {
                    let flow = line.flow(protocol, v4);
                    let got = judge(&ruleset, &world, &Memory::of(&ruleset), &flow).map(|fate| text(&fate));
                    if got.as_ref() != Ok(&line.want) {
                        wrong.push(format!("{}: {flow:?}: {got:?}, not {}", case.name, line.want));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
