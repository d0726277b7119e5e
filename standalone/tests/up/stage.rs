//! A machine to run on: namespaces of its own for network, mounts and processes, so that nothing that
//! happens here is seen by the machine underneath, and nothing outlives the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

/// Network, mounts and processes of a machine without a way out, and an empty `/run`.
pub(crate) struct Stage {
    keeper: Child,
    /// Its first process.
    init: u32,
}

impl Stage {
    pub(crate) fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "these tests make network namespaces: they need root");
        let script = "mount -t tmpfs tmpfs /run && ip link set lo up && echo ready && exec sleep 1000";
        let mut keeper = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let mut line = String::new();
        let out = keeper.stdout.take().expect("it is a pipe");
        BufReader::new(out).read_line(&mut line).expect("the namespaces are made");
        assert_eq!(line, "ready\n", "the namespaces are not made");
        let init = child_of(keeper.id()).expect("unshare has a child");
        Self { keeper, init }
    }

    /// A command on this machine.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string(), "--net", "--mount", "--pid", "--", program]);
        command
    }

    /// The output of a command, which must end well.
    pub(crate) fn run(&self, line: &str) -> String {
        let output = self.try_run(line);
        let said = [&*output.stdout, &*output.stderr].map(String::from_utf8_lossy).concat();
        assert!(output.status.success(), "{line}: {said}");
        String::from_utf8(output.stdout).expect("output is UTF-8")
    }

    pub(crate) fn try_run(&self, line: &str) -> Output {
        self.command("sh").args(["-c", line]).output().expect("nsenter runs")
    }

    /// Everything that `up` could leave behind.
    pub(crate) fn traces(&self) -> String {
        [
            "ip -o link | sed 's/^[0-9]*: //; s/ qlen.*//'",
            "ip -4 route",
            "ls -A /run",
            "ls -A /run/netns 2>/dev/null || true",
            "nft list tables",
            "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/all/forwarding",
            "ps -e -o stat=,comm= > /run/ps; sort /run/ps | grep -v '^Z' | sed 's/.* //' | grep -vx 'ps\\|sh'; rm /run/ps",
            "awk '{ print $2 }' /proc/mounts | sort",
            "cat /proc/net/unix | grep -c portolan || true",
        ]
        .map(|line| format!("$ {line}\n{}", self.run(line)))
        .concat()
    }

    /// Does something in this machine's network.
    fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let network = std::fs::File::open(format!("/proc/{}/ns/net", self.init)).expect("the machine runs");
        // A thread of its own: it never comes back to the network that it left.
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(network.as_fd(), CloneFlags::CLONE_NEWNET).expect("the network can be entered");
                act()
            });
            thread.join().expect("what happens in there ends well")
        })
    }

    /// An HTTP request from the machine itself: status and body.
    pub(crate) fn http(
        &self,
        method: &str,
        to: &str,
        headers: &str,
        body: &str,
    ) -> std::io::Result<(u16, String)> {
        let (address, path) = to.split_once('/').unwrap_or((to, ""));
        let address: SocketAddr = address.parse().expect("an address with a port");
        let request = format!(
            "{method} /{path} HTTP/1.0\r\nHost: {address}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.within(|| {
            let patience = Duration::from_secs(10);
            let mut stream = TcpStream::connect_timeout(&address, patience)?;
            stream.set_read_timeout(Some(patience))?;
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
            let status = status.ok_or_else(|| std::io::Error::other(format!("no HTTP: {answer:?}")))?;
            Ok((status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
        })
    }

    pub(crate) fn get(&self, to: &str) -> String {
        let (status, body) = self.http("GET", to, "", "").unwrap_or_else(|error| panic!("{to}: {error}"));
        assert_eq!(status, 200, "{to}: {body}");
        body
    }

    /// Addresses of a name, asked of a server over UDP.
    pub(crate) fn look_up(&self, server: &str, name: &str) -> Vec<Ipv4Addr> {
        use hickory_proto::op::{Message, Query};
        use hickory_proto::rr::{Name, RData, RecordType};

        let mut question = Message::query();
        question.add_query(Query::query(Name::from_ascii(name).expect("a name"), RecordType::A));
        let packet = question.to_vec().expect("a packet");
        let answer = self.within(|| {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
            socket.send_to(&packet, server).expect("the query goes out");
            let mut answer = vec![0; 4096];
            let length = socket.recv(&mut answer).expect("an answer comes");
            answer.truncate(length);
            answer
        });
        let answer = Message::from_vec(&answer).expect("the answer is DNS");
        let mut addresses: Vec<_> = answer
            .answers
            .iter()
            .filter_map(|record| if let RData::A(address) = &record.data { Some(address.0) } else { None })
            .collect();
        addresses.sort();
        addresses
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The first process of a process namespace takes all others with it.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// The first child of a process.
pub(crate) fn child_of(pid: u32) -> Option<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    list.split_whitespace().next()?.parse().ok()
}

/// Tries again until something is as it should be.
pub(crate) fn eventually<T>(what: &str, seconds: u64, mut attempt: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < end, "not within {seconds} s: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The example that the README names.
pub(crate) fn example() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/shop.yaml"))
}
