//! What the client commands of `tests/server` print.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Counts of a client command.
#[derive(Debug, Default)]
pub struct Report {
    /// Requests that were answered.
    pub ok: u64,
    /// Requests that were not.
    pub failed: u64,
    /// Answers by the server's name.
    pub by_server: BTreeMap<String, u64>,
    /// Answers by the address that the server saw.
    pub by_client: BTreeMap<String, u64>,
    /// First failures.
    pub errors: Vec<String>,
}

impl Report {
    /// Reads the one line that a command printed.
    pub fn parse(text: &str) -> Result<Self> {
        let line = text
            .lines()
            .rfind(|line| line.starts_with('{'))
            .with_context(|| format!("no report in {text:?}"))?;
        let value: Value = serde_json::from_str(line)?;
        let counts = |key: &str| {
            let counts = value[key].as_object().into_iter().flatten();
            counts.map(|(name, count)| (name.clone(), count.as_u64().unwrap_or(0))).collect()
        };
        let errors = value["errors"].as_array().into_iter().flatten();
        Ok(Self {
            ok: value["ok"].as_u64().context("no count of answers")?,
            failed: value["failed"].as_u64().context("no count of failures")?,
            by_server: counts("by_server"),
            by_client: counts("by_client"),
            errors: errors.map(ToString::to_string).take(5).collect(),
        })
    }

    /// Fails unless everything was answered.
    pub fn all_answered(self) -> Result<Self> {
        ensure!(
            self.failed == 0 && self.ok > 0,
            "{} answered, {} failed: {:?}",
            self.ok,
            self.failed,
            self.errors
        );
        Ok(self)
    }

    /// Names of the servers that answered.
    pub fn servers(&self) -> Vec<&str> {
        self.by_server.keys().map(String::as_str).collect()
    }
}
