//! The processes: one etcd, two API servers on it, and on each of them the controllers of its side.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use crate::log::VERBOSE;

/// Address of the API servers in their own network namespace; they refuse to announce a loopback address.
const ADDRESS: &str = "192.0.2.1";
const TOKEN: &str = "differential";
/// How long a process may take to get ready.
const START: Duration = Duration::from_secs(60);
const ENDPOINT_CONTROLLERS: &str =
    "endpoints-controller,endpointslice-controller,endpointslice-mirroring-controller";
/// etcd and the API servers, which are started first.
const STORES: usize = 3;
const GARBAGE_COLLECTOR: &str = "garbage-collector-controller";

/// One of the two control planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// kube-controller-manager keeps the endpoints.
    Upstream,
    /// `portolan-controllers` does.
    Ours,
}

impl Who {
    pub(crate) const BOTH: [Self; 2] = [Self::Upstream, Self::Ours];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Ours => "ours",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Upstream => 6443,
            Self::Ours => 6444,
        }
    }
}

/// The running processes; they end with this value, and with this process whatever happens to it.
pub(crate) struct Servers {
    /// `kube`, the binary with all of upstream's programs.
    kube: PathBuf,
    /// `portolan-controllers`.
    controllers: PathBuf,
    folder: TempDir,
    children: Vec<(String, Child)>,
}

/// Enters a network namespace of its own, so that fixed ports are free and nothing leaves the machine. To be
/// called before there are threads.
pub(crate) fn enter_network() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("a network namespace (needs root)")?;
    let address = format!("address add {ADDRESS}/32 dev lo");
    for arguments in ["link set lo up", &address] {
        let status = Command::new("ip").args(arguments.split(' ')).status().context("ip")?;
        ensure!(status.success(), "ip {arguments}: {status}");
    }
    Ok(())
}

impl Servers {
    /// Starts etcd and both API servers; the controllers come with [`Self::start_controllers`].
    pub(crate) async fn start() -> Result<Self> {
        let path = |variable: &str| -> Result<PathBuf> {
            Ok(std::env::var_os(variable).with_context(|| format!("{variable} is not set"))?.into())
        };
        let folder = tempfile::Builder::new().prefix("portolan-differential-").tempdir()?;
        let mut servers = Self {
            kube: path("PORTOLAN_KUBE")?,
            controllers: path("PORTOLAN_BIN_DIR")?.join("portolan-controllers"),
            folder,
            children: Vec::new(),
        };
        let key = servers.file("service-account.key");
        let mut openssl = Command::new("openssl");
        openssl.args(["genrsa", "-out"]).arg(&key).arg("2048");
        let made = openssl.stderr(Stdio::null()).status().context("openssl")?;
        ensure!(made.success(), "openssl genrsa: {made}");
        fs::write(servers.file("tokens.csv"), format!("{TOKEN},admin,admin,system:masters\n"))?;
        let data = servers.file("etcd");
        servers.run(
            "etcd",
            &servers.kube.clone(),
            &[
                "etcd".to_owned(),
                format!("--data-dir={}", data.display()),
                "--unsafe-no-fsync".to_owned(),
                "--log-level=warn".to_owned(),
                format!("--quota-backend-bytes={}", 8_u64 << 30),
            ],
        )?;
        for who in Who::BOTH {
            servers.start_api_server(who, &key)?;
        }
        for who in Who::BOTH {
            servers.ready(who).await?;
        }
        Ok(servers)
    }

    fn start_api_server(&mut self, who: Who, key: &Path) -> Result<()> {
        let certificates = self.file(&format!("{}-apiserver", who.name()));
        let arguments = [
            "kube-apiserver".to_owned(),
            "--etcd-servers=http://127.0.0.1:2379".to_owned(),
            format!("--etcd-prefix=/{}", who.name()),
            format!("--advertise-address={ADDRESS}"),
            format!("--secure-port={}", who.port()),
            format!("--cert-dir={}", certificates.display()),
            "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            format!("--service-account-key-file={}", key.display()),
            format!("--service-account-signing-key-file={}", key.display()),
            format!("--token-auth-file={}", self.file("tokens.csv").display()),
            "--authorization-mode=AlwaysAllow".to_owned(),
            // pods need no account then, which no controller of these would make
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            // the order in which requests are answered is not what is compared
            "--enable-priority-and-fairness=false".to_owned(),
            "--max-requests-inflight=4000".to_owned(),
            "--max-mutating-requests-inflight=2000".to_owned(),
        ];
        self.run(&format!("{}-apiserver", who.name()), &self.kube.clone(), &arguments)?;
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: it\n\
             contexts: [{{name: it, context: {{cluster: it, user: it}}}}]\n\
             clusters: [{{name: it, cluster: {{server: \"https://{ADDRESS}:{}\", \
             certificate-authority: \"{}/apiserver.crt\"}}}}]\n\
             users: [{{name: it, user: {{token: {TOKEN}}}}}]\n",
            who.port(),
            certificates.display(),
        );
        Ok(fs::write(self.kubeconfig(who), kubeconfig)?)
    }

    async fn ready(&mut self, who: Who) -> Result<()> {
        let began = Instant::now();
        loop {
            // The API server makes its certificate itself when it starts.
            if let Ok(client) = self.client(who).await {
                let request = http::Request::get("/readyz").body(Vec::new())?;
                if client.request_text(request).await.is_ok() {
                    return Ok(());
                }
            }
            self.check()?;
            ensure!(began.elapsed() < START, "{}'s API server is not ready{}", who.name(), self.tails());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Starts the controllers. The garbage collector runs on both sides, since both rely on it.
    pub(crate) fn start_controllers(&mut self) -> Result<()> {
        self.start_manager("collector", Who::Ours, GARBAGE_COLLECTOR)?;
        self.start_manager("collector", Who::Upstream, GARBAGE_COLLECTOR)?;
        self.start_manager("endpoints", Who::Upstream, ENDPOINT_CONTROLLERS)?;
        let arguments = [
            format!("--kubeconfig={}", self.kubeconfig(Who::Ours).display()),
            "--leader-elect=false".to_owned(),
            "--admin-bind-address=127.0.0.1:10260".to_owned(),
        ];
        self.run("ours-endpoints", &self.controllers.clone(), &arguments)
    }

    /// Kills all controllers.
    pub(crate) fn stop_controllers(&mut self) {
        for (_, mut child) in self.children.split_off(STORES) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn start_manager(&mut self, role: &str, who: Who, controllers: &str) -> Result<()> {
        let arguments = [
            "kube-controller-manager".to_owned(),
            format!("--kubeconfig={}", self.kubeconfig(who).display()),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
            format!("--controllers={controllers}"),
            "--kube-api-qps=100000".to_owned(),
            "--kube-api-burst=100000".to_owned(),
            "--concurrent-endpoint-syncs=20".to_owned(),
            "--concurrent-service-endpoint-syncs=20".to_owned(),
            "--mirroring-concurrent-service-endpoint-syncs=20".to_owned(),
            format!("--vmodule={VERBOSE}"),
        ];
        self.run(&format!("{}-{role}", who.name()), &self.kube.clone(), &arguments)
    }

    fn run(&mut self, name: &str, program: &Path, arguments: &[String]) -> Result<()> {
        let log = fs::File::create(self.file(&format!("{name}.log")))?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{name}: {}", program.display()))?;
        self.children.push((name.to_owned(), child));
        Ok(())
    }

    /// A client of one side.
    pub(crate) async fn client(&self, who: Who) -> Result<Client> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig(who))?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// Log of the controllers that keep the endpoints.
    pub(crate) fn log(&self, who: Who) -> PathBuf {
        self.file(&format!("{}-endpoints.log", who.name()))
    }

    /// Fails if a process has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        let mut ended = None;
        for (name, child) in &mut self.children {
            if let Some(status) = child.try_wait()? {
                ended = Some(format!("{name} ended: {status}"));
            }
        }
        match ended {
            Some(ended) => bail!("{ended}{}", self.tails()),
            None => Ok(()),
        }
    }

    /// The last lines of every log.
    fn tails(&self) -> String {
        let tail = |name: &str| {
            let log = fs::read_to_string(self.file(&format!("{name}.log"))).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            lines[lines.len().saturating_sub(8)..].join("\n")
        };
        self.children.iter().map(|(name, _)| format!("\n--- {name}\n{}", tail(name))).collect()
    }

    fn kubeconfig(&self, who: Who) -> PathBuf {
        self.file(&format!("{}.kubeconfig", who.name()))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for (_, child) in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
