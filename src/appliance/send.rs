//! A replay onto a network: captures through a sender into an interface, a UDP socket or TCP connections.

use super::ApplianceError;
use crate::os::{Clock, StopFlag};
use crate::replay::tcp::{TcpReport, TcpSender, TcpWishes};
use crate::replay::{Rewrite, SendProgress, SendReport, Sender};
use crate::sink::{FrameSink, PacketSink, SendOutcome, SinkError, UdpOptions, UdpSink, XdpSink};
use crate::source::LinkType;
use crate::source::capture::{CaptureOptions, CaptureSource, Speed};
use crate::source::xdp::LaneSettings;
use std::net::SocketAddr;

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

/// Sends captures; `progress` is told some ten times a second.
///
/// # Errors
/// A capture can't be read, or neither way out can be had, or it failed while sending.
pub fn replay_out(
    options: &CaptureOptions,
    destination: &Destination,
    rewrite: Rewrite,
    stop: &StopFlag,
    progress: &mut dyn FnMut(&SendProgress),
) -> Result<SentOutcome, ApplianceError> {
    let source = CaptureSource::open(options)?;
    let (way, fallback) = open(destination)?;
    let clock = Clock::new();
    let mut sender = Sender::new(source, rewrite, way, move || clock.now());
    if options.speed != Speed::Max {
        sender = sender.urgent();
    }
    let report = sender.run(&stop.shared(), progress)?;
    let way = sender.sink().describe();
    Ok(SentOutcome { report, way, fallback, source: sender.into_source() })
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
