//! The allocator beside a slow one that looks at every value.

use std::collections::BTreeMap;
use std::time::Duration;

use portolan_allocation::{Allocator, PortRange, Range, Refusal};
use proptest::prelude::*;

/// What somebody does; small numbers so that they meet.
#[derive(Clone, Debug)]
enum Step {
    Reserve { port: u16, owner: u8, seconds: u64 },
    Hold { port: u16, owner: u8 },
    Release { port: u16, owner: u8 },
    Wait(u64),
    Draw { owner: u8, seed: u64, except: Vec<u16> },
    DrawIn { first: u64, width: u64, seed: u64 },
}

fn step(last: u16) -> impl Strategy<Value = Step> {
    let port = 1..=last + 2;
    prop_oneof![
        (port.clone(), 0..4_u8, 0..9_u64).prop_map(|(port, owner, seconds)| Step::Reserve {
            port,
            owner,
            seconds
        }),
        (port.clone(), 0..4_u8).prop_map(|(port, owner)| Step::Hold { port, owner }),
        (port.clone(), 0..4_u8).prop_map(|(port, owner)| Step::Release { port, owner }),
        (0..4_u64).prop_map(Step::Wait),
        (0..4_u8, any::<u64>(), prop::collection::vec(port, 0..3))
            .prop_map(|(owner, seed, except)| { Step::Draw { owner, seed, except } }),
        (0..u64::from(last) + 2, 0..40_u64, any::<u64>()).prop_map(|(first, width, seed)| Step::DrawIn {
            first,
            width,
            seed
        }),
    ]
}

/// Port -> owner and end of the reservation.
type Plain = BTreeMap<u16, (u8, Option<u64>)>;

/// The first free value from the seed's place on, wrapping around inside the window.
fn draw(
    range: PortRange,
    held: &Plain,
    window: std::ops::Range<u64>,
    except: &[u16],
    seed: u64,
) -> Option<u16> {
    let end = window.end.min(range.count());
    let width = end.saturating_sub(window.start);
    let ports = (0..width).map(|step| range.item(window.start + (seed % width + step) % width));
    ports.into_iter().find(|port| !held.contains_key(port) && !except.contains(port))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn every_answer_is_that_of_the_slow_one(last in 3..40_u16, steps in prop::collection::vec(step(42), 1..120)) {
        let range = PortRange::new(&(3..=last)).unwrap();
        let mut held = Allocator::new(range);
        let (mut plain, mut now) = (Plain::new(), 0);
        for step in steps {
            let inside = |port: u16| range.index(port).is_some();
            match step {
                Step::Reserve { port, owner, seconds } => {
                    let got = held.reserve(port, &owner, Duration::from_secs(now + seconds));
                    match plain.get(&port).copied() {
                        _ if !inside(port) => prop_assert_eq!(got, Err(Refusal::OutOfRange)),
                        Some((other, _)) if other != owner => prop_assert_eq!(got, Err(Refusal::Taken(other))),
                        before => {
                            prop_assert_eq!(got, Ok(()));
                            let until = match before {
                                Some((_, None)) => None,
                                Some((_, Some(until))) => Some(until.max(now + seconds)),
                                None => Some(now + seconds),
                            };
                            plain.insert(port, (owner, until));
                        }
                    }
                }
                Step::Hold { port, owner } => {
                    let got = held.hold(port, &owner);
                    match plain.get(&port).copied() {
                        _ if !inside(port) => prop_assert_eq!(got, Err(Refusal::OutOfRange)),
                        Some((other, None)) if other != owner => {
                            prop_assert_eq!(got, Err(Refusal::Taken(other)));
                        }
                        _ => {
                            prop_assert_eq!(got, Ok(()));
                            plain.insert(port, (owner, None));
                        }
                    }
                }
                Step::Release { port, owner } => {
                    let owned = plain.get(&port).is_some_and(|(other, _)| *other == owner);
                    prop_assert_eq!(held.release(port, &owner), owned);
                    if owned {
                        plain.remove(&port);
                    }
                }
                Step::Wait(seconds) => {
                    now += seconds;
                    let mut got = held.expire(Duration::from_secs(now));
                    got.sort_unstable();
                    let over = |until: &Option<u64>| until.is_some_and(|until| until <= now);
                    let want: Vec<_> = plain.iter().filter(|(_, (_, until))| over(until)).map(|(port, (owner, _))| (*port, *owner)).collect();
                    prop_assert_eq!(got, want);
                    plain.retain(|_, (_, until)| !over(until));
                }
                Step::Draw { owner, seed, except } => {
                    let band = range.static_band();
                    let want = draw(range, &plain, band..range.count(), &except, seed)
                        .or_else(|| draw(range, &plain, 0..band, &except, seed));
                    prop_assert_eq!(held.pick(&except, seed), want);
                    if let Some(port) = want {
                        prop_assert_eq!(held.hold(port, &owner), Ok(()));
                        plain.insert(port, (owner, None));
                    }
                }
                Step::DrawIn { first, width, seed } => {
                    let window = first..first + width;
                    prop_assert_eq!(held.pick_in(window.clone(), &[], seed), draw(range, &plain, window.clone(), &[], seed));
                    let free = window.filter(|index| *index < range.count() && !plain.contains_key(&range.item(*index)));
                    prop_assert_eq!(held.free_in(first..first + width, u64::MAX), free.count() as u64);
                }
            }
            let got: Vec<_> = held.iter().map(|(port, owner)| (port, *owner)).collect();
            let want: Vec<_> = plain.iter().map(|(port, (owner, _))| (*port, *owner)).collect();
            prop_assert_eq!(got, want);
            prop_assert_eq!(held.free(), range.count() - plain.len() as u64);
            prop_assert_eq!(held.reserved(), plain.values().filter(|(_, until)| until.is_some()).count());
        }
    }
}
