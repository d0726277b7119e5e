//! Userdata of sets, as the `nft` program writes and reads it (libnftnl/udata.h, NFTNL_UDATA_SET_*).
//!
//! The kernel keeps it as it is. Without byte orders `nft` lists integers byte-swapped.

use crate::model::{KeyType, SetData};

/// NFTNL_UDATA_SET_KEYBYTEORDER.
const KEY_BYTE_ORDER: u8 = 0;
/// NFTNL_UDATA_SET_DATABYTEORDER.
const DATA_BYTE_ORDER: u8 = 1;

/// Byte order of values, as `nft` numbers it (enum byteorder).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ByteOrder {
    /// None: strings, concatenations.
    Invalid = 0,
    /// Host.
    Host = 1,
    /// Network.
    Network = 2,
}

/// The userdata that lets `nft` list a set or map with these types.
#[must_use]
pub fn of_set(key: &KeyType, data: Option<&SetData>) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_u32(&mut bytes, KEY_BYTE_ORDER, order_of(key) as u32);
    let data_order = data.map(|data| match data {
        SetData::Value(data) => order_of(data),
        SetData::Verdict => ByteOrder::Invalid,
    });
    if let Some(order) = data_order {
        put_u32(&mut bytes, DATA_BYTE_ORDER, order as u32);
    }
    bytes
}

fn order_of(key: &KeyType) -> ByteOrder {
    match key.data_type.fields().as_slice() {
        [single] if single.is_host_order() => ByteOrder::Host,
        [_] => ByteOrder::Network,
        _ => ByteOrder::Invalid,
    }
}

/// Type, length, value: the value in host byte order.
fn put_u32(bytes: &mut Vec<u8>, kind: u8, value: u32) {
    bytes.extend([kind, 4]);
    bytes.extend(value.to_ne_bytes());
}
