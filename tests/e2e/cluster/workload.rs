//! What the cases run against: three servers, a client on each node.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portolan_e2e::{Cluster, wait_until};

/// Ports: the containers' own numbers differ from the Service's, and the Service names the target.
const MANIFESTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: e2e}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: e2e}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 2
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}
      containers:
      - name: server
        image: portolan.test/server:local
        args: [serve, --http, "8080", --tcp, "8081", --udp, "8082", --linger, 1s]
        ports: [{name: http, containerPort: 8080}, {name: echo, containerPort: 8081}, {name: datagram, containerPort: 8082, protocol: UDP}]
        readinessProbe: {httpGet: {path: /ready, port: http}, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 10}
---
apiVersion: v1
kind: Service
metadata: {name: my-svc, namespace: e2e}
spec:
  selector: {app: web}
  IP_FAMILY_POLICY
  ports:
  - {name: http, port: 80, targetPort: http}
  - {name: echo, port: 81, targetPort: echo}
  - {name: datagram, port: 82, targetPort: datagram, protocol: UDP}
---
apiVersion: v1
kind: Service
metadata: {name: node-port, namespace: e2e}
spec:
  type: NodePort
  selector: {app: web}
  IP_FAMILY_POLICY
  ports: [{name: http, port: 80, targetPort: http, nodePort: 30080}]
---
apiVersion: v1
kind: Service
metadata: {name: sticky, namespace: e2e}
spec:
  selector: {app: web}
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: e2e}
spec:
  clusterIP: None
  selector: {app: web}
  IP_FAMILY_POLICY
  ports: [{name: http, port: 8080, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: named, namespace: e2e}
spec: {clusterIP: None, selector: {app: named}, ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere, namespace: e2e}
spec: {type: ExternalName, externalName: my-svc.e2e.svc.cluster.local}
---
apiVersion: v1
kind: Service
metadata: {name: lonely, namespace: e2e}
spec:
  type: NodePort
  selector: {app: lonely}
  ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30081}]
---
apiVersion: v1
kind: Pod
metadata: {name: lonely, namespace: e2e, labels: {app: lonely}}
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 0
  containers:
  - {name: server, image: "portolan.test/server:local", args: [serve, --http, "8080"]}
---
apiVersion: v1
kind: Pod
metadata: {name: named, namespace: e2e, labels: {app: named}}
spec:
  nodeName: node-2
  hostname: first
  subdomain: named
  terminationGracePeriodSeconds: 0
  containers:
  - {name: server, image: "portolan.test/server:local", args: [serve, --http, "8080"]}
---
apiVersion: v1
kind: Pod
metadata: {name: client-1, namespace: e2e}
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 0
  containers: [{name: client, image: "portolan.test/client:local"}]
---
apiVersion: v1
kind: Pod
metadata: {name: client-2, namespace: e2e}
spec:
  nodeName: node-2
  terminationGracePeriodSeconds: 0
  containers: [{name: client, image: "portolan.test/client:local"}]
"#;

/// Makes the workload and waits until it serves.
pub(crate) fn deploy(cluster: &Cluster) -> Result<()> {
    let policy =
        if cluster.dual() { "ipFamilyPolicy: RequireDualStack" } else { "ipFamilyPolicy: SingleStack" };
    cluster.apply(&MANIFESTS.replace("IP_FAMILY_POLICY", policy))?;
    let pods = ["pod/client-1", "pod/client-2", "pod/lonely", "pod/named"];
    let mut wait = vec!["wait", "-n", "e2e", "--for=condition=Ready", "--timeout=60s"];
    wait.extend(pods);
    wait_until(Duration::from_secs(20), || cluster.kubectl(&wait))?;
    settle(cluster)
}

/// Waits until three servers are ready and published, whatever happened before.
pub(crate) fn settle(cluster: &Cluster) -> Result<()> {
    scale(cluster, 3)?;
    // None that is about to be removed is spoken to.
    let pods = wait_until(Duration::from_secs(60), || {
        let pods = web_pods(cluster)?;
        ensure!(pods.len() == 3, "{} servers", pods.len());
        Ok(pods)
    })?;
    for pod in pods {
        set_ready(cluster, &pod.name, true)?;
    }
    cluster.kubectl(&["rollout", "status", "-n", "e2e", "deployment/web", "--timeout=60s"])?;
    wait_until(Duration::from_secs(30), || published(cluster, 3))
}

/// Scales the servers.
pub(crate) fn scale(cluster: &Cluster, replicas: usize) -> Result<()> {
    cluster.kubectl(&["scale", "-n", "e2e", "deployment/web", &format!("--replicas={replicas}")]).map(|_| ())
}

/// Fails unless that many servers are ready in the slices of `my-svc` and none is on its way.
pub(crate) fn published(cluster: &Cluster, replicas: usize) -> Result<()> {
    let slices = cluster.get(&["endpointslices", "-n", "e2e", "-l", "kubernetes.io/service-name=my-svc"])?;
    let mut ready = 0;
    let mut others = 0;
    for slice in slices["items"].as_array().context("no items")? {
        if slice["addressType"] == "IPv4" {
            for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
                if endpoint["conditions"]["ready"] == true { ready += 1 } else { others += 1 }
            }
        }
    }
    ensure!(ready == replicas && others == 0, "{ready} ready and {others} other endpoints, not {replicas}");
    Ok(())
}

/// A server.
pub(crate) struct WebPod {
    pub(crate) name: String,
    pub(crate) ip: String,
}

/// The servers that are not on their way out.
pub(crate) fn web_pods(cluster: &Cluster) -> Result<Vec<WebPod>> {
    let pods = cluster.get(&["pods", "-n", "e2e", "-l", "app=web"])?;
    let pods = pods["items"].as_array().context("no items")?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    Ok(pods
        .iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null() && pod["status"]["podIP"].is_string())
        .map(|pod| WebPod { name: text(&pod["metadata"]["name"]), ip: text(&pod["status"]["podIP"]) })
        .collect())
}

/// Changes what a server answers to its readiness probe.
pub(crate) fn set_ready(cluster: &Cluster, pod: &str, ready: bool) -> Result<()> {
    let pods = web_pods(cluster)?;
    let ip = &pods.iter().find(|other| other.name == pod).context("the pod is gone")?.ip;
    let url = format!("http://{ip}:8080/ready?on={ready}");
    cluster.client("client-1", &["get", "--method", "POST", &url])?.all_answered().map(|_| ())
}

/// The Service's ClusterIP.
pub(crate) fn address(cluster: &Cluster, service: &str) -> Result<String> {
    let service = cluster.get(&["service", "-n", "e2e", service])?;
    Ok(service["spec"]["clusterIP"].as_str().context("no clusterIP")?.to_owned())
}
