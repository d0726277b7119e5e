use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake};

use prometheus_client::encoding::text::encode;

use super::*;
use crate::Admin;

fn queue() -> Queue<u32> {
    let metrics = QueueMetrics::new(&Admin::new());
    Queue::new("test", &metrics, Duration::from_millis(10), Duration::from_secs(1))
}

/// The figure of a metric of the queue `test`.
fn figure(admin: &Admin, metric: &str) -> f64 {
    let mut text = String::new();
    admin.register(|registry| encode(&mut text, registry).unwrap());
    let before = format!("{metric}{{name=\"test\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&before)).unwrap().parse().unwrap()
}

const NOW: Duration = Duration::ZERO;

#[tokio::test(start_paused = true)]
async fn a_key_waits_once_and_runs_alone() {
    let queue = queue();
    queue.add(1);
    queue.add(1);
    assert_eq!(queue.next().await, 1);
    queue.add(1);
    queue.add(2);
    assert_eq!(queue.next().await, 2, "1 is being worked on");
    queue.done(&1, NOW);
    assert_eq!(queue.next().await, 1, "added while it was worked on");
    queue.done(&1, NOW);
    queue.done(&2, NOW);
    assert!(queue.lock().idle());
}

#[tokio::test(start_paused = true)]
async fn failed_keys_come_back_after_growing_pauses() {
    let queue = queue();
    queue.add(1);
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let key = queue.next().await;
        pauses.push(queue.retry(&key, None));
    }
    assert!(pauses[0] <= Duration::from_millis(10) && pauses[9] >= Duration::from_millis(500));
    let before = Instant::now();
    queue.next().await;
    assert!(before.elapsed() >= Duration::from_millis(500));
    assert_eq!(queue.retry(&1, Some(Duration::from_secs(7))), Duration::from_secs(7));
    assert!(!queue.lock().idle());
}

#[tokio::test(start_paused = true)]
async fn a_key_comes_back_once_however_often_it_failed_or_was_to_come_back() {
    let queue = queue();
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    for _ in 0..30 {
        queue.add(1);
        queue.retry(&queue.next().await, Some(minute));
    }
    let began = Instant::now();
    queue.retry(&queue.next().await, Some(minute));
    assert_eq!(began.elapsed(), minute);
    queue.retry(&queue.next().await, Some(minute));
    assert_eq!(began.elapsed(), minute * 2, "one loop of tries, not one for each change");
    for _ in 0..30 {
        queue.add_after(1, second);
    }
    queue.done(&queue.next().await, NOW);
    assert_eq!(began.elapsed(), minute * 2 + second, "the earlier alarm stays");
    assert!(queue.lock().idle());
}

#[tokio::test(start_paused = true)]
async fn changes_during_work_are_gathered_as_long_as_it_took() {
    let queue = queue();
    let again = async |took: Duration| {
        let key = queue.next().await;
        queue.add(key);
        queue.done(&key, took);
        let began = Instant::now();
        queue.add(key);
        assert_eq!(queue.next().await, key);
        queue.done(&key, NOW);
        queue.add(key);
        began.elapsed()
    };
    queue.add(1);
    let millis = Duration::from_millis;
    assert_eq!(again(millis(7)).await, millis(7));
    assert_eq!(again(millis(70_000)).await, LONGEST_GATHERING);
}

#[tokio::test(start_paused = true)]
async fn what_changed_goes_before_what_is_only_looked_through() {
    let queue = queue();
    for key in 0..4 {
        queue.look_through(key);
    }
    queue.add(3);
    queue.add(9);
    queue.look_through(9);
    let mut order = Vec::new();
    while !queue.lock().idle() {
        let key = queue.next().await;
        order.push(key);
        queue.done(&key, NOW);
    }
    assert_eq!(order, [3, 9, 0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn what_is_looked_through_gets_its_turn_under_lasting_load() {
    let queue = queue();
    (100..102).for_each(|key| queue.look_through(key));
    let mut turns = Vec::new();
    for turn in 0..40 {
        (0..20).for_each(|key| queue.add(key));
        let key = queue.next().await;
        if key >= 100 {
            turns.push(turn);
        }
        queue.done(&key, NOW);
    }
    assert_eq!(turns, [16, 33]);
}

#[tokio::test(start_paused = true)]
async fn work_under_way_has_an_age() {
    let admin = Admin::new();
    let second = Duration::from_secs(1);
    let queue = Queue::new("test", &QueueMetrics::new(&admin), second, second);
    let ages = || {
        ["unfinished_work", "longest_running_processor"]
            .map(|age| figure(&admin, &format!("workqueue_{age}_seconds")))
    };
    queue.add(1);
    queue.add(2);
    queue.next().await;
    tokio::time::sleep(second).await;
    queue.next().await;
    tokio::time::sleep(second).await;
    assert_eq!(ages(), [3.0, 2.0]);
    queue.done(&1, NOW);
    queue.done(&2, NOW);
    assert_eq!(ages(), [0.0, 0.0]);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_counted_when_it_comes_to_wait() {
    let admin = Admin::new();
    let second = Duration::from_secs(1);
    let queue = Queue::new("test", &QueueMetrics::new(&admin), second, second);
    let counted =
        || ["adds_total", "retries_total", "depth"].map(|of| figure(&admin, &format!("workqueue_{of}")));
    queue.look_through(1);
    queue.add(1);
    queue.add(1);
    assert_eq!(counted(), [1.0, 0.0, 1.0], "waits once");
    queue.next().await;
    queue.add(1);
    queue.add(1);
    queue.done(&1, NOW);
    queue.next().await;
    assert_eq!(counted(), [2.0, 0.0, 0.0], "came back once");
    queue.retry(&1, None);
    queue.next().await;
    assert_eq!(counted(), [3.0, 1.0, 0.0]);
    queue.hold(&1, second);
    queue.add(1);
    assert_eq!(counted(), [3.0, 2.0, 0.0]);
    queue.release(&1);
    assert_eq!(counted(), [4.0, 2.0, 1.0]);
    queue.done(&queue.next().await, NOW);
    queue.add_after(1, second);
    assert_eq!(counted(), [4.0, 2.0, 0.0]);
    queue.next().await;
    assert_eq!(counted(), [5.0, 2.0, 0.0]);
}

#[tokio::test(start_paused = true)]
async fn a_held_key_waits_for_its_release_and_not_for_ever() {
    let queue = queue();
    queue.add(1);
    queue.hold(&queue.next().await, Duration::from_secs(5));
    queue.add(1);
    let none = tokio::time::timeout(Duration::from_secs(4), queue.next()).await;
    assert!(none.is_err(), "added, and yet held");
    queue.release(&1);
    queue.hold(&queue.next().await, Duration::from_secs(5));
    let began = Instant::now();
    assert_eq!(queue.next().await, 1);
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    queue.done(&1, NOW);
    queue.release(&1);
    assert!(queue.lock().idle(), "an old alarm and a late release are nothing");
}

#[tokio::test(start_paused = true)]
async fn a_paused_queue_is_empty_and_so_it_is_resumed() {
    let admin = Admin::new();
    let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
    let queue = Queue::new("test", &QueueMetrics::new(&admin), second, second);
    let figure = |of| figure(&admin, of);
    for key in 0..5 {
        queue.add(key);
    }
    for key in 0..3 {
        assert_eq!(queue.next().await, key);
    }
    queue.add(0);
    queue.add_after(5, second);
    queue.look_through(6);
    queue.pause();
    assert_eq!(figure("workqueue_depth"), 0.0);
    queue.done(&0, NOW);
    queue.retry(&1, None);
    queue.hold(&2, second);
    queue.add(7);
    tokio::time::timeout(hour, queue.next()).await.unwrap_err();
    assert!(queue.lock().idle());

    queue.resume();
    queue.look_through(3);
    queue.look_through(4);
    queue.add(4);
    assert_eq!(figure("workqueue_depth"), 2.0);
    assert_eq!([queue.next().await, queue.next().await], [4, 3]);
    assert_eq!(figure("workqueue_queue_duration_seconds_sum"), 0.0, "nobody waited for the lead");
}

#[tokio::test(start_paused = true)]
async fn whoever_slept_for_an_alarm_hands_that_on() {
    let queue = queue();
    let second = Duration::from_secs(1);
    queue.add_after(1, second);
    let mut sleepers: Vec<_> = (0..3).map(|_| Box::pin(queue.next())).collect();
    for sleeper in &mut sleepers {
        assert!(futures::poll!(sleeper).is_pending());
    }
    drop(sleepers.remove(0));
    queue.add_after(2, second / 2);
    let mut order = Vec::new();
    for sleeper in sleepers {
        tokio::pin!(sleeper);
        order.push(tokio::time::timeout(second * 2, sleeper).await.expect("nobody slept for it"));
    }
    assert_eq!(order, [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_alarm_wakes_one_worker() {
    struct Woken(AtomicUsize);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let queue = queue();
    queue.add_after(1, Duration::from_secs(1));
    let woken = Arc::new(Woken(AtomicUsize::new(0)));
    let mut sleepers: Vec<_> = (0..3).map(|_| Box::pin(queue.next())).collect();
    for sleeper in &mut sleepers {
        let waker = woken.clone().into();
        assert!(sleeper.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    let before = woken.0.load(Ordering::Relaxed);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(woken.0.load(Ordering::Relaxed) - before, 1);
}

#[tokio::test(start_paused = true)]
async fn no_worker_sleeps_while_keys_wait() {
    let queue = queue();
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.next().await })
        })
        .collect();
    tokio::task::yield_now().await;
    for key in 0..4 {
        queue.add(key);
    }
    for worker in workers {
        tokio::time::timeout(Duration::from_secs(1), worker).await.unwrap().unwrap();
    }
}
