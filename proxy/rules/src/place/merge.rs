//! Brings endpoints into slots.

use std::collections::BTreeMap;

use super::Slot;
use crate::intent::Backend;

/// Puts the wanted endpoints into slots without gaps: those that are there stay, new ones take the places
/// of those that go, and the last ones fill what is left empty.
pub(super) fn merge(old: Vec<Option<Slot>>, wanted: &[Backend]) -> Vec<Slot> {
    let mut missing: BTreeMap<_, _> = wanted.iter().map(|backend| (backend.address, backend.local)).collect();
    let mut slots: Vec<Option<Slot>> = old
        .into_iter()
        .map(|slot| {
            let slot = slot?;
            let local = missing.remove(&slot.address)?;
            Some(Slot { local, ..slot })
        })
        .collect();
    let mut new = missing.into_iter().map(|(address, local)| Slot { address, local, id: 0 });
    for hole in slots.iter_mut().filter(|slot| slot.is_none()) {
        *hole = new.next();
    }
    slots.extend(new.map(Some));
    let mut filled = Vec::with_capacity(slots.len());
    let mut rest = std::collections::VecDeque::from(slots);
    while let Some(slot) = rest.pop_front() {
        let slot = slot.or_else(|| std::iter::from_fn(|| rest.pop_back()).flatten().next());
        filled.extend(slot);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(old: &str, wanted: &str, want: &str) {
        let address = |c: char| format!("10.0.0.{}:80", u32::from(c) - u32::from('a') + 1).parse().unwrap();
        let old = old
            .chars()
            .enumerate()
            .map(|(id, c)| (c != '-').then(|| Slot { address: address(c), local: false, id: id as u32 + 1 }))
            .collect();
        let wanted: Vec<_> = wanted.chars().map(|c| Backend { address: address(c), local: true }).collect();
        let slots = merge(old, &wanted);
        assert!(slots.iter().all(|slot| slot.local));
        let got: Vec<_> = slots.iter().map(|slot| slot.address).collect();
        assert_eq!(got, want.chars().map(address).collect::<Vec<_>>());
    }

    #[test]
    fn few_slots_change() {
        check("", "abc", "abc");
        check("abc", "abc", "abc");
        check("abcd", "acd", "adc");
        check("abcd", "bcd", "dbc");
        check("abcd", "abc", "abc");
        check("abcd", "acde", "aecd");
        check("abc", "abcd", "abcd");
        check("abcd", "d", "d");
        check("abcd", "", "");
        check("a-c-", "abc", "abc");
        check("a-c-", "ac", "ac");
        check("aab", "ab", "ab");
    }
}
