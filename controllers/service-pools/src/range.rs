//! What can be chosen from a pool.

use std::fmt;

use portolan_allocation::{AddressRange, PortRange, Range};
use portolan_core::IpFamily;

use crate::value::without;
use crate::{Domain, Span, Value};

/// What the API server takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Families of the cluster, the first one first; empty while they are not known.
    pub families: Vec<IpFamily>,
    /// ServiceCIDRs that are ready.
    pub addresses: Vec<AddressRange>,
    /// Node ports.
    pub ports: PortRange,
}

impl Bounds {
    /// The ranges of values, the static bands first: the API server itself picks from the others.
    fn bands(&self) -> (Vec<Span>, Vec<Span>) {
        let (mut statics, mut dynamics) = (Vec::new(), Vec::new());
        for range in &self.addresses {
            bands(range, Value::Ip, &mut statics, &mut dynamics);
        }
        bands(&self.ports, Value::Port, &mut statics, &mut dynamics);
        (statics, dynamics)
    }
}

fn bands<R: Range>(
    range: &R,
    value: impl Fn(R::Item) -> Value,
    statics: &mut Vec<Span>,
    dynamics: &mut Vec<Span>,
) {
    let (band, count) = (range.static_band(), range.count());
    let span = |first: u64, end: u64| {
        let [first, last] = [first, end - 1].map(|index| value(range.item(index)));
        Span { domain: first.domain(), first: first.number(), last: last.number() }
    };
    statics.extend((band > 0).then(|| span(0, band)));
    dynamics.extend((band < count).then(|| span(band, count)));
}

/// The values of one domain that can be chosen from a pool, in the order in which they are to be chosen: those of the
/// static bands first, since the API server picks those last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolRange {
    domain: Domain,
    /// With the index of the first value of each.
    spans: Vec<(u64, Span)>,
    /// The same, by value.
    by_value: Vec<(Span, u64)>,
    statics: u64,
    count: u64,
}

impl PoolRange {
    /// What of `spans` is of the domain, in none of `except`, and taken by the API server. Also says what it would not take.
    pub fn new(domain: Domain, spans: &[Span], except: &[Span], bounds: &Bounds) -> (Self, Vec<Span>) {
        let wanted: Vec<_> = spans.iter().copied().filter(|span| span.domain == domain).collect();
        let mut rest = without(&wanted, except.iter().copied());
        let mut range = Self { domain, spans: Vec::new(), by_value: Vec::new(), statics: 0, count: 0 };
        let (statics, dynamics) = bounds.bands();
        for band in statics {
            range.take(&mut rest, band);
        }
        range.statics = range.count;
        for band in dynamics {
            range.take(&mut rest, band);
        }
        range.by_value = range.spans.iter().map(|(start, span)| (*span, *start)).collect();
        range.by_value.sort_unstable();
        (range, rest)
    }

    fn take(&mut self, rest: &mut Vec<Span>, band: Span) {
        for both in rest.iter().filter_map(|span| span.intersection(band)) {
            // What is behind so many is never reached.
            let Ok(size) = u64::try_from(both.size()) else { continue };
            let Some(count) = self.count.checked_add(size) else { continue };
            self.spans.push((self.count, both));
            self.count = count;
        }
        *rest = without(rest, [band]);
    }

    /// What the values are.
    pub fn domain(&self) -> Domain {
        self.domain
    }

    /// The values at some indices, in their order.
    pub(crate) fn spans_of(&self, window: &std::ops::Range<u64>) -> Vec<Span> {
        let end = window.end.min(self.count);
        let mut spans = Vec::new();
        let begin = self.spans.partition_point(|(start, _)| *start <= window.start).saturating_sub(1);
        for (start, span) in self.spans.iter().skip(begin).take_while(|(start, _)| *start < end) {
            let size = u64::try_from(span.size()).unwrap_or(u64::MAX);
            let (from, to) = (window.start.max(*start), end.min(start.saturating_add(size)));
            if from < to {
                let first = span.first + u128::from(from - start);
                spans.push(Span { first, last: first + u128::from(to - from - 1), ..*span });
            }
        }
        spans
    }
}

impl Range for PoolRange {
    type Item = Value;

    fn count(&self) -> u64 {
        self.count
    }

    fn static_band(&self) -> u64 {
        self.statics
    }

    fn index(&self, item: Value) -> Option<u64> {
        if item.domain() != self.domain {
            return None;
        }
        let number = item.number();
        let behind = self.by_value.partition_point(|(span, _)| span.first <= number);
        let (span, start) = self.by_value.get(behind.checked_sub(1)?)?;
        let within = u64::try_from(number - span.first).ok().filter(|_| number <= span.last)?;
        Some(start + within)
    }

    fn item(&self, index: u64) -> Value {
        let behind = self.spans.partition_point(|(start, _)| *start <= index);
        let found = behind.checked_sub(1).and_then(|place| self.spans.get(place));
        self.domain.value(found.map_or(0, |(start, span)| span.first + u128::from(index - start)))
    }
}

impl fmt::Display for PoolRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (_, span)) in self.spans.iter().enumerate() {
            write!(f, "{}{span}", if place > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(texts: &[&str]) -> Vec<Span> {
        texts.iter().map(|text| Span::parse(text).unwrap()).collect()
    }

    fn bounds() -> Bounds {
        Bounds {
            families: vec![IpFamily::V4, IpFamily::V6],
            addresses: vec!["10.96.0.0/24".parse().unwrap(), "fd00::/64".parse().unwrap()],
            ports: PortRange::new(&(30000..=32767)).unwrap(),
        }
    }

    #[test]
    fn static_bands_come_first_and_what_is_refused_is_left_out() {
        let wanted = spans(&["10.96.0.12-10.96.0.19", "10.96.0.0/30", "10.97.0.1", "30080-30090"]);
        let except = spans(&["10.96.0.2", "10.96.0.18"]);
        let (range, outside) = PoolRange::new(Domain::V4, &wanted, &except, &bounds());
        // The network's own address and what is in no ServiceCIDR.
        assert_eq!(outside, spans(&["10.96.0.0", "10.97.0.1"]));
        assert_eq!(range.to_string(), "10.96.0.12-10.96.0.16,10.96.0.1,10.96.0.3,10.96.0.17,10.96.0.19");
        assert_eq!((range.count(), range.static_band()), (9, 7));
        for index in 0..range.count() {
            assert_eq!(range.index(range.item(index)), Some(index));
        }
        for other in ["10.96.0.2", "10.96.0.18", "10.96.0.20", "10.97.0.1", "fd00::c"] {
            assert_eq!(range.index(Value::Ip(other.parse().unwrap())), None, "{other}");
        }
        assert_eq!(range.spans_of(&(4..7)), spans(&["10.96.0.16", "10.96.0.1", "10.96.0.3"]));
        let (ports, _) = PoolRange::new(Domain::Port, &wanted, &except, &bounds());
        assert_eq!((ports.count(), ports.static_band()), (11, 6));
        let whole = PoolRange::new(Domain::V6, &spans(&["fd00::/64"]), &[], &bounds()).0;
        assert_eq!(whole.count(), u64::MAX);
        assert_eq!(whole.index(whole.item(u64::MAX - 1)), Some(u64::MAX - 1));
    }

    #[test]
    fn a_value_in_two_service_cidrs_is_one_value() {
        let mut bounds = bounds();
        bounds.addresses.push("10.96.0.0/16".parse().unwrap());
        let (range, outside) = PoolRange::new(Domain::V4, &spans(&["10.96.0.0/23"]), &[], &bounds);
        assert_eq!((range.count(), outside), (511, spans(&["10.96.0.0"])));
    }
}
