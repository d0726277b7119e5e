//! Rules and expressions, one after the other.

use std::net::IpAddr;

use portolan_netfilter::model::{
    BaseChain, BitwiseOp, ChainKind, CompareOp, CtDirection, CtKey, CtState, CtStatus, Data, DynsetOp,
    Expression, Family, FibFlags, FibResult, Hook, MetaKey, NatKind, Register, RegisterPair, SetData,
    Verdict,
};

use super::memory::is_dynamic;
use super::path::{Passage, decision};
use super::registers::Registers;
use super::{Error, Fate, Fault, Packet, Step, sets};

/// How a chain ended.
pub(super) enum Stop {
    /// The packet's fate is sealed.
    Fate(Fate),
    /// This hook's chain is done with the packet.
    Accept,
    /// No verdict.
    End,
}

/// What an expression means for the rule.
enum Flow {
    /// On to the next expression.
    Next,
    /// The rule does not match.
    Break,
    /// A verdict of the machine.
    Verdict(Verdict),
    /// A fate.
    Fate(Fate),
}

/// NFT_JUMP_STACK_SIZE; the kernel counts gotos too when it checks a table.
const DEPTH: usize = 16;
/// IFNAMSIZ.
const NAME_LENGTH: usize = 16;
/// RTN_UNICAST, RTN_LOCAL, RTN_MULTICAST.
const UNICAST: u32 = 1;
const LOCAL: u32 = 2;
const MULTICAST: u32 = 5;

impl Passage<'_> {
    pub(super) fn rules(&mut self, chain: &str, base: &BaseChain, depth: usize) -> Result<Stop, Error> {
        let ruleset = self.ruleset;
        let error = |rule: usize, fault: Fault| Error { chain: chain.to_owned(), rule, fault };
        if depth > DEPTH {
            return Err(error(0, Fault::TooDeep));
        }
        for (position, rule) in ruleset.rules_of(chain).enumerate() {
            let flow = self
                .rule(chain, position, &rule.expressions, base)
                .map_err(|fault| error(position, fault))?;
            let verdict = match flow {
                Flow::Next | Flow::Break => continue,
                Flow::Fate(fate) => return Ok(Stop::Fate(fate)),
                Flow::Verdict(verdict) => verdict,
            };
            if let Some(target) = verdict.chain()
                && ruleset.chain(target).is_none()
            {
                return Err(error(position, Fault::NoChain(target.to_owned())));
            }
            match verdict {
                Verdict::Accept => return Ok(Stop::Accept),
                Verdict::Drop => return Ok(Stop::Fate(Fate::Drop)),
                Verdict::Continue => {}
                Verdict::Return => return Ok(Stop::End),
                Verdict::Jump(target) => match self.rules(&target, base, depth + 1)? {
                    Stop::End => {}
                    stop => return Ok(stop),
                },
                Verdict::Goto(target) => return self.rules(&target, base, depth + 1),
                Verdict::Other(code) => {
                    return Err(error(position, Fault::NotModelled(format!("verdict {code}"))));
                }
            }
        }
        Ok(Stop::End)
    }

    fn rule(
        &mut self,
        chain: &str,
        position: usize,
        expressions: &[Expression],
        base: &BaseChain,
    ) -> Result<Flow, Fault> {
        let mut registers = Registers::default();
        let mut end = Flow::Next;
        let mut ran = 0;
        for expression in expressions {
            ran += 1;
            end = self.expression(expression, &mut registers, base)?;
            if !matches!(end, Flow::Next) {
                break;
            }
        }
        let matched = !matches!(end, Flow::Break);
        self.steps.push(Step { chain: chain.to_owned(), rule: position, ran, matched });
        Ok(end)
    }

    fn expression(
        &mut self,
        expression: &Expression,
        registers: &mut Registers,
        base: &BaseChain,
    ) -> Result<Flow, Fault> {
        match expression {
            Expression::Payload { base, offset, length, dest } => {
                registers.write(*dest, &self.packet.bytes(*base, *offset, *length)?)?;
            }
            Expression::Meta { key, dest } => registers.write(*dest, &self.meta(*key)?)?,
            Expression::MetaSet { key, source } => self.set_meta(*key, registers.read_u32(*source)?)?,
            Expression::Ct { key, direction, dest } => match self.conntrack(*key, *direction)? {
                Some(value) => registers.write(*dest, &value)?,
                None => return Ok(Flow::Break),
            },
            Expression::Compare { source, op, value } => {
                return Ok(goes_on(compare(&registers.read(*source, value.len())?, *op, value)));
            }
            Expression::Range { source, invert, from, to } => {
                let value = registers.read(*source, from.len())?;
                return Ok(goes_on((*from <= value && value <= *to) != *invert));
            }
            Expression::Bitwise { source, dest, length, op } => {
                let value = registers.read(*source, *length as usize)?;
                registers.write(*dest, &bitwise(value, op)?)?;
            }
            Expression::Immediate { data: Data::Verdict(verdict), .. } => return Ok(decide(verdict)),
            Expression::Immediate { dest, data: Data::Value(value) } => registers.write(*dest, value)?,
            Expression::Lookup { set, source, dest, invert } => {
                return self.look_up(set, registers, *source, *dest, *invert);
            }
            Expression::Dynset { .. } => return self.change_set(expression, registers),
            Expression::Numgen { modulus, offset, dest, .. } => {
                let number = (self.draw)(*modulus);
                self.drawn.push((number, *modulus));
                registers.write(*dest, &(number + offset).to_ne_bytes())?;
            }
            Expression::Nat { kind: NatKind::Destination, family, address, port, .. } => {
                self.rewrite_destination(registers, base, *family, *address, *port)?;
                return Ok(Flow::Verdict(Verdict::Accept));
            }
            Expression::Masquerade { .. } => {
                only_nat(base, &[Hook::Postrouting])?;
                self.masquerade = true;
                self.status = self.status | CtStatus::SRC_NAT | decision(base.hook);
                return Ok(Flow::Verdict(Verdict::Accept));
            }
            Expression::Fib { result: FibResult::AddressType, flags, dest } => {
                registers.write(*dest, &self.address_type(*flags)?.to_ne_bytes())?;
            }
            Expression::Reject(reject) => return Ok(Flow::Fate(Fate::Reject(*reject))),
            Expression::Counter { .. } => {}
            other => return Err(Fault::NotModelled(format!("{other:?}"))),
        }
        Ok(Flow::Next)
    }

    fn look_up(
        &mut self,
        name: &str,
        registers: &mut Registers,
        source: Register,
        dest: Option<Register>,
        invert: bool,
    ) -> Result<Flow, Fault> {
        let contents = self.ruleset.set(name).ok_or_else(|| Fault::NoSet(name.to_owned()))?;
        let key = registers.read(source, contents.set.key.length as usize)?;
        let data = if is_dynamic(&contents.set) {
            let found = self.memory.get(name, &key);
            found.map(|data| data.map(|value| Data::Value(value.to_vec())))
        } else {
            sets::find(contents, &key).map(|element| element.data.clone())
        };
        match (data, dest) {
            (None, _) => Ok(goes_on(invert)),
            (Some(_), _) if invert => Ok(Flow::Break),
            (Some(None) | Some(Some(_)), None) => Ok(Flow::Next),
            (Some(Some(Data::Verdict(verdict))), Some(_)) => Ok(decide(&verdict)),
            (Some(Some(Data::Value(value))), Some(dest)) => {
                registers.write(dest, &value)?;
                Ok(Flow::Next)
            }
            (Some(None), Some(_)) => Err(Fault::NotModelled(format!("element of {name} without data"))),
        }
    }

    fn change_set(&mut self, expression: &Expression, registers: &Registers) -> Result<Flow, Fault> {
        let Expression::Dynset { set, op, key, data, timeout, invert, expressions } = expression else {
            return Ok(Flow::Next);
        };
        if !expressions.is_empty() {
            return Err(Fault::NotModelled("expressions kept with elements".to_owned()));
        }
        let contents = self.ruleset.set(set).ok_or_else(|| Fault::NoSet(set.clone()))?;
        if !is_dynamic(&contents.set) {
            return Err(Fault::NotModelled(format!("a rule changes {set}, which is not dynamic")));
        }
        let key = registers.read(*key, contents.set.key.length as usize)?;
        let length = match &contents.set.data {
            Some(SetData::Value(data)) => Some(data.length as usize),
            _ => None,
        };
        let data = match (data, length) {
            (Some(register), Some(length)) => Some(registers.read(*register, length)?),
            (None, None) => None,
            _ => return Err(Fault::NotModelled(format!("data and {set} do not fit"))),
        };
        if *op == DynsetOp::Delete {
            self.memory.remove(set, &key);
            return Ok(Flow::Next);
        }
        let there = self.memory.put(&contents.set, key, data, *timeout, *op == DynsetOp::Update);
        Ok(goes_on(there != *invert))
    }

    fn meta(&self, key: MetaKey) -> Result<Vec<u8>, Fault> {
        let input = || self.input.as_ref().ok_or(Fault::UnknownFact("input interface"));
        let v4 = self.packet.destination.is_ipv4();
        Ok(match key {
            MetaKey::Priority => self.packet.priority.to_ne_bytes().to_vec(),
            MetaKey::Mark => self.packet.mark.to_ne_bytes().to_vec(),
            MetaKey::L4Proto => vec![self.packet.protocol.number()],
            MetaKey::NfProto => vec![if v4 { Family::Ip.number() } else { Family::Ip6.number() }],
            MetaKey::Protocol => if v4 { [0x08, 0x00] } else { [0x86, 0xdd] }.to_vec(),
            MetaKey::Iif => input()?.index.to_ne_bytes().to_vec(),
            MetaKey::IifName => {
                let mut name = input()?.name.clone().into_bytes();
                name.resize(NAME_LENGTH, 0);
                name
            }
            other => return Err(Fault::NotModelled(format!("meta {other:?}"))),
        })
    }

    fn set_meta(&mut self, key: MetaKey, value: u32) -> Result<(), Fault> {
        match key {
            MetaKey::Priority => self.packet.priority = value,
            MetaKey::Mark => self.packet.mark = value,
            other => return Err(Fault::NotModelled(format!("meta {other:?} set"))),
        }
        Ok(())
    }

    fn conntrack(&self, key: CtKey, direction: Option<CtDirection>) -> Result<Option<Vec<u8>>, Fault> {
        if !self.tracked {
            return Ok((key == CtKey::State).then(|| CtState::INVALID.bits().to_ne_bytes().to_vec()));
        }
        let number = |bits: u32| bits.to_ne_bytes().to_vec();
        let established = !self.original.state.contains(CtState::NEW);
        if established && !matches!(key, CtKey::State | CtKey::L3Protocol | CtKey::Protocol) {
            return Err(Fault::UnknownFact("flow"));
        }
        let flow = match direction {
            Some(CtDirection::Reply) => reversed(&self.packet),
            Some(CtDirection::Original) | None => self.original.clone(),
        };
        Ok(Some(match (key, direction) {
            (CtKey::State, _) => number(self.original.state.bits()),
            (CtKey::Status, _) => number(self.status.bits()),
            (CtKey::Direction, _) => vec![CtDirection::Original.number()],
            (CtKey::L3Protocol, _) => self.meta(MetaKey::NfProto)?,
            (CtKey::Protocol, _) => vec![flow.protocol.number()],
            (CtKey::Source | CtKey::SourceIp | CtKey::SourceIp6, Some(_)) => octets(flow.source.ip()),
            (CtKey::Destination | CtKey::DestinationIp | CtKey::DestinationIp6, Some(_)) => {
                octets(flow.destination.ip())
            }
            (CtKey::ProtoSource, Some(_)) => flow.source.port().to_be_bytes().to_vec(),
            (CtKey::ProtoDestination, Some(_)) => flow.destination.port().to_be_bytes().to_vec(),
            (other, _) => return Err(Fault::NotModelled(format!("ct {other:?}"))),
        }))
    }

    fn rewrite_destination(
        &mut self,
        registers: &Registers,
        base: &BaseChain,
        family: Family,
        address: Option<RegisterPair>,
        port: Option<RegisterPair>,
    ) -> Result<(), Fault> {
        only_nat(base, &[Hook::Prerouting, Hook::Output])?;
        if [address, port].into_iter().flatten().any(|pair| pair.min != pair.max) {
            return Err(Fault::NotModelled("nat to a range".to_owned()));
        }
        let mut to = self.packet.destination;
        if let Some(pair) = address {
            to.set_ip(match family {
                Family::Ip => IpAddr::from(array::<4>(&registers.read(pair.min, 4)?)),
                Family::Ip6 => IpAddr::from(array::<16>(&registers.read(pair.min, 16)?)),
                Family::Inet => return Err(Fault::NotModelled("nat of family inet".to_owned())),
            });
        }
        if let Some(pair) = port {
            to.set_port(u16::from_be_bytes(array::<2>(&registers.read(pair.min, 2)?)));
        }
        // A rewrite to the same place leaves no trace in the status.
        if to != self.packet.destination {
            self.status = self.status | CtStatus::DST_NAT;
        }
        self.status = self.status | decision(base.hook);
        self.packet.destination = to;
        self.dnat = Some(to);
        Ok(())
    }

    fn address_type(&self, flags: FibFlags) -> Result<u32, Fault> {
        let address = match flags {
            FibFlags::DESTINATION => self.packet.destination.ip(),
            FibFlags::SOURCE => self.packet.source.ip(),
            other => return Err(Fault::NotModelled(format!("fib {other:?}"))),
        };
        Ok(if self.node.is_local(address) {
            LOCAL
        } else if address.is_multicast() {
            MULTICAST
        } else {
            UNICAST
        })
    }
}

fn goes_on(matched: bool) -> Flow {
    if matched { Flow::Next } else { Flow::Break }
}

fn decide(verdict: &Verdict) -> Flow {
    if *verdict == Verdict::Continue { Flow::Next } else { Flow::Verdict(verdict.clone()) }
}

fn only_nat(base: &BaseChain, hooks: &[Hook]) -> Result<(), Fault> {
    if base.kind == ChainKind::Nat && hooks.contains(&base.hook) {
        return Ok(());
    }
    Err(Fault::NotModelled(format!("nat in a {} chain at {:?}", base.kind.name(), base.hook)))
}

fn compare(value: &[u8], op: CompareOp, with: &[u8]) -> bool {
    match op {
        CompareOp::Equal => value == with,
        CompareOp::NotEqual => value != with,
        CompareOp::Less => value < with,
        CompareOp::LessOrEqual => value <= with,
        CompareOp::Greater => value > with,
        CompareOp::GreaterOrEqual => value >= with,
    }
}

fn bitwise(value: Vec<u8>, op: &BitwiseOp) -> Result<Vec<u8>, Fault> {
    match op {
        BitwiseOp::MaskXor { mask, xor } if mask.len() == value.len() && xor.len() == value.len() => {
            let bits = value.into_iter().zip(mask).zip(xor);
            Ok(bits.map(|((value, mask), xor)| (value & mask) ^ xor).collect())
        }
        other => Err(Fault::NotModelled(format!("bitwise {other:?}"))),
    }
}

fn reversed(packet: &Packet) -> Packet {
    Packet { source: packet.destination, destination: packet.source, ..packet.clone() }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}
