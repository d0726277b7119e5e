//! Builds rules, one statement after the other, for one address family.
//!
//! Keys lie in the registers from word 0 on. Looked-up values go behind the longest key (destination and
//! source): to [`Words::value`], and what NAT wants to [`Words::socket`].

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use portolan_core::IpFamily;
use portolan_netfilter::model::{
    BitwiseOp, CompareOp, CtDirection, CtKey, CtState, CtStatus, Data, DynsetOp, Expression, Family,
    FibFlags, FibResult, MetaKey, NatFlags, NatKind, NumgenKind, PayloadBase, Register, Reject, Verdict,
};

use super::sets::SetName;
use super::{keys, netfilter_family};

/// RTN_LOCAL of linux/rtnetlink.h: the type of the host's own addresses.
const RTN_LOCAL: u32 = 2;

/// Expressions of a rule under construction.
pub(crate) struct Program {
    family: IpFamily,
    expressions: Vec<Expression>,
}

/// Where things are that differ between the families.
struct Words {
    address: u8,
    value: Register,
    socket: Register,
    port: Register,
    source_offset: u32,
    destination_offset: u32,
}

const WORDS_V4: Words = Words {
    address: 1,
    value: Register::word(8),
    socket: Register::word(9),
    port: Register::word(10),
    source_offset: 12,
    destination_offset: 16,
};

const WORDS_V6: Words = Words {
    address: 4,
    value: Register::word(10),
    socket: Register::word(11),
    port: Register::word(15),
    source_offset: 8,
    destination_offset: 24,
};

impl Program {
    pub(crate) fn new(family: IpFamily) -> Self {
        Self { family, expressions: Vec::new() }
    }

    /// The finished rule, ending in a verdict.
    pub(crate) fn then(self, verdict: Verdict) -> Vec<Expression> {
        self.push(Expression::Immediate { dest: Register::VERDICT, data: Data::Verdict(verdict) }).done()
    }

    /// The finished rule; the next one follows.
    pub(crate) fn done(self) -> Vec<Expression> {
        self.expressions
    }

    fn push(mut self, expression: Expression) -> Self {
        self.expressions.push(expression);
        self
    }

    fn words(&self) -> &'static Words {
        match self.family {
            IpFamily::V4 => &WORDS_V4,
            IpFamily::V6 => &WORDS_V6,
        }
    }

    fn netfilter_family(&self) -> Family {
        netfilter_family(self.family)
    }

    fn load_address(self, offset: u32, word: u8) -> Self {
        let length = u32::from(self.words().address) * 4;
        self.push(Expression::Payload {
            base: PayloadBase::Network,
            offset,
            length,
            dest: Register::word(word),
        })
    }

    fn load_source(self, word: u8) -> Self {
        let offset = self.words().source_offset;
        self.load_address(offset, word)
    }

    fn load_destination_address(self, word: u8) -> Self {
        let offset = self.words().destination_offset;
        self.load_address(offset, word)
    }

    fn load_port(self, word: u8) -> Self {
        self.push(Expression::Meta { key: MetaKey::L4Proto, dest: Register::word(word) }).push(
            Expression::Payload {
                base: PayloadBase::Transport,
                offset: 2,
                length: 2,
                dest: Register::word(word + 1),
            },
        )
    }

    fn load_destination(self) -> Self {
        let port = self.words().address;
        self.load_destination_address(0).load_port(port)
    }

    fn load_destination_and_source(self) -> Self {
        let source = self.words().address + 2;
        self.load_destination().load_source(source)
    }

    fn load_ct(self, key: CtKey, word: u8) -> Self {
        let direction = Some(CtDirection::Original);
        self.push(Expression::Ct { key, direction, dest: Register::word(word) })
    }

    fn load_priority(self, dest: Register) -> Self {
        self.push(Expression::Meta { key: MetaKey::Priority, dest })
    }

    fn lookup(self, set: SetName, dest: Option<Register>, invert: bool) -> Self {
        let set = set.as_str().to_owned();
        self.push(Expression::Lookup { set, source: Register::word(0), dest, invert })
    }

    fn set_priority_from(self, map: SetName) -> Self {
        let value = self.words().value;
        self.lookup(map, Some(value), false)
            .push(Expression::MetaSet { key: MetaKey::Priority, source: value })
    }

    fn compare(self, op: CompareOp, value: Vec<u8>) -> Self {
        self.push(Expression::Compare { source: Register::word(0), op, value })
    }

    fn mask(self, mask: Vec<u8>) -> Self {
        let register = Register::word(0);
        let xor = vec![0; mask.len()];
        let length = u32::try_from(mask.len()).unwrap_or(u32::MAX);
        let op = BitwiseOp::MaskXor { mask, xor };
        self.push(Expression::Bitwise { source: register, dest: register, length, op })
    }

    fn any_bit(self, bits: u32) -> Self {
        self.mask(keys::number(bits)).compare(CompareOp::NotEqual, keys::number(0))
    }

    /// Only the first packets of flows.
    pub(crate) fn new_flow(self) -> Self {
        let (key, dest) = (CtKey::State, Register::word(0));
        self.push(Expression::Ct { key, direction: None, dest }).any_bit(CtState::NEW.bits())
    }

    /// Only flows whose destination was rewritten.
    pub(crate) fn rewritten(self) -> Self {
        let (key, dest) = (CtKey::Status, Register::word(0));
        self.push(Expression::Ct { key, direction: None, dest }).any_bit(CtStatus::DST_NAT.bits())
    }

    /// Only packets of this protocol.
    pub(crate) fn protocol(self, number: u8) -> Self {
        self.push(Expression::Meta { key: MetaKey::L4Proto, dest: Register::word(0) })
            .compare(CompareOp::Equal, vec![number])
    }

    /// Only packets from this range, or only others.
    pub(crate) fn source_in(self, range: IpNet, op: CompareOp) -> Self {
        let program = self.load_source(0);
        let whole = range.prefix_len() == range.max_prefix_len();
        let program = if whole { program } else { program.mask(keys::address(range.netmask())) };
        program.compare(op, keys::address(range.network()))
    }

    /// Only packets from one of the host's addresses.
    pub(crate) fn own_source(self) -> Self {
        self.local_address(FibFlags::SOURCE)
    }

    /// Only packets to one of the host's addresses, loopback excepted.
    pub(crate) fn own_destination(self) -> Self {
        let program = self.local_address(FibFlags::DESTINATION).load_destination_address(0);
        match program.family {
            IpFamily::V4 => program.mask(vec![255, 0, 0, 0]).compare(CompareOp::NotEqual, vec![127, 0, 0, 0]),
            IpFamily::V6 => {
                let loopback = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);
                program.compare(CompareOp::NotEqual, keys::address(loopback))
            }
        }
    }

    fn local_address(self, flags: FibFlags) -> Self {
        self.push(Expression::Fib { result: FibResult::AddressType, flags, dest: Register::word(0) })
            .compare(CompareOp::Equal, keys::number(RTN_LOCAL))
    }

    /// Only packets whose destination address is in the set.
    pub(crate) fn address_in(self, set: SetName) -> Self {
        self.load_destination_address(0).lookup(set, None, false)
    }

    /// Only packets whose address, protocol and port are in the set.
    pub(crate) fn destination_in(self, set: SetName) -> Self {
        self.load_destination().lookup(set, None, false)
    }

    /// Only packets whose address, protocol, port and source are not in the set.
    pub(crate) fn source_not_in(self, set: SetName) -> Self {
        self.load_destination_and_source().lookup(set, None, true)
    }

    /// Only packets whose source and destination address are a pair of the set.
    pub(crate) fn pair_in(self, set: SetName) -> Self {
        let second = self.words().address;
        self.load_source(0).load_destination_address(second).lookup(set, None, false)
    }

    /// Only flows whose first destination was an address of the set, or only others.
    pub(crate) fn first_address_in(self, set: SetName, invert: bool) -> Self {
        self.load_first_address().lookup(set, None, invert)
    }

    /// Only flows whose first address, protocol and port are in the set.
    pub(crate) fn first_destination_in(self, set: SetName) -> Self {
        let port = self.words().address;
        self.load_first_address().load_first_port(port).lookup(set, None, false)
    }

    /// Only flows whose first protocol and port are in the set.
    pub(crate) fn first_port_in(self, set: SetName) -> Self {
        self.load_first_port(0).lookup(set, None, false)
    }

    fn load_first_address(self) -> Self {
        let key = match self.family {
            IpFamily::V4 => CtKey::DestinationIp,
            IpFamily::V6 => CtKey::DestinationIp6,
        };
        self.load_ct(key, 0)
    }

    fn load_first_port(self, word: u8) -> Self {
        // The protocol is the same in both directions, and has none for the kernel.
        let protocol = Expression::Ct { key: CtKey::Protocol, direction: None, dest: Register::word(word) };
        self.push(protocol).load_ct(CtKey::ProtoDestination, word + 1)
    }

    /// Priority from a map of destinations; ends the rule if it is not there.
    pub(crate) fn priority_by_destination(self, map: SetName) -> Self {
        self.load_destination().set_priority_from(map)
    }

    /// Priority from a map of protocols and ports.
    pub(crate) fn priority_by_port(self, map: SetName) -> Self {
        self.load_port(0).set_priority_from(map)
    }

    /// Priority from what is remembered about the client.
    pub(crate) fn priority_by_client(self, map: SetName) -> Self {
        self.load_destination_and_source().set_priority_from(map)
    }

    /// Only these bits of the priority stay.
    pub(crate) fn mask_priority(self, mask: u32) -> Self {
        self.load_priority(Register::word(0))
            .mask(keys::number(mask))
            .push(Expression::MetaSet { key: MetaKey::Priority, source: Register::word(0) })
    }

    /// Priority from a map of list and index, the index at random.
    pub(crate) fn priority_by_chance(self, map: SetName, count: u32) -> Self {
        self.load_slot(count).set_priority_from(map)
    }

    fn load_slot(self, count: u32) -> Self {
        self.load_priority(Register::word(0)).push(Expression::Numgen {
            kind: NumgenKind::Random,
            modulus: count,
            offset: 0,
            dest: Register::word(1),
        })
    }

    /// The verdict that a map has for these bits of the priority.
    pub(crate) fn dispatch(self, mask: Option<u32>, map: SetName) -> Vec<Expression> {
        let program = self.load_priority(Register::word(0));
        let program = match mask {
            Some(mask) => program.mask(keys::number(mask)),
            None => program,
        };
        program.lookup(map, Some(Register::VERDICT), false).done()
    }

    /// Remembers the priority for the client.
    pub(crate) fn remember(self, map: SetName, timeout: Duration) -> Self {
        let value = self.words().value;
        self.load_destination_and_source().load_priority(value).dynset(map, DynsetOp::Update, Some(timeout))
    }

    /// Forgets what is remembered for the client.
    pub(crate) fn forget(self, map: SetName) -> Self {
        let value = self.words().value;
        self.load_destination_and_source()
            .push(Expression::Immediate { dest: value, data: Data::Value(keys::number(0)) })
            .dynset(map, DynsetOp::Delete, None)
    }

    fn dynset(self, map: SetName, op: DynsetOp, timeout: Option<Duration>) -> Self {
        let value = self.words().value;
        self.push(Expression::Dynset {
            set: map.as_str().to_owned(),
            op,
            key: Register::word(0),
            data: Some(value),
            timeout,
            invert: false,
            expressions: Vec::new(),
        })
    }

    /// Refreshes the client's memory and sends the flow to the endpoint that the priority names, in the
    /// order that leaves the memory alone if there is no such endpoint.
    pub(crate) fn into_remembered(self, endpoints: SetName, memory: SetName, timeout: Duration) -> Self {
        let Words { value, socket, .. } = *self.words();
        self.load_destination_and_source()
            .load_priority(value)
            .push(Expression::Lookup {
                set: endpoints.as_str().to_owned(),
                source: value,
                dest: Some(socket),
                invert: false,
            })
            .dynset(memory, DynsetOp::Update, Some(timeout))
            .rewrite()
    }

    /// Sends the flow to the endpoint that the priority names.
    pub(crate) fn into_endpoint(self, endpoints: SetName) -> Self {
        let socket = self.words().socket;
        self.load_priority(Register::word(0)).lookup(endpoints, Some(socket), false).rewrite()
    }

    /// Sends the flow to one of the list that the priority names, at random.
    pub(crate) fn into_any(self, backends: SetName, count: u32) -> Self {
        let socket = self.words().socket;
        self.load_slot(count).lookup(backends, Some(socket), false).rewrite()
    }

    fn rewrite(self) -> Self {
        let Words { socket, port, .. } = *self.words();
        let family = self.netfilter_family();
        self.push(Expression::Nat {
            kind: NatKind::Destination,
            family,
            address: Some(socket.into()),
            port: Some(port.into()),
            flags: NatFlags::NONE,
        })
    }

    /// Gives the flow the node's address as source, from a port that others cannot guess.
    pub(crate) fn masquerade(self) -> Vec<Expression> {
        self.push(Expression::Masquerade { port: None, flags: NatFlags::FULLY_RANDOM }).done()
    }

    /// Refuses the packet as a host without a listener does: with a reset.
    ///
    /// Differs from upstream: TCP to a Service without endpoints is refused by a reset; kube-proxy answers
    /// with an ICMP error.
    pub(crate) fn reject_tcp(self) -> Vec<Expression> {
        const TCP: u8 = 6;
        self.protocol(TCP).push(Expression::Reject(Reject::TcpReset)).done()
    }

    /// The same for other protocols.
    pub(crate) fn reject(self) -> Vec<Expression> {
        // ICMP_PORT_UNREACH, ICMPV6_PORT_UNREACH.
        let code = match self.family {
            IpFamily::V4 => 3,
            IpFamily::V6 => 4,
        };
        self.push(Expression::Reject(Reject::IcmpUnreachable(code))).done()
    }
}
