//! What is wrong with Services that only shows when they are put together: an address that two of them
//! claim, a port that is there twice. (What is wrong within one object, the watch reports.)

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use portolan_core::{IpFamily, Kind, ObjectName, Problem};
use portolan_runtime::{EventType, Recorder, Reference};

/// Reports each problem once, for as long as it lasts, in a log line and an Event. Shared by the families,
/// which often see the same problem.
#[derive(Clone, Default)]
pub(crate) struct Reporter {
    recorder: Option<Recorder>,
    known: Arc<Mutex<Known>>,
}

type Known = HashMap<(ObjectName, IpFamily), Vec<Problem>>;

impl Reporter {
    /// Reports to the log, and as Events if there is a recorder.
    pub(crate) fn new(recorder: Option<Recorder>) -> Self {
        Self { recorder, known: Arc::default() }
    }

    /// What is wrong with a Service in a family now; the uid is asked for only to report it.
    pub(crate) fn look(
        &self,
        service: &ObjectName,
        family: IpFamily,
        problems: Vec<Problem>,
        uid: impl Fn() -> Option<Arc<str>>,
    ) {
        for problem in self.news(service, family, problems) {
            tracing::warn!(%service, field = %problem.field, reason = %problem.reason, "part of a Service is set aside");
            if let (Some(recorder), Some(uid)) = (&self.recorder, uid()) {
                let reference = Reference::of(Kind::Service, service.clone(), uid);
                recorder.record(
                    &reference,
                    EventType::Warning,
                    "Malformed",
                    "SetAside",
                    &problem.to_string(),
                );
            }
        }
    }

    fn news(&self, service: &ObjectName, family: IpFamily, problems: Vec<Problem>) -> Vec<Problem> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = |problem: &&Problem| {
            IpFamily::ALL.into_iter().any(|family| {
                known.get(&(service.clone(), family)).is_some_and(|known| known.contains(problem))
            })
        };
        let news = problems.iter().filter(|problem| !before(problem)).cloned().collect();
        if problems.is_empty() {
            known.remove(&(service.clone(), family));
        } else {
            known.insert((service.clone(), family), problems);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_news_once() {
        let (reporter, name) = (Reporter::default(), ObjectName::new("n", "s"));
        let problems = |reasons: &[&str]| reasons.iter().map(|r| Problem::new("f", *r)).collect::<Vec<_>>();
        let news = |family, reasons: &[&str]| reporter.news(&name, family, problems(reasons)).len();
        assert_eq!(news(IpFamily::V4, &["a"]), 1);
        assert_eq!(news(IpFamily::V6, &["a"]), 0, "the other family knows it");
        assert_eq!(news(IpFamily::V4, &["a", "b"]), 1);
        assert_eq!(news(IpFamily::V4, &[]) + news(IpFamily::V6, &[]), 0);
        assert_eq!(news(IpFamily::V4, &["a"]), 1, "it came back");
    }
}
