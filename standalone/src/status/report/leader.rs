//! Who leads the controllers, by their Lease.

use jiff::{SignedDuration, Timestamp};
use portolan_core::Lease;
use serde::Serialize;

use super::Part;

/// A Lease of controllers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Leader {
    /// Namespace of the Lease.
    pub(super) namespace: String,
    /// Who holds the Lease, or held it last; none if it was given back.
    pub(super) holder: Option<String>,
    /// When it was last renewed, by the holder's clock.
    pub(super) renewed: Option<Timestamp>,
    /// Whether it is held.
    pub(super) alive: bool,
    /// Whether it is not held and should be.
    pub(super) missing: bool,
}

/// The leaders by their Leases. `before` is what an earlier look saw.
pub(super) fn of<'a>(
    leases: impl Iterator<Item = &'a Lease>,
    parts: &[Part],
    before: Option<&[Leader]>,
    now: Timestamp,
) -> Vec<Leader> {
    let controllers: Vec<_> = parts.iter().filter(|part| part.name == "controllers").collect();
    let mut leaders: Vec<_> = leases
        .map(|lease| {
            let earlier =
                before.into_iter().flatten().find(|leader| *leader.namespace == *lease.meta.namespace);
            let moved = earlier.is_some_and(|leader| leader.renewed != lease.renewed);
            let lasts = SignedDuration::from_secs(lease.duration_seconds.unwrap_or(15).into());
            let fresh = lease.renewed.is_some_and(|renewed| now.duration_since(renewed) <= lasts);
            let alive = lease.holder.is_some() && (fresh || moved);
            // Where the controllers are in pods, other Leases are what earlier ones left.
            let here = controllers.iter().any(|part| *part.namespace == *lease.meta.namespace);
            let wanted = here || (controllers.is_empty() && lease.holder.is_some());
            Leader {
                namespace: lease.meta.namespace.to_string(),
                holder: lease.holder.as_deref().map(str::to_owned),
                renewed: lease.renewed,
                alive,
                missing: wanted && !alive,
            }
        })
        .collect();
    leaders.sort_by(|one, other| one.namespace.cmp(&other.namespace));
    leaders
}

impl Leader {
    /// In words.
    pub(super) fn text(&self) -> String {
        match (&self.holder, self.alive) {
            (Some(holder), true) => holder.clone(),
            (Some(holder), false) => format!("nobody: {holder} does not renew it any more"),
            (None, _) => "nobody: it was given back".to_owned(),
        }
    }
}
