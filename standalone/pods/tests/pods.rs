//! Pods on this machine's kernel, in network and mount namespaces of the test's own. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test ends where something is not as it should be"
)]

#[path = "pods/stage.rs"]
mod stage;

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use portolan_pods::{pod_exec, remove_leftovers};
use serde_json::{Value, json};
use stage::{FOREIGN, Stage, alone, eventually, get, left_over};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_deref().and_then(|first| first.to_str()) {
        Some("pod-exec") => return pod_exec(arguments),
        Some("victim") => {
            let folder = arguments.next().unwrap();
            victim(Path::new(&folder));
            return ExitCode::SUCCESS;
        }
        // What test runners ask to know which tests there are.
        Some("--list") => return ExitCode::SUCCESS,
        _ => {}
    }
    assert!(nix::unistd::geteuid().is_root(), "the tests of pods need root: run them with sudo");
    let tests: [(&str, fn()); 7] = [
        ("a_pod_lives_and_ends", a_pod_lives_and_ends),
        (
            "pods_reach_each_other_and_themselves_through_a_service",
            pods_reach_each_other_and_themselves_through_a_service,
        ),
        ("probes_decide_who_is_ready", probes_decide_who_is_ready),
        ("containers_restart_and_init_containers_go_first", containers_restart_and_init_containers_go_first),
        ("what_cannot_run_says_why", what_cannot_run_says_why),
        ("stubborn_processes_are_killed", stubborn_processes_are_killed),
        ("what_a_killed_run_left_is_removed", what_a_killed_run_left_is_removed),
    ];
    LazyLock::force(&FOREIGN);
    for (name, test) in tests {
        println!("test {name}");
        test();
    }
    println!("{} passed, 0 failed", tests.len());
    ExitCode::SUCCESS
}

/// A server that answers every GET with its environment.
fn server(port: u16) -> Value {
    let script = format!(
        "import http.server, os, json, socket\n\
         class H(http.server.BaseHTTPRequestHandler):\n\
         \x20def do_GET(self):\n\
         \x20 ok = not os.path.exists('/dev/shm/' + os.environ['HOSTNAME'] + '-unready')\n\
         \x20 self.send_response(200 if ok else 503); self.end_headers()\n\
         \x20 self.wfile.write(json.dumps({{'env': dict(os.environ), 'host': socket.gethostname(),\n\
         \x20  'resolv': open('/etc/resolv.conf').read(), 'hosts': open('/etc/hosts').read()}}).encode())\n\
         http.server.HTTPServer(('', {port}), H).serve_forever()\n"
    );
    json!(["python3", "-c", script])
}

fn a_pod_lives_and_ends() {
    alone(async || {
        let stage = Stage::start().await;
        stage.service("shop", "10.96.0.7", 80);
        stage.config_map("said", json!({"SHOP_SERVICE_HOST": "wins", "URL": "loses", "MORE": "m"})).await;
        stage
            .create(
                "web",
                json!({"containers": [{"name": "c", "image": "i", "command": server(8080),
                "envFrom": [{"configMapRef": {"name": "absent", "optional": true}},
                    {"configMapRef": {"name": "said"}}, {"prefix": "P_", "configMapRef": {"name": "said"}}],
                "env": [{"name": "URL", "value": "http://$(SHOP_SERVICE_HOST)/"},
                    {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}]}),
            )
            .await;
        let pod = stage.ready("web").await;
        let address: Ipv4Addr = pod["status"]["podIP"].as_str().unwrap().parse().unwrap();
        assert_eq!(pod["status"]["phase"], "Running");
        assert_eq!(pod["status"]["hostIP"], stage.gateway.to_string());
        let answer = eventually("an answer", async || get(address, 8080).await).await;
        let seen: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(seen["host"], "web");
        assert_eq!(seen["env"]["URL"], "http://wins/", "Services < envFrom < env");
        assert_eq!((&seen["env"]["MORE"], &seen["env"]["P_URL"]), (&json!("m"), &json!("loses")));
        assert_eq!(seen["env"]["IP"], address.to_string());
        assert_eq!(seen["env"]["SHOP_PORT_80_TCP_ADDR"], "10.96.0.7");
        assert_eq!(
            seen["resolv"].as_str().unwrap().lines().next(),
            Some("search default.svc.cluster.local svc.cluster.local cluster.local")
        );
        assert!(seen["hosts"].as_str().unwrap().contains(&format!("{address}\tweb\n")));
        // From another pod and from itself; and so that packets between pods pass the node.
        let ask =
            format!("import urllib.request; print(urllib.request.urlopen('http://{address}:8080/').status)");
        stage
            .create(
                "ask",
                json!({"restartPolicy": "Never",
                "containers": [{"name": "c", "image": "i", "command": ["python3", "-c", ask]}]}),
            )
            .await;
        eventually("the other pod's answer", async || {
            (stage.pod("ask").await?["status"]["phase"] == "Succeeded").then_some(())
        })
        .await;
        assert_eq!(fs::read_to_string(stage.folder().join("logs/default_ask_c.log")).unwrap(), "200\n");
        stage.delete("web", 5).await;
        eventually("the end", async || stage.pod("web").await.is_none().then_some(())).await;
        assert!(get(address, 8080).await.is_none());
        // The other pod and its namespace are still there.
        stage.stop().await;
        assert_eq!(left_over(), Vec::<String>::new());
    });
}

fn pods_reach_each_other_and_themselves_through_a_service() {
    alone(async || {
        let stage = Stage::start().await;
        let spec = || {
            json!({"containers": [{"name": "c", "image": "i", "command": server(8080),
            "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1}}]})
        };
        for name in ["one", "two"] {
            stage.create(name, spec()).await;
        }
        let pod = stage.ready("one").await;
        stage.ready("two").await;
        let address = pod["status"]["podIP"].as_str().unwrap();
        // As the node proxy does it: only packets to oneself get the node's address.
        let rules = format!(
            "table ip pods {{
                chain change {{
                    type nat hook prerouting priority dstnat
                    ip daddr 10.96.0.7 tcp dport 80 dnat to {address}:8080
                }}
                chain hide {{
                    type nat hook postrouting priority srcnat
                    ip saddr {address} ip daddr {address} masquerade
                }}
            }}"
        );
        let file = stage.folder().join("mark");
        fs::write(&file, rules).unwrap();
        assert!(Command::new("nft").arg("-f").arg(&file).status().expect("the nft program").success());
        for name in ["one", "two"] {
            let uid = stage.pod(name).await.unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
            let namespace = stage.folder().join(format!("netns/portolan-up-default-{name}-{}", &uid[..8]));
            // In the namespace, but not on the runtime's thread.
            let answer = stage::inside(namespace, async || get(Ipv4Addr::new(10, 96, 0, 7), 80).await);
            let seen: Value =
                serde_json::from_str(&answer.unwrap_or_else(|| panic!("no answer to {name}"))).unwrap();
            assert_eq!(seen["host"], "one");
        }
        stage.stop().await;
        assert_eq!(left_over(), Vec::<String>::new());
    });
}

fn probes_decide_who_is_ready() {
    alone(async || {
        let stage = Stage::start().await;
        let probe = |probe: Value| {
            let mut probe = probe;
            probe["periodSeconds"] = 1.into();
            probe["failureThreshold"] = 1.into();
            json!({"containers": [{"name": "c", "image": "i", "command": server(8080), "readinessProbe": probe,
                "ports": [{"name": "web", "containerPort": 8080}]}]})
        };
        stage.create("http", probe(json!({"httpGet": {"path": "/", "port": "web"}}))).await;
        stage.create("tcp", probe(json!({"tcpSocket": {"port": 8080}}))).await;
        stage.create("closed", probe(json!({"tcpSocket": {"port": 8081}}))).await;
        let inside = json!({"exec": {"command": ["sh", "-c", "test $(hostname) = exec && ! test -e /dev/shm/exec-unready"]}});
        stage.create("exec", probe(inside)).await;
        for name in ["http", "tcp", "exec"] {
            stage.ready(name).await;
        }
        for name in ["http", "exec"] {
            let mark = format!("/dev/shm/{name}-unready");
            fs::write(&mark, "").unwrap();
            stage.unready(name).await;
            fs::remove_file(&mark).unwrap();
            stage.ready(name).await;
        }
        assert_eq!(stage.condition("closed", "Ready").await, "False");
        stage.stop().await;
        assert_eq!(left_over(), Vec::<String>::new());
    });
}

fn containers_restart_and_init_containers_go_first() {
    alone(async || {
        let stage = Stage::start().await;
        let mark = stage.folder().join("mark");
        let mark = mark.to_str().unwrap();
        stage
            .create("again", json!({
                "initContainers": [{"name": "first", "image": "i", "command": ["sh", "-c", format!("sleep 0.3; echo first >> {mark}")]}],
                "containers": [{"name": "c", "image": "i", "command": ["sh", "-c"],
                    "args": [format!("echo main >> {mark}; sleep 0.2; exit 3")]}]}))
            .await;
        let pod = eventually("a restart", async || {
            let pod = stage.pod("again").await?;
            (pod["status"]["containerStatuses"][0]["restartCount"].as_u64()? >= 1).then_some(pod)
        })
        .await;
        let status = &pod["status"]["containerStatuses"][0];
        assert_eq!(status["lastState"]["terminated"]["exitCode"], 3);
        assert_eq!(stage.condition("again", "Initialized").await, "True");
        assert_eq!(fs::read_to_string(mark).unwrap().lines().next(), Some("first"));
        stage
            .create(
                "once",
                json!({"restartPolicy": "OnFailure",
                "containers": [{"name": "c", "image": "i", "command": ["false"]}]}),
            )
            .await;
        stage
            .create(
                "failed",
                json!({"restartPolicy": "Never",
                "containers": [{"name": "c", "image": "i", "command": ["sh", "-c", "kill -9 $$$$"]}]}),
            )
            .await;
        let failed = eventually("the failure", async || {
            stage.pod("failed").await.filter(|pod| pod["status"]["phase"] == "Failed")
        })
        .await;
        assert_eq!(failed["status"]["containerStatuses"][0]["state"]["terminated"]["signal"], 9);
        eventually("a pause", async || {
            let pod = stage.pod("once").await?;
            (pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff")
                .then_some(())
        })
        .await;
        stage.stop().await;
        assert_eq!(left_over(), Vec::<String>::new());
    });
}

fn what_cannot_run_says_why() {
    alone(async || {
        let stage = Stage::start().await;
        stage.create("bare", json!({"containers": [{"name": "c", "image": "nginx:1"}]})).await;
        stage.create("host", json!({"hostNetwork": true, "containers": [{"name": "c", "image": "i", "command": ["true"]}]})).await;
        let bare = eventually("the reason", async || {
            let pod = stage.pod("bare").await?;
            let waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"].clone();
            (waiting["reason"] == "NoCommand").then_some(waiting)
        })
        .await;
        assert!(bare["message"].as_str().unwrap().contains("image nginx:1 has none"), "{bare}");
        let host = eventually("the message", async || {
            Some(stage.pod("host").await?["status"]["message"].as_str()?.to_owned())
        })
        .await;
        assert!(host.starts_with("hostNetwork is not supported"), "{host}");
        for name in ["bare", "host"] {
            stage.delete(name, 30).await;
            eventually("the end", async || stage.pod(name).await.is_none().then_some(())).await;
        }
        stage.stop().await;
        assert_eq!(left_over(), Vec::<String>::new());
    });
}

fn stubborn_processes_are_killed() {
    alone(async || {
        let stage = Stage::start().await;
        let script = "trap '' TERM; setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' & while :; do sleep 1; done";
        stage
            .create(
                "stubborn",
                json!({"containers": [{"name": "c", "image": "i", "command": ["sh", "-c", script]}]}),
            )
            .await;
        stage.ready("stubborn").await;
        stage.delete("stubborn", 1).await;
        // At once, not after the time to end.
        stage.unready("stubborn").await;
        let began = std::time::Instant::now();
        eventually("the end", async || stage.pod("stubborn").await.is_none().then_some(())).await;
        assert!(began.elapsed() < Duration::from_secs(4));
        stage.stop().await;
        assert_eq!(left_over(), Vec::<String>::new());
    });
}

/// A run with a pod, to be killed.
fn victim(folder: &Path) {
    stage::here(async {
        let stage = Stage::start_in(folder).await;
        let script = "setsid sleep 1000 & exec sleep 1000";
        stage
            .create(
                "left",
                json!({"containers": [{"name": "c", "image": "i", "command": ["sh", "-c", script]}]}),
            )
            .await;
        stage.ready("left").await;
        println!("running");
        std::future::pending::<()>().await;
    });
}

fn what_a_killed_run_left_is_removed() {
    alone(async || {
        let folder = tempfile::tempdir().unwrap();
        let forwarding = "/proc/sys/net/ipv4/ip_forward";
        fs::write(forwarding, "0").unwrap();
        let mut run = Command::new("/proc/self/exe")
            .arg("victim")
            .arg(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(run.stdout.take().unwrap()), &mut line)
            .unwrap();
        assert_eq!(line, "running\n");
        assert_eq!(fs::read_to_string(forwarding).unwrap(), "1\n");
        let refused = remove_leftovers(folder.path()).unwrap_err();
        assert!(refused.to_string().starts_with("another run uses the folder"), "{refused}");
        run.kill().unwrap();
        run.wait().unwrap();
        let removed = remove_leftovers(folder.path()).unwrap();
        for what in ["network namespace ", "link portolan-up0", "link pup", "file ", "setting ", "process "] {
            assert!(removed.iter().any(|line| line.starts_with(what)), "{what}: {removed:?}");
        }
        assert_eq!(fs::read_to_string(forwarding).unwrap(), "0\n");
        assert_eq!(left_over(), Vec::<String>::new());
        assert_eq!(remove_leftovers(folder.path()).unwrap(), Vec::<String>::new());
        let left: Vec<_> = ["netns", "files"]
            .iter()
            .flat_map(|name| fs::read_dir(folder.path().join(name)).unwrap())
            .collect();
        assert!(left.is_empty(), "{left:?}");
        // And the folder can be used again.
        let stage = Stage::start_in(folder.path()).await;
        stage.stop().await;
        assert_eq!(left_over(), Vec::<String>::new());
        assert_eq!(fs::read_to_string(forwarding).unwrap(), "0\n");
    });
}
