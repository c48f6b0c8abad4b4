//! A replay onto a network: captures through a sender into an interface, a UDP socket or TCP connections.

use super::ApplianceError;
use crate::event::Nanos;
use crate::os::{Clock, StopFlag, monotonic_now};
use crate::replay::rerequest::{RerequestOptions, RerequestReport, RerequestServer};
use crate::replay::tcp::{TcpReport, TcpSender, TcpWishes};
use crate::replay::{ReplayError, Rewrite, SendProgress, SendReport, Sender};
use crate::sink::{FrameSink, PacketSink, SendOutcome, SinkError, UdpOptions, UdpSink, XdpSink};
use crate::source::LinkType;
use crate::source::capture::{CaptureError, CaptureOptions, CaptureSource, Speed};
use crate::source::xdp::LaneSettings;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;

/// Where frames are sent.
#[derive(Clone, Debug)]
pub enum Destination {
    /// A transmit queue of an interface: by AF_XDP, or by AF_PACKET where that can't be had.
    Interface {
        /// Its name.
        name: String,
        /// The queue, from 0.
        queue: u32,
    },
    /// The UDP payloads to an address.
    Udp(SocketAddr),
}

/// What a replay onto a network gave.
pub struct SentOutcome {
    /// Frames, pacing, what was skipped.
    pub report: SendReport,
    /// How they were sent, in words.
    pub way: String,
    /// Why a better way could not be had.
    pub fallback: Option<String>,
    /// The source, for what it found in the captures.
    pub source: CaptureSource,
    /// What a re-request server beside it did.
    pub rerequest: Option<RerequestOutcome>,
}

/// What a re-request server beside a replay gave.
pub struct RerequestOutcome {
    /// Requests, replies, what was kept.
    pub report: RerequestReport,
    /// Heartbeats that were sent behind the last frame.
    pub heartbeats: u64,
}

/// A replay onto a network.
pub struct SendWishes<'a> {
    /// Where frames are sent.
    pub destination: &'a Destination,
    /// What is changed in them.
    pub rewrite: Rewrite,
    /// The re-request server beside it. The captures' memory is shared evenly by the capture reader,
    /// this, and where there are faults a second reader.
    pub rerequest: Option<RerequestOptions>,
}

/// One of the ways out, chosen when the replay starts.
enum Way {
    Xdp(Box<XdpSink>),
    Packet(PacketSink),
    Udp(UdpSink),
}

macro_rules! each_way {
    ($way:expr, $sink:ident => $call:expr) => {
        match $way {
            Way::Xdp($sink) => $call,
            Way::Packet($sink) => $call,
            Way::Udp($sink) => $call,
        }
    };
}

impl FrameSink for Way {
    #[inline]
    fn send(&mut self, frame: &[u8], link: LinkType) -> SendOutcome {
        each_way!(self, sink => sink.send(frame, link))
    }

    #[inline]
    fn flush(&mut self) -> Result<(), SinkError> {
        each_way!(self, sink => sink.flush())
    }

    fn sent(&self) -> u64 {
        each_way!(self, sink => sink.sent())
    }

    fn waits(&self) -> u64 {
        each_way!(self, sink => sink.waits())
    }

    fn describe(&self) -> String {
        each_way!(self, sink => sink.describe())
    }
}

fn open(destination: &Destination) -> Result<(Way, Option<String>), ApplianceError> {
    match destination {
        Destination::Udp(address) => Ok((Way::Udp(UdpSink::open(*address, UdpOptions::default())?), None)),
        Destination::Interface { name, queue } => {
            match XdpSink::open(name, &LaneSettings::of_queue(*queue)) {
                Ok(sink) => Ok((Way::Xdp(Box::new(sink)), None)),
                Err(error) => {
                    let sink = PacketSink::open(name)?;
                    Ok((Way::Packet(sink), Some(format!("sending by AF_PACKET: {error}"))))
                }
            }
        }
    }
}

/// Sends captures; `listening` is told where requests are answered, before the first frame is sent, and `progress` how far
/// it is, some ten times a second.
///
/// # Errors
/// A capture can't be read, or neither way out can be had, or it failed while sending, or requests can't be answered.
pub fn replay_out(
    options: &CaptureOptions,
    wishes: SendWishes<'_>,
    stop: &StopFlag,
    listening: &mut dyn FnMut(SocketAddr),
    progress: &mut dyn FnMut(&SendProgress),
) -> Result<SentOutcome, ApplianceError> {
    // The reader, and where requests are answered the store, and where there are faults a reader of what they spare.
    let follows = wishes.rerequest.is_some() && options.faults.is_some();
    let shares = 1 + usize::from(wishes.rerequest.is_some()) + usize::from(follows);
    let memory_bytes = options.memory_bytes / shares;
    let source = CaptureSource::open(&CaptureOptions { memory_bytes, ..options.clone() })?;
    let (way, fallback) = open(wishes.destination)?;
    let clock = Clock::new();
    let mut sender = Sender::new(source, wishes.rewrite, way, move || clock.now());
    if options.speed != Speed::Max {
        sender = sender.urgent();
    }
    let mut server = None;
    if let Some(wished) = wishes.rerequest {
        let (started, lines) = RerequestServer::start(RerequestOptions { memory_bytes, ..wished })?;
        listening(started.address());
        sender = sender.telling(if follows { lines.following(whole(options, memory_bytes)?) } else { lines });
        server = Some(started);
    }
    let stop = stop.shared();
    let report = sender.run(&stop, progress)?;
    let rerequest = server.map(|server| linger(&mut sender, server, &stop)).transpose()?;
    let way = sender.sink().describe();
    Ok(SentOutcome { report, way, fallback, source: sender.into_source(), rerequest })
}

/// The capture once, without faults and without a pace.
fn whole(options: &CaptureOptions, memory_bytes: usize) -> Result<CaptureSource, CaptureError> {
    let options = options.clone();
    CaptureSource::open(&CaptureOptions {
        faults: None,
        speed: Speed::Max,
        loops: 1,
        memory_bytes,
        ..options
    })
}

/// Answers requests until nobody has one any more.
fn linger<C: Fn() -> Nanos>(
    sender: &mut Sender<Way, C>,
    server: RerequestServer,
    stop: &AtomicBool,
) -> Result<RerequestOutcome, ReplayError> {
    let sent_ns = monotonic_now();
    let heartbeats = sender.linger(stop, |now| server.is_over(sent_ns, now))?;
    Ok(RerequestOutcome { report: server.end()?, heartbeats })
}

/// What a replay of TCP flows gave.
pub struct TcpOutcome {
    /// Segments, flows, pacing, what was skipped.
    pub report: TcpReport,
    /// The source, for what it found in the captures.
    pub source: CaptureSource,
}

/// Sends the TCP flows of captures; `progress` is told some ten times a second.
///
/// # Errors
/// A capture can't be read, or nobody accepts a connection.
pub fn replay_tcp(
    options: &CaptureOptions,
    wishes: TcpWishes,
    stop: &StopFlag,
    progress: &mut dyn FnMut(&SendProgress),
) -> Result<TcpOutcome, ApplianceError> {
    let clock = Clock::new();
    let mut sender = TcpSender::open(options, wishes, move || clock.now())?;
    let report = sender.run(&stop.shared(), progress)?;
    Ok(TcpOutcome { report, source: sender.into_source() })
}
