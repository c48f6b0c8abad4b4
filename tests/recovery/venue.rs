//! A small venue: one line that loses what it is told to, and re-request servers that answer as they are told to.
//!
//! Invariant: every message is the same wherever it comes from, so that a wrong one would be seen.

use crate::program::number;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

pub(crate) const SESSION: &[u8; 10] = b"VENUE00001";

/// The line's keys. Its socket holds all that a test sends: what is lost is what a test says.
pub(crate) const LINE: &str = "protocol = 'moldudp64-itch50'\nreceive_buffer_bytes = 4194304";

/// Messages of one datagram.
const MESSAGES_EACH: u64 = 10;

/// Messages of a test's session.
pub(crate) const COUNT: u64 = 600;

/// Where a listener's place in the program's words is.
pub(crate) fn udp(place: &str) -> SocketAddr {
    place.strip_prefix("udp:").expect("a socket").parse().expect("an address")
}

/// The feed's stream in a report.
pub(crate) fn stream(report: &Value) -> &Value {
    let streams = report["streams"].as_array().expect("streams");
    streams.iter().find(|stream| stream["name"] == "itch").expect("the feed's stream")
}

/// All that was lost is there: every number once.
pub(crate) fn assert_whole(report: &Value) {
    let stream = stream(report);
    let counts = ["/expected", "/seen", "/missing", "/epochs"].map(|key| number(stream, key));
    assert_eq!(counts, [COUNT, COUNT, 0, 1], "{stream:#}\n{:#}", report["recovery"]);
    assert_eq!(number(report, "/ledger/messages/accepted"), COUNT);
}

/// The message of a number: an unknown type with the number in it.
pub(crate) fn body(number: u64) -> Vec<u8> {
    [&b"z-message-"[..], &number.to_be_bytes()].concat()
}

/// A MoldUDP64 packet of these messages.
pub(crate) fn packet(session: &[u8; 10], numbers: Range<u64>) -> Vec<u8> {
    let count = (numbers.end - numbers.start) as u16;
    let mut packet = [&session[..], &numbers.start.to_be_bytes(), &count.to_be_bytes()].concat();
    for number in numbers {
        let body = body(number);
        packet.extend_from_slice(&(body.len() as u16).to_be_bytes());
        packet.extend_from_slice(&body);
    }
    packet
}

/// Sends the numbers 1 to `count` but for the lost ones, message by message, and says at the end which comes next.
pub(crate) fn send_line(to: SocketAddr, count: u64, lost: &BTreeSet<u64>) {
    let line = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    for number in (1..=count).filter(|number| !lost.contains(number)) {
        line.send_to(&packet(SESSION, number..number + 1), to).expect("sent");
        if number % 25 == 0 {
            // Where the kernel allows no larger buffer, the run gets the time to take what is there.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    line.send_to(&packet(SESSION, count + 1..count + 1), to).expect("sent");
}

/// How a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Temper {
    /// At once, with all that was asked for.
    Prompt,
    /// With as many messages as a datagram has, whatever was asked for.
    OneDatagram,
    /// So much later.
    Late(Duration),
    /// With messages of another session, and with the right ones to the first request for each only then.
    WrongSession,
    /// With numbers that the line has not reached.
    Ahead,
    /// With what is no packet.
    Noise,
    /// Not at all.
    Silent,
}

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) from: SocketAddr,
    pub(crate) numbers: Range<u64>,
}

/// A re-request server on a thread of its own.
pub(crate) struct Rerequest {
    pub(crate) address: SocketAddr,
    pub(crate) asked: Receiver<Asked>,
    thread: Option<JoinHandle<()>>,
}

impl Rerequest {
    pub(crate) fn start(temper: Temper) -> Rerequest {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let address = socket.local_addr().expect("bound");
        let (tell, asked) = channel();
        let thread = std::thread::spawn(move || serve(&socket, temper, &tell));
        Rerequest { address, asked, thread: Some(thread) }
    }

    /// Waits until all of these were asked for.
    pub(crate) fn wait_for(&self, numbers: &BTreeSet<u64>) {
        let mut left = numbers.clone();
        while !left.is_empty() {
            let asked = self.asked.recv().expect("it serves");
            left.retain(|number| !asked.numbers.contains(number));
        }
    }
}

impl Drop for Rerequest {
    fn drop(&mut self) {
        // A datagram that is no request ends it.
        let end = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        end.send_to(b"end", self.address).expect("sent");
        if let Some(thread) = self.thread.take() {
            // What it panicked about is in the test's output.
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, temper: Temper, tell: &Sender<Asked>) {
    let mut bytes = [0; 64];
    loop {
        let (length, from) = socket.recv_from(&mut bytes).expect("a datagram");
        if length != 20 {
            return;
        }
        assert_eq!(&bytes[..10], SESSION, "the session of the line");
        let first = u64::from_be_bytes(bytes[10..18].try_into().expect("eight"));
        let count = u16::from_be_bytes(bytes[18..20].try_into().expect("two"));
        let numbers = first..first + u64::from(count);
        let answer = |session, numbers: Range<u64>| {
            socket.send_to(&packet(session, numbers), from).expect("sent");
        };
        match temper {
            Temper::Prompt => pieces(&numbers).for_each(|piece| answer(SESSION, piece)),
            Temper::OneDatagram => pieces(&numbers).take(1).for_each(|piece| answer(SESSION, piece)),
            Temper::Late(time) => {
                std::thread::sleep(time);
                pieces(&numbers).for_each(|piece| answer(SESSION, piece));
            }
            Temper::WrongSession => answer(b"ANOTHER001", numbers.clone()),
            Temper::Ahead => answer(SESSION, 1 << 40..(1 << 40) + 5),
            Temper::Noise => {
                socket.send_to(&[0xff; 19], from).expect("sent");
                socket
                    .send_to(&[&packet(SESSION, numbers.clone())[..18], &[0xff; 7]].concat(), from)
                    .expect("sent");
            }
            Temper::Silent => {}
        }
        // Behind the answer: whoever waits for the request has it answered. A test that is over hears nothing.
        let _ = tell.send(Asked { from, numbers });
    }
}

fn pieces(numbers: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = numbers.end;
    numbers.clone().step_by(MESSAGES_EACH as usize).map(move |from| from..(from + MESSAGES_EACH).min(end))
}
