//! `--config`: a versioned YAML file whose settings stand below the command line and the environment.
//!
//! ```yaml
//! apiVersion: config.portolan.dev/v1alpha1
//! kind: DNS
//! settings:
//!   listen: 0.0.0.0:53
//!   ttl: 30
//! ```
//!
//! `settings` are the program's flags without the dashes; `kind` is the program (Controllers, DNS, Proxy).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use clap::{ArgAction, Command};
use serde::Deserialize;

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("--config {0}: {1}")]
    Read(String, std::io::Error),
    /// It is not what the program understands.
    #[error("--config {0}: {1}")]
    Content(String, String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    #[serde(default)]
    settings: BTreeMap<String, Setting>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Setting {
    Bool(bool),
    Number(i64),
    Text(String),
    List(Vec<String>),
}

/// Version of the file that this release reads.
const API_VERSION: &str = "config.portolan.dev/v1alpha1";

/// A setting of a file.
#[derive(Debug, PartialEq)]
pub(crate) struct FileSetting {
    name: String,
    value: String,
}

impl FileSetting {
    /// The setting as a flag of `command`, to be put before those of the command line (the last one wins).
    /// Nothing if the environment sets it, or a switch is off. One that the command does not know is kept,
    /// for the command to complain of.
    pub(crate) fn flag(self, command: &Command) -> Option<OsString> {
        let argument = command.get_arguments().find(|argument| argument.get_long() == Some(&self.name));
        if argument.and_then(clap::Arg::get_env).is_some_and(|name| std::env::var_os(name).is_some()) {
            return None;
        }
        if argument.is_some_and(|argument| matches!(argument.get_action(), ArgAction::SetTrue)) {
            return (self.value == "true").then(|| format!("--{}", self.name).into());
        }
        Some(format!("--{}={}", self.name, self.value).into())
    }
}

/// Settings of a file.
pub(crate) fn flags(file: &Path, kind: &str) -> Result<Vec<FileSetting>, ConfigError> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| ConfigError::Read(name.clone(), error))?;
    parse(&text, kind).map_err(|reason| ConfigError::Content(name, reason))
}

fn parse(text: &str, kind: &str) -> Result<Vec<FileSetting>, String> {
    let file: File = serde_saphyr::from_str(text)
        .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())?;
    if file.api_version != API_VERSION {
        return Err(format!(
            "apiVersion {:?} is not known; this program reads {API_VERSION}",
            file.api_version
        ));
    }
    if file.kind != kind {
        return Err(format!("kind {:?} is for another program; here it must be {kind:?}", file.kind));
    }
    let setting = |(name, setting)| {
        let value = match setting {
            Setting::Bool(value) => value.to_string(),
            Setting::Number(value) => value.to_string(),
            Setting::Text(value) => value,
            Setting::List(values) => values.join(","),
        };
        FileSetting { name, value }
    };
    Ok(file.settings.into_iter().map(setting).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read() {
        let text = "apiVersion: config.portolan.dev/v1alpha1\nkind: DNS\nsettings:\n  ttl: 5\n  listen: [a, b]\n  x: true\n";
        let settings: Vec<_> = parse(text, "DNS").unwrap().into_iter().map(|s| (s.name, s.value)).collect();
        let want = [("listen", "a,b"), ("ttl", "5"), ("x", "true")];
        assert_eq!(settings, want.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (text, want) in [
            ("apiVersion: v2\nkind: DNS\n", "apiVersion"),
            ("apiVersion: config.portolan.dev/v1alpha1\nkind: Proxy\n", "kind"),
            ("apiVersion: config.portolan.dev/v1alpha1\nkind: DNS\nextra: 1\n", "extra"),
            ("nonsense", ""),
        ] {
            assert!(parse(text, "DNS").unwrap_err().contains(want), "{text}");
        }
    }
}
