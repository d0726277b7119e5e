//! How a program starts, ends and tells why it failed.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config;

/// Exit status for settings that cannot work (`EX_USAGE` of sysexits.h).
pub const USAGE: u8 = 64;

/// Why a program ends, in one line for people, with the exit status.
#[derive(Debug)]
pub struct Failure {
    message: String,
    status: u8,
}

impl Failure {
    /// A setting is wrong: exit status 64.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: USAGE }
    }

    /// Something else failed: exit status 1.
    pub fn fatal(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 1 }
    }

    /// The exit status.
    pub fn status(&self) -> u8 {
        self.status
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One line, whatever the cause said.
        f.write_str(&self.message.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

impl std::error::Error for Failure {}

/// Threads that a program's tasks share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// One: tasks that mostly wait for the API server wake each other without the kernel's help, and all
    /// memory comes from one arena.
    One,
    /// As many as the machine has CPUs.
    PerCpu,
}

/// Parses the command line as `A` and runs the program. `kind` is what a settings file for it must name.
///
/// A wrong flag ends with one line on standard error and status 64; `--help` and `--version` with 0.
pub fn run_program<A, F>(name: &str, kind: &str, threads: Threads, run: impl FnOnce(A) -> F) -> ExitCode
where
    A: clap::Parser,
    F: Future<Output = Result<(), Failure>>,
{
    let args = match parse::<A>(kind, std::env::args_os().collect()) {
        Ok(args) => args,
        Err(Stop::Help(text)) => {
            // Nobody is there to read it: not worth a failure.
            let _ = text.print();
            return ExitCode::SUCCESS;
        }
        Err(Stop::Failed(failure)) => return end(name, &failure),
    };
    let mut runtime = match threads {
        Threads::One => tokio::runtime::Builder::new_current_thread(),
        Threads::PerCpu => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(name, &Failure::fatal(format!("cannot start threads: {error}"))),
    };
    let outcome = runtime.block_on(run(args));
    // Work on blocking threads must not hold up the end.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => end(name, &failure),
    }
}

fn end(name: &str, failure: &Failure) -> ExitCode {
    eprintln!("{name}: {failure}");
    ExitCode::from(failure.status)
}

enum Stop {
    Help(clap::Error),
    Failed(Failure),
}

impl From<clap::Error> for Stop {
    fn from(error: clap::Error) -> Self {
        if !error.use_stderr() {
            return Self::Help(error);
        }
        // clap's message without the usage text below it.
        let text = error.to_string();
        let message: Vec<_> = text.lines().take_while(|line| !line.is_empty()).collect();
        Self::Failed(Failure::usage(message.join(" ").trim_start_matches("error: ")))
    }
}

/// The command line wins over the environment, that over the file of `--config`, that over defaults.
fn parse<A: clap::Parser>(kind: &str, line: Vec<OsString>) -> Result<A, Stop> {
    let command = A::command().args_override_self(true);
    let mut matches = command.clone().try_get_matches_from(&line);
    let named = line.iter().position(|word| word == "--config").map(|at| line.get(at + 1).cloned());
    let joined = line.iter().find_map(|word| word.to_str()?.strip_prefix("--config=").map(OsString::from));
    if let Some(file) = named.flatten().or(joined) {
        let settings =
            config::flags(Path::new(&file), kind).map_err(|e| Stop::Failed(Failure::usage(e.to_string())))?;
        let mut with_file: Vec<OsString> = line.first().cloned().into_iter().collect();
        with_file.extend(settings.into_iter().filter_map(|setting| setting.flag(&command)));
        with_file.extend(line.into_iter().skip(1));
        matches = command.try_get_matches_from(with_file);
    }
    Ok(A::from_arg_matches(&matches?)?)
}

/// A token that SIGTERM or SIGINT cancels; a second signal ends the process at once.
pub fn shutdown_signal() -> Result<CancellationToken, Failure> {
    let listen =
        |kind| signal(kind).map_err(|error| Failure::fatal(format!("cannot listen for signals: {error}")));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let token = CancellationToken::new();
    let shutdown = token.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if shutdown.is_cancelled() {
                std::process::exit(1);
            }
            info!("shutting down");
            shutdown.cancel();
        }
    });
    Ok(token)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser, Debug)]
    struct Args {
        #[arg(long)]
        config: Option<String>,
        #[arg(long, default_value_t = 1)]
        size: u32,
        #[arg(long)]
        fast: bool,
        #[arg(long, default_value_t = 1, env = "PORTOLAN_TEST_DEPTH_THAT_CARGO_SETS")]
        depth: u32,
    }

    fn parse(words: &[&str]) -> Result<Args, String> {
        super::parse::<Args>("Test", words.iter().map(OsString::from).collect()).map_err(|stop| match stop {
            Stop::Help(_) => "help".to_owned(),
            Stop::Failed(failure) => format!("{} {failure}", failure.status()),
        })
    }

    #[test]
    fn a_wrong_flag_is_one_line_and_status_64() {
        let error = parse(&["p", "--sise", "3"]).unwrap_err();
        assert!(error.starts_with("64 unexpected argument '--sise' found"), "{error}");
        assert!(parse(&["p", "--size", "x"]).unwrap_err().contains("--size"));
        assert_eq!(parse(&["p", "--help"]).unwrap_err(), "help");
    }

    #[test]
    fn the_command_line_wins_over_the_file_and_the_file_over_defaults() {
        let file = std::env::temp_dir().join(format!("portolan-config-test-{}", std::process::id()));
        let text = "apiVersion: config.portolan.dev/v1alpha1\nkind: Test\nsettings: {size: 7, fast: true, depth: 2}\n";
        std::fs::write(&file, text).unwrap();
        let name = file.to_str().unwrap();
        let args = parse(&["p", "--config", name]).unwrap();
        assert_eq!((args.size, args.fast, args.depth), (7, true, 2));
        let args = parse(&["p", "--size=9", &format!("--config={name}")]).unwrap();
        assert_eq!((args.size, args.fast), (9, true));
        std::fs::write(&file, text.replace("size", "sise")).unwrap();
        assert!(parse(&["p", "--config", name]).unwrap_err().contains("--sise"));
        std::fs::remove_file(&file).unwrap();
        assert!(parse(&["p", "--config", name]).unwrap_err().starts_with("64 --config"));
    }
}
