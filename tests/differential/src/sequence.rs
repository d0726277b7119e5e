//! One sequence on both sides: its operations, and the quiet points between them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::json;

use crate::difference::{Context, Difference, judge};
use crate::facts::{Facts, Uids, facts};
use crate::generate::{clean_up, namespace, sequence};
use crate::log::AllFailing;
use crate::operation::{Method, Operation, Request, Target};
use crate::side::{Answer, Side};

/// Operations between two quiet points, unless one demands a quiet point.
const STRETCH: usize = 10;
/// How long nothing changes at a quiet point.
const STILL: Duration = Duration::from_millis(2000);
/// How long the sides may take to agree: upstream tries again after 1, 2, 4, 8 and 16 seconds.
const LIMIT: Duration = Duration::from_secs(40);
/// How long upstream's log is asked then: while it tries once more, nothing says that it fails.
const ASKED: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);

/// What sequences did and met.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sequences: u64,
    pub(crate) operations: BTreeMap<&'static str, u64>,
    pub(crate) requests: u64,
    /// Requests that both sides refused.
    pub(crate) refused: u64,
    pub(crate) quiet_points: u64,
    /// Facts that were the same on both sides.
    pub(crate) same: u64,
    /// Facts that differed as allowed, at quiet points.
    pub(crate) allowed: BTreeMap<&'static str, u64>,
    pub(crate) same_times: u64,
    pub(crate) other_times: u64,
    /// Quiet points at which upstream, by its own log, still failed at something.
    pub(crate) failing: u64,
    /// Operations that were to begin from rest, where upstream did not come to rest.
    pub(crate) left_out: u64,
    /// Longest time until the sides agreed.
    pub(crate) slowest: Duration,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.sequences += other.sequences;
        for (kind, count) in &other.operations {
            *self.operations.entry(kind).or_default() += count;
        }
        for (name, count) in &other.allowed {
            *self.allowed.entry(name).or_default() += count;
        }
        self.requests += other.requests;
        self.refused += other.refused;
        self.quiet_points += other.quiet_points;
        self.same += other.same;
        self.same_times += other.same_times;
        self.other_times += other.other_times;
        self.failing += other.failing;
        self.left_out += other.left_out;
        self.slowest = self.slowest.max(other.slowest);
    }

    pub(crate) fn operations(&self) -> u64 {
        self.operations.values().sum()
    }
}

/// A namespace on both sides.
pub(crate) struct Pair<'a> {
    pub(crate) sides: &'a [Side; 2],
    pub(crate) namespace: String,
    pub(crate) uids: [Uids; 2],
    /// How often each name was given.
    names: [HashMap<String, u64>; 2],
    pub(crate) counts: Counts,
    story: Vec<String>,
}

/// Runs the sequence of a seed. The text of a failure is its story.
pub(crate) async fn run(sides: &[Side; 2], seed: u64) -> (Counts, Result<(), String>) {
    let mut pair = Pair::new(sides, namespace(seed));
    let result = pair.run(seed).await;
    pair.counts.sequences = 1;
    let told = result.map_err(|error| {
        let mut text = format!("seed {seed}:\n");
        for (number, line) in pair.story.iter().enumerate() {
            let _ = writeln!(text, "{number:>3} {line}");
        }
        let _ = write!(text, "{error:#}");
        text
    });
    (pair.counts, told)
}

impl<'a> Pair<'a> {
    pub(crate) fn new(sides: &'a [Side; 2], namespace: String) -> Self {
        Self {
            sides,
            namespace,
            uids: Default::default(),
            names: Default::default(),
            counts: Counts::default(),
            story: Vec::new(),
        }
    }

    /// Makes the namespace.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        let namespace = json!({"metadata": {"name": self.namespace}});
        let create = Request::new(Method::Create, Target::Namespaced(String::new()), namespace);
        for side in self.sides {
            let answer = side.send("/api/v1/namespaces", &create).await?;
            ensure!(answer.status < 300, "{}: {}", side.who.name(), answer.body);
        }
        Ok(())
    }

    async fn run(&mut self, seed: u64) -> Result<()> {
        self.begin().await?;
        let mut stretch = 0;
        for operation in sequence(seed) {
            if operation.from_still || stretch == STRETCH {
                let still = self.quiet().await?;
                stretch = 0;
                if operation.from_still && !still {
                    self.counts.left_out += 1;
                    self.story.push(format!("left out: {operation}"));
                    continue;
                }
            }
            self.make(&operation).await?;
            stretch += 1;
        }
        self.quiet().await?;
        self.make(&clean_up(seed)).await?;
        self.quiet().await.map(drop)
    }

    /// Makes an operation on both sides. What one refuses the other must refuse.
    pub(crate) async fn make(&mut self, operation: &Operation) -> Result<()> {
        self.story.push(operation.to_string());
        *self.counts.operations.entry(operation.kind).or_default() += 1;
        for request in &operation.requests {
            tokio::time::sleep(request.pause).await;
            self.counts.requests += 1;
            if let Target::EachSlice { service, manager } = request.target {
                let [one, other] = self.sides;
                let (one, other) = tokio::join!(
                    self.each_slice(one, service, manager, request),
                    self.each_slice(other, service, manager, request)
                );
                let (upstream, ours) = (one?, other?);
                ensure!(
                    upstream == ours,
                    "{} each slice of {service} by {manager}: upstream's API server says {upstream:?}, ours {ours:?}",
                    request.method.http()
                );
                continue;
            }
            let path = self.path(&request.target);
            let [one, other] = self.sides;
            let (one, other) = tokio::join!(one.send(&path, request), other.send(&path, request));
            let answers = [one?, other?];
            let [upstream, ours] = &answers;
            ensure!(
                upstream.status == ours.status,
                "{} {path}: upstream's API server says {} {}, ours {} {}",
                request.method.http(),
                upstream.status,
                upstream.body,
                ours.status,
                ours.body
            );
            self.counts.refused += u64::from(upstream.status >= 300);
            for (index, answer) in answers.iter().enumerate() {
                self.name(index, request, answer);
            }
        }
        Ok(())
    }

    /// Sends requests to both sides, all at the same time.
    pub(crate) async fn at_once(&self, requests: &[Request]) -> Result<()> {
        let sides = self.sides.iter().flat_map(|side| requests.iter().map(move |request| (side, request)));
        let all = sides.map(|(side, request)| async move {
            if let Target::EachSlice { service, manager } = request.target {
                let answers = self.each_slice(side, service, manager, request).await?;
                ensure!(
                    answers == [200].into(),
                    "{} each slice of {service}: {answers:?}",
                    request.method.http()
                );
                return Ok(());
            }
            let path = self.path(&request.target);
            let answer = side.send(&path, request).await?;
            ensure!(answer.status < 300, "{} {path}: {}", request.method.http(), answer.body);
            Ok(())
        });
        futures::future::try_join_all(all).await.map(drop)
    }

    fn path(&self, target: &Target) -> String {
        let namespace = &self.namespace;
        match target {
            Target::Namespaced(rest) => format!("/api/v1/namespaces/{namespace}/{rest}"),
            Target::Slices(rest) => format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/{rest}"),
            Target::Nodes(rest) => format!("/api/v1/nodes{rest}"),
            Target::EachSlice { .. } => String::new(),
        }
    }

    /// Does it to each slice of a Service, and returns the answers' status. How many slices there are may differ.
    async fn each_slice(
        &self,
        side: &Side,
        service: &str,
        manager: &str,
        request: &Request,
    ) -> Result<BTreeSet<u16>> {
        let held = side.held(&self.namespace);
        let chosen = held.slices.iter().filter(|(_, slice)| {
            let labels = &slice["metadata"]["labels"];
            labels["kubernetes.io/service-name"] == service
                && labels["endpointslice.kubernetes.io/managed-by"] == manager
        });
        let mut answers = BTreeSet::new();
        for (name, _) in chosen {
            let path = self.path(&Target::Slices(format!("endpointslices/{name}")));
            answers.insert(side.send(&path, request).await?.status);
        }
        Ok(answers)
    }

    /// Remembers the uid of what was made, under a name that it has on both sides.
    fn name(&mut self, index: usize, request: &Request, answer: &Answer) {
        let metadata = &answer.body["metadata"];
        if request.method != Method::Create || answer.status >= 300 {
            return;
        }
        let (Some(name), Some(uid)) = (metadata["name"].as_str(), metadata["uid"].as_str()) else { return };
        let number = self.names[index].entry(format!("{:?} {name}", request.target)).or_default();
        *number += 1;
        self.uids[index].insert(uid.to_owned(), format!("number {number}"));
    }

    /// The facts of both sides.
    pub(crate) fn facts(&self) -> [Facts; 2] {
        std::array::from_fn(|index| facts(&self.sides[index].held(&self.namespace), &self.uids[index]))
    }

    /// Waits until nothing changes any more and both sides say the same. If they do not in time, upstream's log
    /// is asked what it still fails at. Returns whether they are still.
    pub(crate) async fn quiet(&mut self) -> Result<bool> {
        let began = Instant::now();
        while began.elapsed() < LIMIT {
            let still = self.sides.iter().map(|side| side.still_for(&self.namespace)).min();
            let quiet = began.elapsed() >= STILL && still >= Some(STILL);
            if quiet && self.agree(began, &AllFailing::new()).is_empty() {
                return Ok(true);
            }
            tokio::time::sleep(POLL).await;
        }
        let (failing, rest) = loop {
            let failing = self.failing();
            let rest = self.agree(began, &failing);
            if rest.is_empty() {
                self.counts.failing += 1;
                return Ok(false);
            }
            if began.elapsed() > LIMIT + ASKED {
                break (failing, rest);
            }
            tokio::time::sleep(POLL * 5).await;
        };
        let changes = self.sides.each_ref().map(|side| side.held(&self.namespace).changes);
        let rest: String = rest.iter().map(ToString::to_string).collect();
        bail!(
            "the sides do not agree after {} s (changes: {changes:?}; upstream fails at {failing:?})\n{rest}",
            began.elapsed().as_secs()
        )
    }

    /// Compares the sides; where they agree, that is noted as a quiet point.
    fn agree(&mut self, began: Instant, failing: &AllFailing) -> Vec<Difference> {
        let [upstream, ours] = self.facts();
        let mirrored = self.sides[1].held(&self.namespace).mirrored;
        let remade = self.sides[0].held(&self.namespace).remade;
        let (allowed, rest) =
            judge(&upstream, &Context { ours: &ours, mirrored: &mirrored, remade: &remade, failing });
        if rest.is_empty() {
            self.story.push(format!("quiet after {:.1} s", began.elapsed().as_secs_f64()));
            self.agreed(&upstream, &ours, allowed, began.elapsed());
        }
        rest
    }

    /// What upstream says that it fails at in this namespace.
    pub(crate) fn failing(&self) -> AllFailing {
        self.sides[0].failing(&self.namespace)
    }

    /// Waits until both sides show what they are expected to, and go on showing it.
    pub(crate) async fn shows(&mut self, view: impl Fn(&Facts) -> String, wanted: [&str; 2]) -> Result<()> {
        let began = Instant::now();
        let mut since: Option<Instant> = None;
        loop {
            let shown = self.facts().each_ref().map(&view);
            if shown != wanted {
                since = None;
                ensure!(began.elapsed() < LIMIT, "upstream and ours show {shown:?}, not {wanted:?}");
            } else if since.get_or_insert_with(Instant::now).elapsed() >= STILL {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn agreed(
        &mut self,
        upstream: &Facts,
        ours: &Facts,
        allowed: BTreeMap<&'static str, u64>,
        after: Duration,
    ) {
        let counts = &mut self.counts;
        counts.quiet_points += 1;
        counts.slowest = counts.slowest.max(after);
        let same =
            upstream.about.iter().filter(|(subject, details)| ours.about.get(subject) == Some(details));
        counts.same += same.count() as u64;
        for (name, count) in allowed {
            *counts.allowed.entry(name).or_default() += count;
        }
        for (key, time) in &upstream.times {
            match ours.times.get(key) == Some(time) {
                true => counts.same_times += 1,
                false => counts.other_times += 1,
            }
        }
    }
}
