use tokio::time::advance;

use super::*;

fn end() -> End {
    End { ending: CancellationToken::new(), asked: Arc::new(Mutex::new(Instant::now())) }
}

/// How long after the process ends the server does, if somebody asks every `pause` until `last`.
async fn lingers(pause: Duration, last: Duration) -> Duration {
    let end = end();
    advance(Duration::from_secs(60)).await;
    end.ending.cancel();
    let began = Instant::now();
    let asking = async {
        while began.elapsed() < last {
            *end.asked.lock().unwrap() = Instant::now();
            sleep(pause).await;
        }
        std::future::pending().await
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
    assert_eq!(lingers(s(1), s(0)).await, s(4));
    assert_eq!(lingers(s(1), s(2)).await, s(4));
    // The last one asks at 6 s.
    assert_eq!(lingers(s(1), s(7)).await, s(8));
    // Nobody tells who asks; or somebody is connected who does not look.
    assert_eq!(lingers(s(1), s(100)).await, s(15));
    // Rarely enough to be another one each time.
    assert_eq!(lingers(s(3), s(100)).await, s(5));
}
