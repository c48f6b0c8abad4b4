//! The receivers: Sluice's whole path, DPDK's testpmd, a bare AF_XDP counter, and recvmmsg readers.

use crate::rig::{PORT, RX_ADDRESS, RX_INTERFACE, Rig};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Who receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receiver {
    /// `sluice run`: XDP, AF_XDP, decode, pool, queue, processor.
    Sluice,
    /// DPDK's testpmd, net_af_xdp, rxonly.
    Testpmd,
    /// An AF_XDP socket whose reader only counts.
    XskCount,
    /// recvmmsg in a spinning loop.
    RecvmmsgSpin,
    /// recvmmsg that blocks.
    RecvmmsgBlock,
}

/// Those that this machine has; Sluice first.
pub(crate) fn available() -> Vec<Receiver> {
    let testpmd = Command::new("dpdk-testpmd").arg("--help").output().is_ok();
    if !testpmd {
        eprintln!("receive: dpdk-testpmd is missing: scripts/setup --bench installs it");
    }
    let all = [
        (Receiver::Sluice, true),
        (Receiver::Testpmd, testpmd),
        (Receiver::XskCount, true),
        (Receiver::RecvmmsgSpin, true),
        (Receiver::RecvmmsgBlock, true),
    ];
    all.into_iter().filter_map(|(receiver, there)| there.then_some(receiver)).collect()
}

impl Receiver {
    /// Its name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Receiver::Sluice => "sluice",
            Receiver::Testpmd => "testpmd",
            Receiver::XskCount => "xsk_count",
            Receiver::RecvmmsgSpin => "recvmmsg_spin",
            Receiver::RecvmmsgBlock => "recvmmsg_block",
        }
    }

    /// Whether it can take the CME capture's two groups as well as the bench's own port.
    pub(crate) fn counts_any_destination(self) -> bool {
        matches!(self, Receiver::Sluice | Receiver::Testpmd)
    }

    fn words(self) -> (&'static str, &'static str) {
        // What it prints when it is ready, and what stands before its count.
        match self {
            Receiver::Sluice => ("running", ""),
            Receiver::Testpmd => ("Press enter", "RX-packets:"),
            _ => ("ready", "received"),
        }
    }
}

/// A receiver that runs.
pub(crate) struct Running {
    receiver: Receiver,
    child: Child,
    // What it says after it is ready is read to the end, when it has been told to stop.
    output: Box<dyn BufRead + Send>,
    files: Vec<PathBuf>,
}

/// Starts a receiver on CPU 1 with real-time priority, as feed handlers run, and waits until it is ready.
pub(crate) fn start(rig: &Rig, receiver: Receiver) -> Result<Running, String> {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &rig.rx_namespace]);
    let mut files = Vec::new();
    match receiver {
        Receiver::Sluice => {
            let [config, report] = ["toml", "json"]
                .map(|ending| std::env::temp_dir().join(format!("{}.{ending}", rig.rx_namespace)));
            std::fs::write(&config, sluice_config()).map_err(|e| format!("{}: {e}", config.display()))?;
            command.arg(env!("CARGO_BIN_EXE_sluice")).arg("run").arg("--config").arg(&config);
            command.arg("--report").arg(&report);
            files.extend([report, config]);
        }
        Receiver::Testpmd => {
            command.args([
                "stdbuf",
                "-oL",
                "dpdk-testpmd",
                "--no-telemetry",
                "-l",
                "0,1",
                "--main-lcore",
                "0",
                "--no-pci",
            ]);
            command.args(["--in-memory", "-m", "192", "--vdev"]);
            command.arg(format!("net_af_xdp0,iface={RX_INTERFACE}"));
            command.args(["--", "--forward-mode=rxonly", "--auto-start", "--total-num-mbufs=65536"]);
        }
        role => {
            command.args(["taskset", "-c", "1", "chrt", "-f", "10"]);
            command.arg(std::env::current_exe().map_err(|e| e.to_string())?).args(["--role", role.name()]);
        }
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
    let output = ready_output(receiver, &mut child)?;
    Ok(Running { receiver, child, output, files })
}

fn ready_output(receiver: Receiver, child: &mut Child) -> Result<Box<dyn BufRead + Send>, String> {
    let stdout = child.stdout.take().ok_or("no stdout")?;
    let stderr = child.stderr.take().ok_or("no stderr")?;
    // Sluice speaks of its state on stderr, the others on stdout.
    let (spoken, other): (Box<dyn Read + Send>, Box<dyn Read + Send>) = match receiver {
        Receiver::Sluice => (Box::new(stderr), Box::new(stdout)),
        _ => (Box::new(stdout), Box::new(stderr)),
    };
    let aside = std::thread::spawn(move || {
        let mut text = String::new();
        BufReader::new(other).read_to_string(&mut text).map(|_| text).unwrap_or_default()
    });
    let mut output = BufReader::new(spoken);
    let mut said = String::new();
    let (ready, _) = receiver.words();
    loop {
        let before = said.len();
        let read = output.read_line(&mut said).map_err(|e| e.to_string())?;
        if read == 0 {
            let aside = aside.join().unwrap_or_default();
            return Err(format!(
                "{} ended before it was ready: {} {}",
                receiver.name(),
                said.trim(),
                aside.trim()
            ));
        }
        if said[before..].contains(ready) {
            return Ok(Box::new(output));
        }
    }
}

impl Running {
    /// Tells it to stop, and returns how many frames it counted.
    pub(crate) fn stop(mut self) -> Result<u64, String> {
        let id = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let mut stdin = self.child.stdin.take();
        if self.receiver == Receiver::Testpmd {
            // "Press enter to exit" is meant so.
            if let Some(stdin) = &mut stdin {
                stdin.write_all(b"\n").map_err(|e| e.to_string())?;
            }
        } else {
            nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).map_err(|e| e.to_string())?;
        }
        let mut said = String::new();
        self.output.read_to_string(&mut said).map_err(|e| e.to_string())?;
        let status = self.child.wait().map_err(|e| e.to_string())?;
        let count = self.count(&said);
        for file in &self.files {
            let _ = std::fs::remove_file(file);
        }
        count.map_err(|e| format!("{} ({status}): {e}: {}", self.receiver.name(), said.trim()))
    }

    fn count(&self, said: &str) -> Result<u64, String> {
        if self.receiver == Receiver::Sluice {
            let report = std::fs::read_to_string(&self.files[0]).map_err(|e| e.to_string())?;
            let json: serde_json::Value = serde_json::from_str(&report).map_err(|e| e.to_string())?;
            if json["ledger"]["balanced"] != true {
                return Err("the ledger does not balance".to_owned());
            }
            return json["ledger"]["frames"]["received"].as_u64().ok_or("no frames in the report".to_owned());
        }
        let (_, before) = self.receiver.words();
        let after = said.rsplit(before).next().unwrap_or_default();
        let word = after.split_whitespace().next().unwrap_or_default();
        word.parse().map_err(|_| format!("no count behind '{before}'"))
    }
}

fn sluice_config() -> String {
    let [a, b, c, d] = RX_ADDRESS;
    format!(
        r#"
[[interface]]
name = "{RX_INTERFACE}"
ring_entries = 65536

[[feed]]
name = "bench"
protocol = "native"
lines = [{{ name = "A", destination = "{a}.{b}.{c}.{d}:{PORT}" }}]

[[feed]]
name = "cme"
protocol = "cme-mdp3"
lines = [
    {{ name = "A", destination = "224.0.31.64:14340" }},
    {{ name = "B", destination = "224.0.32.64:15340" }},
]

[threads]
mode = "shared"
cpus = [1]
idle = "busy-spin"
fifo_priority = 10
"#
    )
}
