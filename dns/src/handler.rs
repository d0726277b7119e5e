//! From a query to its reply.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use async_trait::async_trait;
use hickory_proto::op::{Header, HeaderCounts, LowerQuery, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::{MessageRequest, MessageResponseBuilder};
use portolan_zone::{Answer, Outcome, Zone};
use tracing::debug;

use crate::check::refusal;
use crate::forward::{Forwarder, Question};
use crate::metrics::{Metrics, Seen};
use crate::reply::{Reply, edns};

/// Answers the queries of one listen address.
pub(crate) struct Handler {
    pub(crate) zone: Arc<RwLock<Zone>>,
    pub(crate) forwarder: Arc<Forwarder>,
    pub(crate) metrics: Metrics,
    /// The cluster's domain.
    pub(crate) origin: Name,
    /// Listen address, as metrics name it.
    pub(crate) server: Arc<str>,
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut client: R,
    ) -> ResponseInfo {
        let began = Instant::now();
        let mut reply = match refusal(request) {
            Some(code) => Reply::code(code),
            None => self.reply(request).await,
        };
        reply.fit(request, request.protocol());
        let metadata = reply.metadata(request, self.forwarder.offered());
        self.metrics.count(&self.seen(request), reply.code, began.elapsed());
        let edns = edns(request);
        let message = MessageResponseBuilder::new(&request.queries, edns.as_ref()).build(
            metadata,
            &reply.answer,
            &reply.authority,
            [],
            &reply.additional,
        );
        match client.send_response(message).await {
            Ok(info) => info,
            Err(error) => {
                // The client is gone, or its connection is.
                debug!(client = %request.src(), %error, "reply not sent");
                ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() })
            }
        }
    }
}

impl Handler {
    async fn reply(&self, request: &MessageRequest) -> Reply {
        let Some(question) = request.queries.queries().first() else {
            return Reply::code(ResponseCode::FormErr);
        };
        let (name, record_type) = (question.original().name(), question.query_type());
        let Answer { chain, name, outcome } =
            self.zone.read().unwrap_or_else(PoisonError::into_inner).answer(name, record_type);
        let ours = Reply { authoritative: true, answer: chain, ..Reply::default() };
        match outcome {
            Outcome::Records { answer, additional } => {
                let mut reply = Reply { additional, ..ours };
                reply.answer.extend(answer);
                reply.shuffle();
                reply
            }
            Outcome::NoData(soa) => Reply { authority: vec![soa], ..ours },
            Outcome::NxDomain(soa) => Reply { code: ResponseCode::NXDomain, authority: vec![soa], ..ours },
            Outcome::NotSynced(soa) => Reply { code: ResponseCode::ServFail, authority: vec![soa], ..ours },
            Outcome::AliasLoop => Reply { answer: Vec::new(), ..Reply::code(ResponseCode::ServFail) },
            Outcome::NotOurs => self.forward(request, name, record_type, ours).await,
        }
    }

    /// Asks the upstream and adds its answer to the aliases that led there.
    ///
    /// Differs from upstream: where an ExternalName's target cannot be looked up, CoreDNS answers with
    /// the alias alone, which clients read as "no address"; here an outage is SERVFAIL.
    async fn forward(
        &self,
        request: &MessageRequest,
        name: Name,
        record_type: RecordType,
        ours: Reply,
    ) -> Reply {
        if !self.forwarder.offered() {
            let aliased = !ours.answer.is_empty();
            return if aliased { ours } else { Reply::code(ResponseCode::Refused) };
        }
        let metadata = &request.metadata;
        let question = Question {
            name,
            record_type,
            recursion_desired: metadata.recursion_desired || !ours.answer.is_empty(),
            checking_disabled: metadata.checking_disabled,
            authentic_data: metadata.authentic_data,
            dnssec_ok: request.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok),
        };
        let answer = match self.forwarder.ask(&question).await {
            Ok(answer) => answer,
            Err(error) => return Reply::code(error.code()),
        };
        let aliased = !ours.answer.is_empty();
        let mut reply = Reply {
            code: answer.metadata.response_code,
            // With an alias of ours in front, the answer is about our name.
            authoritative: aliased,
            authentic: answer.metadata.authentic_data && !aliased,
            truncated: answer.metadata.truncation,
            answer: ours.answer,
            authority: answer.authorities,
            additional: answer.additionals,
        };
        reply.answer.extend(answer.answers);
        reply.shuffle();
        reply
    }

    fn seen<'a>(&'a self, request: &'a Request) -> Seen<'a> {
        let question = request.queries.queries().first();
        Seen {
            server: &self.server,
            ours: question.is_some_and(|question| self.origin.zone_of(question.original().name())),
            client: request.src(),
            protocol: request.protocol(),
            record_type: question.map(LowerQuery::query_type),
        }
    }
}
