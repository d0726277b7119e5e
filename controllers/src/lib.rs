//! Endpoints and EndpointSlices from ready pods.
