//! Whether only those wrote who led.

use std::collections::HashMap;
use std::time::Duration;

use portolan_api::fault::Write;
use portolan_runtime::LeaseTimes;
use tokio::time::Instant;

/// A renewal of the Lease that its sender knows of.
struct Renewal {
    sent: Instant,
    answered: Instant,
}

/// Writes that were sent after the renew deadline of their process, or that took effect when another process
/// may have led. Those are excepted that landed after their process had given them up: no clock of a client
/// can prevent that, and their preconditions keep them harmless.
pub(crate) fn overdue(writes: &[Write]) -> Vec<String> {
    let LeaseTimes { duration, renew_deadline, .. } = LeaseTimes::default();
    let mut renewals: HashMap<u64, Vec<Renewal>> = HashMap::new();
    let mut wrong = Vec::new();
    for write in writes {
        if let Some(holder) = write.holder() {
            let renewals = renewals.entry(write.client).or_default();
            let held = write.succeeded() && !holder.is_empty();
            renewals.extend(
                write.answered.filter(|_| held).map(|answered| Renewal { sent: write.sent, answered }),
            );
            continue;
        }
        if write.path.contains("/events") {
            continue;
        }
        let known = renewals.get(&write.client).map_or(&[][..], Vec::as_slice).iter();
        let last = known.filter(|renewal| renewal.answered <= write.sent).map(|renewal| renewal.sent).max();
        let say = |what: &str, after: Duration| {
            format!(
                "{what} {after:?} after the last renewal: process {}, {} {}",
                write.client, write.method, write.path
            )
        };
        match last {
            None => wrong.push(format!(
                "sent by process {}, which never led: {} {}",
                write.client, write.method, write.path
            )),
            Some(last) if write.sent - last > renew_deadline => wrong.push(say("sent", write.sent - last)),
            Some(last) if write.at - last > duration && !write.late => {
                wrong.push(say("in effect", write.at - last));
            }
            Some(_) => {}
        }
    }
    wrong
}
