use super::*;

const SETTLE: Duration = Duration::from_secs(10);

fn texts(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Takes what is found at seconds after the start; tells the news and the pause of each.
fn history(steps: &[(u64, &[&str])]) -> Vec<(Option<News>, Option<u64>)> {
    let start = Instant::now();
    let mut differing = Differing::default();
    let mut take = |(at, found): &(u64, &[&str])| {
        let (news, pause) = differing.take(texts(found), start + Duration::from_secs(*at), SETTLE);
        (news, pause.map(|pause| pause.as_secs()))
    };
    steps.iter().map(&mut take).collect()
}

fn differs(lasting: &[&str], first: bool) -> Option<News> {
    Some(News::Differs { lasting: lasting.iter().map(|word| (*word).to_owned()).collect(), first })
}

#[test]
fn what_is_gone_before_it_settled_is_not_told() {
    let found = history(&[(0, &["a"]), (9, &[]), (10, &["a"]), (19, &["a"]), (19, &[])]);
    let pauses: Vec<_> = found.iter().map(|(_, pause)| *pause).collect();
    assert!(found.iter().all(|(news, _)| news.is_none()), "{found:?}");
    // The look asked for at 0 was due at 10.
    assert_eq!(pauses, [Some(10), None, Some(10), None, None]);
}

#[test]
fn what_lasts_is_told_once_and_when_it_is_gone() {
    let found = history(&[(0, &["a"]), (10, &["a"]), (15, &["a", "b"]), (70, &["a", "b"]), (71, &["c"])]);
    assert_eq!(found[0], (None, Some(10)));
    assert_eq!(found[1], (differs(&["a"], true), None));
    assert_eq!(found[2], (None, Some(10)));
    assert_eq!(found[3], (differs(&["b"], false), None), "a was told already, and the line is a minute old");
    assert_eq!(found[4], (Some(News::Agrees), Some(10)), "c may be of the moment only");
}

#[test]
fn a_changing_difference_does_not_settle() {
    let steps: Vec<(u64, &[&str])> =
        (0..60).map(|at| (at, if at % 2 == 0 { &["even"][..] } else { &["odd"] })).collect();
    let found = history(&steps);
    assert!(found.iter().all(|(news, _)| news.is_none()), "{found:?}");
    let looks = found.iter().filter(|(_, pause)| pause.is_some()).count();
    assert!((6..=7).contains(&looks), "one look at a time: {looks}");
}

#[test]
fn lines_about_a_service_keep_their_distance() {
    let found = history(&[
        (0, &["a"]),
        (10, &["a"]),
        (11, &["b"]),
        (21, &["b"]),
        (30, &["b", "c"]),
        (70, &["b", "c"]),
        (80, &["c"]),
        (90, &[]),
    ]);
    let news: Vec<_> = found.into_iter().map(|(news, _)| news).collect();
    assert_eq!(news[1], differs(&["a"], true));
    assert_eq!(news[2], Some(News::Agrees));
    assert_eq!(news[3], differs(&["b"], true), "another occasion");
    assert_eq!(news[4..7], [None, None, None], "c lasts, but the line about b is not old enough");
    assert_eq!(news[7], Some(News::Agrees));
}

#[test]
fn long_lists_are_cut() {
    let list = ["a", "b", "c", "d", "e"].map(str::to_owned);
    assert_eq!(shortened(&list), "a; b; c; and 2 more");
    assert_eq!(shortened(&list[..3]), "a; b; c");
}
