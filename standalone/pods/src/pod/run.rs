//! What the containers of a running pod have in common.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use portolan_core::Kind;
use tokio::process::Child;
use tokio::sync::watch;
use tracing::warn;

use super::{files, kill_namespace};
use crate::api;
use crate::container::Place;
use crate::enter::Launch;
use crate::environment::{Facts, Variables, container_variables, service_variables};
use crate::launcher::Order;
use crate::network;
use crate::node::Node;
use crate::process::Process;
use crate::spec::{Container, Pod};
use crate::status::{ContainerState, Observed};

/// A pod that runs.
#[derive(Debug)]
pub(crate) struct Run {
    node: Arc<Node>,
    pod: Arc<Pod>,
    place: network::Place,
    name: String,
    observed: watch::Sender<Observed>,
    finished: AtomicBool,
}

/// What there is to see of a pod before anything was done.
pub(super) fn first_look(node: &Node, pod: &Pod) -> Observed {
    let states = |containers: &[Container], reason: &str| {
        let state = |container: &Container| ContainerState::new(&container.name, &container.image, reason);
        containers.iter().map(state).collect()
    };
    let wait = if pod.spec.init_containers.is_empty() { "ContainerCreating" } else { "PodInitializing" };
    Observed {
        address: None,
        host: Some(node.gateway().into()),
        start: Timestamp::now(),
        init: states(&pod.spec.init_containers, "PodInitializing"),
        containers: states(&pod.spec.containers, wait),
        initialized: pod.spec.init_containers.is_empty(),
        ending: false,
        problem: None,
    }
}

impl Run {
    pub(super) fn new(
        node: Arc<Node>,
        pod: Arc<Pod>,
        place: network::Place,
        observed: &watch::Sender<Observed>,
    ) -> Self {
        let name = pod.full_name();
        Self { node, pod, place, name, observed: observed.clone(), finished: AtomicBool::new(false) }
    }

    pub(crate) fn pod(&self) -> &Pod {
        &self.pod
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn address(&self) -> IpAddr {
        self.place.address.into()
    }

    pub(crate) fn namespace(&self) -> &Path {
        &self.place.namespace
    }

    pub(crate) fn container(&self, place: Place) -> &Container {
        match place {
            Place::Init(index) => &self.pod.spec.init_containers[index],
            Place::Main(index) => &self.pod.spec.containers[index],
        }
    }

    /// Changes what there is to see of a container.
    pub(crate) fn update(&self, place: Place, change: impl FnOnce(&mut ContainerState)) {
        self.observed.send_modify(|observed| {
            change(match place {
                Place::Init(index) => &mut observed.init[index],
                Place::Main(index) => &mut observed.containers[index],
            });
        });
    }

    /// Whether all containers have ended for good.
    pub(super) fn finished(&self) -> bool {
        self.finished.load(Ordering::Relaxed)
    }

    pub(super) fn set_finished(&self) {
        self.finished.store(true, Ordering::Relaxed);
    }

    /// The variables of a container that starts now.
    pub(crate) async fn variables(&self, container: &Container) -> Result<Variables, String> {
        let store = &self.node.store;
        store.wait_synced(&[Kind::Service]).await;
        let (namespace, links) = (&self.pod.metadata.namespace, self.pod.spec.enable_service_links);
        let mut others = {
            let state = store.read();
            let services = state.services.iter().map(AsRef::as_ref);
            service_variables(services, namespace, links.unwrap_or(true))
        };
        let facts = Facts { address: self.address(), host: self.node.gateway().into() };
        for source in &container.env_from {
            let reference = source.config_map_ref.as_ref().ok_or_else(|| {
                format!("envFrom of container {}: portolan up only supports configMapRef", container.name)
            })?;
            let data = api::config_map(&self.node.client, namespace, reference).await?;
            others.extend(data.into_iter().map(|(name, value)| (format!("{}{name}", source.prefix), value)));
        }
        let own = container_variables(&self.pod, container, &others, &facts)?;
        let mut all = self.node.inherited.clone();
        all.insert("HOSTNAME".to_owned(), self.pod.hostname().to_owned());
        all.extend(own);
        Ok(all)
    }

    /// File for the output of a container.
    pub(crate) fn log(&self, container: &str) -> PathBuf {
        let metadata = &self.pod.metadata;
        let name = format!("{}_{}_{container}.log", metadata.namespace, metadata.name);
        self.node.settings.run_folder.join("logs").join(name)
    }

    /// An order for the launcher to run a command inside the pod.
    pub(crate) fn order(
        &self,
        container: &Container,
        command: Vec<String>,
        variables: Variables,
        output: Option<File>,
    ) -> Order {
        let files = files::Files::of(&self.node, &self.pod);
        let launch = Launch {
            netns: self.place.namespace.clone(),
            hostname: self.pod.hostname().into(),
            resolv: files.resolv,
            hosts: files.hosts,
            parent: std::process::id().cast_signed(),
            command: command.into_iter().map(OsString::from).collect(),
        };
        let folder = container.working_dir.as_ref().filter(|folder| !folder.is_empty());
        Order { launch, variables, folder: folder.map(PathBuf::from), output }
    }

    pub(crate) async fn launch(&self, order: Order) -> io::Result<Child> {
        self.node.launcher.launch(order).await
    }

    /// Notes a first process of a container, or that it has ended.
    pub(crate) fn note_process(&self, process: Option<Process>, lives: bool) {
        let Some(process) = process else { return };
        let noted = self.node.ledger.note(|made| {
            made.processes.retain(|other| *other != process);
            if lives {
                made.processes.push(process);
            }
        });
        if let Err(error) = noted {
            warn!(pod = self.name, %error, "cannot write the state file");
        }
    }

    /// Kills everything in the pod.
    pub(super) async fn kill(&self) {
        let namespace = self.place.namespace.clone();
        let killed = tokio::task::spawn_blocking(move || kill_namespace(&namespace)).await;
        if let Ok(Err(error)) = killed {
            warn!(pod = self.name, %error, "cannot end the pod's processes");
        }
    }
}
