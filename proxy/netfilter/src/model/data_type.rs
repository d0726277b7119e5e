//! Types of keys and data, as the `nft` program numbers them (its include/datatype.h).
//!
//! The kernel only stores these numbers; `nft` needs them to list a set, and aborts on some that are wrong.

/// Number of a data type of `nft`; concatenations carry six bits per field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct DataType(pub u32);

impl DataType {
    /// Any integer; its length is not implied.
    pub const INTEGER: Self = Self(4);
    /// IPv4 address.
    pub const IPV4_ADDR: Self = Self(7);
    /// IPv6 address.
    pub const IPV6_ADDR: Self = Self(8);
    /// Layer 4 protocol number.
    pub const INET_PROTO: Self = Self(12);
    /// Port number.
    pub const INET_SERVICE: Self = Self(13);
    /// Packet or conntrack mark, host byte order.
    pub const MARK: Self = Self(19);
    /// Interface index, host byte order.
    pub const IFINDEX: Self = Self(20);
    /// Routing realm, host byte order.
    pub const REALM: Self = Self(22);
    /// Traffic class: what `meta priority` holds, host byte order.
    pub const CLASSID: Self = Self(23);
    /// User number, host byte order.
    pub const UID: Self = Self(24);
    /// Conntrack state bits, host byte order.
    pub const CT_STATE: Self = Self(26);
    /// Conntrack status bits, host byte order.
    pub const CT_STATUS: Self = Self(28);
    /// Address type of a route lookup, host byte order.
    pub const FIB_ADDRTYPE: Self = Self(38);
    /// Interface name.
    pub const IFNAME: Self = Self(41);

    /// Bits that one field takes in the number of a concatenation (TYPE_BITS).
    const FIELD_BITS: u32 = 6;

    /// The number of the concatenation of these types.
    ///
    /// At most five fields fit; the sixth would push the first out.
    #[must_use]
    pub fn concat(fields: &[Self]) -> Self {
        Self(fields.iter().fold(0, |number, field| (number << Self::FIELD_BITS) | field.0))
    }

    /// The types of the fields of a concatenation; the type itself if it is none.
    #[must_use]
    pub fn fields(self) -> Vec<Self> {
        let mask = (1 << Self::FIELD_BITS) - 1;
        let mut fields: Vec<_> = std::iter::successors(Some(self.0), |rest| Some(rest >> Self::FIELD_BITS))
            .take_while(|rest| *rest != 0)
            .map(|rest| Self(rest & mask))
            .collect();
        fields.reverse();
        fields
    }

    /// Length of a value in bytes, where the type implies it.
    #[must_use]
    pub const fn length(self) -> Option<u32> {
        match self {
            Self::INET_PROTO => Some(1),
            Self::INET_SERVICE => Some(2),
            Self::IPV4_ADDR
            | Self::MARK
            | Self::IFINDEX
            | Self::REALM
            | Self::CLASSID
            | Self::UID
            | Self::CT_STATE
            | Self::CT_STATUS
            | Self::FIB_ADDRTYPE => Some(4),
            Self::IPV6_ADDR | Self::IFNAME => Some(16),
            _ => None,
        }
    }

    /// Whether `nft` keeps values of this type in host byte order.
    #[must_use]
    pub const fn is_host_order(self) -> bool {
        matches!(
            self,
            Self::MARK
                | Self::IFINDEX
                | Self::REALM
                | Self::CLASSID
                | Self::UID
                | Self::CT_STATE
                | Self::CT_STATUS
                | Self::FIB_ADDRTYPE
                | Self::IFNAME
        )
    }
}

/// Type and length of a set's key or of a map's data.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyType {
    /// Type number.
    pub data_type: DataType,
    /// Length in bytes, padding of concatenated fields included.
    pub length: u32,
    /// Lengths of concatenated fields, unpadded, as the kernel wants them for intervals over concatenations;
    /// empty elsewhere.
    pub field_lengths: Vec<u32>,
}

impl KeyType {
    /// A type with an explicit length.
    #[must_use]
    pub const fn new(data_type: DataType, length: u32) -> Self {
        Self { data_type, length, field_lengths: Vec::new() }
    }

    /// One field, or a concatenation of fields, each padded to 32 bits: as registers hold them.
    ///
    /// Types without an implied length count as 32-bit integers.
    #[must_use]
    pub fn of(fields: &[DataType]) -> Self {
        match fields {
            [single] => Self::new(*single, single.length().unwrap_or(4)),
            _ => {
                let length = fields.iter().map(|field| padded(field.length().unwrap_or(4))).sum();
                Self::new(DataType::concat(fields), length)
            }
        }
    }

    /// A concatenation for a set of intervals ([`SetFlags::INTERVAL`](super::SetFlags::INTERVAL) with
    /// [`SetFlags::CONCAT`](super::SetFlags::CONCAT)): the kernel needs each field's length.
    #[must_use]
    pub fn of_intervals(fields: &[DataType]) -> Self {
        let field_lengths = fields.iter().map(|field| field.length().unwrap_or(4)).collect();
        Self { field_lengths, ..Self::of(fields) }
    }
}

/// A length rounded up to whole 32-bit registers.
const fn padded(length: u32) -> u32 {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::{DataType, KeyType};

    #[test]
    fn concatenations_are_numbered_as_nft_does() {
        let fields = [DataType::IPV4_ADDR, DataType::INET_PROTO, DataType::INET_SERVICE];
        let key = KeyType::of(&fields);
        assert_eq!(key, KeyType::new(DataType((7 << 12) | (12 << 6) | 13), 12));
        assert_eq!(key.data_type.fields(), fields);
        assert_eq!(KeyType::of(&[DataType::INET_SERVICE]).length, 2);
        assert_eq!(KeyType::of_intervals(&fields).field_lengths, [4, 1, 2]);
    }
}
