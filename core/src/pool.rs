//! Texts and labels that objects have in common, held once.

use std::collections::HashSet;
use std::sync::Arc;

use crate::{Labels, PodPorts};

/// Every text, every set of labels and every list of ports of the objects of a State. A pod's name and uid stand in
/// the pod, its slices and its Endpoints, its namespace in every neighbour, its labels and ports in every replica.
#[derive(Debug, Default)]
pub struct Pool {
    texts: HashSet<Arc<str>>,
    labels: HashSet<Labels>,
    ports: HashSet<PodPorts>,
    /// How many entries there may be until those that no object uses any more are removed.
    limit: usize,
}

/// Below this many entries it is not worth looking for unused ones.
const FEW: usize = 1024;

impl Pool {
    pub(crate) fn text(&mut self, text: &mut Arc<str>) {
        match self.texts.get(&**text) {
            Some(held) => *text = held.clone(),
            None => {
                self.texts.insert(text.clone());
            }
        }
    }

    pub(crate) fn texts<'a>(&mut self, texts: impl IntoIterator<Item = &'a mut Arc<str>>) {
        for text in texts {
            self.text(text);
        }
    }

    pub(crate) fn labels(&mut self, labels: &mut Labels) {
        if let Some(held) = self.labels.get(labels) {
            *labels = held.clone();
        } else if !labels.is_empty() {
            self.texts(labels.texts_mut());
            self.labels.insert(labels.clone());
        }
    }

    pub(crate) fn ports(&mut self, ports: &mut PodPorts) {
        if let Some(held) = self.ports.get(ports) {
            *ports = held.clone();
        } else if !ports.is_empty() {
            ports.pool_names(self);
            self.ports.insert(ports.clone());
        }
    }

    fn len(&self) -> usize {
        self.texts.len() + self.labels.len() + self.ports.len()
    }

    /// Forgets what no object uses any more, once there is twice as much as after the last time: a constant
    /// share of the cost of what was put in since.
    pub(crate) fn sweep(&mut self) {
        if self.len() < self.limit.max(FEW) {
            return;
        }
        self.labels.retain(|labels| !labels.unshared());
        self.ports.retain(|ports| !ports.unshared());
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        self.labels.shrink_to_fit();
        self.texts.shrink_to_fit();
        self.ports.shrink_to_fit();
        self.limit = 2 * self.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_become_one_and_unused_ones_go() {
        let mut pool = Pool::default();
        let texts = || ["pod-1", "pod-1"].map(Arc::<str>::from);
        let [mut first, mut second] = texts();
        pool.texts([&mut first, &mut second]);
        assert!(Arc::ptr_eq(&first, &second));
        let pairs = || [("app".into(), "web".into())];
        let (mut one, mut other): (Labels, Labels) =
            (pairs().into_iter().collect(), pairs().into_iter().collect());
        pool.labels(&mut one);
        pool.labels(&mut other);
        assert!(Arc::ptr_eq(&one["app"], &other["app"]) && !one.unshared());
        for number in 0..3 * FEW {
            pool.text(&mut number.to_string().into());
            pool.sweep();
        }
        assert!(pool.texts.len() <= FEW, "{}", pool.texts.len());
        assert!(pool.texts.contains("pod-1") && pool.labels.contains(&one));
    }
}
