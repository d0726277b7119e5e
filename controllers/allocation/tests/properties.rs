//! The allocator beside a slow one that looks at every value.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use portolan_allocation::{AddressRange, Allocator, PortRange, Range, Refusal};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// What somebody does; small numbers so that they meet. A port, or what an address adds to its network's.
#[derive(Clone, Debug)]
enum Step {
    Reserve { port: u16, owner: u8, seconds: u64 },
    Hold { port: u16, owner: u8 },
    Release { port: u16, owner: u8 },
    Wait(u64),
    Draw { owner: u8, seed: u64, except: Vec<u16> },
    DrawIn { first: u64, width: u64, seed: u64, except: Vec<u16> },
}

fn step(last: u16) -> impl Strategy<Value = Step> {
    let port = 0..=last + 2;
    prop_oneof![
        (port.clone(), 0..4_u8, 0..9_u64).prop_map(|(port, owner, seconds)| Step::Reserve {
            port,
            owner,
            seconds
        }),
        (port.clone(), 0..4_u8).prop_map(|(port, owner)| Step::Hold { port, owner }),
        (port.clone(), 0..4_u8).prop_map(|(port, owner)| Step::Release { port, owner }),
        (0..4_u64).prop_map(Step::Wait),
        (0..4_u8, any::<u64>(), prop::collection::vec(port.clone(), 0..3))
            .prop_map(|(owner, seed, except)| { Step::Draw { owner, seed, except } }),
        (0..u64::from(last) + 2, 0..40_u64, any::<u64>(), prop::collection::vec(port, 0..3))
            .prop_map(|(first, width, seed, except)| Step::DrawIn { first, width, seed, except }),
    ]
}

/// Value -> owner and end of the reservation.
type Plain<T> = BTreeMap<T, (u8, Option<u64>)>;

/// The first free value from the seed's place on, wrapping around inside the window.
fn draw<R: Range<Item: Ord>>(
    range: &R,
    held: &Plain<R::Item>,
    window: std::ops::Range<u64>,
    except: &[R::Item],
    seed: u64,
) -> Option<R::Item> {
    let end = window.end.min(range.count());
    let width = end.saturating_sub(window.start);
    let from = seed.checked_rem(width)?;
    let places = (0..width).map(|step| (u128::from(from) + u128::from(step)) % u128::from(width));
    let mut values = places.map(|place| range.item(window.start + place as u64));
    values.find(|value| !held.contains_key(value) && !except.contains(value))
}

/// Takes the steps with the allocator and with a plain map; `value` makes a step's number one.
fn agrees<R: Range<Item: Ord> + Copy>(
    range: R,
    value: impl Fn(u16) -> R::Item,
    steps: Vec<Step>,
) -> Result<(), TestCaseError> {
    let mut held = Allocator::new(range);
    let (mut plain, mut now) = (Plain::new(), 0);
    for step in steps {
        let inside = |value: R::Item| range.index(value).is_some();
        match step {
            Step::Reserve { port, owner, seconds } => {
                let port = value(port);
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
                let port = value(port);
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
                let port = value(port);
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
                let gone = plain.iter().filter(|(_, (_, until))| over(until));
                let want: Vec<_> = gone.map(|(port, (owner, _))| (*port, *owner)).collect();
                prop_assert_eq!(got, want);
                plain.retain(|_, (_, until)| !over(until));
            }
            Step::Draw { owner, seed, except } => {
                let except: Vec<_> = except.into_iter().map(&value).collect();
                let band = range.static_band();
                let want = draw(&range, &plain, band..range.count(), &except, seed)
                    .or_else(|| draw(&range, &plain, 0..band, &except, seed));
                prop_assert_eq!(held.pick(&except, seed), want);
                if let Some(port) = want {
                    prop_assert_eq!(held.hold(port, &owner), Ok(()));
                    plain.insert(port, (owner, None));
                }
            }
            Step::DrawIn { first, width, seed, except } => {
                let window = first..first + width;
                let except: Vec<_> = except.into_iter().map(&value).collect();
                let want = draw(&range, &plain, window.clone(), &except, seed);
                prop_assert_eq!(held.pick_in(window.clone(), &except, seed), want);
                let free = window
                    .clone()
                    .filter(|index| *index < range.count() && !plain.contains_key(&range.item(*index)));
                prop_assert_eq!(held.free_in(window.clone(), u64::MAX), free.clone().count() as u64);
                let apart = free.rev().find(|index| {
                    let before = index.checked_sub(1).map(|before| range.item(before));
                    let item = range.item(*index);
                    !except.contains(&item) && before.is_none_or(|before| !plain.contains_key(&before))
                });
                let apart = apart.map(|index| range.item(index));
                prop_assert_eq!(held.pick_apart(window, &except), apart);
            }
        }
        let got: Vec<_> = held.iter().map(|(port, owner)| (port, *owner)).collect();
        let want: Vec<_> = plain.iter().map(|(port, (owner, _))| (*port, *owner)).collect();
        prop_assert_eq!(got, want);
        prop_assert_eq!(held.free(), range.count() - plain.len() as u64);
        prop_assert_eq!(held.reserved(), plain.values().filter(|(_, until)| until.is_some()).count());
    }
    Ok(())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(42), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn every_port_is_that_of_the_slow_one(last in 3..40_u16, steps in steps()) {
        agrees(PortRange::new(&(3..=last)).unwrap(), |port| port, steps)?;
    }

    #[test]
    fn every_ipv4_address_is_that_of_the_slow_one(prefix in 26..32_u8, steps in steps()) {
        let range: AddressRange = format!("10.0.0.0/{prefix}").parse().unwrap();
        agrees(range, |number| Ipv4Addr::from(0x0a00_0000 + u32::from(number)).into(), steps)?;
    }

    /// Up to the largest range that there may be.
    #[test]
    fn every_ipv6_address_is_that_of_the_slow_one(prefix in prop_oneof![122..128_u8, Just(64)], steps in steps()) {
        let range: AddressRange = format!("fd00::/{prefix}").parse().unwrap();
        agrees(range, |number| Ipv6Addr::from((0xfd00 << 112) + u128::from(number)).into(), steps)?;
    }
}
