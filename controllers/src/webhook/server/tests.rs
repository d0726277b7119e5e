use axum::Router;
use axum::body::Body;
use tokio::time::advance;
use tower::ServiceExt;

use super::*;

/// How long after the process ends the server does, if somebody asks every `pause` until `last`.
async fn lingers(pause: Duration, last: Duration) -> Duration {
    let end = End { ending: CancellationToken::new(), asked: Arc::new(Mutex::new(Instant::now())) };
    let routes = Router::new().fallback(|| async {}).layer(from_fn_with_state(end.clone(), pass));
    advance(Duration::from_secs(60)).await;
    end.ending.cancel();
    let began = Instant::now();
    let asking = async {
        while began.elapsed() < last {
            let answer = routes.clone().oneshot(Request::new(Body::empty())).await.unwrap();
            assert_eq!(answer.headers()[header::CONNECTION], "close");
            sleep(pause).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = end.quiet() => began.elapsed(),
        () = asking => unreachable!(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_ends_when_nobody_asks_any_more() {
    let s = Duration::from_secs;
    // Nobody asks, or for as long as it stays in any case.
    assert_eq!(lingers(s(1), s(0)).await, s(7));
    assert_eq!(lingers(s(1), s(5)).await, s(7));
    // The last one asks at 9 s.
    assert_eq!(lingers(s(1), s(10)).await, s(11));
    // There is no other replica.
    assert_eq!(lingers(s(1), s(100)).await, s(15));
    // Rarely enough to be another one each time.
    assert_eq!(lingers(s(3), s(100)).await, s(8));
}
