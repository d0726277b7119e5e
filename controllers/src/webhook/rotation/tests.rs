use super::super::issue::{Issued, issue};
use super::*;

const NAME: &str = "hook.ns.svc";
const DAY: i64 = 86_400;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn times() -> Times {
    Times::default()
}

fn made(now: Timestamp) -> Issued {
    issue(NAME, now, times().lifetime).unwrap()
}

fn data(pairs: &[(&str, &str)]) -> Data {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
}

fn single(issued: &Issued) -> Data {
    data(&[
        (keys::AUTHORITIES, &issued.authority),
        (keys::CERTIFICATE, &issued.certificate),
        (keys::KEY, &issued.key),
    ])
}

fn next(data: &Data, stepped: i64, published: bool, now: i64) -> Step {
    plan(data, Some(at(stepped)), published, NAME, at(now), &times())
}

#[test]
fn a_fresh_certificate_is_kept_until_thirty_days_before_its_end() {
    let data = single(&made(at(0)));
    assert_eq!(next(&data, 0, true, 1), Step::Keep);
    assert_eq!(next(&data, 0, true, 60 * DAY - 1), Step::Keep);
    assert_eq!(next(&data, 0, true, 60 * DAY), Step::Prepare);
    assert_eq!(Certificate::shown(&data).unwrap().not_after, at(90 * DAY));
}

#[test]
fn the_next_one_is_shown_when_it_is_trusted_and_some_time_has_passed() {
    let (old, new) = (made(at(0)), made(at(60 * DAY)));
    let both = old.authority.clone() + &new.authority;
    let mut data = single(&old);
    data.insert(keys::AUTHORITIES.to_owned(), both.clone().into_bytes());
    data.insert(keys::NEXT_CERTIFICATE.to_owned(), new.certificate.clone().into_bytes());
    data.insert(keys::NEXT_KEY.to_owned(), new.key.clone().into_bytes());
    let prepared = 60 * DAY;
    assert_eq!(next(&data, prepared, true, prepared + 599), Step::Keep);
    assert_eq!(
        next(&data, prepared, false, prepared + 601),
        Step::Keep,
        "the API server does not trust it yet"
    );
    assert_eq!(next(&data, prepared, true, prepared + 600), Step::Promote);

    let mut data = single(&new);
    data.insert(keys::AUTHORITIES.to_owned(), both.into_bytes());
    let promoted = prepared + 600;
    assert_eq!(next(&data, promoted, true, promoted + 599), Step::Keep);
    assert_eq!(next(&data, promoted, true, promoted + 600), Step::Retire);
    // It is too old already, as after a long pause: the old authority stays as long all the same.
    let late = prepared + 61 * DAY;
    assert_eq!(next(&data, late, true, late + 599), Step::Keep);
    assert_eq!(next(&data, late, true, late + 600), Step::Prepare);
    let signer = authority_of_serving(&data, NAME, at(promoted)).unwrap();
    let authority = CertificateDer::from_pem_slice(new.authority.as_bytes()).unwrap();
    assert_eq!(signer, authority);
}

#[test]
fn what_cannot_be_served_is_replaced_and_told() {
    let (good, other) = (made(at(0)), made(at(5)));
    let fine = single(&good);
    let with = |key: &str, value: &str| {
        let mut data = fine.clone();
        data.insert(key.to_owned(), value.as_bytes().to_vec());
        data
    };
    let without = |key: &str| {
        let mut data = fine.clone();
        data.remove(key);
        data
    };
    for (data, now, name, word) in [
        (Data::new(), 1, NAME, "no ca.crt"),
        (without(keys::KEY), 1, NAME, "no tls.key"),
        (without(keys::CERTIFICATE), 1, NAME, "no tls.crt"),
        (with(keys::CERTIFICATE, "garbage"), 1, NAME, "holds no certificate"),
        (with(keys::KEY, "garbage"), 1, NAME, "not a key"),
        (with(keys::KEY, &other.key), 1, NAME, "cannot be used together"),
        (with(keys::AUTHORITIES, &other.authority), 10, NAME, "refused"),
        (fine.clone(), 91 * DAY, NAME, "refused"),
        (fine.clone(), -DAY, NAME, "refused"),
        (fine.clone(), 1, "other.ns.svc", "refused"),
    ] {
        let step = plan(&data, Some(at(0)), true, name, at(now), &times());
        let right = match &step {
            // Only a leader may: another replica's clock may be the wrong one.
            Step::Reissue(reason) => word == "refused" && reason.contains(word),
            Step::Replace(reason) => word != "refused" && reason.contains(word),
            _ => false,
        };
        assert!(right, "{step:?} for {word}");
    }
    let garbage = with(keys::NEXT_CERTIFICATE, "garbage");
    assert_eq!(next(&garbage, 0, true, 600), Step::Retire, "what comes next is not needed yet");
    assert_eq!(next(&garbage, 0, true, 61 * DAY), Step::Prepare);
}
