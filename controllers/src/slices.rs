//! What the controllers that write EndpointSlices (discovery.k8s.io/v1) share: what a slice says, its
//! name, and the write that makes a stored slice say it.

mod content;
mod draft;
mod figures;
mod name;

pub use content::SliceContent;
pub(crate) use content::{PortKey, port_key};
pub(crate) use draft::{Annotations, Drafts, Head, as_written, is_owned};
pub(crate) use figures::{Figures, figures};
