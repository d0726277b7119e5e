//! nftables: `portolan_rules` plans, this carries the plans out over netlink.

mod drift;

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portolan_core::{EndpointSlice, IpFamily, ObjectName, Service};
use portolan_netfilter::{ErrorKind, Socket};
use portolan_rules::{Desired, Installed, NodeView, Options, Plan, cleanup, intents, plan};
use portolan_runtime::{Failure, Store};

use crate::problems::Reporter;
use crate::settings::{NodePortAddresses, Settings};
use crate::stale_udp::{Checked, Serving};
use crate::sync::Dirty;
use crate::{capability, node};
use drift::Drift;

/// Name of the tables of kube-proxy's nftables mode.
const KUBE_PROXY: &str = "kube-proxy";

/// A Service with its slices.
type Objects = (Arc<Service>, Vec<Arc<EndpointSlice>>);

/// Why the kernel does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The rules cannot be read.
    #[error("cannot read the {family} rules: {source}")]
    Read {
        /// Family.
        family: IpFamily,
        /// Why.
        source: portolan_netfilter::Error,
    },
    /// The rules cannot be changed; they are as before.
    #[error("cannot change the {family} rules: {source}")]
    Write {
        /// Family.
        family: IpFamily,
        /// Why.
        source: portolan_netfilter::Error,
    },
}

impl BackendError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => source.kind(),
        }
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        match error.kind() {
            ErrorKind::NotPermitted => Self::usage(format!("{error}; {}", capability::Missing::NetAdmin)),
            _ => Self::fatal(error.to_string()),
        }
    }
}

/// Removes the tables of that name in both families; it is well if there are none.
pub fn remove(table: &str) -> Result<(), BackendError> {
    for family in IpFamily::ALL {
        let read = |source| BackendError::Read { family, source };
        let mut socket = Socket::open().map_err(read)?;
        let options = Options { table: table.to_owned(), ..Options::new(&NodeView::default(), family) };
        let id = options.table_id();
        let Some(found) = socket.tables().map_err(read)?.into_iter().find(|found| found.id == id) else {
            continue;
        };
        match socket.send(&cleanup(&found)) {
            // Somebody was faster.
            Err(error) if error.kind() == ErrorKind::Missing => {}
            other => other.map_err(|source| BackendError::Write { family, source })?,
        }
    }
    Ok(())
}

/// The table of one address family and what it ought to hold.
pub(crate) struct Backend {
    settings: Arc<Settings>,
    family: IpFamily,
    socket: Socket,
    desired: Desired,
    installed: Installed,
    checked: Checked,
    /// Addresses of the machine when the rules were made.
    interface_addresses: Vec<IpAddr>,
    /// Whether the kernel may hold something else than `installed` says.
    stale: bool,
    drift: Drift,
}

/// What was brought to the kernel.
#[derive(Debug)]
pub(crate) struct Synced {
    /// How long it took.
    pub(crate) took: Duration,
    /// Whether rules were put back that somebody else had removed.
    pub(crate) repaired: bool,
    /// UDP frontends whose flows have to be checked.
    pub(crate) udp: Serving,
    /// Where NodePorts answer.
    pub(crate) node_port_addresses: HashSet<IpAddr>,
}

impl Backend {
    /// Asks the kernel whether it lets us. What an earlier process left is read with the first sync.
    pub(crate) fn open(settings: Arc<Settings>, family: IpFamily) -> Result<Self, BackendError> {
        let read = |source| BackendError::Read { family, source };
        let mut socket = Socket::open().map_err(read)?;
        let tables = socket.tables().map_err(read)?;
        if tables.iter().any(|table| table.id.name == KUBE_PROXY) {
            tracing::warn!(%family, "kube-proxy's table is there too; flows that ours leads do not come to it, and kube-proxy --cleanup removes it");
        }
        Ok(Self {
            settings,
            family,
            socket,
            desired: Desired::new(),
            installed: Installed::absent(),
            checked: Checked::default(),
            interface_addresses: Vec::new(),
            stale: true,
            drift: Drift::default(),
        })
    }

    /// The address family.
    pub(crate) fn family(&self) -> IpFamily {
        self.family
    }

    /// Brings the kernel up to what the State says about what is dirty, in one batch or none.
    pub(crate) fn sync(
        &mut self,
        store: &Store,
        dirty: &Dirty,
        reporter: &Reporter,
    ) -> Result<Synced, BackendError> {
        let started = Instant::now();
        let outcome = self.try_sync(store, dirty, reporter);
        if outcome.is_err() {
            // Whatever went wrong, what the kernel holds is read again before the next try.
            self.stale = true;
        }
        let (udp, node, wrote) = outcome?;
        Ok(Synced {
            took: started.elapsed(),
            repaired: self.drift.take_damaged() && wrote,
            udp,
            node_port_addresses: node::node_port_addresses(&node, self.family),
        })
    }

    fn try_sync(
        &mut self,
        store: &Store,
        dirty: &Dirty,
        reporter: &Reporter,
    ) -> Result<(Serving, NodeView, bool), BackendError> {
        if self.stale {
            self.socket =
                Socket::open().map_err(|source| BackendError::Read { family: self.family, source })?;
            self.adopt()?;
        }
        let node = self.desire(store, dirty);
        let options = Options { collect: dirty.all, ..self.options(&node) };
        let plan = plan(&self.desired, &self.installed, &options);
        let wrote = !plan.batch.is_empty();
        tracing::debug!(family = %self.family, operations = plan.batch.operations.len(), "planned");
        if wrote {
            self.drift.before_write(&mut self.socket);
            let sent = self.socket.send(&plan.batch);
            sent.map_err(|source| BackendError::Write { family: self.family, source })?;
            self.drift.after_write(&mut self.socket);
        }
        self.report(store, &plan, reporter);
        let udp = self.checked.take(&self.desired, plan.services());
        self.desired.settle(&plan);
        self.installed.commit(plan);
        Ok((udp, node, wrote))
    }

    fn report(&self, store: &Store, plan: &Plan, reporter: &Reporter) {
        for name in plan.services() {
            let problems = plan.problems.get(name).cloned().unwrap_or_default();
            let uid = || store.read().services.get(name).map(|service| service.meta.uid.clone());
            reporter.look(name, self.family, problems, uid);
        }
    }

    /// Takes in what the State says about what is dirty.
    fn desire(&mut self, store: &Store, dirty: &Dirty) -> NodeView {
        if dirty.all || self.interface_addresses.is_empty() {
            self.interface_addresses = node::interface_addresses();
        }
        let (node, objects) = {
            let state = store.read();
            let node = node::view(&self.settings, &state, self.interface_addresses.clone());
            let mut names: BTreeSet<ObjectName> = dirty.services.clone();
            if dirty.all {
                names.extend(state.services.names());
                names.extend(self.desired.iter().map(|intent| intent.name.clone()));
            }
            // Deciding happens outside the lock: with tens of thousands of Services it takes a while.
            let objects: Vec<(ObjectName, Option<Objects>)> = names
                .into_iter()
                .map(|name| {
                    let service = state.services.get(&name).cloned();
                    let objects = service.map(|service| (service, state.slices_of(&name).cloned().collect()));
                    (name, objects)
                })
                .collect();
            (node, objects)
        };
        for (name, objects) in objects {
            let intent = objects.map(|(service, slices)| {
                intents(&service, slices.iter().map(|slice| &**slice), &node, self.family)
            });
            self.desired.set(&name, intent);
        }
        node
    }

    /// Reads what the kernel holds. Everything is compared with it by the next plan.
    fn adopt(&mut self) -> Result<(), BackendError> {
        let ruleset = self.socket.ruleset(&self.options(&NodeView::default()).table_id());
        let ruleset = ruleset.map_err(|source| BackendError::Read { family: self.family, source })?;
        self.installed = ruleset.as_ref().map_or_else(Installed::absent, Installed::adopt);
        self.stale = false;
        self.drift.compared(&mut self.socket);
        Ok(())
    }

    /// Whether everything has to be looked at again: because our rules are damaged or may be, or
    /// depend on addresses of the machine that have changed.
    pub(crate) fn suspect(&mut self) -> bool {
        let table = self.options(&NodeView::default()).table_id();
        self.stale |= self.drift.check(&mut self.socket, &table);
        let by_interface = matches!(self.settings.node_port_addresses, NodePortAddresses::Ranges(_));
        self.stale || (by_interface && self.interface_addresses != node::interface_addresses())
    }

    fn options(&self, node: &NodeView) -> Options {
        Options { table: self.settings.table.clone(), ..Options::new(node, self.family) }
    }
}
