//! Node ports of a Service, and the port of its health check.

use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};
use portolan_allocation::Refusal;

use super::{has_health_port, has_node_ports, is};
use crate::Failure;
use crate::admit::Context;
use crate::failure::Causes;

/// Takes the ports that the Service asks for, and picks those that it leaves open.
///
/// A number belongs to one Service, whatever the protocol; inside it the number can serve several protocols.
pub(super) fn allocate(
    spec: &mut ServiceSpec,
    old: Option<&ServiceSpec>,
    context: &mut Context<'_>,
    causes: &mut Causes,
) -> Result<(), Failure> {
    let mut ports = Ports { context, taken: Vec::new() };
    let mut list = spec.ports.take();
    if has_node_ports(spec) {
        let pick = is(spec, "NodePort") || spec.allocate_load_balancer_node_ports != Some(false);
        let list = list.as_deref_mut().unwrap_or_default();
        match old {
            None => ports.create(list, pick, causes)?,
            Some(old) => ports.update(list, old, pick, causes)?,
        }
    }
    spec.ports = list;
    if causes.is_empty() && has_health_port(spec) && !old.is_some_and(has_health_port) {
        spec.health_check_node_port = Some(ports.health(spec.health_check_node_port)?);
    }
    Ok(())
}

struct Ports<'a, 'b> {
    context: &'a mut Context<'b>,
    /// What this request took.
    taken: Vec<u16>,
}

impl Ports<'_, '_> {
    /// The same port over several protocols gets one number, unless several are asked for.
    fn create(&mut self, ports: &mut [ServicePort], pick: bool, causes: &mut Causes) -> Result<(), Failure> {
        for index in 0..ports.len() {
            let (port, given) = (ports[index].port, ports[index].node_port);
            if given.is_none() && !pick {
                continue;
            }
            let shared =
                ports[..index].iter().filter(|other| other.port == port).find_map(|other| other.node_port);
            let wanted = || ports.iter().filter(|other| other.port == port).find_map(|other| other.node_port);
            let number = match (shared, given) {
                (Some(number), None) => number,
                (Some(number), Some(given)) if number == given => number,
                (Some(_), Some(given)) => self.take(index, given, causes),
                (None, _) => match wanted() {
                    Some(number) => self.take(index, number, causes),
                    None => self.pick("failed to allocate a nodePort")?,
                },
            };
            ports[index].node_port = Some(number);
            if !causes.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Each port that is new gets a number of its own (as upstream).
    fn update(
        &mut self,
        ports: &mut [ServicePort],
        old: &ServiceSpec,
        pick: bool,
        causes: &mut Causes,
    ) -> Result<(), Failure> {
        // Differs from upstream: what an ExternalName Service says of node ports is held by nobody, and has to be had when the type
        // changes; kube-apiserver lets it through, whoever has the port, and out of range.
        let kept = old.ports.iter().flatten().filter(|_| has_node_ports(old));
        let before: Vec<_> = kept.filter_map(|port| port.node_port).collect();
        for index in 0..ports.len() {
            match ports[index].node_port {
                None if !pick => continue,
                None => ports[index].node_port = Some(self.pick("failed to allocate a nodePort")?),
                Some(number) => {
                    let mine = u16::try_from(number).is_ok_and(|number| self.taken.contains(&number));
                    if !before.contains(&number) && !mine {
                        self.take(index, number, causes);
                    }
                }
            }
            if !causes.is_empty() {
                return Ok(());
            }
            let key = |port: &ServicePort| (port.protocol.clone(), port.node_port);
            if let Some(twin) = ports[..index].iter().find(|other| key(other) == key(&ports[index])) {
                let (protocol, number) =
                    (twin.protocol.as_deref().unwrap_or("TCP"), twin.node_port.unwrap_or(0));
                return Err(Failure::fault(&format!("duplicate nodePort: {{{protocol} {number}}}")));
            }
        }
        Ok(())
    }

    fn health(&mut self, wanted: Option<i32>) -> Result<i32, Failure> {
        let Some(number) = wanted else { return self.pick("failed to allocate a HealthCheck NodePort 0") };
        self.check(number).map(|()| number).map_err(|why| {
            Failure::internal(&format!("failed to allocate requested HealthCheck NodePort {number}: {why}"))
        })
    }

    fn take(&mut self, index: usize, number: i32, causes: &mut Causes) -> i32 {
        if let Err(why) = self.check(number) {
            causes.invalid(format!("spec.ports[{index}].nodePort"), number, &why);
        }
        number
    }

    /// Takes a port that the Service does not have for this use; says why it cannot be had.
    fn check(&mut self, number: i32) -> Result<(), String> {
        let held = self.context.allocations.ports();
        let port = u16::try_from(number).map_err(|_| Refusal::OutOfRange);
        let free = port.and_then(|port| held.available(port).map(|()| port));
        let port = match free {
            // It may be one that this Service has for another use, or was stored with before this request came.
            Ok(port) if !self.taken.contains(&port) => port,
            Ok(_) | Err(Refusal::Taken(_)) => return Err("provided port is already allocated".to_owned()),
            Err(Refusal::OutOfRange) => {
                let range = held.range();
                return Err(format!(
                    "provided port is not in the valid range. The range of valid ports is {range}"
                ));
            }
        };
        self.taken.push(port);
        Ok(())
    }

    fn pick(&mut self, why: &str) -> Result<i32, Failure> {
        let seed = self.context.random.next_u64();
        let picked = self.context.allocations.ports().pick(&self.taken, seed);
        let port = picked.ok_or_else(|| Failure::internal(&format!("{why}: range is full")))?;
        self.taken.push(port);
        Ok(port.into())
    }
}
