//! Rules (NFTA_RULE_*).

use super::expression::{decode_expressions, encode_expressions};
use super::{known, table_id};
use crate::model::Rule;
use crate::wire::{Malformed, Message, Writer, value};

const TABLE: u16 = 1;
pub(crate) const CHAIN: u16 = 2;
pub(crate) const HANDLE: u16 = 3;
const EXPRESSIONS: u16 = 4;
pub(crate) const POSITION: u16 = 6;
const USERDATA: u16 = 7;

/// The rule without its handle, which only some operations send. `set_ids` gives the number of a set that
/// the same batch adds.
pub(crate) fn encode_rule(w: &mut Writer, rule: &Rule, set_ids: &dyn Fn(&str) -> Option<u32>) {
    w.text(TABLE, &rule.table.name);
    w.text(CHAIN, &rule.chain);
    w.nest(EXPRESSIONS, |w| encode_expressions(w, &rule.expressions, set_ids));
    if !rule.userdata.is_empty() {
        w.bytes(USERDATA, &rule.userdata);
    }
}

pub(crate) fn decode_rule(message: &Message<'_>) -> Result<Rule, Malformed> {
    let fields = known::<8>(message.attributes());
    let chain = fields[usize::from(CHAIN)].and_then(value::text).ok_or(Malformed::new("chain of a rule"))?;
    Ok(Rule {
        table: table_id(message.family(), fields[usize::from(TABLE)])?,
        chain,
        expressions: decode_expressions(fields[usize::from(EXPRESSIONS)].unwrap_or_default())?,
        handle: fields[usize::from(HANDLE)].and_then(value::be64),
        userdata: fields[usize::from(USERDATA)].unwrap_or_default().to_vec(),
    })
}
