//! Answers in protobuf, as the API server 1.36.3 wrote them about Endpoints `default/web`.

use super::*;

const CREATED: &[u8] = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09Endpoints\x12K\x0aI\x0a\x03web\x12\0\x1a\x07default\
    \x22\0*$6933b231-ec10-4b70-8ecc-cca5e51535bd2\x035078\0B\x08\x08\xbe\xa5\x89\xd8\x06\x10\0\x1a\0\x22\0";
const DELETED: &[u8] = b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Status\x12S\x0a\x06\x0a\0\x12\0\x1a\0\x12\x07Success\
    \x1a\0\x22\0*:\x0a\x03web\x12\0\x1a\x09endpoints(\x002$6933b231-ec10-4b70-8ecc-cca5e51535bd0\0\x1a\0\x22\0";
/// To a deletion that waits for a finalizer.
const WAITS: &[u8] = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09Endpoints\x12^\x0a\\\x0a\x03web\x12\0\x1a\x07default\
    \x22\0*$6933b231-ec10-4b70-8ecc-cca5e51535bd2\x035098\0B\x08\x08\xbe\xa5\x89\xd8\x06\x10\0\
    J\x08\x08\xbf\xa5\x89\xd8\x06\x10\0P\0r\x05a.b/c\x1a\0\x22\0";
const NAMESPACE_GOES: &[u8] = b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Status\x12\xf6\x01\x0a\x06\x0a\0\x12\0\x1a\0\
    \x12\x07Failure\x1alendpoints \x22web\x22 is forbidden: unable to create new content in namespace \
    \x67oing because it is being terminated\x22\x09Forbidden*g\x0a\x03web\x12\0\x1a\x09endpoints\
    \x22O\x0a\x14NamespaceTerminating\x12#namespace going is being terminated\
    \x1a\x12metadata.namespace(\x002\x000\x93\x03\x1a\0\x22\0";

fn answering(status: u16, body: &'static [u8]) -> Writer {
    let (writer, _) = server(move |request| {
        assert_eq!(request.headers()[header::ACCEPT], Encoding::ACCEPT);
        let response =
            Response::builder().status(status).header("content-type", "application/vnd.kubernetes.protobuf");
        response.body(Body::from(body.to_vec())).unwrap()
    });
    writer
}

fn web() -> ObjectName {
    ObjectName::new("default", "web")
}

fn version(writer: &Writer) -> Option<u64> {
    writer.store.read().endpoints.get(&web()).map(|object| object.meta.resource_version)
}

/// A write to `web` after another has made it.
async fn after_creation(
    status: u16,
    body: &'static [u8],
    write: &Write<Vec<Subset>>,
) -> (Result<(), WriteError>, Option<u64>) {
    let writer = answering(status, body);
    let made = answering(201, CREATED);
    let made = Writer { store: writer.store.clone(), ..made };
    made.carry_out(&web(), &create()).await.unwrap();
    assert_eq!(version(&writer), Some(507));
    (writer.carry_out(&web(), write).await, version(&writer))
}

#[tokio::test]
async fn answers_in_protobuf_say_the_same() {
    let target =
        Target { name: web(), uid: "6933b231-ec10-4b70-8ecc-cca5e51535bd".into(), resource_version: 507 };
    let delete = Write::Delete { target, because: Because::Emptied };
    assert_eq!(after_creation(200, DELETED, &delete).await, (Ok(()), None));
    assert_eq!(after_creation(200, WAITS, &delete).await, (Ok(()), Some(509)));
    assert_eq!(
        after_creation(403, NAMESPACE_GOES, &create()).await,
        (Err(WriteError::NamespaceGoes), Some(507))
    );
    let (refused, _) = after_creation(422, NAMESPACE_GOES, &create()).await;
    let Err(WriteError::Invalid(message)) = refused else { panic!("{refused:?}") };
    assert!(message.ends_with("because it is being terminated"), "{message}");
}

#[tokio::test]
async fn who_answers_in_protobuf_is_written_to_in_protobuf() {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let log = sent.clone();
    let (writer, requests) = server(move |request| {
        let mut sent = log.lock().unwrap();
        let content_type = request.headers()[header::CONTENT_TYPE].to_str().unwrap();
        sent.push((request.method().clone(), content_type.to_owned()));
        match sent.len() {
            3 => answer(500, "out of order"),
            5 => answer(200, "{}"),
            7 => answer(415, "what is this?"),
            _ => {
                let response = Response::builder()
                    .status(201)
                    .header("content-type", "application/vnd.kubernetes.protobuf");
                response.body(Body::from(CREATED.to_vec())).unwrap()
            }
        }
    });
    for (number, write) in
        [create(), create(), update(), create(), update(), create(), create(), create()].iter().enumerate()
    {
        assert_eq!(writer.carry_out(&web(), write).await.is_err(), number == 2 || number == 6);
    }
    let sent: Vec<_> =
        sent.lock().unwrap().iter().map(|(method, content)| format!("{method} {content}")).collect();
    assert_eq!(
        sent,
        [
            "POST application/json",
            "POST application/vnd.kubernetes.protobuf",
            "PATCH application/merge-patch+json",
            "POST application/vnd.kubernetes.protobuf",
            "PATCH application/merge-patch+json",
            "POST application/json",
            "POST application/vnd.kubernetes.protobuf",
            "POST application/json"
        ]
    );
    let bodies = requests.lock().unwrap();
    assert!(bodies[0].1.starts_with('{') && bodies[1].1.starts_with("k8s\0"), "{bodies:?}");
}
