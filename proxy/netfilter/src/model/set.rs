//! Sets, maps and their elements.

use std::time::Duration;

use super::{Data, KeyType, TableId};
use crate::flags::bit_set;

bit_set! {
    /// Flags of a set (NFT_SET_*). That a set is a map follows from [`Set::data`] and does not appear here.
    SetFlags {
        /// Bound to the rule that uses it; its name is a pattern such as `__map%d` when it is sent.
        ANONYMOUS = 1,
        /// Its elements do not change once it is used.
        CONSTANT = 2,
        /// Its elements are ranges.
        INTERVAL = 4,
        /// Its elements may have timeouts.
        TIMEOUT = 16,
        /// Rules may change it.
        EVAL = 32,
        /// Its data are names of objects.
        OBJECT = 64,
        /// Its key is a concatenation of ranges.
        CONCAT = 128,
        /// Its elements carry expressions.
        EXPRESSION = 256,
    }
}

/// What a map's elements hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetData {
    /// Values.
    Value(KeyType),
    /// Verdicts.
    Verdict,
}

/// A set, or a map if it has data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// The table it is in.
    pub table: TableId,
    /// Name, unique within the table.
    pub name: String,
    /// Flags.
    pub flags: SetFlags,
    /// Type of its keys.
    pub key: KeyType,
    /// Type of its data, for a map.
    pub data: Option<SetData>,
    /// Timeout of elements that have none of their own.
    pub timeout: Option<Duration>,
    /// Greatest number of elements.
    pub size: Option<u32>,
    /// The kernel's handle; only set in what was read back.
    pub handle: Option<u64>,
    /// Opaque bytes kept by the kernel; see [`userdata`](crate::userdata) for what `nft` needs in it.
    pub userdata: Vec<u8>,
}

impl Set {
    /// A set of keys, with the userdata that lets `nft` list it.
    #[must_use]
    pub fn new(table: TableId, name: impl Into<String>, key: KeyType) -> Self {
        let userdata = crate::userdata::of_set(&key, None);
        Self {
            table,
            name: name.into(),
            flags: SetFlags::NONE,
            key,
            data: None,
            timeout: None,
            size: None,
            handle: None,
            userdata,
        }
    }

    /// A map from keys to values or verdicts, with the userdata that lets `nft` list it.
    #[must_use]
    pub fn map(table: TableId, name: impl Into<String>, key: KeyType, data: SetData) -> Self {
        let userdata = crate::userdata::of_set(&key, Some(&data));
        Self { data: Some(data), userdata, ..Self::new(table, name, key) }
    }

    /// The same with these flags.
    #[must_use]
    pub fn with_flags(self, flags: SetFlags) -> Self {
        Self { flags, ..self }
    }

    /// The same with a greatest number of elements.
    #[must_use]
    pub fn with_size(self, size: u32) -> Self {
        Self { size: Some(size), ..self }
    }

    /// The same with a timeout for elements that have none of their own.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }
}

bit_set! {
    /// Flags of an element (NFT_SET_ELEM_*).
    ElementFlags {
        /// Ends a range that begins at the element before; its key is the first one after the range.
        INTERVAL_END = 1,
        /// Stands for every key that is not there (5.13); it has no key.
        CATCH_ALL = 2,
    }
}

/// An element of a set or map.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Element {
    /// Key, as long as the set's key type says; empty for a catch-all.
    pub key: Vec<u8>,
    /// End of the range, included, for concatenations of ranges.
    pub key_end: Option<Vec<u8>>,
    /// Data, for a map.
    pub data: Option<Data>,
    /// Flags.
    pub flags: ElementFlags,
    /// Timeout, if it has one of its own.
    pub timeout: Option<Duration>,
    /// Time left; only set in what was read back.
    pub expiration: Option<Duration>,
    /// Opaque bytes kept by the kernel; `nft` expects type-length-value entries in it.
    pub userdata: Vec<u8>,
}

impl Element {
    /// An element of a set.
    #[must_use]
    pub fn new(key: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), ..Self::default() }
    }

    /// An element of a map.
    #[must_use]
    pub fn map(key: impl Into<Vec<u8>>, data: impl Into<Data>) -> Self {
        Self { key: key.into(), data: Some(data.into()), ..Self::default() }
    }

    /// The same with a timeout.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }
}
