use axum::body::Body;
use http::{Request, StatusCode};
use tower::ServiceExt;

use super::*;

#[tokio::test]
async fn nobody_is_answered_for_a_controller_that_is_off() {
    let excluded = ["portolan".to_owned(), "kube-system".to_owned()];
    for path in ["/mutate-pods", "/mutate-pods/all", "/mutate-pods/chosen"] {
        for (environment, status) in
            [(Some(&excluded), StatusCode::UNSUPPORTED_MEDIA_TYPE), (None, StatusCode::NOT_FOUND)]
        {
            let routes = webhooks(&Admin::new(), environment, None).routes();
            let request = Request::post(path).body(Body::empty()).unwrap();
            assert_eq!(routes.oneshot(request).await.unwrap().status(), status, "{path}");
        }
    }
}
