//! Visits every state that a model can get into, nearest first.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashSet, VecDeque};
use std::fmt::Debug;
use std::hash::{Hash, Hasher};

/// What can happen, and what must hold.
pub(crate) trait Model {
    type State: Clone + Hash;
    type Action: Clone + Debug;

    fn start(&self) -> Self::State;

    /// What may happen next.
    fn actions(&self, state: &Self::State) -> Vec<Self::Action>;

    fn next(&self, state: &Self::State, action: &Self::Action) -> Self::State;

    /// What is wrong with a state.
    fn check(&self, state: &Self::State) -> Result<(), String>;
}

/// How far an exploration came.
#[derive(Debug)]
pub(crate) struct Explored {
    pub(crate) states: usize,
    /// Steps to the farthest state.
    pub(crate) depth: usize,
    /// Whether no state was left out.
    pub(crate) complete: bool,
    /// What is wrong with the nearest bad state, and how to get there.
    pub(crate) wrong: Option<String>,
}

/// Explores until something is wrong, nothing is left or `limit` states were seen. Two states count as one if their
/// 64-bit hashes are equal.
pub(crate) fn explore<M: Model>(model: &M, limit: usize) -> Explored {
    let hash = |state: &M::State| {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        hasher.finish()
    };
    let start = model.start();
    let mut seen = HashSet::from([hash(&start)]);
    // How each state was reached: the one before, and what happened.
    let mut steps: Vec<(usize, Option<M::Action>)> = vec![(0, None)];
    let mut waiting = VecDeque::from([(start, 0, 0)]);
    let mut explored = Explored { states: 1, depth: 0, complete: true, wrong: None };
    while let Some((state, place, depth)) = waiting.pop_front() {
        explored.depth = depth;
        if let Err(wrong) = model.check(&state) {
            explored.wrong = Some(format!("{wrong}, after {:?}", path(&steps, place)));
            break;
        }
        for action in model.actions(&state) {
            let next = model.next(&state, &action);
            if !seen.insert(hash(&next)) {
                continue;
            }
            if explored.states == limit {
                explored.complete = false;
                continue;
            }
            explored.states += 1;
            steps.push((place, Some(action)));
            waiting.push_back((next, steps.len() - 1, depth + 1));
        }
    }
    explored
}

fn path<A: Clone>(steps: &[(usize, Option<A>)], mut place: usize) -> Vec<A> {
    let mut path = Vec::new();
    while let (before, Some(action)) = &steps[place] {
        path.push(action.clone());
        place = *before;
    }
    path.reverse();
    path
}
