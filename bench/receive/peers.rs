//! One run of a sender against a receiver, and the roles that this program plays itself.

use crate::Outcome;
use crate::receivers::{self, Receiver};
use crate::rig::{PORT, RX_ADDRESS, RX_INTERFACE, Rig};
use crate::senders::{self, Sender};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, setsockopt, sockopt};
use sluice::os::StopFlag;
use std::io::{IoSliceMut, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Time for what is under way to arrive before a receiver is told to stop.
const SETTLE: Duration = Duration::from_millis(150);

/// Frames that one recvmmsg takes at most.
const BATCH: usize = 64;

/// One run.
pub fn run(rig: &Rig, sender: Sender, receiver: Receiver, capture: &Path, frames: u64) -> Result<Outcome, String> {
    let running = receivers::start(rig, receiver)?;
    let sent = sender.send(rig, capture, frames);
    std::thread::sleep(SETTLE);
    let received = running.stop()?;
    let (sent, seconds) = sent?;
    Ok(Outcome { sent, received, seconds })
}

/// One run of a capture at a fixed rate: by Sluice's sender for Sluice and by tcpreplay for others, as each would
/// be used; both keep the rate.
pub fn run_at_rate(
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
pub fn play(arguments: &[String]) -> ExitCode {
    let role = arguments.first().map(String::as_str).unwrap_or_default();
    let played = match role {
        "recvmmsg_spin" => read_udp(MsgFlags::MSG_DONTWAIT),
        "recvmmsg_block" => read_udp(MsgFlags::MSG_WAITFORONE),
        "xsk_count" => count_xsk(),
        "live-frames" => senders::play_live_frames(arguments.get(1).and_then(|n| n.parse().ok()).unwrap_or(1)),
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

fn read_udp(flags: MsgFlags) -> Result<ExitCode, String> {
    let stop = StopFlag::on_signals().map_err(|e| e.to_string())?;
    let socket = UdpSocket::bind((Ipv4Addr::from(RX_ADDRESS), PORT)).map_err(|e| e.to_string())?;
    // Wakes the blocking reader now and then to look at the flag.
    socket.set_read_timeout(Some(Duration::from_millis(50))).map_err(|e| e.to_string())?;
    setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20)).map_err(|e| e.to_string())?;
    let mut buffers = vec![[0u8; 2_048]; BATCH];
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    say("ready")?;
    let mut received = 0u64;
    let mut slices: Vec<[IoSliceMut<'_>; 1]> = buffers.iter_mut().map(|b| [IoSliceMut::new(b)]).collect();
    while !stop.is_set() {
        if let Ok(messages) = recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None) {
            received += messages.count() as u64;
        }
    }
    say(&format!("received {received}"))?;
    Ok(ExitCode::SUCCESS)
}
