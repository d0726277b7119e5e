//! Values and verdicts (NFTA_DATA_*, NFTA_VERDICT_*).

use crate::model::{Data, Verdict};
use crate::wire::{Writer, fields, value};

const VALUE: u16 = 1;
const VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;

pub(crate) fn encode_value(w: &mut Writer, kind: u16, bytes: &[u8]) {
    w.nest(kind, |w| w.bytes(VALUE, bytes));
}

pub(crate) fn encode_data(w: &mut Writer, kind: u16, data: &Data) {
    match data {
        Data::Value(bytes) => encode_value(w, kind, bytes),
        Data::Verdict(verdict) => w.nest(kind, |w| {
            w.nest(VERDICT, |w| {
                w.be32(VERDICT_CODE, verdict.code().cast_unsigned());
                if let Some(chain) = verdict.chain() {
                    w.text(VERDICT_CHAIN, chain);
                }
            });
        }),
    }
}

pub(crate) fn decode_value(bytes: &[u8]) -> Option<Vec<u8>> {
    let [_, value] = fields::<2>(bytes)?;
    value.map(<[u8]>::to_vec)
}

pub(crate) fn decode_data(bytes: &[u8]) -> Option<Data> {
    match fields::<3>(bytes)? {
        [_, Some(value), None] => Some(Data::Value(value.to_vec())),
        [_, None, Some(verdict)] => decode_verdict(verdict).map(Data::Verdict),
        _ => None,
    }
}

fn decode_verdict(bytes: &[u8]) -> Option<Verdict> {
    let [_, code, chain] = fields::<3>(bytes)?;
    let code = value::be32(code?)?.cast_signed();
    let chain = chain.and_then(value::text);
    Some(match (code, chain) {
        (0, _) => Verdict::Drop,
        (1, _) => Verdict::Accept,
        (-1, _) => Verdict::Continue,
        (-3, Some(chain)) => Verdict::Jump(chain),
        (-4, Some(chain)) => Verdict::Goto(chain),
        (-5, _) => Verdict::Return,
        (code, _) => Verdict::Other(code),
    })
}
