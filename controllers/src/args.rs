//! Flags of `portolan-controllers`.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{ArgAction, Parser};
use portolan_runtime::{CommonArgs, Failure};

/// Keeps Endpoints and EndpointSlices of Services
#[derive(Clone, Debug, Parser)]
#[command(name = "portolan-controllers", version)]
pub struct Args {
    /// Flags that every program takes
    #[command(flatten)]
    pub common: CommonArgs,
    /// Controllers to run: `*` (endpoints, endpointslices and mirroring), a name, or `-name` for all but that one
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        allow_hyphen_values = true,
        default_value = "*",
        env = "PORTOLAN_CONTROLLERS"
    )]
    pub controllers: Vec<String>,
    /// Write only while holding the Lease `portolan-controllers`
    #[arg(
        long,
        value_name = "BOOL",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        env = "PORTOLAN_LEADER_ELECT"
    )]
    pub leader_elect: bool,
    /// Namespace of the Lease [default: that of the pod, else kube-system]
    #[arg(long, value_name = "NAMESPACE", env = "PORTOLAN_LEADER_ELECT_RESOURCE_NAMESPACE")]
    pub leader_elect_resource_namespace: Option<String>,
    /// Write nothing, for clusters where kube-controller-manager's endpoint controllers run: compare what
    /// they write with what would be written, and tell what differs in log, metrics and Events
    #[arg(long, env = "PORTOLAN_COMPARE_ONLY")]
    pub compare_only: bool,
    /// How long a difference must last to be told of, in seconds; only with --compare-only [default: 10]
    #[arg(
        long,
        value_name = "SECONDS",
        requires = "compare_only",
        value_parser = clap::value_parser!(u64).range(1..=3600),
        env = "PORTOLAN_COMPARE_SETTLE"
    )]
    pub compare_settle: Option<u64>,
}

/// A controller of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Controller {
    /// `endpoints`
    Endpoints,
    /// `endpointslices`
    EndpointSlices,
    /// `mirroring`
    Mirroring,
}

impl Controller {
    /// Every controller.
    pub const ALL: [Self; 3] = [Self::Endpoints, Self::EndpointSlices, Self::Mirroring];

    /// Name in `--controllers`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Endpoints => "endpoints",
            Self::EndpointSlices => "endpointslices",
            Self::Mirroring => "mirroring",
        }
    }
}

/// Controllers of the design that this release does not have. Turning one off is no error, so that a
/// command line can be the same before and after it comes.
const ABSENT: [&str; 4] = ["allocation", "service-cidr", "loadbalancer", "environment"];

/// Long enough for kube-controller-manager to retry what failed once, short enough to be of use.
const SETTLE: u64 = 10;

impl Args {
    /// How long differences must last to be told of, if this process only compares.
    pub fn compares(&self) -> Option<Duration> {
        self.compare_only.then(|| Duration::from_secs(self.compare_settle.unwrap_or(SETTLE)))
    }

    /// The controllers that `--controllers` selects.
    pub fn selected(&self) -> Result<BTreeSet<Controller>, Failure> {
        let usage = |text: String| Failure::usage(format!("--controllers: {text}"));
        let words: Vec<_> =
            self.controllers.iter().map(|word| word.trim()).filter(|word| !word.is_empty()).collect();
        for word in &words {
            let name = word.strip_prefix('-').unwrap_or(word);
            let known = Controller::ALL.iter().any(|controller| controller.as_str() == name);
            if *word == "*" || known {
                continue;
            }
            if !ABSENT.contains(&name) {
                let names = Controller::ALL.map(Controller::as_str).join(", ");
                return Err(usage(format!("there is no controller {name:?}; there are {names}")));
            }
            if *word == name {
                return Err(usage(format!("this release does not have the controller {name:?} yet")));
            }
        }
        let mut selected = BTreeSet::new();
        for controller in Controller::ALL {
            let on = words.contains(&controller.as_str());
            let off = words.iter().any(|word| word.strip_prefix('-') == Some(controller.as_str()));
            if on && off {
                return Err(usage(format!("{} is both on and off", controller.as_str())));
            }
            if on || (words.contains(&"*") && !off) {
                selected.insert(controller);
            }
        }
        if selected.is_empty() {
            return Err(usage("no controller is left to run".to_owned()));
        }
        Ok(selected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(words: &[&str]) -> Result<String, String> {
        let line = std::iter::once("portolan-controllers").chain(words.iter().copied());
        let args = Args::try_parse_from(line).map_err(|error| error.to_string())?;
        let selected = args.selected().map_err(|failure| format!("{} {failure}", failure.status()))?;
        Ok(selected.into_iter().map(Controller::as_str).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn controllers_are_selected_as_in_kube_controller_manager() {
        for (list, want) in [
            ("*", "endpoints endpointslices mirroring"),
            ("*,-endpoints", "endpointslices mirroring"),
            ("-endpoints,*", "endpointslices mirroring"),
            ("endpoints", "endpoints"),
            ("*,-mirroring", "endpoints endpointslices"),
            ("*,-allocation", "endpoints endpointslices mirroring"),
        ] {
            assert_eq!(selected(&[&format!("--controllers={list}")]).as_deref(), Ok(want), "{list}");
            assert_eq!(selected(&["--controllers", list]).as_deref(), Ok(want), "{list}");
        }
        assert_eq!(selected(&[]).as_deref(), Ok("endpoints endpointslices mirroring"));
    }

    #[test]
    fn what_cannot_be_selected_is_named_in_one_line() {
        for (list, want) in [
            ("allocation", "64 --controllers: this release does not have the controller \"allocation\" yet"),
            (
                "*,loadbalancer",
                "64 --controllers: this release does not have the controller \"loadbalancer\" yet",
            ),
            (
                "endpoint",
                "64 --controllers: there is no controller \"endpoint\"; there are endpoints, endpointslices, mirroring",
            ),
            ("endpoints,-endpoints", "64 --controllers: endpoints is both on and off"),
            ("-endpoints", "64 --controllers: no controller is left to run"),
        ] {
            assert_eq!(selected(&[&format!("--controllers={list}")]), Err(want.to_owned()));
        }
    }

    #[test]
    fn flags_of_parts_that_are_absent_are_refused() {
        for flag in [
            "--service-cluster-ip-range=10.0.0.0/16",
            "--service-node-port-range=1-2",
            "--webhook-bind-address=:1",
            "--cloud-provider=x",
            "--load-balancer-class=x",
        ] {
            assert!(selected(&[flag]).unwrap_err().contains("unexpected argument"), "{flag}");
        }
    }

    #[test]
    fn comparing_is_asked_for() {
        let compares = |words: &[&str]| {
            let args = Args::try_parse_from(std::iter::once("p").chain(words.iter().copied()));
            args.map(|args| args.compares().map(|settle| settle.as_secs())).map_err(|error| error.to_string())
        };
        assert_eq!(compares(&[]), Ok(None));
        assert_eq!(compares(&["--compare-only"]), Ok(Some(10)));
        assert_eq!(compares(&["--compare-only", "--compare-settle=3"]), Ok(Some(3)));
        assert!(compares(&["--compare-settle=3"]).unwrap_err().contains("--compare-only"));
        assert!(compares(&["--compare-only", "--compare-settle=0"]).is_err());
    }

    #[test]
    fn leader_election_is_on_unless_said_otherwise() {
        let elect = |words: &[&str]| {
            Args::try_parse_from(std::iter::once("p").chain(words.iter().copied())).unwrap().leader_elect
        };
        assert!(elect(&[]) && elect(&["--leader-elect"]) && elect(&["--leader-elect=true"]));
        assert!(!elect(&["--leader-elect=false"]));
    }
}
