//! What it refuses: in one line, and before anything is started.

use std::process::{Command, Output};

use crate::run::{Run, portolan};
use crate::stage::{Stage, example};

/// The one line on standard error of a command that is refused as wrong usage.
fn refused(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let line = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(64), "{line}");
    assert_eq!((line.lines().count(), stdout.len()), (1, 0), "{line}");
    assert!(line.starts_with("portolan: "), "{line}");
    line
}

#[test]
fn a_second_one_at_the_same_time() {
    let stage = Stage::new();
    let run = Run::shop(&stage).ready();
    for folder in ["/run/portolan-up", "/run/another"] {
        let line = refused(portolan(&stage).args(["up", "--run-folder", folder]));
        assert!(line.contains("another portolan up is running"), "{line}");
    }
    // The first one is none the worse for it.
    stage.get(&format!("{}:80/", run.address("shop")));
    assert_eq!(stage.run("ls /run"), "portolan-up\n");
}

#[test]
fn without_root() {
    let stage = Stage::new();
    let binary = env!("CARGO_BIN_EXE_portolan");
    // Nobody may not look into the folder of the build.
    stage.run(&format!("cp {binary} /run/portolan && chmod 755 /run /run/portolan"));
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "/run/portolan", "up"];
    let line = refused(stage.command("setpriv").args(nobody));
    assert!(line.contains("needs root") && line.contains("sudo"), "{line}");
    let bounded = ["--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "/run/portolan", "up"];
    let line = refused(stage.command("setpriv").args(bounded));
    assert!(line.contains("CAP_SYS_ADMIN"), "{line}");
}

#[test]
fn other_users_at_its_api() {
    let stage = Stage::new();
    let run = Run::start(&stage, [""; 0]).ready();
    let script = format!(
        "import socket; s = socket.create_connection(('127.0.0.1', {})); s.sendall(b'GET /api HTTP/1.0\\r\\n\\r\\n'); print(len(s.recv(99)))",
        run.api().rsplit(':').next().unwrap()
    );
    let ask = |user: &str| {
        let output = stage
            .command("setpriv")
            .args([&format!("--reuid={user}"), "--clear-groups", "python3", "-c", &script])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(ask("0"), "99\n");
    assert!(["", "0\n"].contains(&ask("65534").as_str()), "nobody was answered");
}

#[test]
fn wrong_manifests_before_anything_is_started() {
    let stage = Stage::new();
    let before = stage.traces();
    let good = std::fs::read_to_string(example()).unwrap();
    for (text, want) in [
        (good.replace("port: 80\n", "port: 0\n"), "document 1, Service default/shop: spec.ports[0].port"),
        (good.replace("replicas: 2", "replicas: two"), "document 5, Deployment default/prices: "),
        (good.replace("kind: Deployment", "kind: StatefulSet"), "StatefulSet of apps/v1 is not served"),
        (good.replacen("selector:", "select0r:", 1), "spec.select0r"),
        ("a: [".to_owned(), "document 1: "),
    ] {
        stage.run(&format!("cat > /run/wrong.yaml <<'END_OF_FILE'\n{text}\nEND_OF_FILE"));
        let mut command = portolan(&stage);
        let output = command.args(["up", "-f", "/run/wrong.yaml"]).output().unwrap();
        let lines = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{lines}");
        assert!(lines.contains(want) && output.stdout.is_empty(), "{want}:\n{lines}");
        assert!(lines.lines().all(|line| line.starts_with("portolan: /run/wrong.yaml: ")), "{lines}");
    }
    let line = refused(portolan(&stage).args(["up", "-f", "/run/missing.yaml"]));
    assert!(line.contains("-f /run/missing.yaml"), "{line}");
    stage.run("rm /run/wrong.yaml");
    assert_eq!(stage.traces(), before);
}

#[test]
fn settings_that_cannot_work() {
    let stage = Stage::new();
    stage.run(
        "ip link add name other type bridge && ip link set other up && ip address add 10.96.7.1/24 dev other",
    );
    let before = stage.traces();
    stage.run("mkdir /run/full && touch /run/full/mine");
    for (words, want) in [
        ("up", "--service-cluster-ip-range 10.96.0.0/16 overlaps 10.96.7.0/24"),
        (
            "up --pod-cidr 10.96.7.0/24 --service-cluster-ip-range 10.97.0.0/16",
            "--pod-cidr 10.96.7.0/24 overlaps",
        ),
        (
            "up --pod-cidr 10.97.1.0/24 --service-cluster-ip-range 10.97.0.0/16",
            "--pod-cidr 10.97.1.0/24 overlaps --service",
        ),
        ("up --pod-cidr fd00::/64", "--pod-cidr"),
        ("up --run-folder /run/full", "--run-folder /run/full"),
        ("up --run-folder /proc/nothing", "--run-folder /proc/nothing"),
        ("up --log-filter ====", "--log-filter"),
        ("up --kubeconfig x", "--kubeconfig"),
        ("status", "no API server"),
        ("state", "state"),
    ] {
        let line = refused(portolan(&stage).args(words.split(' ')));
        assert!(line.contains(want), "{words}: {line}");
    }
    stage.run("rm /run/full/mine && rmdir /run/full");
    assert_eq!(stage.traces(), before);
}

#[test]
fn version_and_help_need_no_root() {
    for flag in ["--version", "--help"] {
        let output = Command::new(env!("CARGO_BIN_EXE_portolan")).arg(flag).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.to_lowercase().contains("portolan"), "{text}");
    }
}
