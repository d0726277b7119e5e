//! CPU of the cluster's zones, kept in step with its nodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Node;

/// Allocatable CPU of the workers of each zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneCpu {
    /// Workers, and thousandths of their cores.
    zones: BTreeMap<Arc<str>, (usize, u64)>,
    /// Workers that do not tell their zone or CPU.
    unknown: usize,
}

impl ZoneCpu {
    /// Takes in that a node came, went or changed, and tells whether that made a difference.
    pub(crate) fn follow(&mut self, old: Option<&Node>, new: Option<&Node>) -> bool {
        let (old, new) = (part(old), part(new));
        if old == new {
            return false;
        }
        match old {
            Some(Some((zone, cpu))) => {
                if let Some((nodes, sum)) = self.zones.get_mut(zone) {
                    (*nodes, *sum) = (nodes.saturating_sub(1), sum.saturating_sub(cpu));
                    if *nodes == 0 {
                        self.zones.remove(zone);
                    }
                }
            }
            Some(None) => self.unknown = self.unknown.saturating_sub(1),
            None => {}
        }
        match new {
            Some(Some((zone, cpu))) => {
                let (nodes, sum) = self.zones.entry(zone.clone()).or_default();
                (*nodes, *sum) = (*nodes + 1, sum.saturating_add(cpu));
            }
            Some(None) => self.unknown += 1,
            None => {}
        }
        true
    }

    /// Each zone with its CPU; `None` = a worker does not tell its own.
    pub fn known(&self) -> Option<BTreeMap<Arc<str>, u64>> {
        let zones = self.zones.iter().map(|(zone, (_, cpu))| (zone.clone(), *cpu));
        (self.unknown == 0).then(|| zones.collect())
    }
}

/// What a node adds: nothing, its zone and CPU, or that these are not known.
fn part(node: Option<&Node>) -> Option<Option<(&Arc<str>, u64)>> {
    let node = node.filter(|node| node.is_worker())?;
    Some(node.zone.as_ref().map(|zone| (zone, node.cpu)).filter(|(_, cpu)| *cpu > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(zone: &str, cpu: u64, ready: bool) -> Node {
        Node { zone: (!zone.is_empty()).then(|| zone.into()), cpu, ready, ..Node::default() }
    }

    #[test]
    fn sums_follow_nodes() {
        let mut cpu = ZoneCpu::default();
        let text = |cpu: &ZoneCpu| {
            cpu.known()
                .map(|zones| zones.iter().map(|(zone, cpu)| format!("{zone}={cpu} ")).collect::<String>())
        };
        let (a, b) = (node("a", 1000, true), node("a", 2000, true));
        assert!(cpu.follow(None, Some(&a)) && cpu.follow(None, Some(&b)));
        assert!(cpu.follow(None, Some(&node("b", 500, true))));
        assert_eq!(text(&cpu).as_deref(), Some("a=3000 b=500 "));
        assert!(!cpu.follow(Some(&a), Some(&a)) && !cpu.follow(None, Some(&node("c", 9, false))));
        assert!(cpu.follow(Some(&a), Some(&node("a", 1000, false))), "it is not ready any more");
        assert!(cpu.follow(Some(&node("b", 500, true)), None));
        assert_eq!(text(&cpu).as_deref(), Some("a=2000 "));
        for odd in [node("", 1000, true), node("a", 0, true)] {
            assert!(cpu.follow(None, Some(&odd)));
            assert_eq!(text(&cpu), None);
            assert!(cpu.follow(Some(&odd), None));
        }
        assert_eq!(text(&cpu).as_deref(), Some("a=2000 "));
    }
}
