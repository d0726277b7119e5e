//! Names compare without regard to case (§2.1); answers repeat the question's spelling (RFC 4343, 0x20).

use portolan_zone::{Outcome, PodNames};

use crate::cluster::Cluster;

#[test]
fn the_questions_spelling_comes_back() {
    let cluster = Cluster::full(PodNames::Insecure);
    cluster.check("SvC1.TestNS.sVc.Cluster.LOCAL. A", "A 10.0.0.1");
    cluster.check(
        "_HTTP._Tcp.SVC1.testns.svc.Cluster.LOCAL. SRV",
        "SRV 0 100 80 svc1.testns.svc.Cluster.LOCAL. | + svc1.testns.svc.Cluster.LOCAL. A 10.0.0.1",
    );
    cluster.check("DUP-Name.hdls1.testns.svc.@ A", "A 172.0.0.4 | A 172.0.0.5");
    cluster.check("10-0-0-1.TESTNS.POD.@ A", "A 10.0.0.1");
    let answer = cluster.ask("None.testns.svc.CLUSTER.local. A");
    let Outcome::NxDomain(soa) = answer.outcome else { panic!("{answer:?}") };
    assert!(soa.to_string().starts_with("CLUSTER.local. 30 IN SOA ns.dns.CLUSTER.local. "), "{soa}");
}
