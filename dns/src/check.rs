//! What is wrong with a query before its name matters.

use hickory_proto::op::{OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, RecordType};
use hickory_server::zone_handler::MessageRequest;

/// The code that a query is turned away with, if it is.
///
/// Messages that are responses, or too short to have a header, were dropped before; those that cannot be
/// parsed got FORMERR.
pub(crate) fn refusal(request: &MessageRequest) -> Option<ResponseCode> {
    if request.metadata.op_code != OpCode::Query {
        return Some(ResponseCode::NotImp);
    }
    // RFC 9619 for the question, miekg/dns' rule (CoreDNS') for the rest.
    let [question] = request.queries.queries() else { return Some(ResponseCode::FormErr) };
    if request.answers.len() > 1 || request.authorities.len() > 1 || request.additionals.len() > 2 {
        return Some(ResponseCode::FormErr);
    }
    // RFC 6891 §6.1.3.
    if request.edns.as_ref().is_some_and(|edns| edns.version() != 0) {
        return Some(ResponseCode::BADVERS);
    }
    let transfer = matches!(question.query_type(), RecordType::AXFR | RecordType::IXFR);
    (question.query_class() != DNSClass::IN || transfer).then_some(ResponseCode::Refused)
}
