//! Who answered, what failed, and for how long nothing came.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;

use crate::span::millis;

/// Failures that a report lists one by one; the rest is only counted.
const LISTED: usize = 200;

/// Counts answers and failures as they happen.
pub(crate) struct Tally {
    start: Instant,
    last_success: Instant,
    report: Report,
}

/// What a client command prints.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    ok: u64,
    failed: u64,
    by_server: BTreeMap<String, u64>,
    by_client: BTreeMap<String, u64>,
    max_gap_ms: f64,
    max_latency_ms: f64,
    elapsed_ms: f64,
    errors: Vec<Failure>,
}

#[derive(Serialize)]
struct Failure {
    /// Since the start of the command.
    at_ms: f64,
    /// Milliseconds since 1970, to compare with other programs' logs.
    unix_ms: u64,
    error: String,
}

impl Tally {
    /// Starts counting.
    pub(crate) fn new() -> Self {
        let start = Instant::now();
        Self { start, last_success: start, report: Report::default() }
    }

    /// Counts an answer: the server's JSON, of which name and the client's address are kept.
    pub(crate) fn success(&mut self, answer: &Value, latency: Duration) {
        let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
        self.gap();
        self.last_success = Instant::now();
        self.report.ok += 1;
        *self.report.by_server.entry(text("server")).or_default() += 1;
        let client = text("client");
        let address = client.rsplit_once(':').map_or(client.as_str(), |(address, _)| address);
        *self.report.by_client.entry(address.trim_matches(['[', ']']).to_owned()).or_default() += 1;
        self.report.max_latency_ms = self.report.max_latency_ms.max(millis(latency));
    }

    /// Counts a failure.
    pub(crate) fn failure(&mut self, error: &impl ToString) {
        self.report.failed += 1;
        if self.report.errors.len() < LISTED {
            self.report.errors.push(Failure {
                at_ms: millis(self.start.elapsed()),
                unix_ms: unix_ms(),
                error: error.to_string(),
            });
        }
    }

    /// The report; the time since the last answer counts as a gap too.
    pub(crate) fn finish(mut self) -> Report {
        self.gap();
        self.report.elapsed_ms = millis(self.start.elapsed());
        self.report
    }

    fn gap(&mut self) {
        self.report.max_gap_ms = self.report.max_gap_ms.max(millis(self.last_success.elapsed()));
    }
}

impl Report {
    /// Prints it and tells whether nothing failed.
    pub(crate) fn print(&self) -> anyhow::Result<bool> {
        println!("{}", serde_json::to_string(self)?);
        Ok(self.all_well())
    }

    /// Whether something was answered and nothing failed.
    pub(crate) fn all_well(&self) -> bool {
        self.failed == 0 && self.ok > 0
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
