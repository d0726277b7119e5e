//! The proxy's shell against a real kernel, each test in a network namespace of its own and over a
//! State that is fed by hand. Needs root; nothing outside the namespace is touched.

#![allow(clippy::unwrap_used, reason = "in a test a failed step is a failed test")]

#[path = "shell/fixture.rs"]
mod fixture;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fixture::{Fixture, eventually, in_namespace, udp_client};
use portolan_netfilter::model::{Family, Table, TableFlags, TableId};
use portolan_netfilter::{Batch, Socket};
use portolan_proxy::backend::nftables;

/// A machine with endpoints 10.1.0.1 and 10.1.0.2 and a route to cluster IPs.
const PROXY: &str = env!("CARGO_BIN_EXE_portolan-proxy");

#[test]
fn installs_follows_changes_and_leaves_the_rules_on_exit() {
    in_namespace(|| {
        let mut fixture = Fixture::new();
        fixture.service("web", "10.0.0.1", "TCP", "");
        fixture.slice("web", &["10.1.0.1"]);
        fixture.start();
        fixture.list();
        eventually("the Service works", || fixture.connect("10.0.0.1:80") == Some("10.1.0.1".to_owned()));
        fixture.slice("web", &["10.1.0.2"]);
        eventually("it follows", || fixture.connect("10.0.0.1:80") == Some("10.1.0.2".to_owned()));
        fixture.stop();
        assert_eq!(fixture.connect("10.0.0.1:80"), Some("10.1.0.2".to_owned()));
    });
}

#[test]
fn nothing_is_written_before_all_lists_are_complete() {
    in_namespace(|| {
        let mut fixture = Fixture::new();
        fixture.service("web", "10.0.0.1", "TCP", "");
        fixture.start();
        let generation = fixture.generation();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(fixture.generation(), generation);
        assert!(!fixture.ready());
        fixture.list();
        eventually("ready", || fixture.ready());
        assert!(fixture.generation() > generation);
    });
}

#[test]
fn a_restart_adopts_what_is_installed_and_writes_nothing() {
    in_namespace(|| {
        let mut fixture = Fixture::new();
        for index in 1..=20 {
            fixture.service(&format!("s{index}"), &format!("10.0.0.{index}"), "TCP", "");
            fixture.slice(&format!("s{index}"), &["10.1.0.1", "10.1.0.2"]);
        }
        fixture.list();
        fixture.start();
        eventually("ready", || fixture.ready());
        for _ in 0..3 {
            fixture.stop();
            let generation = fixture.generation();
            fixture.start();
            eventually("ready again", || fixture.ready());
            assert_eq!(fixture.generation(), generation, "an empty batch");
        }
        // What changed while the proxy was away is made up for.
        fixture.stop();
        fixture.slice("s1", &["10.1.0.2"]);
        fixture.delete_service("s2");
        fixture.start();
        eventually("ready again", || fixture.ready());
        assert_eq!(fixture.connect("10.0.0.1:80"), Some("10.1.0.2".to_owned()));
        assert_eq!(fixture.connect("10.0.0.2:80"), None);
    });
}

#[test]
fn rules_that_somebody_removes_come_back() {
    in_namespace(|| {
        let mut fixture = Fixture::new();
        fixture.service("web", "10.0.0.1", "TCP", "");
        fixture.slice("web", &["10.1.0.1"]);
        fixture.list();
        fixture.start();
        for command in ["flush ruleset", "flush table ip portolan"] {
            eventually("the Service works", || fixture.connect("10.0.0.1:80").is_some());
            assert!(Command::new("nft").args(command.split(' ')).status().unwrap().success());
            assert_eq!(fixture.connect("10.0.0.1:80"), None);
        }
        eventually("the Service works", || fixture.connect("10.0.0.1:80").is_some());
    });
}

#[test]
fn a_change_right_after_the_table_vanished_is_not_lost() {
    in_namespace(|| {
        let mut fixture = Fixture::new();
        fixture.settings.check_interval = Duration::from_secs(3600);
        fixture.service("web", "10.0.0.1", "TCP", "");
        fixture.slice("web", &["10.1.0.1"]);
        fixture.list();
        fixture.start();
        eventually("ready", || fixture.ready());
        assert!(Command::new("nft").args(["delete", "table", "ip", "portolan"]).status().unwrap().success());
        fixture.slice("web", &["10.1.0.2"]);
        eventually("the Service works", || fixture.connect("10.0.0.1:80") == Some("10.1.0.2".to_owned()));
    });
}

#[test]
fn a_refused_change_is_tried_again_until_it_is_taken() {
    in_namespace(|| {
        let mut fixture = Fixture::new();
        fixture.service("web", "10.0.0.1", "TCP", "");
        fixture.slice("web", &["10.1.0.1"]);
        fixture.list();
        // Nobody but its owner may change an owned table; it goes with the owner's socket.
        let mut owner = Socket::open().unwrap();
        let table = Table::new(TableId::new(Family::Ip, "portolan")).with_flags(TableFlags::OWNER);
        let mut batch = Batch::new();
        batch.push(table);
        owner.send(&batch).unwrap();
        fixture.start();
        let failures = r#"kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family="IPv4"}"#;
        eventually("it is refused", || fixture.metric(failures).is_some_and(|count| count >= 2.0));
        assert!(!fixture.ready());
        fixture.slice("web", &["10.1.0.2"]);
        drop(owner);
        eventually("the Service works", || fixture.connect("10.0.0.1:80") == Some("10.1.0.2".to_owned()));
        assert!(fixture.ready());
    });
}

#[test]
fn a_malformed_object_hurts_nobody_else() {
    in_namespace(|| {
        let mut fixture = Fixture::new();
        fixture.service("bad-port", "10.0.0.3", "QUIC", "");
        fixture.service("bad-address", "10.0.0.300", "TCP", "");
        fixture.service("bad-ranges", "10.0.0.4", "TCP", r#", "loadBalancerSourceRanges": ["everyone"]"#);
        fixture.service("web", "10.0.0.1", "TCP", "");
        fixture.service("web-again", "10.0.0.1", "TCP", "");
        fixture.slice("web", &["10.1.0.999", "127.0.0.1", "10.1.0.1"]);
        fixture.list();
        fixture.start();
        eventually("the Service works", || fixture.connect("10.0.0.1:80") == Some("10.1.0.1".to_owned()));
        fixture.service("bad-port", "10.0.0.3", "TCP", "");
        fixture.slice("bad-port", &["10.1.0.2"]);
        eventually("it was mended", || fixture.connect("10.0.0.3:80") == Some("10.1.0.2".to_owned()));
    });
}

/// The rules of a proxy that has ended.
fn left_behind() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.service("web", "10.0.0.1", "TCP", "");
    fixture.list();
    fixture.start();
    eventually("ready", || fixture.ready());
    fixture.stop();
    fixture
}

#[test]
fn cleanup_removes_everything_also_twice() {
    in_namespace(|| {
        let fixture = left_behind();
        assert_eq!(fixture.tables(), ["ip portolan", "ip6 portolan"]);
        for _ in 0..2 {
            let output = Command::new(PROXY).arg("--cleanup").output().unwrap();
            assert!(output.status.success(), "{output:?}");
            assert_eq!(fixture.tables(), [""; 0]);
        }
        nftables::remove("portolan").unwrap();
    });
}

#[test]
fn who_cleans_up_and_stays_ends_when_told() {
    in_namespace(|| {
        let fixture = left_behind();
        // Somebody else's port and wrong settings are no reason to leave the rules.
        let _taken = std::net::TcpListener::bind("127.0.0.1:10249").unwrap();
        let flags = ["--cleanup", "--stay", "--admin-bind-address=127.0.0.1:10249", "--cluster-cidr=wrong"];
        let mut stays = Command::new(PROXY).args(flags).stdout(Stdio::null()).spawn().unwrap();
        eventually("the node is clean", || fixture.tables().is_empty());
        std::thread::sleep(Duration::from_millis(300));
        assert!(stays.try_wait().unwrap().is_none(), "it stays");
        let told = Command::new("kill").arg(stays.id().to_string()).status().unwrap();
        assert!(told.success() && stays.wait().unwrap().success());
    });
}

#[test]
fn udp_flows_move_when_their_endpoint_goes() {
    in_namespace(|| {
        let mut fixture = Fixture::new();
        fixture.service("dns", "10.0.0.1", "UDP", "");
        fixture.slice("dns", &["10.1.0.1"]);
        fixture.service("other", "10.0.0.2", "UDP", "");
        fixture.slice("other", &["10.1.0.1"]);
        fixture.list();
        fixture.start();
        eventually("ready", || fixture.ready());
        let (dns, other) = (udp_client("10.0.0.1:80"), udp_client("10.0.0.2:80"));
        eventually("the first endpoint answers", || dns.ask() == Some("10.1.0.1".to_owned()));
        assert_eq!(other.ask(), Some("10.1.0.1".to_owned()));
        let before = fixture.flows("ipv4");

        fixture.slice("dns", &["10.1.0.2"]);
        eventually("the flow moves", || dns.ask() == Some("10.1.0.2".to_owned()));
        fixture.slice("dns", &[]);
        eventually("nobody answers", || dns.ask().is_none());
        assert!(
            !fixture.flows("ipv4").iter().any(|flow| flow.contains("dst=10.0.0.1")),
            "{:?}",
            fixture.flows("ipv4")
        );
        fixture.slice("dns", &["10.1.0.1"]);
        eventually("the flow comes back", || dns.ask() == Some("10.1.0.1".to_owned()));
        fixture.delete_service("dns");
        eventually("it is gone", || !fixture.flows("ipv4").iter().any(|flow| flow.contains("dst=10.0.0.1")));

        let other_flow = |flows: &[String]| flows.iter().find(|flow| flow.contains("dst=10.0.0.2")).cloned();
        assert_eq!(
            other_flow(&fixture.flows("ipv4")),
            other_flow(&before),
            "another Service's flow is left alone"
        );
        assert_eq!(other.ask(), Some("10.1.0.1".to_owned()));
    });
}

#[test]
fn udp_flows_move_in_ipv6_through_node_ports_and_after_a_restart() {
    in_namespace(|| {
        let mut fixture = Fixture::new();
        let node_port = r#", "type": "NodePort""#;
        fixture.service("v6", "fd00:10::1", "UDP", node_port);
        fixture.slice("v6", &["fd00:1::1"]);
        fixture.list();
        fixture.start();
        eventually("ready", || fixture.ready());
        let (cluster_ip, node_port) = (udp_client("[fd00:10::1]:80"), udp_client("[2001:db8::1]:30080"));
        let ask = |want: &str| {
            cluster_ip.ask().as_deref() == Some(want) && node_port.ask().as_deref() == Some(want)
        };
        eventually("the first endpoint answers", || ask("fd00:1::1"));
        fixture.slice("v6", &["fd00:1::2"]);
        eventually("the flows move", || ask("fd00:1::2"));
        fixture.stop();
        fixture.slice("v6", &["fd00:1::1"]);
        assert!(ask("fd00:1::2"));
        fixture.start();
        eventually("the flows move after the restart", || ask("fd00:1::1"));
        assert!(fixture.flows("ipv6").iter().any(|flow| flow.contains("dst=fd00:10::1")));
    });
}

#[test]
fn of_many_quick_changes_the_last_one_stays() {
    in_namespace(|| {
        let mut fixture = Fixture::new();
        for index in 1..=50 {
            fixture.service(&format!("s{index}"), &format!("10.0.0.{index}"), "TCP", "");
        }
        fixture.list();
        fixture.start();
        for round in 0..20 {
            for index in 1..=50 {
                let endpoints =
                    [["10.1.0.1"].as_slice(), &["10.1.0.1", "10.1.0.2"], &[]][(round + index) % 3];
                fixture.slice(&format!("s{index}"), endpoints);
            }
        }
        for index in 1..=50 {
            fixture.slice(&format!("s{index}"), &[["10.1.0.1", "10.1.0.2"][index % 2]]);
        }
        for index in 1..=50 {
            let want = ["10.1.0.1", "10.1.0.2"][index % 2];
            eventually("it follows", || {
                fixture.connect(&format!("10.0.0.{index}:80")).as_deref() == Some(want)
            });
        }
        let restart = |fixture: &mut Fixture| {
            let generation = fixture.generation();
            fixture.stop();
            fixture.start();
            eventually("ready", || fixture.ready());
            fixture.generation() - generation
        };
        // A start also removes chains for numbers of endpoints that no Service has any more, in two steps.
        assert!(restart(&mut fixture) + restart(&mut fixture) <= 2);
        assert_eq!(restart(&mut fixture), 0, "what is installed is what a fresh start wants");
    });
}

#[test]
fn health_check_port_tells_whether_there_is_a_local_endpoint() {
    in_namespace(|| {
        let mut fixture = Fixture::new();
        let lb = r#","type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000"#;
        fixture.service("web", "10.0.0.1", "TCP", lb);
        fixture.slice("web", &["10.1.0.1", "10.1.0.2"]);
        fixture.list();
        fixture.start();
        eventually("the port answers", || fixture.get(31000, "/").is_some());
        let (status, body) = fixture.get(31000, "/").unwrap();
        assert_eq!(status, 200);
        assert!(body.contains(r#""localEndpoints":2"#), "{body}");
        fixture.slice("web", &[]);
        eventually("no endpoint left", || fixture.get(31000, "/").unwrap().0 == 503);
        fixture.delete_service("web");
        eventually("the port is closed", || fixture.get(31000, "/").is_none());
    });
}

#[test]
fn health_follows_the_node() {
    in_namespace(|| {
        let mut fixture = Fixture::new();
        fixture.list();
        fixture.start();
        eventually("healthy", || fixture.get(10256, "/healthz").is_some_and(|(status, _)| status == 200));
        fixture.node("ToBeDeletedByClusterAutoscaler");
        eventually("not eligible", || fixture.get(10256, "/healthz").unwrap().0 == 503);
        let (status, body) = fixture.get(10256, "/livez").unwrap();
        assert_eq!(status, 200, "{body}");
    });
}

#[test]
fn without_the_capability_it_says_so_in_one_line() {
    for arguments in [vec!["--node-name", "n"], vec!["--cleanup"]] {
        let output = Command::new("setpriv")
            .args(["--bounding-set=-net_admin", "--inh-caps=-net_admin", "--", PROXY])
            .args(arguments)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{stderr}");
        assert!(stderr.contains("CAP_NET_ADMIN") && stderr.trim().lines().count() == 1, "{stderr}");
    }
}

#[test]
fn a_namespace_of_somebody_else_is_the_same_in_one_line() {
    // Root of a new user namespace has every capability, but not over this network namespace.
    let output =
        Command::new("unshare").args(["--user", "--map-root-user", PROXY, "--cleanup"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{stderr}");
    assert!(stderr.contains("CAP_NET_ADMIN") && stderr.trim().lines().count() == 1, "{stderr}");
}

#[test]
fn without_an_api_server_it_waits_writes_nothing_and_ends_when_told() {
    in_namespace(|| {
        let fixture = Fixture::new();
        let kubeconfig = std::env::temp_dir().join(format!("portolan-proxy-{}.yaml", std::process::id()));
        std::fs::write(
            &kubeconfig,
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n\
             clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\nusers: [{name: u, user: {}}]\n",
        )
        .unwrap();
        let generation = fixture.generation();
        let mut proxy = Command::new(PROXY)
            .args(["--node-name", "me", "--healthz-bind-address", "127.0.0.1:10256", "--kubeconfig"])
            .arg(&kubeconfig)
            .args(["--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0"])
            .args(["--conntrack-tcp-timeout-close-wait=0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        eventually("it lives", || fixture.get(10256, "/livez").is_some_and(|(status, _)| status == 200));
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(fixture.generation(), generation);
        assert!(proxy.try_wait().unwrap().is_none());
        Command::new("kill").arg(proxy.id().to_string()).status().unwrap();
        let output = proxy.wait_with_output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{log}");
        assert!(log.contains("cannot reach the API server"), "{log}");
        std::fs::remove_file(kubeconfig).unwrap();
    });
}

#[test]
fn settings_that_cannot_work_end_with_64() {
    for (arguments, want) in [
        ("--node-name n --mode ipvs", "not built yet"),
        ("--node-name n --nonsense", "--nonsense"),
        ("--mode nftables", "--node-name"),
        ("--node-name n --kubeconfig /nowhere", "/nowhere"),
    ] {
        let started = Instant::now();
        let output = Command::new(PROXY).args(arguments.split(' ')).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments}: {stderr}");
        assert!(stderr.contains(want) && stderr.trim().lines().count() == 1, "{arguments}: {stderr}");
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
