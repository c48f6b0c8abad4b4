//! A producer that sends datagrams: one version 1 frame in each, or version 2 frames as far as they fit.
//!
//! Invariant: a datagram that the kernel took counts as sent; nobody knows whether it arrived.

use super::producer::Producer;
use super::transport::connect_udp;
use super::{FrameVersion, LoadError, ProducerReport};
use crate::ledger::LatencyRecorder;
use crate::os::monotonic_now;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

/// Bytes of a datagram that no common network cuts into fragments.
const DATAGRAM_BYTES: usize = 1_400;

/// Runs a producer to its end.
pub(super) fn run(mut producer: Producer<'_>) -> (ProducerReport, LatencyRecorder) {
    let mut sent = 0;
    match connect_udp(&producer.common.plan.target) {
        Ok(socket) => {
            producer.report.connections = 1;
            if let Err(source) = serve(&mut producer, &socket, &mut sent) {
                let target = producer.common.plan.target.clone();
                producer.fail(&LoadError::Datagram { target, source });
            }
        }
        Err(error) => producer.fail(&error),
    }
    producer.close(1, sent, None)
}

fn serve(producer: &mut Producer<'_>, socket: &UdpSocket, sent: &mut u64) -> std::io::Result<()> {
    let several = producer.common.plan.version == FrameVersion::V2;
    let mut datagram = Vec::new();
    let mut due_ns = Vec::new();
    loop {
        let now = monotonic_now();
        if producer.is_over(*sent, now) {
            return Ok(());
        }
        let due = producer.schedule.due(now);
        if *sent >= due {
            let pause_ns = producer.pause_ns(*sent, now);
            if pause_ns > 0 {
                std::thread::sleep(Duration::from_nanos(pause_ns));
            }
            continue;
        }
        datagram.clear();
        due_ns.clear();
        for n in *sent..due {
            let (end, intended_ns) = (datagram.len(), producer.schedule.intended_ns(n, now));
            producer.append(n + 1, intended_ns, &mut datagram);
            if end > 0 && (!several || datagram.len() > DATAGRAM_BYTES) {
                datagram.truncate(end);
                break;
            }
            due_ns.push(intended_ns);
        }
        send(producer, socket, &datagram)?;
        let now = monotonic_now();
        due_ns.iter().for_each(|due| producer.latency.record(now.saturating_sub(*due)));
        *sent += due_ns.len() as u64;
        producer.report.finished_ns = Some(now);
        producer.note_written(due_ns.len() as u64, datagram.len());
    }
}

/// Sends one datagram, as often as the kernel says that an earlier one found nobody.
fn send(producer: &mut Producer<'_>, socket: &UdpSocket, datagram: &[u8]) -> std::io::Result<()> {
    loop {
        match socket.send(datagram) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => producer.report.refused += 1,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The interface's queue is full; there is nothing to wait on.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                producer.report.socket_full += 1;
                std::thread::sleep(Duration::from_micros(100));
            }
            Err(error) => return Err(error),
        }
        if producer.common.stop.is_set() {
            return Ok(());
        }
    }
}
