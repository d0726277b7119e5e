//! Flags of `portolan-controllers`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{ArgAction, Parser};
use portolan_allocation::PortRange;
use portolan_runtime::{CommonArgs, Failure};

/// Keeps Endpoints and EndpointSlices of Services
#[derive(Clone, Debug, Parser)]
#[command(name = "portolan-controllers", version)]
pub struct Args {
    /// Flags that every program takes
    #[command(flatten)]
    pub common: CommonArgs,
    /// Controllers to run: `*` (endpoints, endpointslices and mirroring), a name (`allocation`, `service-cidr`,
    /// `loadbalancer`, `environment` and `pools` run only when named), or `-name` for all but that one
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
    /// Who makes load balancers: `node` (Services are reached at the nodes' addresses) or `pool` (at addresses of LoadBalancerPools); only with the controller `loadbalancer`
    #[arg(long, value_name = "NAME", env = "PORTOLAN_CLOUD_PROVIDER")]
    pub cloud_provider: Option<String>,
    /// Make load balancers for Services of this class only [default: for those without a class]
    #[arg(long, value_name = "CLASS", env = "PORTOLAN_LOAD_BALANCER_CLASS")]
    pub load_balancer_class: Option<String>,
    /// Node ports of the API server's flag of this name, for the controllers `allocation` and `pools` and the provider `node` [default: 30000-32767]
    #[arg(long, value_name = "FIRST-LAST", env = "PORTOLAN_SERVICE_NODE_PORT_RANGE")]
    pub service_node_port_range: Option<PortRange>,
    /// Flags of the admission webhook
    #[command(flatten)]
    pub webhook: WebhookArgs,
}

/// Flags of the admission webhook.
#[derive(Clone, Debug, clap::Args)]
pub struct WebhookArgs {
    /// Answer the API server's admission reviews there, by HTTPS [default: none are answered]
    #[arg(long, value_name = "IP:PORT", env = "PORTOLAN_WEBHOOK_BIND_ADDRESS")]
    pub webhook_bind_address: Option<SocketAddr>,
    /// Service by which the API server reaches the webhook, in the namespace of the Lease
    #[arg(
        long,
        value_name = "NAME",
        requires = "webhook_bind_address",
        default_value = "portolan-webhook",
        env = "PORTOLAN_WEBHOOK_SERVICE"
    )]
    pub webhook_service: String,
    /// Secret with the webhook's certificate (tls.crt, tls.key, ca.crt) that somebody else keeps
    /// [default: Portolan keeps one of its own, portolan-webhook]
    #[arg(long, value_name = "NAME", requires = "webhook_bind_address", env = "PORTOLAN_WEBHOOK_SECRET")]
    pub webhook_secret: Option<String>,
    /// MutatingWebhookConfigurations that are told to trust the webhook; the first one owns what the
    /// controller environment makes
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "portolan-environment",
        env = "PORTOLAN_WEBHOOK_CONFIGURATIONS"
    )]
    pub webhook_configurations: Vec<String>,
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
    /// `allocation`
    Allocation,
    /// `service-cidr`
    ServiceCidr,
    /// `loadbalancer`
    LoadBalancer,
    /// `environment`
    Environment,
    /// `pools`
    Pools,
}

impl Controller {
    /// Every controller.
    pub const ALL: [Self; 8] = [
        Self::Endpoints,
        Self::EndpointSlices,
        Self::Mirroring,
        Self::Allocation,
        Self::ServiceCidr,
        Self::LoadBalancer,
        Self::Environment,
        Self::Pools,
    ];
    /// Those that `*` stands for: what works on every cluster. Others run only when named.
    pub const DEFAULT: [Self; 3] = [Self::Endpoints, Self::EndpointSlices, Self::Mirroring];

    /// Name in `--controllers`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Endpoints => "endpoints",
            Self::EndpointSlices => "endpointslices",
            Self::Mirroring => "mirroring",
            Self::Allocation => "allocation",
            Self::ServiceCidr => "service-cidr",
            Self::LoadBalancer => "loadbalancer",
            Self::Environment => "environment",
            Self::Pools => "pools",
        }
    }
}

/// Who makes load balancers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// `node`
    Node,
    /// `pool`
    Pool,
}

impl Provider {
    /// Every provider.
    pub const ALL: [Self; 2] = [Self::Node, Self::Pool];

    /// Name in `--cloud-provider`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Pool => "pool",
        }
    }
}

/// Long enough for kube-controller-manager to retry what failed once, short enough to be of use.
const SETTLE: u64 = 10;

impl Args {
    /// How long differences must last to be told of, if this process only compares.
    pub fn compares(&self) -> Option<Duration> {
        self.compare_only.then(|| Duration::from_secs(self.compare_settle.unwrap_or(SETTLE)))
    }

    /// Where node ports are.
    ///
    /// Fails if the range is given and nobody asks for it.
    pub fn node_ports(&self, controllers: &BTreeSet<Controller>) -> Result<PortRange, Failure> {
        match self.service_node_port_range {
            Some(_)
                if ![Controller::Allocation, Controller::Pools, Controller::LoadBalancer]
                    .iter()
                    .any(|one| controllers.contains(one)) =>
            {
                let why = "--service-node-port-range is of the controllers allocation, pools and loadbalancer, none of which runs";
                Err(Failure::usage(why.to_owned()))
            }
            range => Ok(range.unwrap_or_default()),
        }
    }

    /// Who makes load balancers, if the controller `loadbalancer` is among those that are selected.
    pub fn provider(&self, selected: &BTreeSet<Controller>) -> Result<Option<Provider>, Failure> {
        let names = || Provider::ALL.map(Provider::as_str).join(", ");
        let usage = |text: String| Err(Failure::usage(text));
        if !selected.contains(&Controller::LoadBalancer) {
            let flags = [
                ("--cloud-provider", self.cloud_provider.is_some()),
                ("--load-balancer-class", self.load_balancer_class.is_some()),
            ];
            return match flags.into_iter().find(|(_, set)| *set) {
                Some((flag, _)) => usage(format!("{flag}: --controllers does not name loadbalancer")),
                None => Ok(None),
            };
        }
        if self.compare_only {
            return usage(
                "--compare-only: loadbalancer has nothing to compare with; leave it out of --controllers"
                    .into(),
            );
        }
        if self.load_balancer_class.as_deref().is_some_and(|class| class.trim().is_empty()) {
            return usage("--load-balancer-class: a class has a name".to_owned());
        }
        let Some(name) = self.cloud_provider.as_deref() else {
            return usage(format!(
                "--controllers: loadbalancer needs --cloud-provider; there are {}",
                names()
            ));
        };
        match Provider::ALL.into_iter().find(|provider| provider.as_str() == name) {
            Some(provider) => Ok(Some(provider)),
            None => usage(format!("--cloud-provider: there is no provider {name:?}; there are {}", names())),
        }
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
            let names = Controller::ALL.map(Controller::as_str).join(", ");
            return Err(usage(format!("there is no controller {name:?}; there are {names}")));
        }
        let mut selected = BTreeSet::new();
        for controller in Controller::ALL {
            let on = words.contains(&controller.as_str());
            let off = words.iter().any(|word| word.strip_prefix('-') == Some(controller.as_str()));
            if on && off {
                return Err(usage(format!("{} is both on and off", controller.as_str())));
            }
            if on || (words.contains(&"*") && !off && Controller::DEFAULT.contains(&controller)) {
                selected.insert(controller);
            }
        }
        for writer in [Controller::Environment, Controller::ServiceCidr, Controller::Pools] {
            if self.compare_only && selected.contains(&writer) {
                let name = writer.as_str();
                return Err(usage(format!("{name} writes, and with --compare-only nothing is written")));
            }
        }
        if selected.contains(&Controller::Pools) && self.webhook.webhook_bind_address.is_none() {
            return Err(usage("pools is asked by the webhook, and needs --webhook-bind-address".to_owned()));
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
            ("*,-loadbalancer", "endpoints endpointslices mirroring"),
            ("*,loadbalancer", "endpoints endpointslices mirroring loadbalancer"),
            ("*,environment", "endpoints endpointslices mirroring environment"),
            ("*,-environment", "endpoints endpointslices mirroring"),
            ("environment", "environment"),
            ("*,allocation", "endpoints endpointslices mirroring allocation"),
            ("allocation,service-cidr", "allocation service-cidr"),
        ] {
            assert_eq!(selected(&[&format!("--controllers={list}")]).as_deref(), Ok(want), "{list}");
            assert_eq!(selected(&["--controllers", list]).as_deref(), Ok(want), "{list}");
        }
        assert_eq!(selected(&[]).as_deref(), Ok("endpoints endpointslices mirroring"));
    }

    #[test]
    fn what_cannot_be_selected_is_named_in_one_line() {
        for (list, want) in [
            (
                "endpoint",
                "64 --controllers: there is no controller \"endpoint\"; there are endpoints, endpointslices, mirroring, allocation, service-cidr, loadbalancer, environment, pools",
            ),
            ("endpoints,-endpoints", "64 --controllers: endpoints is both on and off"),
            ("-endpoints", "64 --controllers: no controller is left to run"),
        ] {
            assert_eq!(selected(&[&format!("--controllers={list}")]), Err(want.to_owned()));
        }
    }

    #[test]
    fn a_flag_of_a_part_that_is_absent_is_refused() {
        let refused = selected(&["--service-cluster-ip-range=10.0.0.0/16"]).unwrap_err();
        assert!(refused.contains("unexpected argument"), "{refused}");
    }

    #[test]
    fn load_balancers_are_made_by_a_provider_that_is_named() {
        let provider = |words: &[&str]| {
            let args = Args::try_parse_from(std::iter::once("p").chain(words.iter().copied())).unwrap();
            let provider = args.selected().and_then(|selected| args.provider(&selected));
            provider.map(|provider| provider.map(Provider::as_str)).map_err(|failure| failure.to_string())
        };
        let (with, without) = ("--controllers=loadbalancer", "--controllers=*");
        assert_eq!(provider(&[without]), Ok(None));
        assert_eq!(
            provider(&[with, "--cloud-provider=node", "--load-balancer-class=a.b/c"]),
            Ok(Some("node"))
        );
        for (words, want) in [
            (&[with][..], "--controllers: loadbalancer needs --cloud-provider; there are node, pool"),
            (
                &[with, "--cloud-provider=x"],
                "--cloud-provider: there is no provider \"x\"; there are node, pool",
            ),
            (
                &[with, "--cloud-provider=node", "--load-balancer-class="],
                "--load-balancer-class: a class has a name",
            ),
            (
                &[without, "--cloud-provider=node"],
                "--cloud-provider: --controllers does not name loadbalancer",
            ),
            (
                &[without, "--load-balancer-class=x"],
                "--load-balancer-class: --controllers does not name loadbalancer",
            ),
            (
                &[with, "--cloud-provider=node", "--compare-only"],
                "--compare-only: loadbalancer has nothing to compare with; leave it out of --controllers",
            ),
        ] {
            assert_eq!(provider(words), Err(want.to_owned()), "{words:?}");
        }
    }

    #[test]
    fn the_range_of_node_ports_is_the_auditor_s() {
        let range = |words: &[&str]| {
            let args = Args::try_parse_from(std::iter::once("p").chain(words.iter().copied()));
            let args = args.map_err(|error| error.to_string())?;
            let range = args.node_ports(&args.selected().unwrap()).map_err(|failure| failure.to_string())?;
            Ok::<_, String>(range.to_string())
        };
        assert_eq!(range(&[]).as_deref(), Ok("30000-32767"));
        let audits = "--controllers=allocation";
        assert_eq!(range(&[audits, "--service-node-port-range=1-9"]).as_deref(), Ok("1-9"));
        assert!(range(&["--service-node-port-range=1-9"]).unwrap_err().contains("none of which runs"));
        let pools = ["--controllers=pools", "--webhook-bind-address=[::]:1", "--service-node-port-range=1-9"];
        assert_eq!(range(&pools).as_deref(), Ok("1-9"));
        for wrong in ["9-1", "0-9", "x", "1", "1-70000"] {
            let flag = format!("--service-node-port-range={wrong}");
            assert!(range(&[audits, &flag]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_webhook_is_asked_for() {
        let webhook = |words: &[&str]| {
            let args = Args::try_parse_from(std::iter::once("p").chain(words.iter().copied()));
            args.map(|args| args.webhook).map_err(|error| error.to_string())
        };
        let off = webhook(&[]).unwrap();
        assert_eq!(off.webhook_bind_address, None);
        let on = webhook(&["--webhook-bind-address=[::]:9443", "--webhook-configurations=a,b"]).unwrap();
        assert_eq!(on.webhook_bind_address, Some("[::]:9443".parse().unwrap()));
        assert_eq!(on.webhook_configurations, ["a", "b"]);
        assert_eq!((on.webhook_service.as_str(), on.webhook_secret), ("portolan-webhook", None));
        assert!(webhook(&["--webhook-secret=s"]).unwrap_err().contains("--webhook-bind-address"));
        let both = selected(&["--compare-only", "--controllers=*,environment"]);
        assert!(both.unwrap_err().starts_with("64 --controllers: environment writes"));
        let alone = selected(&["--controllers=*,pools"]);
        assert_eq!(
            alone.unwrap_err(),
            "64 --controllers: pools is asked by the webhook, and needs --webhook-bind-address"
        );
        let with = selected(&["--controllers=pools", "--webhook-bind-address=[::]:9443"]);
        assert_eq!(with.as_deref(), Ok("pools"));
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
