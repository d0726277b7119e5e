//! The product's decisions over a kernel or a stand-in, without its shell.

use std::collections::BTreeSet;
use std::sync::Arc;

use portolan_core::{EndpointSlice, IpFamily, ObjectName, Service};
use portolan_netfilter::{Batch, Error, Netfilter, Ruleset};
use portolan_rules::{Desired, Installed, NodeView, Options, intents, plan};

use crate::reference::World;

/// A node proxy of one address family.
#[derive(Debug)]
pub struct Product<K> {
    /// Where the rules are.
    pub kernel: K,
    family: IpFamily,
    desired: Desired,
    installed: Installed,
}

impl<K: Netfilter> Product<K> {
    /// Takes over what the kernel holds.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn start(mut kernel: K, v4: bool) -> Result<Self, Error> {
        let family = if v4 { IpFamily::V4 } else { IpFamily::V6 };
        let table = Options::new(&NodeView::default(), family).table_id();
        let found = kernel.ruleset(&table)?;
        let installed = found.as_ref().map_or_else(Installed::absent, Installed::adopt);
        Ok(Self { kernel, family, desired: Desired::new(), installed })
    }

    /// Brings the kernel up to a cluster; what was sent.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn sync(&mut self, world: &World) -> Result<Batch, Error> {
        let node = node(world);
        let services: Vec<Service> = world.services.iter().map(convert).collect();
        let slices: Vec<EndpointSlice> = world.slices.iter().map(convert).collect();
        let mut gone: BTreeSet<ObjectName> = self.desired.iter().map(|intent| intent.name.clone()).collect();
        for service in &services {
            let name = service.meta.object_name();
            let own = slices.iter().filter(|slice| slice.service().as_ref() == Some(&name));
            gone.remove(&name);
            self.desired.set(&name, Some(intents(service, own, &node, self.family)));
        }
        for name in gone {
            self.desired.set(&name, None);
        }
        let plan = plan(&self.desired, &self.installed, &Options::new(&node, self.family));
        let batch = plan.batch.clone();
        if !batch.is_empty() {
            self.kernel.apply(&batch)?;
        }
        self.desired.settle(&plan);
        self.installed.commit(plan);
        Ok(batch)
    }

    /// The table as the kernel has it.
    ///
    /// # Errors
    /// If it cannot be read.
    ///
    /// # Panics
    /// If there is none.
    pub fn read_back(&mut self) -> Result<Ruleset, Error> {
        let table = Options::new(&NodeView::default(), self.family).table_id();
        Ok(self.kernel.ruleset(&table)?.expect("the table is there after a sync"))
    }
}

fn node(world: &World) -> NodeView {
    NodeView {
        name: world.node.as_str().into(),
        zone: world.zone.as_deref().map(Arc::from),
        addresses: world.addresses.clone(),
        interface_addresses: world.addresses.iter().chain(&world.other_addresses).copied().collect(),
        cluster_cidrs: world.cluster_cidrs.clone(),
        node_port_ranges: world.node_ports_everywhere.then(Vec::new),
        masquerade_all: world.masquerade_all,
        ..NodeView::default()
    }
}

/// An object as the product decodes it from the API's JSON.
fn convert<T: serde::de::DeserializeOwned>(object: &impl serde::Serialize) -> T {
    let json = serde_json::to_value(object).expect("an object is JSON");
    serde_json::from_value(json).expect("the product decodes every object")
}
