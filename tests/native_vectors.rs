//! docs/native-protocol.md is held to what it says: its test vectors are read as it says they are, and its table of
//! error codes is that of the program.

use serde_json::{Value, json};
use sluice::event::{CloseReason, MessageReject, Protocol};
use sluice::wire::native_v2::{self, Frame};
use sluice::wire::{Control, Flow, Message, Run, StreamVisitor, Visitor, decode_stream, describe};

const DOCUMENT: &str = include_str!("../docs/native-protocol.md");

/// What a stream says, as the document writes it.
#[derive(Default)]
struct Told(Vec<Value>);

impl Visitor for Told {
    fn run(&mut self, _: &Run) {}

    fn message(&mut self, _: &Message<'_>) {}

    fn refuse(&mut self, reason: MessageReject) {
        self.0.push(json!({ "refused": reason.name() }));
    }
}

impl StreamVisitor for Told {
    fn offer(&mut self, message: &Message<'_>) -> Flow {
        let fields = describe(Protocol::Native, message.kind, message.body);
        self.0.push(fields.expect("an event that was offered has fields"));
        Flow::Taken
    }

    fn control(&mut self, control: Control<'_>) -> Result<(), CloseReason> {
        let Control::Native(control) = control else { panic!("another protocol's word") };
        self.0.push(match control {
            native_v2::Control::Hello { producer, acknowledged, durable } => {
                json!({ "hello": { "producer": producer, "acknowledged": acknowledged, "durable": durable } })
            }
            native_v2::Control::Welcome { received, durable } => {
                json!({ "welcome": { "received": received, "durable": durable } })
            }
            native_v2::Control::Ack { received, durable } => {
                json!({ "ack": { "received": received, "durable": durable } })
            }
            native_v2::Control::Error { code, text } => {
                json!({ "error": { "code": code, "text": String::from_utf8_lossy(text) } })
            }
            native_v2::Control::Heartbeat => json!("heartbeat"),
            native_v2::Control::Goodbye => json!("goodbye"),
        });
        Ok(())
    }
}

/// The text of the first fenced block of `language` in `section`.
fn block<'a>(section: &'a str, language: &str) -> &'a str {
    let (_, behind) = section.split_once(&format!("```{language}\n")).expect("each vector has both blocks");
    behind.split_once("```").expect("blocks end").0
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte =
        |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hexadecimal");
    digits.chunks(2).map(byte).collect()
}

/// Name, bytes and expected reading of each vector.
fn vectors() -> Vec<(&'static str, Vec<u8>, Vec<Value>)> {
    let (_, section) = DOCUMENT.split_once("## Test vectors").expect("the document has vectors");
    let vector = |text: &'static str| {
        let name = text.lines().next().unwrap_or_default();
        let read = serde_json::from_str(block(text, "json")).expect("a list of what is read");
        (name, bytes(block(text, "hex")), read)
    };
    section.split("\n### ").skip(1).map(vector).collect()
}

#[test]
fn every_vector_is_read_as_the_document_says() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 14);
    for (name, stream, read) in vectors {
        let mut told = Told::default();
        let progress = decode_stream(Protocol::Native, &stream, 4_096, &mut told);
        assert_eq!((told.0, progress.consumed), (read, stream.len()), "{name}");
    }
}

#[test]
fn version_2_vectors_are_written_as_the_document_shows() {
    let mut written = 0;
    for (name, stream, _) in vectors() {
        let mut rest = &stream[..];
        while let Some(length) = native_v2::frame_bytes(rest).filter(|_| rest.starts_with(&native_v2::MAGIC))
        {
            let (frame, behind) = rest.split_at(length as usize);
            let producer = u64::from_le_bytes(frame[16..24].try_into().expect("eight bytes"));
            let mut again = Vec::new();
            match native_v2::parse(frame) {
                Ok(Frame::Event(event)) => native_v2::encode_event(&event, &mut again),
                Ok(Frame::Control(control)) => native_v2::encode_control(&control, producer, &mut again),
                Err(_) => again.extend_from_slice(frame),
            }
            assert_eq!(again, frame, "{name}");
            written += 1;
            rest = behind;
        }
    }
    assert_eq!(written, 15);
}

#[test]
fn the_error_codes_are_those_of_the_program() {
    let (_, section) = DOCUMENT.split_once("### Error codes").expect("the document lists the codes");
    let (table, _) = section.split_once("## Test vectors").expect("vectors follow");
    let rows: Vec<(usize, &str)> = table
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            Some((cells.next()?.parse().ok()?, cells.next()?.trim_matches('`')))
        })
        .collect();
    let known: Vec<(usize, &str)> = CloseReason::ALL.iter().map(|reason| reason.name()).enumerate().collect();
    assert_eq!(rows, known, "an error code must never change its meaning");
}
