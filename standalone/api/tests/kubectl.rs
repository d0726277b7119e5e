//! The real kubectl against the API over a socket.
//!
//! `PORTOLAN_KUBE` is the path of the multi-call binary (`tests/cluster/build` prints it). Without it the
//! test fails: a test that skips itself proves nothing.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use jiff::Timestamp;
use portolan_api::{Api, Config};

const SHOP: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: shop, labels: {app: shop}}
spec:
  selector: {app: shop}
  ports:
  - {name: http, port: 80, targetPort: http}
  - {name: dns, port: 53, protocol: UDP}
  - {name: dns-tcp, port: 53, protocol: TCP}
  - {name: admin, port: 9000}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - name: web
        image: shop:1
        ports: [{name: http, containerPort: 8080}]
        env: [{name: GREETING, value: hello}]
"#;

struct Kubectl {
    binary: PathBuf,
    folder: tempfile::TempDir,
    server: String,
}

impl Kubectl {
    async fn start() -> (Self, Api) {
        let binary = std::env::var_os("PORTOLAN_KUBE")
            .expect("PORTOLAN_KUBE must name the binary that tests/cluster/build makes");
        let binary = PathBuf::from(binary);
        assert!(binary.exists(), "PORTOLAN_KUBE names {}, which does not exist", binary.display());
        let api = Api::new(&Config::default(), Timestamp::now);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let router = api.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            r#"{{"apiVersion": "v1", "kind": "Config", "current-context": "c",
                "clusters": [{{"name": "c", "cluster": {{"server": "{server}"}}}}],
                "contexts": [{{"name": "c", "context": {{"cluster": "c", "user": "u"}}}}], "users": [{{"name": "u", "user": {{}}}}]}}"#
        );
        std::fs::write(folder.path().join("config"), config).unwrap();
        (Self { binary, folder, server }, api)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("kubectl").args(arguments.split_whitespace()).current_dir(self.folder.path());
        command.env("KUBECONFIG", self.path("config")).env("HOME", self.folder.path());
        command
    }

    async fn output(&self, arguments: &str) -> Output {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
    }

    /// Standard output of a command that must succeed, without a word on standard error.
    async fn run(&self, arguments: &str) -> String {
        let output = self.output(arguments).await;
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "kubectl {arguments}\n{out}\n{err}");
        assert_eq!(err, "", "kubectl {arguments}");
        out
    }

    /// Standard error of a command that must fail.
    async fn refused(&self, arguments: &str) -> String {
        let output = self.output(arguments).await;
        assert!(!output.status.success(), "kubectl {arguments}\n{}", text(&output.stdout));
        text(&output.stderr)
    }

    fn write(&self, file: &str, content: &str) {
        std::fs::write(Path::new(self.folder.path()).join(file), content).unwrap();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_do_with_kubectl_works() {
    let (kubectl, _api) = Kubectl::start().await;
    kubectl.write("shop.yaml", SHOP);

    assert!(kubectl.run("version").await.contains("Server Version: v1.36"));
    assert!(kubectl.run("api-resources").await.contains("endpointslices"));
    let applied = kubectl.run("apply -f shop.yaml").await;
    assert_eq!(applied, "service/shop created\ndeployment.apps/shop created\n");
    assert_eq!(
        kubectl.run("apply -f shop.yaml").await,
        "service/shop unchanged\ndeployment.apps/shop unchanged\n"
    );

    let services = kubectl.run("get services").await;
    let row: Vec<_> = services.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(
        (row[0], row[1], row[3], row[4]),
        ("shop", "ClusterIP", "<none>", "80/TCP,53/UDP,53/TCP,9000/TCP")
    );
    assert!(row[2].starts_with("10.96."));
    assert!(kubectl.run("get deploy shop -o wide").await.contains("0/2"));
    assert!(kubectl.run("get all -A").await.contains("deployment.apps/shop"));
    assert!(kubectl.run("get svc -l app=shop -o name").await.contains("service/shop"));
    let namespaces = kubectl.run("get ns --no-headers").await;
    assert!(namespaces.starts_with("default") && namespaces.contains("kube-system"));

    // Changes of list elements by apply: a port's target, one port fewer, an environment variable.
    let changed = SHOP
        .replace("  - {name: admin, port: 9000}\n", "")
        .replace("port: 80, targetPort: http", "port: 80, targetPort: 8080")
        .replace("value: hello", "value: bye");
    kubectl.write("shop.yaml", &changed);
    assert_eq!(
        kubectl.run("apply -f shop.yaml").await,
        "service/shop configured\ndeployment.apps/shop configured\n"
    );
    let ports =
        kubectl.run("get svc shop -o jsonpath={.spec.ports[*].name}:{.spec.ports[*].targetPort}").await;
    assert_eq!(ports, "http dns dns-tcp:8080 53 53");
    let env =
        kubectl.run("get deploy shop -o jsonpath={.spec.template.spec.containers[0].env[0].value}").await;
    assert_eq!(env, "bye");

    assert_eq!(kubectl.run("scale deploy/shop --replicas=5").await, "deployment.apps/shop scaled\n");
    assert_eq!(kubectl.run("get deploy shop -o jsonpath={.spec.replicas}").await, "5");
    kubectl.run("label svc shop tier=front").await;
    kubectl.run("annotate svc shop note=x").await;
    kubectl.run("patch svc shop -p {\"spec\":{\"type\":\"NodePort\"}}").await;
    kubectl.run("patch svc shop --type=merge -p {\"spec\":{\"sessionAffinity\":\"ClientIP\"}}").await;
    kubectl
        .run("patch svc shop --type=json -p [{\"op\":\"remove\",\"path\":\"/metadata/labels/tier\"}]")
        .await;
    let seen = kubectl.run("get svc shop -o jsonpath={.spec.type}/{.metadata.labels}/{.spec.sessionAffinityConfig.clientIP.timeoutSeconds}").await;
    assert_eq!(seen, r#"NodePort/{"app":"shop"}/10800"#);
    assert!(kubectl.run("describe svc shop").await.contains("NodePort:"));
    assert!(kubectl.run("describe deploy shop").await.contains("shop:1"));

    kubectl.run("create namespace other").await;
    kubectl.run("create configmap c --from-literal=a=b -n other").await;
    kubectl.run("create service clusterip web --tcp=80:8080 -n other").await;
    kubectl.run("run p --image=x -n other").await;
    assert!(kubectl.run("get pods -n other").await.contains("0/1"));
    assert!(kubectl.run("delete pod p -n other").await.contains("deleted"));
    assert!(kubectl.run("delete namespace other").await.contains("deleted"));
    assert!(kubectl.refused("get cm c -n other").await.contains("NotFound"));
    assert_eq!(kubectl.run("delete -f shop.yaml").await.lines().count(), 2);
    assert!(kubectl.output("get svc").await.stdout.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said() {
    let (kubectl, _api) = Kubectl::start().await;
    let long = "a".repeat(64);
    let service =
        |rest: &str| format!("{{apiVersion: v1, kind: Service, metadata: {{name: s}}, spec: {{{rest}}}}}");
    for (yaml, expected) in [
        (service("ports: [{port: 0}]"), "spec.ports[0].port: Invalid value: 0"),
        (
            service("ports: [{port: 80, protocol: QUIC}]"),
            "spec.ports[0].protocol: Unsupported value: \"QUIC\"",
        ),
        (service("ports: [{port: 80}, {port: 81}]"), "spec.ports[0].name: Required value"),
        (
            service(&format!("selector: {{app: {long}}}, ports: [{{port: 80}}]")),
            "must be no more than 63 bytes",
        ),
        (
            service("clusterIP: 1.2.3.4, ports: [{port: 80}]"),
            "the provided network does not match the current range",
        ),
        (
            service("type: NodePort, ports: [{port: 80, nodePort: 80}]"),
            "provided port is not in the valid range",
        ),
        (service("color: red, ports: [{port: 80}]"), "unknown field \"spec.color\""),
        (service("ports: [{port: eighty}]"), "spec.ports[0].port"),
    ] {
        kubectl.write("bad.yaml", &yaml);
        let said = kubectl.refused("apply -f bad.yaml").await;
        assert!(said.contains(expected), "{yaml}\n{said}");
    }
    kubectl.write(
        "a.yaml",
        &service("type: NodePort, clusterIP: 10.96.0.7, ports: [{port: 80, nodePort: 30007}]"),
    );
    kubectl.run("create -f a.yaml").await;
    // Allocation comes first.
    assert!(kubectl.refused("create -f a.yaml").await.contains("provided IP is already allocated"));
    kubectl.write("again.yaml", &service("ports: [{port: 80}]"));
    assert!(kubectl.refused("create -f again.yaml").await.contains("AlreadyExists"));
    let other = service("clusterIP: 10.96.0.7, ports: [{port: 80}]").replace("name: s}", "name: t}");
    kubectl.write("b.yaml", &other);
    assert!(kubectl.refused("create -f b.yaml").await.contains("provided IP is already allocated"));
    let other =
        service("type: NodePort, ports: [{port: 80, nodePort: 30007}]").replace("name: s}", "name: t}");
    kubectl.write("c.yaml", &other);
    assert!(kubectl.refused("create -f c.yaml").await.contains("provided port is already allocated"));
    assert!(kubectl.refused("apply --server-side -f b.yaml").await.contains("server-side apply"));
    assert!(kubectl.refused("get replicasets").await.contains("doesn't have a resource type"));
    kubectl.run("run p --image=x").await;
    assert!(kubectl.refused("logs p").await.contains("pods/log is not served"));
    assert!(kubectl.server.starts_with("http://"));
}

#[tokio::test(flavor = "multi_thread")]
async fn get_w_shows_changes_as_they_happen() {
    let (kubectl, _api) = Kubectl::start().await;
    kubectl.run("create service clusterip one --tcp=80").await;
    let mut watch = kubectl.command("get svc -w --no-headers");
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let out = watch.stdout.take().unwrap();
    let (lines, mut seen) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        use std::io::BufRead;
        for line in std::io::BufReader::new(out).lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
    assert!(seen.recv().await.unwrap().starts_with("one "));
    kubectl.run("create service clusterip two --tcp=80").await;
    assert!(seen.recv().await.unwrap().starts_with("two "));
    kubectl.run("delete svc one").await;
    assert!(seen.recv().await.unwrap().starts_with("one "));
    watch.kill().unwrap();
    watch.wait().unwrap();
}
