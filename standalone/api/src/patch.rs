//! Patches, in the three forms that are read.

use serde_json::Value;

use crate::{Failure, Kind};

mod strategic;

/// A patch.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// JSON merge patch (RFC 7386).
    Merge(Value),
    /// JSON patch (RFC 6902).
    Json(json_patch::Patch),
    /// Strategic merge patch: a merge patch that merges lists by the keys of their elements.
    Strategic(Value),
}

impl Patch {
    /// Applies it to an object.
    pub fn apply(&self, kind: Kind, object: &mut Value) -> Result<(), Failure> {
        match self {
            Self::Merge(patch) => json_patch::merge(object, patch),
            Self::Strategic(patch) => strategic::merge(kind, object, patch)?,
            Self::Json(patch) => {
                let refuse = |error: json_patch::PatchError| {
                    Failure::unprocessable(&format!("the JSON patch does not apply: {error}"))
                };
                json_patch::patch(object, patch).map_err(refuse)?;
            }
        }
        Ok(())
    }
}
