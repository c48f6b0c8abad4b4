//! Serves an ITCH 5.0 message file by the `moldudp` crate: packets on a line, and answers to requests.
//!
//! Invariant: messages are numbered as they lie in the file, whether they were put on the line or left out of it.
//!
//! It prints `ready ADDRESS` (where requests are answered), sends once it reads a line, prints how much that was, and
//! ends when its standard input ends: so it never outlives the test that started it.

use moldudp::MoldUDP64Server;
use std::io::{BufRead, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::str::FromStr;
use std::time::{Duration, Instant};

const USAGE: &str = "\
foreign-moldudp FILE --to GROUP:PORT --interface ADDR --rerequest ADDR:PORT
    [--session NAME] [--first N] [--batch MESSAGES] [--pps PACKETS] [--payload BYTES] [--heartbeat-ms MS]
    [--loss FRACTION] [--seed N] [--end]";

/// What the command line says.
struct Wishes {
    file: String,
    to: SocketAddrV4,
    interface: Ipv4Addr,
    rerequest: SocketAddr,
    session: String,
    first: u64,
    batch: usize,
    pps: u64,
    payload: usize,
    heartbeat: Duration,
    loss: f64,
    seed: u64,
    end: bool,
}

fn parsed<T: FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name}: '{text}' is not understood\n{USAGE}"))
}

impl Wishes {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Wishes, String> {
        let mut wishes = Wishes {
            file: String::new(),
            to: SocketAddrV4::new(Ipv4Addr::new(239, 1, 2, 3), 5_000),
            interface: Ipv4Addr::LOCALHOST,
            rerequest: SocketAddr::from(([127, 0, 0, 1], 0)),
            session: "FOREIGN001".to_owned(),
            first: 1,
            batch: 4,
            pps: 5_000,
            payload: 1_400,
            heartbeat: Duration::from_millis(100),
            loss: 0.0,
            seed: 1,
            end: false,
        };
        while let Some(word) = words.next() {
            if !word.starts_with("--") {
                wishes.file = word;
                continue;
            }
            if word == "--end" {
                wishes.end = true;
                continue;
            }
            let value = words.next().ok_or_else(|| format!("{word} needs a value\n{USAGE}"))?;
            match word.as_str() {
                "--to" => wishes.to = parsed(&word, &value)?,
                "--interface" => wishes.interface = parsed(&word, &value)?,
                "--rerequest" => wishes.rerequest = parsed(&word, &value)?,
                "--session" => wishes.session = value,
                "--first" => wishes.first = parsed(&word, &value)?,
                "--batch" => wishes.batch = parsed::<usize>(&word, &value)?.max(1),
                "--pps" => wishes.pps = parsed::<u64>(&word, &value)?.max(1),
                "--payload" => wishes.payload = parsed(&word, &value)?,
                "--heartbeat-ms" => wishes.heartbeat = Duration::from_millis(parsed(&word, &value)?),
                "--loss" => wishes.loss = parsed(&word, &value)?,
                "--seed" => wishes.seed = parsed(&word, &value)?,
                _ => return Err(format!("{word} is unknown\n{USAGE}")),
            }
        }
        if wishes.file.is_empty() { Err(USAGE.to_owned()) } else { Ok(wishes) }
    }
}

/// The messages of a file: each behind its length, 16 bits big-endian; a length of 0 ends it.
fn messages(file: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut all = Vec::new();
    let mut rest = file;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        if length == 0 {
            break;
        }
        let (body, behind) = behind.split_at_checked(length).ok_or("the file ends within a message")?;
        all.push(body.to_vec());
        rest = behind;
    }
    Ok(all)
}

/// Splitmix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A packet's messages: as many as asked for, as far as they fit; the crate would number a second packet wrongly.
fn next_packet<'a>(left: &mut &'a [Vec<u8>], wishes: &Wishes) -> &'a [Vec<u8>] {
    let mut bytes = 0;
    let fitting = left
        .iter()
        .take(wishes.batch)
        .take_while(|message| {
            bytes += message.len();
            bytes <= wishes.payload
        })
        .count();
    let (packet, rest) = left.split_at(fitting.max(1));
    *left = rest;
    packet
}

fn serve(wishes: &Wishes) -> Result<(), String> {
    let told = |what: &str, error: std::io::Error| format!("{what}: {error}");
    let file = std::fs::read(&wishes.file).map_err(|error| told(&wishes.file, error))?;
    let messages = messages(&file)?;
    let requests = UdpSocket::bind(wishes.rerequest).map_err(|error| told("binding for requests", error))?;
    let address = requests.local_addr().map_err(|error| told("the address for requests", error))?;
    // The kernel sends multicast by the interface that has the socket's own address.
    let line = UdpSocket::bind((wishes.interface, 0)).map_err(|error| told("binding for the line", error))?;
    let mut out = std::io::stdout();
    writeln!(out, "ready {address}").and_then(|()| out.flush()).map_err(|error| told("printing", error))?;
    let mut lines = std::io::stdin().lock().lines();
    let Some(Ok(_)) = lines.next() else { return Ok(()) };
    // Started only now: a heartbeat before the first packet would give away what is to come.
    let server = MoldUDP64Server::builder()
        .multicast_addr(wishes.to)
        .interface_addr(wishes.interface)
        .rerequest_bind_addr(address)
        .session(wishes.session.clone())
        .max_payload(wishes.payload)
        .heartbeat_interval(wishes.heartbeat)
        .seq_num(wishes.first)
        .build();
    let handle = server.start_with_sockets(line, requests).map_err(|error| told("starting", error))?;
    let mut state = wishes.seed;
    let (mut packets, mut lost_packets, mut lost_messages) = (0u64, 0u64, 0u64);
    let began = Instant::now();
    let mut left = &messages[..];
    while !left.is_empty() {
        let packet = next_packet(&mut left, wishes).to_vec();
        let due = began + Duration::from_secs(1).mul_f64(packets as f64 / wishes.pps as f64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        packets += 1;
        if (random(&mut state) as f64 / u64::MAX as f64) < wishes.loss {
            lost_packets += 1;
            lost_messages += packet.len() as u64;
            handle.send_dropped(packet);
        } else {
            handle.send(packet);
        }
    }
    if wishes.end {
        handle.shutdown();
    }
    let sent = messages.len();
    writeln!(
        out,
        "sent {sent} messages {packets} packets lost {lost_messages} messages {lost_packets} packets"
    )
    .and_then(|()| out.flush())
    .map_err(|error| told("printing", error))?;
    lines.by_ref().take_while(Result::is_ok).count();
    Ok(())
}

fn main() {
    if let Err(error) = Wishes::parse(std::env::args().skip(1)).and_then(|wishes| serve(&wishes)) {
        eprintln!("error: {error}");
        std::process::exit(2);
    }
}
