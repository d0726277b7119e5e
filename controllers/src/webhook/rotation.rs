//! When which certificate is made, shown and trusted.
//!
//! A certificate and the authority that signed it are replaced together, in three steps with a pause
//! between them, in which every API server learns of the new authority and every replica of the new certificate:
//! both authorities are trusted, then the new certificate is shown, then the old authority is trusted no more.
//! At every moment what is shown is signed by what is trusted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;

/// Keys of the Secret.
pub mod keys {
    /// The certificate that is shown, and those between it and an authority.
    pub const CERTIFICATE: &str = "tls.crt";
    /// Its key.
    pub const KEY: &str = "tls.key";
    /// The authorities that are trusted.
    pub const AUTHORITIES: &str = "ca.crt";
    /// The certificate that is shown next.
    pub const NEXT_CERTIFICATE: &str = "next.crt";
    /// Its key.
    pub const NEXT_KEY: &str = "next.key";
    /// Annotation: when the last step was made (RFC 3339).
    pub const STEPPED: &str = "portolan.dev/rotation-stepped";
}

/// Durations of a rotation.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// How long a certificate is valid.
    pub lifetime: Duration,
    /// How long before its end the next one is made.
    pub renew_before: Duration,
    /// Pause between two steps; longer than `look` and than an API server takes to see a changed
    /// webhook configuration.
    pub overlap: Duration,
    /// Pause between two looks at the Secret.
    pub look: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Self {
            lifetime: days(90),
            renew_before: days(30),
            overlap: Duration::from_secs(600),
            look: Duration::from_secs(20),
        }
    }
}

/// Content of a Secret.
pub type Data = BTreeMap<String, Vec<u8>>;

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is to be done yet.
    Keep,
    /// What is there cannot be read: make all anew.
    Replace(String),
    /// What is there can be served, and is refused by whoever has this clock and calls the server by this name: make all anew.
    /// Other replicas may see it otherwise.
    Reissue(String),
    /// Make the next certificate, and let both authorities be trusted.
    Prepare,
    /// Show the next certificate.
    Promote,
    /// Trust the authority of what is shown, and no other.
    Retire,
}

/// The next step of a Secret that was last changed at `stepped`. `published` says whether the API server
/// was seen to trust the authorities that the Secret names.
pub fn plan(
    data: &Data,
    stepped: Option<Timestamp>,
    published: bool,
    name: &str,
    now: Timestamp,
    times: &Times,
) -> Step {
    let authorities = match authorities(data) {
        Ok(authorities) => authorities,
        Err(reason) => return Step::Replace(reason),
    };
    let serving = match Certificate::shown(data) {
        Ok(serving) => serving,
        Err(reason) => return Step::Replace(reason),
    };
    if let Err(reason) = serving.check(&authorities, name, now) {
        return Step::Reissue(reason);
    }
    let paused = stepped.is_none_or(|at| now.duration_since(at) >= signed(times.overlap));
    let next = Certificate::of(data, keys::NEXT_CERTIFICATE, keys::NEXT_KEY)
        .and_then(|next| next.check(&authorities, name, now));
    let has_next = data.contains_key(keys::NEXT_CERTIFICATE);
    match next {
        Ok(()) if paused && published => Step::Promote,
        Ok(()) => Step::Keep,
        // Not before all replicas show what was promoted: the authority of what they showed before would go.
        Err(_) if !serving.lasts(now, times) && (paused || authorities.len() == 1) => Step::Prepare,
        Err(_) if !serving.lasts(now, times) => Step::Keep,
        Err(_) if paused && (authorities.len() > 1 || has_next) => Step::Retire,
        Err(_) => Step::Keep,
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// The authorities that a Secret names.
pub fn authorities(data: &Data) -> Result<Vec<CertificateDer<'static>>, String> {
    certificates(data, keys::AUTHORITIES)
}

fn certificates(data: &Data, key: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = data.get(key).ok_or_else(|| format!("it has no {key}"))?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| format!("{key}: {error:?}"))?;
    if all.is_empty() { Err(format!("{key} holds no certificate")) } else { Ok(all) }
}

/// The authority of those that a Secret names that has signed what it shows.
pub fn authority_of_serving(data: &Data, name: &str, now: Timestamp) -> Option<CertificateDer<'static>> {
    let serving = Certificate::of(data, keys::CERTIFICATE, keys::KEY).ok()?;
    let authorities = authorities(data).ok()?;
    authorities
        .into_iter()
        .find(|authority| serving.check(std::slice::from_ref(authority), name, now).is_ok())
}

/// A certificate with its key, ready to be shown.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// For rustls.
    pub key: Arc<CertifiedKey>,
    /// When it ends.
    pub not_after: Timestamp,
}

impl Certificate {
    /// Reads what a Secret shows now.
    pub fn shown(data: &Data) -> Result<Self, String> {
        Self::of(data, keys::CERTIFICATE, keys::KEY)
    }

    fn of(data: &Data, certificate: &str, key: &str) -> Result<Self, String> {
        let chain = certificates(data, certificate)?;
        let pem = data.get(key).ok_or_else(|| format!("it has no {key}"))?;
        let private = PrivateKeyDer::from_pem_slice(pem).map_err(|_| format!("{key} is not a key"))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&chain[0])
            .map_err(|error| format!("{certificate}: {error}"))?;
        let not_after = Timestamp::from_second(parsed.validity().not_after.timestamp())
            .map_err(|error| format!("{certificate}: {error}"))?;
        let provider = rustls::crypto::ring::default_provider();
        let key = CertifiedKey::from_der(chain, private, &provider)
            .map_err(|error| format!("{certificate} and {key} cannot be used together: {error}"))?;
        Ok(Self { key: Arc::new(key), not_after })
    }

    /// Whether who trusts these authorities trusts a server of that name that shows it.
    fn check(&self, authorities: &[CertificateDer<'_>], name: &str, now: Timestamp) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| format!("{}: {error}", keys::AUTHORITIES))?;
        let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let (shown, between) = self.key.cert.split_first().ok_or("no certificate")?;
        let checked = verifier.verify_server_cert(shown, between, &name, &[], at);
        checked.map(|_| ()).map_err(|error| format!("its certificate is refused: {error}"))
    }

    /// Whether it is too early for the next one.
    fn lasts(&self, now: Timestamp, times: &Times) -> bool {
        self.not_after.duration_since(now) > signed(times.renew_before)
    }
}

#[cfg(test)]
mod tests;
