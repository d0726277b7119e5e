//! Verdicts, and the data that a register or a map element holds.

/// What happens to the packet next (NF_* and NFT_* verdicts).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The hook lets it pass.
    Accept,
    /// The packet is discarded.
    Drop,
    /// The next rule.
    Continue,
    /// Back to the calling chain (or the policy).
    Return,
    /// Into a chain, and back at its end.
    Jump(String),
    /// Into a chain, not back.
    Goto(String),
    /// A verdict unknown to this crate.
    Other(i32),
}

impl Verdict {
    /// The kernel's number.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
            Self::Continue => -1,
            Self::Jump(_) => -3,
            Self::Goto(_) => -4,
            Self::Return => -5,
            Self::Other(code) => *code,
        }
    }

    /// The chain it leads to.
    #[must_use]
    pub fn chain(&self) -> Option<&str> {
        match self {
            Self::Jump(chain) | Self::Goto(chain) => Some(chain),
            _ => None,
        }
    }
}

/// A value: bytes as they lie in registers, or a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Data {
    /// Bytes.
    Value(Vec<u8>),
    /// A verdict.
    Verdict(Verdict),
}

impl Data {
    /// The bytes, if it is not a verdict.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Value(bytes) => Some(bytes),
            Self::Verdict(_) => None,
        }
    }

    /// The verdict, if it is one.
    #[must_use]
    pub const fn verdict(&self) -> Option<&Verdict> {
        match self {
            Self::Value(_) => None,
            Self::Verdict(verdict) => Some(verdict),
        }
    }
}

impl From<Verdict> for Data {
    fn from(verdict: Verdict) -> Self {
        Self::Verdict(verdict)
    }
}

impl From<Vec<u8>> for Data {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Value(bytes)
    }
}
