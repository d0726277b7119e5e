//! A program that is measured: its CPU and its memory, as the kernel counts them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// Below this share of a CPU, for [`QUIET_FOR`], a program has nothing to do.
const QUIET: f64 = 0.03;
const QUIET_FOR: Duration = Duration::from_secs(2);
/// A start is looked at for this long at least: nothing may have begun yet.
const START: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(300);

/// A running program.
pub struct Process {
    child: Child,
    pid: Pid,
    clock: ClockId,
    /// When it was started.
    pub began: Instant,
}

impl Process {
    /// Starts a program whose output goes to the end of a file. It is killed when this process ends, however that is.
    pub fn start(program: &Path, args: &[OsString], log: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(args);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let began = Instant::now();
        let child = command.spawn().context("setpriv")?;
        let pid = Pid::from_raw(i32::try_from(child.id().context("the program has ended")?)?);
        Ok(Self { child, pid, clock: clock_getcpuclockid(pid)?, began })
    }

    /// CPU time since its start, of all its threads.
    pub fn cpu(&self) -> Result<Duration> {
        Ok(Duration::from(self.clock.now().context("the program has ended")?))
    }

    /// A line of `/proc/PID/FILE`, in MB (10^6 bytes).
    fn megabytes(&self, file: &str, key: &str) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.pid))?;
        let line =
            text.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key}"))?;
        let kib: f64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024.0 / 1e6)
    }

    /// The most memory that was resident at one time.
    pub fn peak_mb(&self) -> Result<f64> {
        self.megabytes("status", "VmHWM")
    }

    /// The memory that is resident now.
    pub fn resident_mb(&self) -> Result<f64> {
        self.megabytes("status", "VmRSS")
    }

    /// Waits until it has nothing to do.
    pub async fn settle(&mut self) -> Result<()> {
        let begun = Instant::now();
        sleep(START.saturating_sub(self.began.elapsed())).await;
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                bail!("the program has ended: {status}");
            }
            let before = self.cpu()?;
            sleep(QUIET_FOR).await;
            if (self.cpu()? - before).as_secs_f64() < QUIET * QUIET_FOR.as_secs_f64() {
                return Ok(());
            }
        }
        bail!("still at work after {} s", PATIENCE.as_secs())
    }

    /// Ends it by SIGTERM, and after ten seconds by SIGKILL.
    pub async fn end(mut self) -> Result<()> {
        kill(self.pid, Signal::SIGTERM)?;
        if timeout(Duration::from_secs(10), self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        Ok(())
    }

    /// Ends it by SIGKILL.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}
