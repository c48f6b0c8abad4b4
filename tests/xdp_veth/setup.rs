//! What the scenarios have in common: settings, numbered packets, receiving, and a closing that checks the ledger.

use crate::rig::RX;
use etherparse::PacketBuilder;
use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockType, bind, socket};
use sluice::event::{ClockKind, Destination};
use sluice::ledger::{KernelBook, Ledger};
use sluice::source::xdp::{AttachWish, LaneSettings, Steering, SteeringSettings, TxFull, TxLane, XdpSource};
use sluice::source::{Budget, FrameSource};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread::yield_now;

pub(crate) const GROUP: [u8; 4] = [239, 9, 9, 9];
pub(crate) const PORT: u16 = 26_477;
pub(crate) const BUDGET: Budget = Budget { frames: 64, bytes: usize::MAX };

pub(crate) fn steering(rules: &[Destination]) -> SteeringSettings {
    SteeringSettings {
        interface: RX.to_owned(),
        rules: rules.to_vec(),
        hardware_time: false,
        mode: AttachWish::NativeElseGeneric,
        napi_threads: false,
    }
}

/// Small rings on ordinary pages, so that tests can run side by side.
pub(crate) fn lane(queue: u32) -> LaneSettings {
    LaneSettings { ring_entries: 4_096, chunks: 4_096, huge_pages: false, ..LaneSettings::of_queue(queue) }
}

/// A UDP packet to the group with a number as payload.
pub(crate) fn numbered(number: u64, port: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ethernet2([2; 6], [0xff; 6])
        .ipv4([10, 9, 0, 1], GROUP, 4)
        .udp(9, port)
        .write(&mut packet, &number.to_be_bytes())
        .expect("writing to a vector");
    packet
}

pub(crate) fn number_of(frame: &[u8]) -> u64 {
    let payload = frame.last_chunk::<8>().expect("the payload is 8 bytes");
    u64::from_be_bytes(*payload)
}

pub(crate) fn send_all(tx: &mut TxLane, packets: &[Vec<u8>]) {
    for packet in packets {
        while tx.send(packet) == Err(TxFull::Full) {
            tx.flush().expect("the interface is up");
        }
    }
    tx.flush().expect("the interface is up");
}

/// An AF_PACKET socket on the interface, for sending.
pub(crate) fn packet_socket(interface: &str) -> OwnedFd {
    let address: LinkAddr = nix::ifaddrs::getifaddrs()
        .expect("interfaces")
        .filter(|found| found.interface_name == interface)
        .find_map(|found| found.address.and_then(|address| address.as_link_addr().copied()))
        .expect("the interface has a link address");
    let fd = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).expect("root");
    bind(fd.as_raw_fd(), &address).expect("binds");
    fd
}

/// Polls until the program has seen `seen` frames, and then until nothing is left; returns the numbers received.
pub(crate) fn receive(steering: &Steering, source: &mut XdpSource, seen: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        let complete = steering.program_book().expect("counters").xdp_seen >= seen;
        let count = source.poll(0, BUDGET, &mut |frame| {
            assert_eq!(frame.clock, ClockKind::Monotonic);
            assert_ne!(frame.wire_ns, 0);
            numbers.push(number_of(frame.bytes));
        });
        if complete && count == 0 {
            return numbers;
        }
        if count == 0 {
            yield_now();
        }
    }
}

/// Stops a source, drains it, and returns its book, which must balance, and how many frames the draining brought.
pub(crate) fn close(source: &mut XdpSource) -> (KernelBook, u64) {
    source.stop();
    let mut drained = 0;
    while !source.exhausted() {
        drained += source.poll(0, BUDGET, &mut |_| {}) as u64;
    }
    let book = source.kernel_book().expect("an XDP source has one");
    let mut ledger = Ledger { kernel: Some(book.clone()), ..Ledger::default() };
    ledger.frames.received = book.received;
    ledger.frames.decoded = book.received;
    assert_eq!(ledger.imbalances(), [], "{book:?}");
    (book, drained)
}

pub(crate) fn named(counts: &[(&'static str, u64)], name: &str) -> u64 {
    counts.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no counter {name}")).1
}
