//! The life cycle, by hand and under any history and clock.

use culver_quota::{By, Enabling, Limits, Policy, State, Step, Usage, enable, percent, step};
use proptest::prelude::*;

const DAY: i64 = 86_400;

fn limit(storage: u64) -> Limits {
    Limits { storage: Some(storage), ..Limits::default() }
}

fn used(storage: u64) -> Usage {
    Usage { storage, messages: 1 }
}

/// Goes through usages in percent, at their times.
fn go(policy: &Policy, looks: &[(i64, u64)]) -> (State, Vec<Vec<Step>>) {
    let mut state = State::default();
    let mut all = Vec::new();
    for (now, usage) in looks {
        let (next, steps) = step(state, used(*usage), limit(100), policy, *now);
        state = next;
        all.push(steps);
    }
    (state, all)
}

#[test]
fn five_days() {
    let policy = Policy::default();
    let (state, steps) = go(
        &policy,
        &[
            (0, 79),
            (1, 80),
            (2, 89),
            (3, 90),
            (4, 95),
            (5, 100),
            (6, 104),
            (5 + 5 * DAY - 1, 104),
            (5 + 5 * DAY, 104),
            (5 + 9 * DAY, 10),
        ],
    );
    let warned = |percent| vec![Step::Warned { percent }];
    assert_eq!(
        steps,
        [
            vec![],
            warned(80),
            vec![],
            warned(90),
            warned(95),
            vec![Step::Over { until: 5 + 5 * DAY }],
            vec![],
            vec![],
            vec![Step::Disabled],
            vec![],
        ]
    );
    assert_eq!(state, State::Disabled { since: 5 + 5 * DAY });
    let (state, steps) = enable(state, used(10), limit(100), &policy, 20 * DAY);
    assert_eq!((state, steps), (State::Within, vec![Step::Enabled { by: By::Hand }]));
}

#[test]
fn one_delivery_passes_every_step_on_its_way() {
    let (state, steps) = go(&Policy::default(), &[(7, 500)]);
    let names: Vec<_> = steps[0].iter().map(|s| s.name()).collect();
    assert_eq!(names, ["warned", "warned", "warned", "over"]);
    assert_eq!(state, State::Over { since: 7 });
}

#[test]
fn who_deletes_in_time_is_not_disabled_and_has_five_days_again() {
    let looks = [(0, 100), (4 * DAY, 99), (30 * DAY, 100), (34 * DAY, 100), (35 * DAY, 100)];
    let (state, steps) = go(&Policy::default(), &looks);
    assert_eq!(steps[1], [Step::Border]);
    assert_eq!(steps[2], [Step::OverAgain { until: 35 * DAY }]);
    assert_eq!(steps[3], []);
    assert_eq!(steps[4], [Step::Disabled]);
    assert_eq!(state, State::Disabled { since: 35 * DAY });
}

#[test]
fn enabling() {
    let policy = Policy { enabling: Enabling::ByItself, ..Policy::default() };
    let disabled = State::Disabled { since: 0 };
    assert_eq!(step(disabled, used(100), limit(100), &policy, 9), (disabled, vec![]));
    let by_itself = vec![Step::Enabled { by: By::Itself }];
    assert_eq!(step(disabled, used(99), limit(100), &policy, 9), (State::Border, by_itself.clone()));
    assert_eq!(step(disabled, used(9), limit(100), &policy, 9), (State::Within, by_itself.clone()));
    assert_eq!(step(disabled, used(9), Limits::default(), &policy, 9), (State::Within, by_itself));
    // By hand while still over: five days more.
    let (state, _) = enable(disabled, used(101), limit(100), &Policy::default(), 7 * DAY);
    assert_eq!(state, State::Over { since: 7 * DAY });
    let (state, steps) = step(state, used(101), limit(100), &Policy::default(), 12 * DAY);
    assert_eq!((state, steps), (State::Disabled { since: 12 * DAY }, vec![Step::Disabled]));
    assert_eq!(enable(State::Within, used(1), limit(100), &policy, 0), (State::Within, vec![]));
}

#[test]
fn a_clock_set_back_gives_the_whole_grace_time_again() {
    let looks = [(100 * DAY, 100), (0, 100), (5 * DAY - 1, 100), (5 * DAY, 100)];
    let (_, steps) = go(&Policy::default(), &looks);
    assert_eq!(steps[1..], [vec![], vec![], vec![Step::Disabled]]);
}

#[test]
fn without_a_limit_nothing_happens() {
    assert_eq!(
        step(State::default(), used(u64::MAX), Limits::default(), &Policy::default(), 0),
        (State::Within, vec![])
    );
    // A limit that was lifted.
    let over = State::Over { since: 0 };
    assert_eq!(
        step(over, used(1), Limits::default(), &Policy::default(), 9 * DAY),
        (State::Within, vec![Step::Below])
    );
    assert_eq!(percent(used(1), limit(0)), Some(100), "a limit of nothing is full");
}

#[test]
fn at_the_border_nobody_is_told_twice() {
    for (low, high) in [(76, 80), (86, 90), (91, 95), (96, 100), (79, 80)] {
        let looks: Vec<_> = (0..200).map(|i| (i * 60, if i % 2 == 0 { low } else { high })).collect();
        let (_, steps) = go(&Policy::default(), &looks);
        let told: Vec<_> = steps.into_iter().flatten().filter(|s| s.is_told()).collect();
        let mut once = told.clone();
        once.dedup();
        assert_eq!(told, once, "between {low} and {high}");
        assert!(told.len() <= 4, "between {low} and {high}: {told:?}");
    }
}

#[test]
fn states_are_written_and_read() {
    for state in [
        State::Within,
        State::Warned { percent: 95 },
        State::Border,
        State::Over { since: -3 },
        State::Disabled { since: i64::MAX },
    ] {
        let (name, percent, since) = state.parts();
        assert_eq!(State::from_parts(name, percent, since), Some(state));
    }
    assert_eq!(State::from_parts("later", 0, 0), None);
}

#[derive(Clone, Debug)]
enum Look {
    At(i64, u64, Option<u64>),
    Enable(i64),
}

fn looks() -> impl Strategy<Value = Vec<Look>> {
    let time = prop_oneof![0..20 * DAY, Just(i64::MIN), Just(i64::MAX), any::<i64>()];
    let look = prop_oneof![
        8 => (time.clone(), 0..130u64, prop_oneof![9 => Just(Some(100)), 1 => Just(None), 1 => (0..200u64).prop_map(Some)])
            .prop_map(|(t, u, l)| Look::At(t, u, l)),
        1 => time.prop_map(Look::Enable),
    ];
    prop::collection::vec(look, 1..60)
}

proptest! {
    /// Under any clock, any usage and any limits: steps come in their order, each of them leads from where the one
    /// before has led, and nobody is disabled who was not over, and told so, in an earlier look.
    #[test]
    fn no_step_is_skipped(looks in looks(), itself in any::<bool>()) {
        let enabling = if itself { Enabling::ByItself } else { Enabling::ByHand };
        let policy = Policy { enabling, ..Policy::default() };
        let mut state = State::default();
        // What the steps alone say: 0, a threshold, 100 for over, 99 for the border, 200 for disabled.
        let mut told = 0u16;
        for look in looks {
            let before = state;
            let (next, steps) = match look {
                Look::At(now, usage, limit) => {
                    let limits = Limits { storage: limit, ..Limits::default() };
                    let (next, steps) = step(state, used(usage), limits, &policy, now);
                    if steps.contains(&Step::Disabled) {
                        let State::Over { since } = before else { panic!("disabled from {before:?}") };
                        prop_assert!(now.saturating_sub(since) >= policy.grace);
                        prop_assert!(percent(used(usage), limits).is_some_and(|p| p >= 100));
                        prop_assert_eq!(steps.len(), 1);
                    }
                    if let State::Over { since } = next {
                        prop_assert!(since <= now, "the grace time begins in the future");
                    }
                    // A second look at the same moment has nothing new.
                    let again = step(next, used(usage), limits, &policy, now);
                    prop_assert_eq!(&again, &(next, vec![]));
                    (next, steps)
                }
                Look::Enable(now) => enable(state, used(50), limit(100), &policy, now),
            };
            for step in steps {
                match step {
                    Step::Warned { percent } => {
                        let expected = policy.warnings.iter().find(|t| u16::from(**t) > told).copied();
                        prop_assert_eq!(Some(percent), expected, "a threshold was skipped");
                        told = percent.into();
                    }
                    Step::Over { .. } => {
                        prop_assert_eq!(told, 95);
                        told = 100;
                    }
                    Step::OverAgain { .. } => {
                        prop_assert_eq!(told, 99);
                        told = 100;
                    }
                    Step::Border => {
                        prop_assert_eq!(told, 100);
                        told = 99;
                    }
                    Step::Below => {
                        prop_assert!(told == 100 || told == 99);
                        told = match next { State::Warned { percent } => percent.into(), _ => 0 };
                    }
                    Step::Eased { percent } => {
                        prop_assert!(u16::from(percent) < told && told < 99);
                        told = percent.into();
                    }
                    Step::Disabled => {
                        prop_assert_eq!(told, 100);
                        told = 200;
                    }
                    Step::Enabled { .. } => {
                        prop_assert_eq!(told, 200);
                        told = match next {
                            State::Warned { percent } => percent.into(),
                            State::Border => 99,
                            State::Over { .. } => 100,
                            _ => 0,
                        };
                    }
                }
            }
            let now_told = match next {
                State::Within => 0,
                State::Warned { percent } => percent.into(),
                State::Border => 99,
                State::Over { .. } => 100,
                State::Disabled { .. } => 200,
            };
            prop_assert_eq!(told, now_told, "the steps do not lead to the state");
            state = next;
        }
    }
}
