//! The runner: one task for each pod of the node.

use std::collections::HashMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use kube::Client;
use portolan_runtime::{Failure, Store};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::Settings;
use crate::addresses::Addresses;
use crate::launcher::Launcher;
use crate::ledger::Ledger;
use crate::leftovers::remove_leftovers;
use crate::network::Network;
use crate::node::Node;
use crate::pod::{self, Wanted};
use crate::spec::Pod;
use crate::watch::{News, follow};

/// Variables that containers have from the machine: where programs are, and where users' files are.
const INHERITED: [&str; 3] = ["PATH", "HOME", "LANG"];
/// Changes of pods that may wait to be looked at.
const WAITING: usize = 64;

/// Runs the pods of a node as local processes.
#[derive(Debug)]
pub struct Runner {
    node: Arc<Node>,
}

impl Runner {
    /// Removes what an earlier run left in this folder, and makes the bridge in the network namespace of
    /// this thread. `store` must be fed with Services by somebody else.
    pub async fn start(settings: Settings, client: Client, store: Store) -> Result<Self, Failure> {
        let cidr = settings.pod_cidr;
        let addresses = Addresses::new(cidr)
            .ok_or_else(|| Failure::usage(format!("{cidr} has no room for pods: a /30 is the smallest")))?;
        for left in remove_leftovers(&settings.run_folder)? {
            warn!(left, "removed what an earlier run left");
        }
        for folder in ["logs", "netns", "files"] {
            let folder = settings.run_folder.join(folder);
            fs::create_dir_all(&folder).map_err(|error| cannot("make", &folder, &error))?;
        }
        let ledger = Ledger::create(&settings.run_folder)
            .map_err(|error| cannot("write the state file in", &settings.run_folder, &error))?;
        let ledger = Arc::new(ledger);
        let launcher = Launcher::start(settings.launcher.clone())
            .map_err(|error| Failure::fatal(format!("cannot start a thread: {error}")))?;
        let network = match Network::start(settings.gateway(), cidr, ledger.clone()).await {
            Ok(network) => network,
            Err(error) => {
                // What was made before it failed.
                let _ = remove_leftovers(&settings.run_folder);
                return Err(Failure::fatal(format!("cannot make the pods' network (root needed): {error}")));
            }
        };
        let inherited =
            INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        let inherited = inherited.collect();
        let addresses = Mutex::new(addresses);
        let node = Node { settings, client, store, ledger, network, launcher, inherited, addresses };
        Ok(Self { node: Arc::new(node) })
    }

    /// Address of the bridge, where DNS can listen for pods.
    pub fn gateway(&self) -> Ipv4Addr {
        self.node.gateway()
    }

    /// Runs pods until `shutdown`; then ends them all and removes everything it made but the logs.
    pub async fn run(self, shutdown: CancellationToken) {
        let (sender, mut news) = mpsc::channel(WAITING);
        let watching = follow(self.node.client.clone(), self.node.settings.node_name.clone(), sender);
        let mut pods = Pods { node: self.node.clone(), known: HashMap::new(), tasks: JoinSet::new() };
        let looking = async {
            while let Some(one) = news.recv().await {
                pods.take(one);
            }
        };
        tokio::select! {
            () = watching => {}
            () = looking => {}
            () = shutdown.cancelled() => {}
        }
        pods.end().await;
        self.close().await;
    }

    async fn close(&self) {
        if let Err(error) = self.node.network.stop().await {
            warn!(%error, "not everything of the pods' network was removed");
        }
        for folder in ["netns", "files"] {
            // Not empty: what is in it is in the state file too, and said below.
            let _ = fs::remove_dir(self.node.settings.run_folder.join(folder));
        }
        match self.node.ledger.close() {
            Ok(true) => {}
            Ok(false) => warn!(left = ?self.node.ledger.made(), "not everything of the pods was removed"),
            Err(error) => warn!(%error, "cannot remove the state file"),
        }
    }
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::fatal(format!("cannot {what} {}: {error}", path.display()))
}

/// The pods that have a task, by uid.
struct Pods {
    node: Arc<Node>,
    known: HashMap<String, watch::Sender<Wanted>>,
    tasks: JoinSet<()>,
}

impl Pods {
    fn take(&mut self, news: News) {
        // Those that ended by themselves.
        while self.tasks.try_join_next().is_some() {}
        match news {
            News::Pod(pod) => self.want(pod),
            News::Gone(pod) => self.forget(&pod.metadata.uid),
            News::All(all) => {
                let gone: Vec<_> = self
                    .known
                    .keys()
                    .filter(|uid| !all.iter().any(|pod| pod.metadata.uid == **uid))
                    .cloned()
                    .collect();
                gone.iter().for_each(|uid| self.forget(uid));
                all.into_iter().for_each(|pod| self.want(pod));
            }
        }
    }

    fn want(&mut self, pod: Pod) {
        let pod = Arc::new(pod);
        if let Some(known) = self.known.get(&pod.metadata.uid) {
            known.send_replace(Wanted::Object(pod));
        } else if !pod.finished() || pod.deleting() {
            let (wanted, wants) = watch::channel(Wanted::Object(pod.clone()));
            self.known.insert(pod.metadata.uid.clone(), wanted);
            self.tasks.spawn(pod::run(self.node.clone(), pod, wants));
        }
    }

    fn forget(&mut self, uid: &str) {
        if let Some(wanted) = self.known.remove(uid) {
            wanted.send_replace(Wanted::Nothing);
        }
    }

    async fn end(mut self) {
        for wanted in self.known.values() {
            wanted.send_replace(Wanted::Shutdown);
        }
        while self.tasks.join_next().await.is_some() {}
    }
}
