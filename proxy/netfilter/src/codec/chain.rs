//! Chains (NFTA_CHAIN_*, NFTA_HOOK_*).

use super::{known, table_id};
use crate::model::{BaseChain, Chain, ChainKind, Hook, Policy};
use crate::wire::{Attributes, Malformed, Message, Writer, value};

const TABLE: u16 = 1;
const HANDLE: u16 = 2;
pub(crate) const NAME: u16 = 3;
const HOOK: u16 = 4;
const POLICY: u16 = 5;
const TYPE: u16 = 7;
const USERDATA: u16 = 12;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;

pub(crate) fn encode_chain(w: &mut Writer, chain: &Chain) {
    w.text(TABLE, &chain.table.name);
    w.text(NAME, &chain.name);
    if let Some(base) = &chain.base {
        w.nest(HOOK, |w| {
            w.be32(HOOK_NUMBER, base.hook.number());
            w.be32(HOOK_PRIORITY, base.priority.cast_unsigned());
        });
        w.be32(POLICY, policy_number(base.policy));
        w.text(TYPE, base.kind.name());
    }
    if !chain.userdata.is_empty() {
        w.bytes(USERDATA, &chain.userdata);
    }
}

pub(crate) fn decode_chain(message: &Message<'_>) -> Result<Chain, Malformed> {
    let fields = known::<13>(message.attributes());
    let name = fields[usize::from(NAME)].and_then(value::text).ok_or(Malformed::new("chain name"))?;
    let base = fields[usize::from(HOOK)].map(|hook| decode_base(hook, &fields)).transpose()?;
    Ok(Chain {
        table: table_id(message.family(), fields[usize::from(TABLE)])?,
        name,
        base,
        handle: fields[usize::from(HANDLE)].and_then(value::be64),
        userdata: fields[usize::from(USERDATA)].unwrap_or_default().to_vec(),
    })
}

fn decode_base(hook: &[u8], fields: &[Option<&[u8]>; 13]) -> Result<BaseChain, Malformed> {
    let hook_fields = known::<3>(Attributes(hook));
    let malformed = Malformed::new("base chain");
    let number = hook_fields[usize::from(HOOK_NUMBER)].and_then(value::be32);
    let priority = hook_fields[usize::from(HOOK_PRIORITY)].and_then(value::be32).ok_or(malformed)?;
    Ok(BaseChain {
        hook: number.and_then(Hook::from_number).ok_or(malformed)?,
        priority: priority.cast_signed(),
        kind: fields[usize::from(TYPE)]
            .and_then(value::text)
            .map_or(ChainKind::Filter, |name| ChainKind::from_name(&name)),
        policy: match fields[usize::from(POLICY)].and_then(value::be32) {
            Some(0) => Policy::Drop,
            _ => Policy::Accept,
        },
    })
}

/// Policies are the verdicts NF_DROP and NF_ACCEPT.
const fn policy_number(policy: Policy) -> u32 {
    match policy {
        Policy::Drop => 0,
        Policy::Accept => 1,
    }
}
