//! One run of a sender against a receiver, and the roles that this program plays itself.

use crate::Outcome;
use crate::receivers::{self, Receiver};
use crate::recvmmsg::Reader;
use crate::rig::{PORT, RX_ADDRESS, RX_INTERFACE, Rig};
use crate::senders::{self, Sender};
use nix::sys::socket::{setsockopt, sockopt};
use sluice::event::Destination;
use sluice::os::StopFlag;
use sluice::source::xdp::{AttachWish, LaneSettings, Steering, SteeringSettings, XdpSource};
use sluice::source::{Budget, FrameSource};
use std::io::Write;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Time for what is under way to arrive before a receiver is told to stop.
const SETTLE: Duration = Duration::from_millis(150);

/// Frames that one recvmmsg takes at most.
const BATCH: usize = 64;

/// One run.
pub(crate) fn run(
    rig: &Rig,
    sender: Sender,
    receiver: Receiver,
    capture: &Path,
    frames: u64,
) -> Result<Outcome, String> {
    let running = receivers::start(rig, receiver)?;
    let sent = sender.send(rig, capture, frames);
    std::thread::sleep(SETTLE);
    let received = running.stop()?;
    let (sent, seconds) = sent?;
    Ok(Outcome { sent, received, seconds })
}

/// One run of a capture at a fixed rate: by Sluice's sender for Sluice and by tcpreplay for others, as each would
/// be used; both keep the rate.
pub(crate) fn run_at_rate(
    rig: &Rig,
    receiver: Receiver,
    capture: &Path,
    loops: u64,
    pps: u64,
) -> Result<Outcome, String> {
    let running = receivers::start(rig, receiver)?;
    let (loops, pps) = (loops.to_string(), pps.to_string());
    let sent = senders::tcpreplay(rig, capture, &["--preload-pcap", "--pps", &pps, "--loop", &loops])
        .or_else(|_| senders::replay(rig, capture, &["--pps", &pps, "--loop", &loops]));
    std::thread::sleep(SETTLE);
    let received = running.stop()?;
    let (sent, seconds) = sent?;
    Ok(Outcome { sent, received, seconds })
}

/// Plays a role in a namespace: a receiver, or the live-frames sender.
pub(crate) fn play(arguments: &[String]) -> ExitCode {
    let role = arguments.first().map(String::as_str).unwrap_or_default();
    let played = match role {
        "recvmmsg_spin" => read_udp(libc::MSG_DONTWAIT),
        "recvmmsg_block" => read_udp(libc::MSG_WAITFORONE),
        "xsk_count" => count_xsk(),
        "live-frames" => {
            senders::play_live_frames(arguments.get(1).and_then(|n| n.parse().ok()).unwrap_or(1))
        }
        other => Err(format!("no such role '{other}'")),
    };
    played.unwrap_or_else(|error| {
        eprintln!("receive: {role}: {error}");
        ExitCode::FAILURE
    })
}

fn say(line: &str) -> Result<(), String> {
    println!("{line}");
    std::io::stdout().flush().map_err(|e| e.to_string())
}

fn read_udp(flags: libc::c_int) -> Result<ExitCode, String> {
    let stop = StopFlag::on_signals().map_err(|e| e.to_string())?;
    let socket = UdpSocket::bind((Ipv4Addr::from(RX_ADDRESS), PORT)).map_err(|e| e.to_string())?;
    // Wakes the blocking reader now and then to look at the flag.
    socket.set_read_timeout(Some(Duration::from_millis(50))).map_err(|e| e.to_string())?;
    setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20)).map_err(|e| e.to_string())?;
    say("ready")?;
    let received = Reader::new(socket).count(flags, || stop.is_set());
    say(&format!("received {received}"))?;
    Ok(ExitCode::SUCCESS)
}

/// An AF_XDP reader that only counts: the same program and socket as Sluice's, and nothing behind them.
fn count_xsk() -> Result<ExitCode, String> {
    let stop = StopFlag::on_signals().map_err(|e| e.to_string())?;
    let steering = Steering::attach(&SteeringSettings {
        interface: RX_INTERFACE.to_owned(),
        rules: vec![Destination::v4(RX_ADDRESS, PORT)],
        hardware_time: false,
        mode: AttachWish::NativeOnly,
        napi_threads: false,
    })
    .map_err(|e| e.to_string())?;
    let settings = LaneSettings { ring_entries: 65_536, chunks: 65_536, ..LaneSettings::of_queue(0) };
    let mut source = XdpSource::open(&steering, &settings).map_err(|e| e.to_string())?;
    say("ready")?;
    let budget = Budget { frames: BATCH, bytes: usize::MAX };
    let mut received = 0u64;
    while !source.exhausted() {
        for _ in 0..1_024 {
            received += source.poll(0, budget, &mut |_frame| {}) as u64;
        }
        if stop.is_set() {
            source.stop();
        }
    }
    say(&format!("received {received}"))?;
    Ok(ExitCode::SUCCESS)
}
