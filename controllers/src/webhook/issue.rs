//! New certificates.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// How far clocks may be apart.
const SKEW: Duration = Duration::from_secs(3600);

/// A certificate and its key, with the authority that has signed it, in PEM.
pub(super) struct Issued {
    pub(super) authority: String,
    pub(super) certificate: String,
    pub(super) key: String,
}

/// An authority that signs one certificate, for a server of that name. Its key is then forgotten: nobody can
/// have anything else signed by it.
pub(super) fn issue(name: &str, now: Timestamp, lifetime: Duration) -> Result<Issued, rcgen::Error> {
    let epoch = date_time_ymd(1970, 1, 1);
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let not_before = epoch + Duration::from_secs(seconds).saturating_sub(SKEW);
    let not_after = epoch + Duration::from_secs(seconds) + lifetime;

    let mut authority = CertificateParams::new(Vec::new())?;
    let authority_key = KeyPair::generate()?;
    // Two of them are trusted at a time: whoever checks a certificate tells them apart by their names.
    let id: String =
        authority.key_identifier(&authority_key).iter().map(|byte| format!("{byte:02x}")).collect();
    authority.distinguished_name.push(DnType::CommonName, format!("portolan-webhook-ca-{id:.16}"));
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    (authority.not_before, authority.not_after) = (not_before, not_after);
    let authority_certificate = authority.self_signed(&authority_key)?;

    let mut server = CertificateParams::new([name.to_owned()])?;
    server.distinguished_name.push(DnType::CommonName, "portolan-webhook");
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    (server.not_before, server.not_after) = (not_before, not_after);
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &Issuer::new(authority, authority_key))?;
    Ok(Issued {
        authority: authority_certificate.pem(),
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}
