//! What is left of it: nothing.

use nix::sys::signal::Signal;

use crate::run::Run;
use crate::stage::Stage;

fn ends_without_a_trace(signal: Signal) {
    let stage = Stage::new();
    stage.run("echo 0 > /proc/sys/net/ipv4/ip_forward");
    let before = stage.traces();
    let run = Run::shop(&stage).ready();
    let during = stage.traces();
    for trace in ["portolan-up0", "table ip portolan-up", "portolan-up\n", "python3"] {
        assert!(during.contains(trace), "{trace} should be there:\n{during}");
    }
    let status = run.end(signal);
    assert!(status.success(), "{status}");
    assert_eq!(stage.traces(), before);
}

#[test]
fn ctrl_c_leaves_nothing_behind() {
    ends_without_a_trace(Signal::SIGINT);
}

#[test]
fn sigterm_leaves_nothing_behind() {
    ends_without_a_trace(Signal::SIGTERM);
}

#[test]
fn a_signal_at_any_moment_of_the_start_leaves_nothing_behind() {
    let stage = Stage::new();
    let before = stage.traces();
    for pause in [50, 150, 300, 600] {
        let run = Run::shop(&stage);
        std::thread::sleep(std::time::Duration::from_millis(pause));
        run.end(Signal::SIGINT);
        assert_eq!(stage.traces(), before, "after {pause} ms");
    }
}

#[test]
fn what_a_kill_9_left_is_removed_by_the_next_start() {
    let stage = Stage::new();
    stage.run("echo 0 > /proc/sys/net/ipv4/ip_forward");
    let before = stage.traces();
    let run = Run::shop(&stage).ready();
    let old = run.ready_pods("app=shop");
    let status = run.end(Signal::SIGKILL);
    assert!(!status.success());
    assert_ne!(stage.traces(), before, "a killed process cannot clean up");

    let run = Run::shop(&stage).ready();
    assert!(run.error().contains("removed what an earlier run left"), "{}", run.error());
    assert_eq!(run.ready_pods("app=shop").len(), 3);
    let new = run.ready_pods("app=shop");
    assert!(old.iter().all(|(name, _)| new.iter().all(|(other, _)| name != other)));
    stage.get(&format!("{}:80/", run.address("shop")));
    // Five pods and no more: nobody of the run before is still there.
    assert_eq!(stage.run("ps -e -o stat=,comm= | grep -v '^Z' | grep -c python3"), "5\n");
    assert!(run.end(Signal::SIGINT).success());
    assert_eq!(stage.traces(), before);
}
