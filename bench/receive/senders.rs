//! The senders: Sluice's AF_XDP transmitter, tcpreplay, and live frames by BPF_PROG_RUN.

use crate::frames::{CAPTURE_FRAMES, small_frame};
use crate::rig::{Rig, TX_INTERFACE};
use libbpf_rs::{ObjectBuilder, ProgramInput};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// `sluice replay --to iface:` flat out.
    AfXdpTx,
    /// tcpreplay flat out, file in memory.
    Tcpreplay,
    /// The kernel's own generator: an XDP program run over live frames.
    LiveFrames,
}

/// Those that this machine has.
pub(crate) fn available() -> Vec<Sender> {
    let tcpreplay = Command::new("tcpreplay").arg("--version").output().is_ok();
    if !tcpreplay {
        eprintln!("receive: tcpreplay is missing: scripts/setup --bench installs it");
    }
    let clang = Command::new("clang").arg("--version").output().is_ok();
    [(Sender::AfXdpTx, true), (Sender::Tcpreplay, tcpreplay), (Sender::LiveFrames, clang)]
        .into_iter()
        .filter_map(|(sender, there)| there.then_some(sender))
        .collect()
}

impl Sender {
    /// Its name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Sender::AfXdpTx => "af_xdp_tx",
            Sender::Tcpreplay => "tcpreplay",
            Sender::LiveFrames => "live_frames",
        }
    }

    /// Sends `frames` frames, on CPU 0, and returns how many went out and the seconds it took.
    pub(crate) fn send(self, rig: &Rig, capture: &Path, frames: u64) -> Result<(u64, f64), String> {
        let loops = (frames / CAPTURE_FRAMES).to_string();
        match self {
            Sender::AfXdpTx => replay(rig, capture, &["--speed", "max", "--loop", &loops]),
            Sender::Tcpreplay => tcpreplay(rig, capture, &["-t", "--loop", &loops]),
            Sender::LiveFrames => live_frames(rig, frames),
        }
    }
}

fn in_namespace(rig: &Rig, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &rig.tx_namespace, "taskset", "-c", "0", program]);
    command
}

fn output_of(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(text),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// `sluice replay` onto the rig, with more options; frames and seconds come from its JSON summary.
pub(crate) fn replay(rig: &Rig, capture: &Path, options: &[&str]) -> Result<(u64, f64), String> {
    let report = std::env::temp_dir().join(format!("{}-replay.json", rig.tx_namespace));
    let mut command = in_namespace(rig, env!("CARGO_BIN_EXE_sluice"));
    command.arg("replay").arg(capture).arg("--to").arg(format!("iface:{TX_INTERFACE}"));
    output_of(command.args(options).arg("--report").arg(&report))?;
    let text = std::fs::read_to_string(&report).map_err(|e| format!("{}: {e}", report.display()))?;
    let _ = std::fs::remove_file(&report);
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    let frames = json["sent"]["frames"].as_u64().ok_or("replay's report names no sent frames")?;
    let seconds = json["elapsed_s"].as_f64().ok_or("replay's report names no elapsed_s")?;
    Ok((frames, seconds))
}

/// tcpreplay onto the rig, with more options.
pub(crate) fn tcpreplay(rig: &Rig, capture: &Path, options: &[&str]) -> Result<(u64, f64), String> {
    let mut command = in_namespace(rig, "tcpreplay");
    let text = output_of(command.args(["-q", "-K", "-i", TX_INTERFACE]).args(options).arg(capture))?;
    // "Actual: 1000000 packets (60000000 bytes) sent in 2.84 seconds"
    let words: Vec<&str> = text.split_whitespace().collect();
    let value_before = |word: &str| {
        words
            .iter()
            .position(|w| w.starts_with(word))
            .and_then(|at| words.get(at.checked_sub(1)?)?.parse::<f64>().ok())
    };
    let frames = value_before("packets").ok_or_else(|| format!("tcpreplay says no packets: {text}"))?;
    let seconds = value_before("seconds").ok_or_else(|| format!("tcpreplay says no seconds: {text}"))?;
    Ok((frames as u64, seconds))
}

fn live_frames(rig: &Rig, frames: u64) -> Result<(u64, f64), String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = in_namespace(rig, &program.to_string_lossy());
    let text = output_of(command.args(["--role", "live-frames", &frames.to_string()]))?;
    let mut words = text.split_whitespace();
    match (words.next().map(str::parse), words.next().map(str::parse)) {
        (Some(Ok(sent)), Some(Ok(seconds))) => Ok((sent, seconds)),
        _ => Err(format!("live frames said '{text}'")),
    }
}

/// The role of the live-frames sender: runs a program that transmits every frame back out of the interface.
pub(crate) fn play_live_frames(frames: u64) -> Result<ExitCode, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("bpf/transmit.bpf.c");
    let object = std::env::temp_dir().join(format!("sluice-transmit-{}.o", std::process::id()));
    let multiarch = format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH);
    output_of(
        Command::new("clang")
            .args(["-O2", "-g", "-target", "bpf", &multiarch, "-c"])
            .arg(&source)
            .arg("-o")
            .arg(&object),
    )?;
    let loaded = ObjectBuilder::default().open_file(&object).and_then(|open| open.load());
    let _ = std::fs::remove_file(&object);
    let loaded = loaded.map_err(|e| e.to_string())?;
    let program = loaded.progs_mut().next().ok_or("no program in transmit.bpf.c")?;
    let index = nix::net::if_::if_nametoindex(TX_INTERFACE).map_err(|e| e.to_string())?;
    // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
    let frame = small_frame();
    let mut context = Vec::new();
    for word in [0, frame.len() as u32, 0, index, 0, 0] {
        context.extend_from_slice(&word.to_ne_bytes());
    }
    const LIVE_FRAMES: u32 = 1 << 1;
    let start = Instant::now();
    let input = ProgramInput {
        context_in: Some(&mut context),
        data_in: Some(&frame),
        flags: LIVE_FRAMES,
        repeat: frames as u32,
        ..ProgramInput::default()
    };
    program.test_run(input).map_err(|e| e.to_string())?;
    println!("{frames} {}", start.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}
