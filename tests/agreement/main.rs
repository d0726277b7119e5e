//! What the rules do to packets, judged in memory: the evaluator on what the product would install, the
//! slow reference, and for the cases of `netns/cases` their own words. Needs neither root nor a kernel.

use portolan_tests::case;
use portolan_tests::judgement::text;
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
