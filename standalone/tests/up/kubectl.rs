//! The real kubectl.

use std::time::Duration;

use crate::run::Run;
use crate::stage::{Stage, eventually, example};

#[test]
fn get_watch_scale_and_delete() {
    let stage = Stage::new();
    let run = Run::shop(&stage).ready();
    let nodes = run.kubectl("get nodes");
    assert!(nodes.contains("local") && nodes.contains("Ready"), "{nodes}");
    let services = run.kubectl("get services");
    assert!(services.contains("prices-pods   ClusterIP   None"), "{services}");
    assert!(run.kubectl("get endpointslices").contains("shop-"));
    let deployments = run.kubectl("get deployments");
    assert!(
        deployments.lines().any(|line| line.starts_with("shop") && line.contains("3/3")),
        "{deployments}"
    );

    let line = run.kubectl_line("get pods -l app=shop -w --no-headers");
    let line = format!("echo $$ > /run/watch.pid; exec timeout 60 env {line} > /run/watch.out");
    let mut watch = stage.command("sh").args(["-c", &line]).spawn().unwrap();
    run.kubectl("scale deployment shop --replicas=5");
    run.kubectl("rollout status deployment shop --timeout=30s");
    assert_eq!(run.ready_pods("app=shop").len(), 5);
    run.kubectl("scale deployment shop --replicas=2");
    run.wait_ready_pods("app=shop", 2);
    eventually("pods that went are gone", 10, || {
        (run.kubectl("get pods -l app=shop --no-headers").lines().count() == 2).then_some(())
    });
    stage.run("kill $(cat /run/watch.pid)");
    watch.wait().unwrap();
    let seen = stage.run("cat /run/watch.out");
    assert!(seen.contains("Running") && seen.contains("Terminating"), "{seen}");
    let names: std::collections::BTreeSet<_> =
        seen.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names.len(), 5, "{seen}");

    run.kubectl("delete deployment shop --timeout=20s");
    eventually("its pods go with it", 10, || {
        run.kubectl("get pods -l app=shop --no-headers --ignore-not-found").is_empty().then_some(())
    });
    run.kubectl("delete service shop");
    let dns = run.told("DNS");
    eventually("its name is gone", 5, || {
        stage.look_up(&dns, "shop.default.svc.cluster.local.").is_empty().then_some(())
    });
}

#[test]
fn create_and_apply() {
    let stage = Stage::new();
    let run = Run::shop(&stage).ready();
    // What `-f` has made is known to apply: nothing changes, and there is no warning.
    let output = stage.try_run(&run.kubectl_line(&format!("apply -f {}", example().display())));
    let (out, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success() && error.is_empty(), "{error}");
    assert_eq!(out.lines().filter(|line| line.ends_with(" unchanged")).count(), 5, "{out}");

    // A namespace, a plain pod and a Service made while it runs.
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: single, labels: {app: single}}\nspec:\n\
        \x20 containers:\n  - name: c\n    image: none\n    ports: [{name: w, containerPort: 9000}]\n\
        \x20   readinessProbe: {exec: {command: [test, -e, /proc/self]}, periodSeconds: 1}\n\
        \x20   command: [python3, -m, http.server, '9000', -d, /proc/sys/kernel]\n---\n\
        apiVersion: v1\nkind: Service\nmetadata: {name: single}\nspec:\n\
        \x20 selector: {app: single}\n  ports: [{port: 81, targetPort: w}]\n";
    stage.run("mkdir -p /run/t");
    stage.run(&format!("cat > /run/t/single.yaml <<'END'\n{manifest}END"));
    run.kubectl("create namespace other");
    run.kubectl("-n other create --save-config -f /run/t/single.yaml");
    run.kubectl("-n other wait --for=condition=Ready pod/single --timeout=20s");
    let address = run.kubectl("-n other get service single -o jsonpath={.spec.clusterIP}");
    let answer = eventually("the new Service answers", 10, || {
        stage.http("GET", &format!("{address}:81/ostype"), "", "").ok().filter(|(status, _)| *status == 200)
    });
    assert_eq!(answer.1, "Linux\n");

    // A change of a port by apply.
    stage.run("sed -i 's/port: 81/port: 82/' /run/t/single.yaml");
    run.kubectl("-n other apply -f /run/t/single.yaml 2>&1");
    eventually("the new port answers", 10, || {
        stage.http("GET", &format!("{address}:82/ostype"), "", "").ok().filter(|(status, _)| *status == 200)
    });
    run.kubectl("delete namespace other --timeout=20s");
    std::thread::sleep(Duration::from_millis(200));
    assert!(!stage.try_run(&run.kubectl_line("get namespace other")).status.success());
}

#[test]
fn what_is_not_served_is_refused_in_words() {
    let stage = Stage::new();
    let run = Run::start(&stage, [""; 0]).ready();
    assert!(run.out().contains("There is no Service yet"), "{}", run.out());
    let refused = |line: &str| {
        let output = stage.try_run(&run.kubectl_line(line));
        assert!(!output.status.success(), "{line}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused("get daemonsets").contains("doesn't have a resource type"));
    let text = refused(&format!("apply --server-side -f {}", example().display()));
    assert!(text.contains("server-side apply is not served"), "{text}");
    let api = run.api();
    let (status, text) =
        stage.http("PUT", &format!("{api}/api/v1/namespaces/default/pods"), "", "{}").unwrap();
    assert_eq!(status, 405, "{text}");
    let types = "Content-Type: application/cbor\r\n";
    let (status, text) =
        stage.http("PATCH", &format!("{api}/api/v1/namespaces/default"), types, "{}").unwrap();
    assert_eq!(status, 415, "{text}");
}
