//! Provider `node`, and what it looks at.

mod book;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use portolan_allocation::PortRange;
use portolan_cloud::{Error, LoadBalancers, Status, Wake};
use portolan_core::{ChangeSet, ExternalPolicy, Ingress, Node, ObjectName, Service};
use portolan_runtime::{Changes, Store};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::MakeProvider;
use crate::loadbalancer::node::{answer, nodes_with_endpoints};
use book::Book;

/// A Service is reached at the addresses of the nodes, but not at ports where node ports are. `store` holds Services, nodes,
/// pods and EndpointSlices.
pub fn node_provider(store: Store, node_ports: PortRange) -> MakeProvider {
    Box::new(move |wake| Arc::new(NodeAddresses::start(store, node_ports, wake)))
}

struct NodeAddresses {
    store: Store,
    node_ports: PortRange,
    wake: Wake,
    book: Arc<Mutex<Book>>,
    _follow: AbortOnDropHandle<()>,
}

impl NodeAddresses {
    fn start(store: Store, node_ports: PortRange, wake: Wake) -> Self {
        let book = Arc::new(Mutex::new(Book::default()));
        let changes = store.subscribe();
        {
            let (state, mut book) = (store.read(), lock(&book));
            for service in state.services.iter() {
                book.saw_service(&service.meta.object_name(), Some(service));
            }
            for pod in state.pods.iter() {
                book.saw_pod(&pod.meta.object_name(), Some(pod));
            }
        }
        let follow = follow(store.clone(), book.clone(), wake.clone(), changes);
        Self { store, node_ports, wake, book, _follow: AbortOnDropHandle::new(tokio::spawn(follow)) }
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl LoadBalancers for NodeAddresses {
    async fn get(&self, service: &Service) -> Result<Option<Status>, Error> {
        let addresses = lock(&self.book).given.get(&service.meta.object_name()).cloned();
        let given = addresses.filter(|(uid, _)| *uid == service.meta.uid);
        Ok(match given {
            Some((_, addresses)) => {
                Some(Status::reached_at(addresses.into_iter().map(Ingress::vip).collect()))
            }
            // An earlier process gave it what its status says.
            None => (!service.ingress().is_empty()).then(|| Status::reached_at(service.ingress().to_vec())),
        })
    }

    async fn ensure(&self, service: &Service, nodes: &[Arc<Node>]) -> Result<Status, Error> {
        let name = service.meta.object_name();
        let with_endpoints = match service.external_policy {
            ExternalPolicy::Local => nodes_with_endpoints(self.store.read().slices_of(&name)),
            ExternalPolicy::Cluster => HashSet::new(),
        };
        let (answer, free) = {
            let mut book = lock(&self.book);
            let answer = answer(service, nodes, &with_endpoints, &book.taken, self.node_ports);
            let free = book.answered(service, &answer);
            (answer, free)
        };
        free.iter().for_each(|waiting| self.wake.service(waiting));
        Ok(answer.status)
    }

    /// The addresses are those of the nodes, so the status is to change, too.
    async fn update(&self, service: &Service, _: &[Arc<Node>]) -> Result<(), Error> {
        self.wake.service(&service.meta.object_name());
        Ok(())
    }

    async fn delete(&self, service: &Service) -> Result<(), Error> {
        let name = service.meta.object_name();
        let now = self.store.read().services.get(&name).cloned();
        let free = {
            let mut book = lock(&self.book);
            if book.given.get(&name).is_some_and(|(uid, _)| *uid == service.meta.uid) {
                book.forget(&name);
            }
            // What the status still says is taken until the node proxies may have seen that it does not.
            book.saw_service(&name, now.as_deref())
        };
        free.iter().for_each(|waiting| self.wake.service(waiting));
        Ok(())
    }
}

/// Has Services looked at again whose addresses may be others by now, for ever.
async fn follow(store: Store, book: Arc<Mutex<Book>>, wake: Wake, mut changes: Changes) {
    loop {
        let next_free = lock(&book).next_free();
        let free = async {
            match next_free {
                Some(when) => sleep_until(when).await,
                None => std::future::pending().await,
            }
        };
        let names = tokio::select! {
            changes = changes.next() => concerned(&store, &book, &changes),
            () = free => {
                let state = store.read();
                lock(&book).free(Instant::now(), |name| state.pods.get(name))
            }
        };
        names.iter().for_each(|name| wake.service(name));
    }
}

fn concerned(store: &Store, book: &Mutex<Book>, changes: &ChangeSet) -> HashSet<ObjectName> {
    let state = store.read();
    let mut book = lock(book);
    let mut concerned = HashSet::new();
    for (name, _) in changes.services.iter() {
        // As it is by now: an answer to a write may have come in since.
        concerned.extend(book.saw_service(name, state.services.get(name).map(AsRef::as_ref)));
    }
    for (name, _) in changes.pods.iter() {
        concerned.extend(book.saw_pod(name, state.pods.get(name).map(AsRef::as_ref)));
    }
    let facts = |node: &Arc<Node>| (node.ready, node.addresses.clone(), node.internal);
    let moved = |(old, new): (&Option<Arc<Node>>, &Option<Arc<Node>>)| {
        old.as_ref().map(facts) != new.as_ref().map(facts)
    };
    if changes.nodes.iter().any(|(_, edit)| moved((&edit.old, &edit.new))) {
        concerned.extend(book.given.keys().cloned());
    }
    let slices = changes.slices.iter().flat_map(|(_, edit)| [&edit.old, &edit.new]);
    let names =
        slices.filter_map(|slice| slice.as_ref()?.service()).filter(|name| book.given.contains_key(name));
    concerned.extend(names.filter(|name| {
        state.services.get(name).is_some_and(|service| service.external_policy == ExternalPolicy::Local)
    }));
    concerned
}

#[cfg(test)]
mod tests;
