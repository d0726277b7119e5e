//! Defaults and rules of the kinds that have few.

use k8s_openapi::ByteString;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, NamespaceSpec, NamespaceStatus, Node, Secret};

use serde_json::Value;

use super::Admit;
use crate::failure::Causes;
use crate::object::text;

impl Admit for Namespace {
    fn fill(&mut self) {
        let name = self.metadata.name.clone().unwrap_or_default();
        let labels = self.metadata.labels.get_or_insert_default();
        labels.insert("kubernetes.io/metadata.name".to_owned(), name);
        if self.metadata.deletion_timestamp.is_none() {
            let spec = self.spec.get_or_insert_with(NamespaceSpec::default);
            spec.finalizers.get_or_insert_with(|| vec!["kubernetes".to_owned()]);
            let status = self.status.get_or_insert_with(NamespaceStatus::default);
            status.phase.get_or_insert_with(|| "Active".to_owned());
        }
    }
}

impl Admit for Node {
    fn fill(&mut self) {
        // kubectl's table wants the capacity of every node; an empty status is what upstream stores.
        self.spec.get_or_insert_default();
        self.status.get_or_insert_default();
    }

    fn check(&self, old: Option<&Value>, causes: &mut Causes) {
        let cidr = self.spec.as_ref().and_then(|spec| spec.pod_cidr.as_deref());
        if let Some(before) = old.and_then(|old| text(old, "/spec/podCIDR"))
            && cidr != Some(before)
        {
            causes
                .forbidden("spec.podCIDRs", "node updates may not change podCIDR except from \"\" to valid");
        }
        let addresses = self.status.as_ref().and_then(|status| status.addresses.as_ref());
        for (index, address) in addresses.into_iter().flatten().enumerate() {
            if address.type_.ends_with("IP") && address.address.parse::<std::net::IpAddr>().is_err() {
                let at = format!("status.addresses[{index}].address");
                causes.invalid(at, address.address.as_str(), "must be a valid IP address");
            }
        }
    }
}

impl Admit for Lease {
    fn check(&self, _old: Option<&Value>, causes: &mut Causes) {
        let Some(spec) = &self.spec else { return };
        if let Some(seconds) = spec.lease_duration_seconds.filter(|seconds| *seconds <= 0) {
            causes.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0");
        }
        if let Some(count) = spec.lease_transitions.filter(|count| *count < 0) {
            causes.invalid("spec.leaseTransitions", count, "must be greater than or equal to 0");
        }
    }
}

impl Admit for Secret {
    fn fill(&mut self) {
        self.type_.get_or_insert_with(|| "Opaque".to_owned());
        let texts = self.string_data.take().unwrap_or_default();
        let bytes = texts.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes())));
        self.data.get_or_insert_default().extend(bytes);
    }

    fn check(&self, old: Option<&Value>, causes: &mut Causes) {
        if old.is_some_and(|old| text(old, "/type") != self.type_.as_deref()) {
            causes.invalid("type", self.type_.clone().unwrap_or_default(), "field is immutable");
        }
    }
}
