//! The fuzz targets' harness as an ordinary test: every decoder on noise, and on real packets with random damage.

mod wire_captures;

use etherparse::PacketBuilder;
use sluice::event::{ClockKind, Destination, LinkType, Marks, MessageReject, Priority, Protocol};
use sluice::feed::{Accepted, Delivery, FeedLine, FeedPolicy, HeldCopies, Intake, IntakeSettings, Outlet};
use sluice::wire::Message;
use sluice::wire::harness::{exercise, exercise_itch_file, exercise_link, exercise_stream};
use sluice::wire::{native_v2, soupbin};

/// xorshift64*: the same bytes on every run, so that a failure repeats.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit.max(1)
    }

    /// Half of the bytes are small, as the lengths and counts of real packets are.
    fn packet(&mut self, bytes_max: usize) -> Vec<u8> {
        let length = self.below(bytes_max + 1);
        let byte = |bits: u64| if bits & 0x100 == 0 { bits as u8 } else { bits as u8 & 0x0f };
        (0..length).map(|_| byte(self.next() >> 40)).collect()
    }

    /// Some bytes changed, and sometimes the end cut off or grown.
    fn damage(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut damaged = packet.to_vec();
        for _ in 0..=self.below(4) {
            // The first bytes hold the header, whose damage does most.
            let reach = if self.below(2) == 0 { damaged.len().min(48) } else { damaged.len() };
            let place = self.below(reach);
            if let Some(byte) = damaged.get_mut(place) {
                *byte = self.next() as u8;
            }
        }
        match self.below(4) {
            0 => damaged.truncate(self.below(damaged.len() + 1)),
            1 => damaged.extend(self.packet(16)),
            _ => {}
        }
        damaged
    }
}

/// Which capture holds real packets of which protocol.
const REAL: [(Protocol, &str); 5] = [
    (Protocol::Moldudp64Itch50, "moldudp64-nasdaq-38msgs.pcap"),
    (Protocol::IexTp, "iex-tops16.pcap.gz"),
    (Protocol::CmeMdp3, "cme-mdp3-ab.pcapng"),
    (Protocol::MiaxMach, "miax-tom-mach.pcap"),
    (Protocol::IceImpact, "ice-impact.pcap"),
];

/// Hand-written packets of the protocols that no capture holds, from the formats' descriptions: a native frame, two
/// Cboe messages in a sequenced unit, and a Pillar packet with one message.
const WRITTEN: [(Protocol, &[u8]); 3] = [
    (Protocol::Native, b"\x00\x00\x00\x0f\x03\x00\x08md.tradepx=1"),
    (
        Protocol::CboePitch,
        b"\x14\x00\x02\x01\x07\x00\x00\x00\x06\x20\x01\x02\x03\x04\x06\x20\x05\x06\x07\x08",
    ),
    (
        Protocol::NysePillar,
        b"\x18\x00\x0b\x01\x09\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08\x08\x00\x64\x00\x01\x02\x03\x04",
    ),
];

#[test]
fn every_decoder_takes_noise() {
    let mut noise = Noise(0x5eed_0001);
    for protocol in Protocol::ALL {
        for _ in 0..4_000 {
            exercise(protocol, &noise.packet(300));
        }
        exercise(protocol, &[0; 2_000]);
        exercise(protocol, &[0xff; 2_000]);
    }
}

#[test]
fn every_decoder_takes_damaged_packets() {
    let mut noise = Noise(0x5eed_0002);
    for (protocol, packet) in WRITTEN {
        for _ in 0..4_000 {
            exercise(protocol, &noise.damage(packet));
        }
    }
    for (protocol, name) in REAL {
        let Some(packets) = wire_captures::payloads(name) else { return };
        let (mut messages, mut refusals) = (0, 0);
        for _ in 0..4_000 {
            let packet = &packets[noise.below(packets.len())];
            exercise(protocol, packet);
            // A decoder must also stand the packets of others, as a wrong configuration brings them.
            exercise(Protocol::ALL[noise.below(Protocol::ALL.len())], packet);
            let found = exercise(protocol, &noise.damage(packet));
            messages += found.messages;
            refusals += found.refusals + usize::from(found.rejected.is_some());
        }
        assert!(refusals > 0, "{protocol}: damage was never noticed ({messages} messages)");
    }
}

/// Streams whose decoders are damaged here: whole units of each protocol, one behind the other.
fn streams() -> Vec<(Protocol, Vec<u8>)> {
    let mut native = Vec::new();
    let hello = native_v2::Control::Hello { producer: 7, acknowledged: 0, durable: false };
    native_v2::encode_control(&hello, 7, &mut native);
    for sequence in 1..4 {
        let event = native_v2::EventFrame {
            producer: 7,
            sequence,
            time_ns: 1_700_000_000_000_000_000,
            kind: 1,
            priority: Priority::Medium,
            topic: native_v2::Topic::Name(b"md.trade"),
            payload: b"px=1",
        };
        native_v2::encode_event(&event, &mut native);
        native.extend_from_slice(b"\x00\x00\x00\x0f\x03\x00\x08md.tradepx=1");
    }
    let engine = |kind: u8| {
        [&[16, 0, 0, 0, kind, 0, 0, 0, 0, 0, 128, 63][..], &1_700_000_000_u64.to_le_bytes()].concat()
    };
    let mut soup = soupbin::accept(b"SLUICE0001", 7).to_vec();
    for _ in 0..4 {
        // A system event.
        assert!(soupbin::append_sequenced(b"S\0\x01\0\x02\x01\x02\x03\x04\x05\x06O", &mut soup));
        soup.extend(soupbin::SERVER_HEARTBEAT);
    }
    soup.extend(soupbin::END_OF_SESSION);
    let fix = b"8=FIX.4.1\x019=00014\x0135=1\x01112=farm\x0110=217\x01".repeat(5);
    vec![
        (Protocol::Native, native),
        (Protocol::Engine20, (0..7).flat_map(engine).collect()),
        (Protocol::SoupbintcpItch50, soup),
        (Protocol::Fix, fix),
    ]
}

#[test]
fn every_stream_decoder_takes_noise_and_damage_however_it_is_cut() {
    let mut noise = Noise(0x5eed_0005);
    for (protocol, stream) in streams() {
        for _ in 0..2_000 {
            let cuts: Vec<usize> = (0..noise.below(6)).map(|_| noise.below(300)).collect();
            exercise_stream(protocol, &noise.packet(300), &cuts);
        }
        exercise_stream(protocol, &[0; 3_000], &[1, 1_500]);
        exercise_stream(protocol, &[0xff; 3_000], &[1, 1_500]);
        let whole = exercise_stream(protocol, &stream, &[]);
        assert_eq!((whole.refusals, whole.consumed), (0, stream.len()), "{protocol}");
        for _ in 0..4_000 {
            let cuts: Vec<usize> = (0..noise.below(6)).map(|_| noise.below(stream.len())).collect();
            exercise_stream(protocol, &noise.damage(&stream), &cuts);
        }
    }
}

#[test]
fn links_take_noise_and_damage() {
    let mut noise = Noise(0x5eed_0003);
    (0..20_000).for_each(|_| exercise_link(&noise.packet(120)));
    for name in REAL.map(|(_, name)| name) {
        let Some(frames) = wire_captures::frames(name) else { return };
        for _ in 0..2_000 {
            let frame = &frames[noise.below(frames.len())];
            exercise_link(&noise.damage(frame));
        }
    }
}

#[test]
fn itch_files_take_damage() {
    let mut noise = Noise(0x5eed_0004);
    for name in ["itch50-head1000.bin", "itch50-artificial.bin.gz"] {
        let Some(file) = wire_captures::bytes(name) else { return };
        let head = &file[..4_000];
        for _ in 0..300 {
            let damaged = noise.damage(head);
            let piece = 1 + noise.below(200);
            assert_eq!(exercise_itch_file(&damaged, piece), exercise_itch_file(&damaged, usize::MAX));
        }
    }
}

/// Holds back a few messages only, so that room runs out.
#[derive(Default)]
struct Few {
    held: HeldCopies,
    accepted: u64,
    released: u64,
}

impl Outlet for Few {
    fn accept(&mut self, _: &Message<'_>, _: &Accepted) -> Result<(), MessageReject> {
        self.accepted += 1;
        Ok(())
    }

    fn hold(&mut self, message: &Message<'_>, accepted: &Accepted) -> Result<u32, MessageReject> {
        if self.held.len() >= 40 {
            return Err(MessageReject::PoolExhausted);
        }
        self.held.hold(message, accepted)
    }

    fn release(&mut self, held: u32, _: Marks) {
        self.held.release(held, |_, _| self.released += 1);
    }
}

/// An intake of one feed with two lines, of that protocol.
fn intake(protocol: Protocol, delivery: Delivery, window: u64) -> Intake {
    let line = |line: u8| FeedLine {
        feed: 0,
        feed_name: "feed".to_owned(),
        line_name: line.to_string(),
        line,
        destination: Destination::v4([233, 0, 0, line], 26_477),
        source: None,
        protocol,
    };
    let policy =
        FeedPolicy { delivery, window, reorder_ns: 50_000, reorder_packets: 20, ..FeedPolicy::default() };
    Intake::allocate(&IntakeSettings {
        lines: vec![line(0), line(1)],
        policies: vec![policy],
        admit_unknown: false,
        streams_max: 40,
        endpoints_max: 4,
        ..IntakeSettings::default()
    })
}

/// Takes the packets on both lines, now in order, now not, with steps of time in between, damaged now and then; all that
/// is accepted must be delivered once the end has come, and the books must balance.
fn feed_with(noise: &mut Noise, protocol: Protocol, packets: &[Vec<u8>], delivery: Delivery, window: u64) {
    let mut intake = intake(protocol, delivery, window);
    let mut outlet = Few::default();
    let mut time_ns = 1_700_000_000_000_000_000;
    let mut place = 0;
    for round in 0..1_500 {
        place = match noise.below(8) {
            0 => noise.below(packets.len()),
            1 => place.saturating_sub(noise.below(6)),
            _ => (place + noise.below(3)) % packets.len(),
        };
        let packet = match noise.below(12) {
            0 => noise.packet(200),
            1..4 => noise.damage(&packets[place]),
            _ => packets[place].clone(),
        };
        time_ns = match noise.below(20) {
            0 => time_ns - 1_000_000,
            1 => time_ns + 100_000,
            2 => time_ns + 20_000_000_000,
            _ => time_ns + 1_000,
        };
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [1, 0, 0x5e, 0, 0, 0])
            .ipv4([192, 0, 2, 1], [233, 0, 0, noise.below(2) as u8], 16)
            .udp(40_000, 26_477);
        let mut frame = Vec::new();
        builder.write(&mut frame, &packet).expect("memory can be written");
        intake.take(&frame, LinkType::Ethernet, time_ns, ClockKind::Capture, &mut outlet);
        if round % 500 == 499 {
            intake.begin_again(&mut outlet);
        }
    }
    intake.finish_gaps(&mut outlet);
    assert_eq!((outlet.held.len(), intake.open_gaps()), (0, 0), "{protocol} {delivery:?}");
    let messages = &intake.messages;
    assert_eq!(messages.accepted, outlet.accepted + outlet.released, "{protocol} {delivery:?}");
    let rejected: u64 = messages.rejected.iter().sum();
    let fates = messages.accepted + messages.duplicate + messages.stale + messages.heartbeat + rejected;
    assert_eq!(messages.decoded, fates, "{protocol} {delivery:?}");
    for stream in intake.settle() {
        assert!(stream.book.balanced(), "{protocol} {delivery:?} {:?}", stream.book);
    }
}

#[test]
fn streams_stand_hostile_numbers_under_every_policy() {
    let mut noise = Noise(0x5eed_0006);
    for delivery in [Delivery::AsArrived, Delivery::InOrder] {
        for window in [64, 4_096, 65_536] {
            for (protocol, packet) in WRITTEN.into_iter().skip(1) {
                let numbered = |number: u32| {
                    let mut packet = packet.to_vec();
                    packet[4..8].copy_from_slice(&number.to_le_bytes());
                    packet
                };
                let packets: Vec<Vec<u8>> = (1..300).map(|number| numbered(2 * number)).collect();
                feed_with(&mut noise, protocol, &packets, delivery, window);
            }
            for (protocol, name) in REAL {
                let Some(packets) = wire_captures::payloads(name) else { continue };
                feed_with(&mut noise, protocol, &packets[..packets.len().min(400)], delivery, window);
            }
        }
    }
}
