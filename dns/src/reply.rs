//! A reply on its way to being a message.

use hickory_proto::op::{Edns, Metadata, ResponseCode, emit_message_parts};
use hickory_proto::rr::{Record, RecordType};
use hickory_proto::serialize::binary::BinEncoder;
use hickory_server::net::xfer::Protocol;
use hickory_server::zone_handler::MessageRequest;
use rand::seq::SliceRandom;

/// Largest UDP message that is sent, whatever the client takes: it passes every network in one piece
/// (RFC 9715).
///
/// Differs from upstream: an answer over UDP has at most 1,232 octets; CoreDNS sends as much as the client
/// takes unless the plugin `bufsize` is on.
pub(crate) const MAX_UDP: u16 = 1232;
/// Largest UDP message for clients without EDNS (RFC 1035 §4.2.1).
const PLAIN_UDP: u16 = 512;
/// Octets of our OPT record: root, type, class, time to live and no data.
const OPT: u16 = 11;

/// What goes into a message.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) code: ResponseCode,
    /// AA: the server answers for the zone.
    pub(crate) authoritative: bool,
    /// AD: an upstream says that it validated the answer.
    pub(crate) authentic: bool,
    pub(crate) truncated: bool,
    pub(crate) answer: Vec<Record>,
    pub(crate) authority: Vec<Record>,
    pub(crate) additional: Vec<Record>,
}

impl Reply {
    /// A reply without records.
    pub(crate) fn code(code: ResponseCode) -> Self {
        Self { code, ..Self::default() }
    }

    /// Puts addresses in random order, so that clients that take the first one spread.
    pub(crate) fn shuffle(&mut self) {
        let is_address = |record: &Record| matches!(record.record_type(), RecordType::A | RecordType::AAAA);
        let start = self.answer.iter().position(is_address).unwrap_or(self.answer.len());
        let addresses = self.answer.get_mut(start..).unwrap_or_default();
        if addresses.iter().all(is_address) {
            addresses.shuffle(&mut rand::rng());
        }
    }

    /// The header that answers the request's. `recursion` is whether other names are forwarded.
    ///
    /// Differs from upstream: where other names are forwarded, RA (recursion available) is set in answers
    /// from the zone too, as some clients warn without it.
    pub(crate) fn metadata(&self, request: &MessageRequest, recursion: bool) -> Metadata {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = self.code;
        metadata.authoritative = self.authoritative;
        metadata.authentic_data = self.authentic;
        metadata.truncation = self.truncated;
        metadata.recursion_available = recursion;
        metadata
    }

    /// Takes out the records that do not fit, and says so (TC) if they are missed in the answer.
    ///
    /// The encoder would do it too, but leaves no room for the OPT record then, which must be there
    /// (RFC 6891 §7), and sets TC for additional records, which nobody needs (RFC 2181 §9).
    pub(crate) fn fit(&mut self, request: &MessageRequest, protocol: Protocol) {
        let limit = match protocol {
            Protocol::Udp => udp_size(request),
            _ => u16::MAX,
        };
        let mut bytes = Vec::with_capacity(PLAIN_UDP.into());
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(if request.edns.is_some() { limit - OPT } else { limit });
        let header = emit_message_parts(
            &self.metadata(request, false),
            &mut request.queries.queries().iter(),
            &mut self.answer.iter(),
            &mut self.authority.iter(),
            &mut self.additional.iter(),
            None,
            None,
            &mut encoder,
        );
        let counts = header.map(|header| header.counts).unwrap_or_default();
        self.truncated |= usize::from(counts.answers) < self.answer.len()
            || usize::from(counts.authorities) < self.authority.len();
        self.answer.truncate(counts.answers.into());
        self.authority.truncate(counts.authorities.into());
        self.additional.truncate(counts.additionals.into());
    }
}

/// Largest UDP message that this client gets.
pub(crate) fn udp_size(request: &MessageRequest) -> u16 {
    request.edns.as_ref().map_or(PLAIN_UDP, |edns| edns.max_payload().clamp(PLAIN_UDP, MAX_UDP))
}

/// The OPT record that answers the client's; none for clients without EDNS (RFC 6891 §6.1.1).
///
/// No option is sent back: there is none that the server knows.
///
/// Differs from upstream: answers carry no EDNS options and the server's own size; CoreDNS repeats some
/// options (NSID, cookies, padding) without acting on them, and the size as the client sent it.
pub(crate) fn edns(request: &MessageRequest) -> Option<Edns> {
    let asked = request.edns.as_ref()?;
    let mut edns = Edns::new();
    edns.set_max_payload(udp_size(request)).set_version(0).set_dnssec_ok(asked.flags().dnssec_ok);
    Some(edns)
}
