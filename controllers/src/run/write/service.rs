//! Writes to the status of a Service.

use std::sync::Arc;

use http::{Method, StatusCode};
use portolan_core::{Event, Kind, ObjectName, Service};

use super::{MANAGER, WriteError, Writer, collection, refusal};
use crate::run::gate::Awaited;

impl Writer {
    /// Sends a merge patch for the status of a Service, of the version that the patch names. Ok also if the Service is
    /// gone; the State says so then.
    pub(in crate::run) async fn patch_service(
        &self,
        service: &Service,
        patch: Vec<u8>,
    ) -> Result<(), WriteError> {
        let (name, version) = (service.meta.object_name(), service.meta.resource_version);
        let uri = format!("{}/{}/status?{MANAGER}", collection(Kind::Service, &name.namespace), name.name);
        let sent = self.moment::<Service>();
        // Asked last, so that nothing is awaited between this and the request.
        if !self.leadership.may_write() {
            return Err(WriteError::NotLeading);
        }
        let answer = self.send(Method::PATCH, &uri, "application/merge-patch+json", patch).await?;
        match answer.status {
            StatusCode::NOT_FOUND => self.store.apply([Event::<Service>::Deleted(name, version)]),
            StatusCode::CONFLICT => {
                return Err(WriteError::Stale(Awaited { kind: Kind::Service, name, seen: Some(version) }));
            }
            status if !status.is_success() => return Err(refusal(&answer)),
            // One that does not decode is delivered by the watch, or told of by it.
            _ => {
                let object = answer.object::<Service>().ok();
                self.store.apply(object.map(|service| Event::Answered(service, sent)));
            }
        }
        Ok(())
    }

    /// Takes in a Service as the API server has it. Returns its uid, if it is there.
    pub(in crate::run) async fn ask_for_service(
        &self,
        name: &ObjectName,
        seen: u64,
    ) -> Result<Option<Arc<str>>, WriteError> {
        let awaited = Awaited { kind: Kind::Service, name: name.clone(), seen: Some(seen) };
        self.take_in::<Service>(&awaited).await
    }
}
