//! The way of a packet through the hooks.

use std::net::SocketAddr;

use portolan_netfilter::Ruleset;
use portolan_netfilter::model::{BaseChain, Chain, ChainKind, CtState, CtStatus, Hook, Policy};

use super::machine::Stop;
use super::{Entry, Error, Fate, Fault, Interface, Memory, NodeFacts, Outcome, Packet, Step};

/// NF_IP_PRI_CONNTRACK: earlier chains see packets without a flow.
const CONNTRACK: i32 = -200;
/// NF_IP_PRI_NAT_DST and NF_IP_PRI_NAT_SRC: where NAT chains run, whatever their own priority, which only
/// orders them among themselves.
const NAT_DST: i32 = -100;
const NAT_SRC: i32 = 100;

/// A packet on its way.
pub(super) struct Passage<'a> {
    pub(super) ruleset: &'a Ruleset,
    pub(super) node: &'a NodeFacts,
    pub(super) memory: Memory,
    pub(super) draw: &'a mut dyn FnMut(u32) -> u32,
    pub(super) drawn: Vec<(u32, u32)>,
    pub(super) steps: Vec<Step>,
    /// As it was first seen.
    pub(super) original: Packet,
    /// As it is now.
    pub(super) packet: Packet,
    /// Interface it came in on, at this point of the path.
    pub(super) input: Option<Interface>,
    pub(super) status: CtStatus,
    /// Whether conntrack has seen it at the present chain.
    pub(super) tracked: bool,
    pub(super) dnat: Option<SocketAddr>,
    pub(super) masquerade: bool,
}

impl<'a> Passage<'a> {
    pub(super) fn new(
        ruleset: &'a Ruleset,
        node: &'a NodeFacts,
        packet: &Packet,
        memory: Memory,
        draw: &'a mut dyn FnMut(u32) -> u32,
    ) -> Self {
        let input = match &packet.entry {
            Entry::Arrives(interface) => Some(interface.clone()),
            Entry::Leaves => None,
        };
        Self {
            ruleset,
            node,
            memory,
            draw,
            drawn: Vec::new(),
            steps: Vec::new(),
            original: packet.clone(),
            packet: packet.clone(),
            input,
            status: CtStatus::NONE,
            tracked: false,
            dnat: None,
            masquerade: false,
        }
    }

    pub(super) fn run(mut self) -> Result<Outcome, Error> {
        let fate = match self.walk()? {
            Some(end) => end,
            None => match (self.dnat, self.masquerade) {
                (Some(to), masquerade) => Fate::Dnat { to, masquerade },
                (None, true) => Fate::Masquerade,
                (None, false) => Fate::Accept,
            },
        };
        Ok(Outcome { fate, steps: self.steps, drawn: self.drawn, memory: self.memory })
    }

    /// The hooks in order; the fate if one of them ends the way.
    fn walk(&mut self) -> Result<Option<Fate>, Error> {
        let hooks: &[Hook] = match self.packet.entry {
            Entry::Arrives(_) => {
                if let Some(end) = self.hook(Hook::Prerouting)? {
                    return Ok(Some(end));
                }
                if self.for_node() { &[Hook::Input] } else { &[Hook::Forward, Hook::Postrouting] }
            }
            Entry::Leaves => {
                if let Some(end) = self.hook(Hook::Output)? {
                    return Ok(Some(end));
                }
                // To itself: out, and in again over loopback, with the same conntrack entry.
                if self.for_node() {
                    &[Hook::Postrouting, Hook::Prerouting, Hook::Input]
                } else {
                    &[Hook::Postrouting]
                }
            }
        };
        for hook in hooks {
            if *hook == Hook::Prerouting {
                self.input = Some(Interface { index: 1, name: "lo".to_owned() });
                self.status = self.status | CtStatus::CONFIRMED;
            }
            if let Some(end) = self.hook(*hook)? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    fn for_node(&self) -> bool {
        self.node.is_local(self.packet.destination.ip())
    }

    fn hook(&mut self, hook: Hook) -> Result<Option<Fate>, Error> {
        let ruleset = self.ruleset;
        let mut chains: Vec<(&Chain, &BaseChain)> = ruleset
            .chains
            .iter()
            .filter_map(|chain| Some((chain, chain.base.as_ref()?)))
            .filter(|(_, base)| base.hook == hook)
            .collect();
        chains.sort_by_key(|(_, base)| (place(base), base.priority));
        for (chain, base) in chains {
            self.tracked |= place(base) > CONNTRACK;
            let nat = base.kind == ChainKind::Nat;
            if nat && !self.undecided(hook) {
                continue;
            }
            match self.chain(chain, base)? {
                Stop::Fate(fate) => return Ok(Some(fate)),
                Stop::Accept => {}
                // Falling off the end and a return from a base chain both meet the policy.
                Stop::End => {
                    if base.policy == Policy::Drop {
                        return Ok(Some(Fate::Drop));
                    }
                }
            }
        }
        // Without a rule that matches, NAT decides to leave the flow as it is.
        self.tracked = true;
        self.status = self.status | decision(hook);
        Ok(None)
    }

    /// Whether NAT at this hook has still to be decided: on the first packet of a flow, once.
    fn undecided(&self, hook: Hook) -> bool {
        self.packet.state == CtState::NEW && !self.status.contains(decision(hook))
    }

    fn chain(&mut self, chain: &Chain, base: &BaseChain) -> Result<Stop, Error> {
        let modelled = matches!(base.kind, ChainKind::Filter | ChainKind::Nat | ChainKind::Route);
        if !modelled {
            let fault = Fault::NotModelled(format!("chain of kind {}", base.kind.name()));
            return Err(Error { chain: chain.name.clone(), rule: 0, fault });
        }
        self.rules(&chain.name, base, 0)
    }
}

fn place(base: &BaseChain) -> i32 {
    match (&base.kind, base.hook) {
        (ChainKind::Nat, Hook::Prerouting | Hook::Output) => NAT_DST,
        (ChainKind::Nat, _) => NAT_SRC,
        _ => base.priority,
    }
}

/// The status bit of the decision that falls at a hook.
pub(super) fn decision(hook: Hook) -> CtStatus {
    match hook {
        Hook::Prerouting | Hook::Output => CtStatus::DST_NAT_DONE,
        Hook::Input | Hook::Postrouting => CtStatus::SRC_NAT_DONE,
        Hook::Forward => CtStatus::NONE,
    }
}
