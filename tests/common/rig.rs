//! A veth pair between two network namespaces of its own, for one test: nothing outside is touched, and nothing is
//! left when the rig is dropped.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Name of the sending end, in the sending namespace.
pub(crate) const TX: &str = "veth-tx";
/// Name of the receiving end, in the receiving namespace.
pub(crate) const RX: &str = "veth-rx";

/// Two namespaces joined by a veth pair.
pub(crate) struct Rig {
    tx_namespace: String,
    rx_namespace: String,
}

/// True if rigs can be made; else says why the test is skipped.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen to be skipped")]
pub(crate) fn is_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: {test} (needs root to make a network namespace)");
    }
    root
}

/// Runs a command that must succeed.
pub(crate) fn run(program: &str, arguments: &str) {
    let output = Command::new(program).args(arguments.split_whitespace()).output();
    let output = output.unwrap_or_else(|error| panic!("{program} {arguments}: {error}"));
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Rig {
    /// Makes a pair with this many queues at each end.
    pub(crate) fn new(queues: u32) -> Rig {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let rig = Rig { tx_namespace: format!("slt-{unique}-tx"), rx_namespace: format!("slt-{unique}-rx") };
        let Rig { tx_namespace: tx, rx_namespace: rx } = &rig;
        run("ip", &format!("netns add {tx}"));
        run("ip", &format!("netns add {rx}"));
        let many = format!("numrxqueues {queues} numtxqueues {queues}");
        run("ip", &format!("-n {rx} link add {RX} {many} type veth peer name {TX} netns {tx} {many}"));
        for (namespace, end, address) in [(tx, TX, "10.9.0.1/24"), (rx, RX, "10.9.0.2/24")] {
            run("ip", &format!("netns exec {namespace} sysctl -qw net.ipv6.conf.all.disable_ipv6=1"));
            run("ip", &format!("netns exec {namespace} ethtool -K {end} tx off gro off"));
            run("ip", &format!("-n {namespace} address add {address} dev {end}"));
            run("ip", &format!("-n {namespace} link set {end} arp off multicast off up"));
        }
        rig
    }

    /// Name of the receiving namespace.
    pub(crate) fn rx_namespace(&self) -> &str {
        &self.rx_namespace
    }

    /// Runs `body` on a thread in the receiving namespace.
    pub(crate) fn in_rx<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        inside(&self.rx_namespace, body)
    }

    /// Runs `body` on a thread in the sending namespace.
    pub(crate) fn in_tx<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        inside(&self.tx_namespace, body)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for namespace in [&self.tx_namespace, &self.rx_namespace] {
            // Not asserted: a second panic would hide the first one.
            let _ = Command::new("ip").args(["netns", "delete", namespace]).output();
        }
    }
}

fn inside<T: Send>(namespace: &str, body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(namespace);
            body()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Moves the calling thread into a namespace.
pub(crate) fn enter(namespace: &str) {
    let path = format!("/run/netns/{namespace}");
    let file = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
}
