//! Queries to the upstream, and whether an answer is one to them.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{DNSClass, Name, RecordType};

use crate::reply::MAX_UDP;

/// What to ask, with the client's flags that matter to the upstream.
///
/// The client's other EDNS options are between it and this server, and are not passed on.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) name: Name,
    pub(crate) record_type: RecordType,
    /// RD
    pub(crate) recursion_desired: bool,
    /// CD: the client validates itself (RFC 4035 §3.2.2).
    pub(crate) checking_disabled: bool,
    /// AD: the client wants to know whether the answer was validated (RFC 6840 §5.7).
    pub(crate) authentic_data: bool,
    /// DO: the client wants signatures.
    pub(crate) dnssec_ok: bool,
}

impl Question {
    /// The query under an id, which must be random: it is half of what protects against forged answers
    /// (the other is the port; RFC 5452).
    ///
    /// With EDNS even where the client has none: large answers then need no TCP.
    pub(crate) fn query(&self, id: u16, with_edns: bool) -> Message {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.checking_disabled = self.checking_disabled;
        message.metadata.authentic_data = self.authentic_data;
        message.add_query(Query::query(self.name.clone(), self.record_type));
        if with_edns {
            let mut edns = Edns::new();
            edns.set_max_payload(MAX_UDP).set_version(0).set_dnssec_ok(self.dnssec_ok);
            message.set_edns(edns);
        }
        message
    }

    /// Whether a message answers the query that was sent under `id`.
    ///
    /// A server that could not parse the query may leave the question out.
    pub(crate) fn answered_by(&self, message: &Message, id: u16) -> bool {
        let same = |query: &Query| {
            *query.name() == self.name
                && query.query_type() == self.record_type
                && query.query_class() == DNSClass::IN
        };
        let metadata = &message.metadata;
        metadata.id == id
            && metadata.message_type == MessageType::Response
            && match message.queries.as_slice() {
                [query] => same(query),
                [] => metadata.response_code != hickory_proto::op::ResponseCode::NoError,
                _ => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_to_the_question_is_taken() {
        let question = Question {
            name: Name::from_ascii("www.example.").unwrap(),
            record_type: RecordType::A,
            recursion_desired: true,
            checking_disabled: false,
            authentic_data: false,
            dnssec_ok: true,
        };
        let query = question.query(7, true);
        assert!(!question.answered_by(&query, 7), "a query is no answer");
        let answer = query.into_response();
        assert!(question.answered_by(&answer, 7));
        assert!(!question.answered_by(&answer, 8));
        let other = |change: fn(&mut Query)| {
            let mut answer = answer.clone();
            answer.queries.iter_mut().for_each(change);
            question.answered_by(&answer, 7)
        };
        assert!(
            other(|query| query.name = Name::from_ascii("WWW.Example.").unwrap()),
            "case does not matter"
        );
        assert!(!other(|query| query.name = Name::from_ascii("ww.example.").unwrap()));
        assert!(!other(|query| query.query_type = RecordType::AAAA));
        assert!(!other(|query| query.query_class = DNSClass::CH));
    }
}
