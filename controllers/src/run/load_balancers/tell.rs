//! Events about load balancers, with upstream's reasons.

use portolan_cloud::{Notice, Severity};
use portolan_core::{Kind, Service};
use portolan_runtime::{EventType, Recorder, Reference};

/// Writes Events about Services.
pub(super) struct Teller(Recorder);

/// What a load balancer is being done to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Ensure,
    Update,
    Remove,
}

impl Action {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ensure => "EnsureLoadBalancer",
            Self::Update => "UpdateLoadBalancer",
            Self::Remove => "DeleteLoadBalancer",
        }
    }
}

impl Teller {
    pub(super) fn new(recorder: Recorder) -> Self {
        Self(recorder)
    }

    pub(super) fn normal(&self, service: &Service, action: Action, reason: &'static str, text: &str) {
        self.record(service, EventType::Normal, action, reason, text);
    }

    pub(super) fn warning(&self, service: &Service, action: Action, reason: &'static str, text: &str) {
        self.record(service, EventType::Warning, action, reason, text);
    }

    /// Tells what a provider had to say.
    pub(super) fn notices(&self, service: &Service, action: Action, notices: &[Notice]) {
        for Notice { severity, reason, text } in notices {
            let kind = match severity {
                Severity::Normal => EventType::Normal,
                Severity::Warning => EventType::Warning,
            };
            self.record(service, kind, action, reason, text);
        }
    }

    fn record(&self, service: &Service, kind: EventType, action: Action, reason: &'static str, text: &str) {
        let subject = Reference::of(Kind::Service, service.meta.object_name(), service.meta.uid.clone());
        self.0.record(&subject, kind, reason, action.as_str(), text);
    }
}
