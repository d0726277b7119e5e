//! From a manifest to packets and names.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::run::Run;
use crate::stage::{Stage, eventually};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Names of the pods that answer within some requests.
fn answering(run: &Run<'_>, requests: usize) -> BTreeSet<String> {
    let to = format!("{}:80/", run.address("shop"));
    let answers = (0..requests).map(|_| json(&run.stage.get(&to)));
    answers.map(|answer| answer["shop"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_example_serves_within_seconds_by_address_and_by_name() {
    let stage = Stage::new();
    let began = Instant::now();
    let run = Run::shop(&stage);
    let (kubeconfig, dns) = (run.told("KUBECONFIG"), run.told("DNS"));
    assert!(began.elapsed() < Duration::from_secs(5), "the first lines came late: {:?}", began.elapsed());
    assert_eq!(kubeconfig, "/run/portolan-up/kubeconfig");
    assert_eq!(stage.run(&format!("stat -c %a {kubeconfig}")), "600\n");
    let run = run.ready();
    let out = run.out();
    for line in
        ["curl http://", "get pods", "scale deployment shop --replicas=5", "dig @10.244.0.1 shop.default"]
    {
        assert!(out.contains(line), "{line}:\n{out}");
    }
    let row = out.lines().find(|line| line.starts_with("default/shop ")).unwrap();
    assert!(row.contains("ClusterIP") && row.contains("80/TCP") && row.ends_with(" 3"), "{row}");
    assert_eq!(run.error(), "", "there is nothing to warn of");

    // By address from the machine: all three pods answer, and each has asked the prices by name.
    assert_eq!(answering(&run, 60).len(), 3);
    let shop = run.address("shop");
    let answer = json(&stage.get(&format!("{shop}:80/")));
    assert!(answer["prices"].as_str().unwrap().starts_with("prices-") && answer["compass"] == 30, "{answer}");

    // Service variables, also of Services that came later in the file.
    let variables = json(&stage.get(&format!("{shop}:80/env")));
    assert_eq!(variables["SHOP_SERVICE_HOST"], shop.as_str());
    assert_eq!(variables["SHOP_SERVICE_PORT_HTTP"], "80");
    assert_eq!(variables["PRICES_SERVICE_HOST"], run.address("prices").as_str());
    assert_eq!(variables["KUBERNETES_SERVICE_HOST"], "10.96.0.1");
    assert_eq!(variables["KUBERNETES_SERVICE_PORT_HTTPS"], "443");

    // Names: a cluster IP, and the pods of a headless Service.
    assert_eq!(stage.look_up(&dns, "shop.default.svc.cluster.local.")[0].to_string(), shop);
    let kubernetes = stage.look_up(&dns, "kubernetes.default.svc.cluster.local.");
    assert_eq!(kubernetes[0].to_string(), "10.96.0.1");
    let mut pods: Vec<std::net::Ipv4Addr> =
        run.ready_pods("app=prices").into_iter().map(|(_, ip)| ip.parse().unwrap()).collect();
    pods.sort();
    assert_eq!(stage.look_up(&dns, "prices-pods.default.svc.cluster.local."), pods);
    assert!(stage.look_up(&dns, "nothing.default.svc.cluster.local.").is_empty());
}

#[test]
fn a_pod_that_is_not_ready_leaves_and_comes_back() {
    let stage = Stage::new();
    let run = Run::shop(&stage).ready();
    let (name, address) = run.ready_pods("app=shop").remove(0);
    assert_eq!(stage.http("POST", &format!("{address}:8080/ready/off"), "", "").unwrap().0, 200);
    run.wait_ready_pods("app=shop", 2);
    eventually("the pod gets no request any more", 5, || {
        (!answering(&run, 40).contains(&name)).then_some(())
    });
    stage.http("POST", &format!("{address}:8080/ready/on"), "", "").unwrap();
    run.wait_ready_pods("app=shop", 3);
    eventually("the pod gets requests again", 5, || answering(&run, 40).contains(&name).then_some(()));
}

#[test]
fn a_deployment_is_scaled_through_the_api() {
    let stage = Stage::new();
    let run = Run::shop(&stage).ready();
    let path = format!("{}/apis/apps/v1/namespaces/default/deployments/shop", run.api());
    let merge = "Content-Type: application/merge-patch+json\r\n";
    for count in [6, 1] {
        let body = format!(r#"{{"spec": {{"replicas": {count}}}}}"#);
        assert_eq!(stage.http("PATCH", &format!("{path}/scale"), merge, &body).unwrap().0, 200);
        run.wait_ready_pods("app=shop", count);
        eventually("as many answer", 5, || (answering(&run, 60).len() == count).then_some(()));
        eventually("the status says so", 5, || {
            (json(&stage.get(&path))["status"]["readyReplicas"] == count).then_some(())
        });
    }
    // Without a pod a connection is refused at once.
    stage.http("PATCH", &format!("{path}/scale"), merge, r#"{"spec": {"replicas": 0}}"#).unwrap();
    let shop = format!("{}:80/", run.address("shop"));
    eventually("connections are refused", 10, || {
        let began = Instant::now();
        let refused = stage
            .http("GET", &shop, "", "")
            .is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused);
        (refused && began.elapsed() < Duration::from_secs(1)).then_some(())
    });
}

#[test]
fn a_changed_template_replaces_the_pods_without_a_failed_request() {
    let stage = Stage::new();
    let run = Run::shop(&stage).ready();
    let before: BTreeSet<_> = run.ready_pods("app=prices").into_iter().map(|(name, _)| name).collect();
    let path = format!("{}/apis/apps/v1/namespaces/default/deployments/prices", run.api());
    let merge = "Content-Type: application/merge-patch+json\r\n";
    let body = r#"{"spec": {"template": {"metadata": {"annotations": {"changed": "yes"}}}}}"#;
    assert_eq!(stage.http("PATCH", &path, merge, body).unwrap().0, 200);
    let prices = format!("{}:8000/", run.address("prices"));
    eventually("all pods are new", 30, || {
        stage.get(&prices);
        let now: BTreeSet<_> = run.ready_pods("app=prices").into_iter().map(|(name, _)| name).collect();
        (now.len() == 2 && now.is_disjoint(&before)).then_some(())
    });
}

#[test]
fn a_firewall_in_the_way_is_named() {
    let stage = Stage::new();
    stage.run("nft 'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'");
    let run = Run::start(&stage, [""; 0]).ready();
    eventually("the chain is named", 5, || {
        run.error().contains("chain FORWARD of table filter").then_some(())
    });
}
