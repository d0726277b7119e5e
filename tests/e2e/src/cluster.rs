//! A cluster, spoken to through the scripts of a harness: a folder with `up`, `down`, `kubectl`, `helm`, `enter`, `kill`,
//! `restart`, `log` and `load`, each of which takes `--dir RUNDIR` first, and a file `RUNDIR/env` of variables.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::Report;

/// A running cluster; it is taken away when this is dropped.
pub struct Cluster {
    scripts: PathBuf,
    directory: PathBuf,
    variables: HashMap<String, String>,
    keep: bool,
}

impl Cluster {
    /// Starts a cluster with a harness of this repository (`cluster`, `kind`) in a folder made of `name`; with
    /// `PORTOLAN_KEEP_CLUSTER` set it stays. Where `PORTOLAN_CLUSTER` names the folder of one that is up already, that one
    /// is taken as it is, and left; `PORTOLAN_HARNESS` is then the folder of its scripts.
    pub fn up(harness: &str, name: &str, arguments: &[&str]) -> Result<Self> {
        let given = std::env::var_os("PORTOLAN_CLUSTER").map(PathBuf::from);
        let mut cluster = Self {
            scripts: match std::env::var_os("PORTOLAN_HARNESS") {
                Some(folder) => std::path::absolute(folder)?,
                None => repository()?.join("tests").join(harness),
            },
            directory: given
                .clone()
                .unwrap_or_else(|| std::env::temp_dir().join(format!("portolan-e2e-{name}"))),
            variables: HashMap::new(),
            keep: given.is_some() || std::env::var_os("PORTOLAN_KEEP_CLUSTER").is_some(),
        };
        if given.is_none() && !cluster.script("up").args(arguments).stdout(Stdio::null()).status()?.success()
        {
            bail!("{} failed", cluster.scripts.join("up").display());
        }
        cluster.read_variables()?;
        Ok(cluster)
    }

    fn read_variables(&mut self) -> Result<()> {
        let text = std::fs::read_to_string(self.directory.join("env"))?;
        let words = text.split_whitespace().filter_map(|word| word.split_once('='));
        self.variables = words
            .map(|(name, value)| (name.to_owned(), value.trim_matches(['\'', '"']).to_owned()))
            .collect();
        Ok(())
    }

    fn script(&self, name: &str) -> Command {
        let mut command = Command::new(self.scripts.join(name));
        command.arg("--dir").arg(&self.directory);
        command
    }

    /// A variable of the cluster's `env` file.
    pub fn variable(&self, name: &str) -> Result<&str> {
        self.variables.get(name).map(String::as_str).with_context(|| format!("the cluster has no {name}"))
    }

    /// Whether pods and Services have IPv6 addresses beside the IPv4 ones.
    pub fn dual(&self) -> bool {
        self.variables.get("FAMILY").is_some_and(|family| family == "dual")
    }

    /// Runs a script of the harness and returns what it prints.
    pub fn run(&self, script: &str, arguments: &[&str]) -> Result<String> {
        printed(self.script(script).args(arguments).output()?, &format!("{script} {}", arguments.join(" ")))
    }

    /// As `run`, with a variable in the script's environment.
    pub fn run_with(&self, variable: &str, value: &str, script: &str, arguments: &[&str]) -> Result<String> {
        let output = self.script(script).args(arguments).env(variable, value).output()?;
        printed(output, &format!("{variable}={value:?} {script} {}", arguments.join(" ")))
    }

    /// Runs a script of the harness, and ends it as soon as something holds. By SIGTERM: what runs in the background of a
    /// shell ignores SIGINT.
    pub fn interrupt(
        &self,
        script: &str,
        arguments: &[&str],
        when: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let mut child = self.script(script).args(arguments).stdout(Stdio::null()).spawn()?;
        let due = wait_until(Duration::from_secs(30), when);
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
        let status = child.wait()?;
        due?;
        if status.success() {
            bail!("{script} {}: ended before it was interrupted", arguments.join(" "));
        }
        Ok(())
    }

    /// Runs kubectl and returns what it prints.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.run("kubectl", arguments)
    }

    /// Runs kubectl and returns what it prints as JSON.
    pub fn get(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = vec!["get", "-o", "json"];
        all.extend(arguments);
        Ok(serde_json::from_str(&self.kubectl(&all)?)?)
    }

    /// Applies manifests.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        let mut child = self
            .script("kubectl")
            .args(["apply", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("no standard input")?.write_all(manifests.as_bytes())?;
        printed(child.wait_with_output()?, "kubectl apply").map(|_| ())
    }

    /// Runs a command in a pod of namespace `e2e`; its output, whatever its exit status.
    pub fn exec(&self, pod: &str, command: &[&str]) -> Result<Output> {
        let output = self.script("kubectl").args(["exec", "-n", "e2e", pod, "--"]).args(command).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        if error.contains("error dialing backend") || error.contains("unable to upgrade connection") {
            bail!("kubectl exec {pod}: {error}");
        }
        Ok(output)
    }

    /// Runs a client command of the test server in a pod.
    pub fn client(&self, pod: &str, arguments: &[&str]) -> Result<Report> {
        let mut command = vec!["portolan-test-server"];
        command.extend(arguments);
        report(&self.exec(pod, &command)?, &format!("{pod}: {}", arguments.join(" ")))
    }

    /// Runs a client command of the test server on a node (`node-1`), the control plane (`cp`) or outside (`wire`).
    pub fn client_on(&self, place: &str, arguments: &[&str]) -> Result<Report> {
        report(&self.exec_on(place, arguments)?, &format!("{place}: {}", arguments.join(" ")))
    }

    /// The same, whatever comes of it.
    pub fn exec_on(&self, place: &str, arguments: &[&str]) -> Result<Output> {
        Ok(self.script("enter").arg(place).arg(test_server()?).args(arguments).output()?)
    }

    /// Starts a client command in a pod that goes on while the test does other things.
    pub fn start_client(&self, pod: &str, arguments: &[&str]) -> Result<Background> {
        let child = self
            .script("kubectl")
            .args(["exec", "-i", "-n", "e2e", pod, "--", "portolan-test-server"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Background { child, what: format!("{pod}: {}", arguments.join(" ")) })
    }

    /// Starts a client command on a node that goes on while the test does other things.
    pub fn start_client_on(&self, place: &str, arguments: &[&str]) -> Result<Background> {
        let mut command = self.script("enter");
        command.arg(place).arg(test_server()?).args(arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        Ok(Background { child, what: format!("{place}: {}", arguments.join(" ")) })
    }

    /// Runs a command in a network namespace of the cluster and returns what it prints.
    pub fn enter(&self, place: &str, command: &[&str]) -> Result<String> {
        printed(
            self.script("enter").arg(place).args(command).output()?,
            &format!("{place}: {}", command.join(" ")),
        )
    }

    /// Kills a program of the cluster.
    pub fn kill(&self, name: &str, signal: &str) -> Result<()> {
        self.run("kill", &[name, signal]).map(|_| ())
    }

    /// Starts a program of the cluster, after killing it (-9) if it runs.
    pub fn restart(&self, name: &str) -> Result<()> {
        self.run("restart", &[name]).map(|_| ())
    }

    /// What a program logged.
    pub fn log(&self, name: &str) -> Result<String> {
        self.run("log", &[name])
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.keep {
            println!(
                "the cluster stays: {}/kubectl --dir {} …",
                self.scripts.display(),
                self.directory.display()
            );
        } else if !self.script("down").status().is_ok_and(|status| status.success()) {
            eprintln!("{} failed", self.scripts.join("down").display());
        }
    }
}

/// A command that runs beside the test.
pub struct Background {
    child: Child,
    what: String,
}

impl Background {
    /// Whether it has not ended by itself.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Ends its input, which may be what it goes on for, and waits for its end.
    pub fn finish(self) -> Result<Report> {
        report(&self.child.wait_with_output()?, &self.what)
    }
}

/// The root of the checkout.
pub fn repository() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("no checkout")?.to_owned())
}

/// Cargo's target folder.
pub fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from)
}

/// The test server's program for this machine.
fn test_server() -> Result<PathBuf> {
    let target = target_folder();
    let found = std::fs::read_dir(&target)?
        .filter_map(|entry| Some(entry.ok()?.path().join("release/portolan-test-server")))
        .find(|path| path.is_file());
    found.context("no static portolan-test-server; tests/run builds it")
}

fn printed(output: Output, what: &str) -> Result<String> {
    if !output.status.success() {
        bail!(
            "{what}: {} {}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn report(output: &Output, what: &str) -> Result<Report> {
    let text = String::from_utf8_lossy(&output.stdout);
    Report::parse(&text).with_context(|| format!("{what}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Tries until something holds; the last reason why it does not is the error.
pub fn wait_until<T>(limit: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if began.elapsed() > limit => {
                return Err(error).with_context(|| format!("not within {} s", limit.as_secs()));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
