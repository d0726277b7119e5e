//! How far a node has seen.

use std::fmt;
use std::str::FromStr;

/// Resource versions up to which a node knows each kind that owners depend on. Versions are the API server's, the
/// same for all nodes, and grow (KEP-5504).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Leases of announcing nodes.
    pub leases: u64,
    /// Services.
    pub services: u64,
    /// EndpointSlices.
    pub slices: u64,
    /// LoadBalancerPools.
    pub pools: u64,
}

impl Versions {
    /// Of each kind the later.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            leases: self.leases.max(other.leases),
            services: self.services.max(other.services),
            slices: self.slices.max(other.slices),
            pools: self.pools.max(other.pools),
        }
    }

    /// Whether whoever has seen this has seen `other` too.
    pub fn cover(self, other: Self) -> bool {
        self.max(other) == self
    }
}

/// As in the annotation of a Lease: `7,8,9,10`.
impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{},{}", self.leases, self.services, self.slices, self.pools)
    }
}

impl FromStr for Versions {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut numbers = text.split(',').map(|number| number.parse().map_err(|_| ()));
        let mut next = || numbers.next().ok_or(())?;
        let versions = Self { leases: next()?, services: next()?, slices: next()?, pools: next()? };
        if numbers.next().is_some() { Err(()) } else { Ok(versions) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let versions = Versions { leases: 7, services: 8, slices: 9, pools: 10 };
        assert_eq!(versions.to_string(), "7,8,9,10");
        assert_eq!("7,8,9,10".parse(), Ok(versions));
        for wrong in ["", "1,2,3", "1,2,3,4,5", "1,2,3,x", "1,2,3,-4"] {
            assert_eq!(wrong.parse::<Versions>(), Err(()), "{wrong:?}");
        }
    }

    #[test]
    fn one_kind_that_is_behind_is_behind() {
        let (a, b) =
            (Versions { leases: 7, ..Versions::default() }, Versions { pools: 1, ..Versions::default() });
        assert!(!a.cover(b) && !b.cover(a) && a.max(b).cover(a) && a.max(b).cover(b));
    }
}
