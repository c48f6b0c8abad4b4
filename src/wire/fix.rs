//! Hot path: FIX tag=value messages, framed by tags 8, 9 and 10.
//!
//! Invariant: a message is taken only with a checksum that is right, and what is not a message is skipped up to the next
//! beginning of one, however the stream is cut. So much of what is skipped is left in place that its end is still
//! seen to be one: a stretch is refused once, where it ends. Frames that begin as messages do, but with a version that
//! is none of FIX (`8=FIXCOMP`, `8=O`: compressed and binary ones of some brokers), carry no checksum; each is passed over
//! by its tag 9 and refused.

use super::{Flow, Message, Progress, Stop, StreamVisitor};
use crate::event::{MessageReject, Nanos};

/// How every message begins, and every frame that stands among messages.
const START: &[u8] = b"8=";

/// How the versions of FIX begin, of which the others are none.
const VERSIONS: [&[u8]; 2] = [b"FIX.", b"FIXT."];

/// Ends every field.
const SOH: u8 = 1;

/// Bytes of `8=…|9=n|` at least.
const HEADER_BYTES_MIN: usize = START.len() + 1 + 1 + 2 + 1 + 1;

/// Bytes of tag 8 with its value at most; `8=FIXT.1.1` has 10.
const BEGIN_STRING_BYTES_MAX: usize = 18;

/// Digits of tag 9 at most.
const LENGTH_DIGITS_MAX: usize = 9;

/// Bodies of which a sender may really mean to send: a number above this is damage, and what follows is searched for the
/// next message instead of being skipped.
const PLAUSIBLE_BODY_BYTES: u64 = 16 << 20;

/// Bytes of `10=nnn|`.
const TRAILER_BYTES: usize = 7;

/// Fields of a description at most.
const DESCRIBED_FIELDS_MAX: usize = 256;

/// What stands in front of a message's body.
#[derive(Debug, PartialEq, Eq)]
enum Header {
    /// More bytes are needed to tell, at least so many in all.
    Need(usize),
    /// The bytes of tags 8 and 9 with their values, the bytes of the body, and whether the version is one of FIX.
    Whole { bytes: usize, body_bytes: u64, is_fix: bool },
    /// It is none.
    Damaged,
}

/// Decodes the messages in a piece of a stream.
///
/// A message whose checksum is wrong is refused as `Checksum`, one without tag 35 in the third place as `BadField`. What
/// is no message, up to where the next one may begin, is one `BadField`. Frames of a version that is none of FIX are
/// refused one by one, as `ForeignFrame`.
#[inline]
pub fn decode_stream<V: StreamVisitor>(bytes: &[u8], unit_bytes_max: usize, visitor: &mut V) -> Progress {
    let mut consumed = 0;
    loop {
        let rest = &bytes[consumed..];
        let stop = match step(rest, unit_bytes_max, visitor) {
            Step::Done(unit_bytes) => {
                consumed += unit_bytes;
                continue;
            }
            Step::NoMessage => match skip(rest, &mut consumed, visitor) {
                None => continue,
                Some(stop) => stop,
            },
            Step::Stop(stop) => stop,
        };
        return Progress { consumed, stop };
    }
}

/// What the beginning of the rest is.
enum Step {
    /// A message of so many bytes, which had its fate.
    Done(usize),
    /// None.
    NoMessage,
    /// One that is not dealt with.
    Stop(Stop),
}

#[inline]
fn step<V: StreamVisitor>(rest: &[u8], unit_bytes_max: usize, visitor: &mut V) -> Step {
    let (header_bytes, body_bytes, is_fix) = match header(rest) {
        Header::Need(unit_bytes) => return Step::Stop(Stop::Incomplete { unit_bytes }),
        Header::Whole { bytes, body_bytes, is_fix } if body_bytes <= PLAUSIBLE_BODY_BYTES => {
            (bytes, body_bytes as usize, is_fix)
        }
        Header::Whole { .. } | Header::Damaged => return Step::NoMessage,
    };
    let unit_bytes = header_bytes + body_bytes + if is_fix { TRAILER_BYTES } else { 0 };
    if unit_bytes > unit_bytes_max {
        visitor.refuse(MessageReject::TooLarge);
        return Step::Stop(Stop::Discard { unit_bytes: unit_bytes as u64 });
    }
    let Some(whole) = rest.get(..unit_bytes) else {
        return Step::Stop(Stop::Incomplete { unit_bytes });
    };
    if !is_fix {
        visitor.refuse(MessageReject::ForeignFrame);
        return Step::Done(unit_bytes);
    }
    match trailer(whole) {
        Some(sum) => match offer(whole, header_bytes, sum, visitor) {
            Flow::Taken => Step::Done(unit_bytes),
            Flow::Wait => Step::Stop(Stop::Wait),
        },
        None => Step::NoMessage,
    }
}

/// Whether a message may begin here, as far as one can see.
#[inline]
fn may_begin(bytes: &[u8]) -> bool {
    let seen = bytes.len().min(START.len());
    bytes[..seen] == START[..seen]
}

#[inline]
fn header(bytes: &[u8]) -> Header {
    if !may_begin(bytes) {
        return Header::Damaged;
    }
    if bytes.len() < HEADER_BYTES_MIN {
        return Header::Need(HEADER_BYTES_MIN);
    }
    let one_more = Header::Need(bytes.len() + 1);
    let begin = &bytes[START.len()..bytes.len().min(BEGIN_STRING_BYTES_MAX + 1)];
    let version = match begin.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'.') {
        Some(end) if end > 0 && begin[end] == SOH => &begin[..end],
        Some(_) => return Header::Damaged,
        None if bytes.len() > BEGIN_STRING_BYTES_MAX => return Header::Damaged,
        None => return one_more,
    };
    let begin_bytes = START.len() + version.len();
    let (tag, digits) = match bytes[begin_bytes + 1..].split_at_checked(2) {
        Some(parts) => parts,
        None => return one_more,
    };
    if tag != b"9=" {
        return Header::Damaged;
    }
    let mut body_bytes = 0;
    for (index, byte) in digits.iter().take(LENGTH_DIGITS_MAX + 1).enumerate() {
        match *byte {
            SOH if index > 0 => {
                let is_fix = VERSIONS.iter().any(|known| version.starts_with(known));
                return Header::Whole { bytes: begin_bytes + 3 + index + 1, body_bytes, is_fix };
            }
            b'0'..=b'9' => body_bytes = body_bytes * 10 + u64::from(byte - b'0'),
            _ => return Header::Damaged,
        }
    }
    if digits.len() > LENGTH_DIGITS_MAX { Header::Damaged } else { one_more }
}

/// The checksum that a message's last field says, if that is a checksum.
#[inline]
fn trailer(whole: &[u8]) -> Option<u8> {
    let [before, b'1', b'0', b'=', hundreds, tens, ones, SOH] = whole.last_chunk::<8>()? else { return None };
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
    let sum = digit(hundreds)? * 100 + digit(tens)? * 10 + digit(ones)?;
    // A sum over 255 is no sum, but the frame's end is where it should be: it is wrong, not missing.
    (*before == SOH).then_some(u8::try_from(sum).unwrap_or(!checksum(&whole[..whole.len() - TRAILER_BYTES])))
}

#[inline]
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

/// Offers a message that is framed right, or refuses it.
#[inline]
fn offer<V: StreamVisitor>(whole: &[u8], header_bytes: usize, sum: u8, visitor: &mut V) -> Flow {
    let summed = &whole[..whole.len() - TRAILER_BYTES];
    if checksum(summed) != sum {
        visitor.refuse(MessageReject::Checksum);
        return Flow::Taken;
    }
    let fields = &summed[header_bytes..];
    let Some((kind, rest)) = kind_of(fields) else {
        visitor.refuse(MessageReject::BadField);
        return Flow::Taken;
    };
    let (sequence, source_ns) = sequence_and_time(rest);
    visitor.offer(&Message { sequence, kind, source_ns, body: whole })
}

/// The message's type, of which tag 35 must be the first field of the body, and the fields behind it.
#[inline]
fn kind_of(fields: &[u8]) -> Option<(u16, &[u8])> {
    let value = fields.strip_prefix(b"35=")?;
    let end = value.iter().position(|byte| *byte == SOH)?;
    let (name, rest) = value.split_at(end);
    if !name.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    let kind = match name {
        [] => return None,
        [letter] => u16::from(*letter),
        // Types of more than two letters are somebody's own; their first two have to do.
        [first, second, ..] => u16::from_be_bytes([*first, *second]),
    };
    Some((kind, &rest[1..]))
}

/// Tags 34 and 52: each 0 where it is missing or not well-formed.
#[inline]
fn sequence_and_time(fields: &[u8]) -> (u64, Nanos) {
    let (mut sequence, mut time) = (None, None);
    for field in fields.split(|byte| *byte == SOH) {
        match field {
            [b'3', b'4', b'=', value @ ..] if sequence.is_none() => {
                sequence = Some(number(value).unwrap_or(0))
            }
            [b'5', b'2', b'=', value @ ..] if time.is_none() => time = Some(timestamp(value).unwrap_or(0)),
            _ => {}
        }
        if sequence.is_some() && time.is_some() {
            break;
        }
    }
    (sequence.unwrap_or(0), time.unwrap_or(0))
}

#[inline]
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Reads `YYYYMMDD-HH:MM:SS`, with `.sss`, `.ssssss`, `.sssssssss` or nothing behind it, as ns since the Unix epoch.
#[inline]
fn timestamp(text: &[u8]) -> Option<Nanos> {
    let (whole, fraction) = text.split_first_chunk::<17>()?;
    if [whole[8], whole[11], whole[14]] != *b"-::" {
        return None;
    }
    let (year, month, day) = (number(&whole[..4])?, number(&whole[4..6])?, number(&whole[6..8])?);
    let (hour, minute, second) = (number(&whole[9..11])?, number(&whole[12..14])?, number(&whole[15..])?);
    let leap_day = u64::from(month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    let days_of_months = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let days_of_month = days_of_months.get((month as usize).wrapping_sub(1))? + leap_day;
    // Second 60 is a leap second, and the last year is the last one whose nanoseconds fit.
    let valid = (1970..=2553).contains(&year)
        && (1..=days_of_month).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !valid {
        return None;
    }
    let nanos = match fraction {
        [] => 0,
        [b'.', digits @ ..] if matches!(digits.len(), 3 | 6 | 9) => {
            number(digits)? * 10u64.pow(9 - digits.len() as u32)
        }
        _ => return None,
    };
    let seconds = ((days_since_epoch(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1_000_000_000 + nanos)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar. The year is taken to begin in March, so that the leap day is
/// its last one, and months have 153 days in each five.
#[inline]
fn days_since_epoch(year: u64, month: u64, day: u64) -> u64 {
    let year = if month > 2 { year } else { year - 1 };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

/// Passes over what is no message: up to the next one (which is a refusal, and nothing is returned), or as far as there
/// can be none. Its last byte is left in place then: so the next piece begins with what is seen to be no message.
#[cold]
#[inline(never)]
fn skip<V: StreamVisitor>(rest: &[u8], consumed: &mut usize, visitor: &mut V) -> Option<Stop> {
    let mut whole = false;
    let begins = |from: &usize| match header(&rest[*from..]) {
        Header::Damaged => false,
        Header::Need(_) => true,
        Header::Whole { .. } => {
            whole = true;
            true
        }
    };
    let next = (1..rest.len()).find(begins).unwrap_or(rest.len());
    if whole {
        visitor.refuse(MessageReject::BadField);
        *consumed += next;
        return None;
    }
    *consumed += next - 1;
    Some(Stop::Incomplete { unit_bytes: rest.len() - (next - 1) + 1 })
}

/// Whether a flow that begins with these bytes is one of FIX: tags 8 and 9 stand in front, or a version of FIX does.
#[cold]
pub fn begins_stream(bytes: &[u8]) -> bool {
    let names_fix =
        VERSIONS.iter().any(|known| bytes.strip_prefix(START).is_some_and(|b| b.starts_with(known)));
    match header(bytes) {
        Header::Damaged => false,
        Header::Need(_) => names_fix,
        Header::Whole { .. } => true,
    }
}

/// The fields of a message, values by tag; those of a tag that is repeated are a list. Bytes that are not UTF-8 are
/// replaced, and only the first 256 fields are told. Cold: it allocates.
#[cold]
pub fn describe(body: &[u8]) -> Option<serde_json::Value> {
    use serde_json::{Map, Value, map::Entry};
    let mut fields = Map::new();
    for field in body.split(|byte| *byte == SOH).filter(|field| !field.is_empty()).take(DESCRIBED_FIELDS_MAX)
    {
        let equals = field.iter().position(|byte| *byte == b'=')?;
        let tag = String::from_utf8_lossy(&field[..equals]).into_owned();
        let value = Value::from(String::from_utf8_lossy(&field[equals + 1..]));
        match fields.entry(tag) {
            Entry::Vacant(place) => {
                place.insert(value);
            }
            Entry::Occupied(mut place) => match place.get_mut() {
                Value::Array(values) => values.push(value),
                single => *single = Value::Array([single.take(), value].into()),
            },
        }
    }
    Some(Value::Object(fields))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{CloseReason, Protocol};
    use crate::wire::{Control, Run, Visitor, decode_stream as decode_any};
    use proptest::prelude::*;

    #[derive(Debug, Default, PartialEq)]
    struct Told {
        messages: Vec<(u64, u16, u64, Vec<u8>)>,
        refusals: Vec<MessageReject>,
        /// Messages and refusals in order, a refusal by its name.
        order: Vec<String>,
        /// The message with this number is asked to wait.
        wait_at: Option<usize>,
    }

    impl Visitor for Told {
        fn run(&mut self, run: &Run) {
            panic!("a stream's decoder announces no run, but did {run:?}");
        }

        fn message(&mut self, _: &Message<'_>) {
            panic!("a stream's messages are offered");
        }

        fn refuse(&mut self, reason: MessageReject) {
            self.refusals.push(reason);
            self.order.push(reason.name().to_owned());
        }
    }

    impl StreamVisitor for Told {
        fn offer(&mut self, message: &Message<'_>) -> Flow {
            if self.wait_at == Some(self.messages.len()) {
                return Flow::Wait;
            }
            self.messages.push((message.sequence, message.kind, message.source_ns, message.body.to_vec()));
            self.order.push(Protocol::Fix.type_name(message.kind));
            // Descriptions only have to be total here.
            drop(describe(message.body));
            Flow::Taken
        }

        fn control(&mut self, control: Control<'_>) -> Result<(), CloseReason> {
            panic!("FIX has no {control:?}");
        }
    }

    /// `8=FIX.4.4|9=n|`, this body, and the right checksum.
    fn message(body: &str) -> Vec<u8> {
        let body = body.replace('|', "\x01");
        let mut whole = format!("8=FIX.4.4\x019={}\x01{body}", body.len()).into_bytes();
        let sum = checksum(&whole);
        whole.extend(format!("10={sum:03}\x01").bytes());
        whole
    }

    fn fields(text: &str) -> Vec<u8> {
        text.replace('|', "\x01").into_bytes()
    }

    const LIMIT: usize = 4_096;

    /// Shows a stream in pieces as a connection does.
    fn in_pieces(stream: &[u8], cuts: &[usize], unit_bytes_max: usize) -> Told {
        let mut told = Told::default();
        let (mut start, mut end) = (0, 0);
        for cut in cuts.iter().copied().chain([stream.len()]) {
            end = cut.clamp(end, stream.len());
            while start < end {
                let progress = decode_stream(&stream[start..end], unit_bytes_max, &mut told);
                start += progress.consumed;
                match progress.stop {
                    Stop::Incomplete { unit_bytes } => {
                        assert!(unit_bytes > end - start, "it asks for what it has");
                        assert!(unit_bytes <= unit_bytes_max.max(HEADER_BYTES_MIN) + 32);
                        break;
                    }
                    Stop::Discard { unit_bytes } => start += unit_bytes as usize,
                    other => panic!("{other:?}"),
                }
            }
        }
        told
    }

    fn decode(stream: &[u8]) -> Told {
        in_pieces(stream, &[], LIMIT)
    }

    #[test]
    fn a_message_gives_its_type_number_and_time() {
        let whole = message("35=8|49=A|56=B|34=215|52=20170502-19:58:29.123456|34=9|");
        let told = decode(&whole);
        // 2017-05-02 19:58:29 UTC
        assert_eq!(told.messages, [(215, u16::from(b'8'), 1_493_755_109_123_456_000, whole)]);
        let told = decode(&message("35=AE|52=nonsense|34=x|"));
        assert_eq!((told.messages[0].0, told.messages[0].1, told.messages[0].2), (0, 0x4145, 0));
        assert_eq!(decode(&message("35=U100|")).order, ["U1"]);
        // The header's spelling with leading zeros, as a broker sends it.
        let padded = fields("8=FIX.4.1|9=00014|35=1|112=farm|10=217|");
        assert_eq!(decode(&padded).order, ["1"]);
    }

    #[test]
    fn times_are_read_or_not_at_all() {
        let read = |text: &str| timestamp(text.as_bytes());
        assert_eq!(read("19700101-00:00:00"), Some(0));
        assert_eq!(read("20000229-23:59:59.999999999"), Some(951_868_799_999_999_999));
        assert_eq!(read("20161231-23:59:60"), Some(1_483_228_800_000_000_000));
        assert_eq!(read("20240301-12:00:00.5"), None);
        assert_eq!(read("25531231-23:59:60.999999999").map(|ns| ns / 1_000_000_000), Some(18_429_292_800));
        for wrong in [
            "",
            "20170502-19:58:2",
            "20170502 19:58:29",
            "20170229-00:00:00",
            "20171301-00:00:00",
            "20170001-00:00:00",
            "20170100-00:00:00",
            "20170101-24:00:00",
            "20170101-00:60:00",
            "20170101-00:00:61",
            "19691231-23:59:59",
            "99990101-00:00:00",
            "20170101-00:00:00.",
            "20170101-00:00:00.12x",
            "2017+101-00:00:00",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused_and_the_next_message_is_read() {
        let good = message("35=0|");
        let mut wrong_sum = message("35=D|11=x|");
        let place = wrong_sum.len() - 2;
        wrong_sum[place] ^= 1;
        let mut no_sum = message("35=D|");
        let end = no_sum.len() - TRAILER_BYTES;
        no_sum.truncate(end);
        for (wrong, reason) in [
            (wrong_sum, MessageReject::Checksum),
            (fields("8=FIX.4.1|9=00014|35=1|112=farm|10=999|"), MessageReject::Checksum),
            (message("34=1|35=0|"), MessageReject::BadField),
            (message("35=|"), MessageReject::BadField),
            (message("35=\x02|"), MessageReject::BadField),
            (message(""), MessageReject::BadField),
            (no_sum, MessageReject::BadField),
            (b"garbage 8=FI".to_vec(), MessageReject::BadField),
            (b"8".to_vec(), MessageReject::BadField),
            (fields("8=FIX.4.4|35=0|9=5|10=000|"), MessageReject::BadField),
            (fields("8=FIX.4.4|9=|35=0|"), MessageReject::BadField),
            (fields("8=FIX.4.4|9=-5|35=0|"), MessageReject::BadField),
            (fields("8=FIX.4.4|9=999999999|35=0|"), MessageReject::BadField),
            (fields("8=FIX.4.4|9=0000000005|35=0|"), MessageReject::BadField),
            (fields("8=FIX that goes on and on"), MessageReject::BadField),
        ] {
            let stream = [&good[..], &wrong, &good].concat();
            let told = decode(&stream);
            assert_eq!(told.order, ["0", reason.name(), "0"], "{}", wrong.escape_ascii());
            for cut in 0..stream.len() {
                assert_eq!(in_pieces(&stream, &[cut], LIMIT), told, "{} cut at {cut}", wrong.escape_ascii());
            }
        }
    }

    #[test]
    fn frames_that_are_no_messages_are_passed_over_one_by_one() {
        let good = message("35=0|");
        let compressed = [&fields("8=FIXCOMP|9=9|")[..], b"x\x9c8=FIX.4"].concat();
        let binary = fields("8=O|9=0010|35=G||10=5");
        let empty = fields("8=O|9=0|");
        let stream = [&compressed[..], &binary, &good, &empty, &compressed, &binary].concat();
        let told = decode(&stream);
        let foreign = "foreign_frame";
        assert_eq!(told.order, [foreign, foreign, "0", foreign, foreign, foreign]);
        for cut in 0..stream.len() {
            assert_eq!(in_pieces(&stream, &[cut], LIMIT), told, "cut at {cut}");
        }
        // Nothing is left over: a frame's end is known without what follows.
        assert_eq!(decode_stream(&stream, LIMIT, &mut Told::default()).consumed, stream.len());
        let long = fields("8=O|9=5000|35=G|");
        assert_eq!(
            decode_stream(&long, LIMIT, &mut Told::default()).stop,
            Stop::Discard { unit_bytes: 5_011 }
        );
    }

    #[test]
    fn flows_of_fix_are_known_by_their_first_bytes() {
        for begins in [&message("35=0|")[..], b"8=FIX.4.2", b"8=FIXT.1.1\x019=", b"8=O\x019=14\x01"] {
            assert!(begins_stream(begins), "{}", begins.escape_ascii());
        }
        for begins in [&b""[..], b"8=", b"8=FI", b"8=O\x019=", b"35=0\x01", b"GET / HTTP/1.1\r\n", b"8=x y"] {
            assert!(!begins_stream(begins), "{}", begins.escape_ascii());
        }
    }

    #[test]
    fn long_messages_are_discarded_by_their_length() {
        let long = message(&format!("35=B|58={}|", "x".repeat(LIMIT)));
        let stream = [&long[..], &message("35=0|")].concat();
        assert_eq!(decode(&stream).order, ["too_large", "0"]);
        let progress = decode_stream(&long[..20], LIMIT, &mut Told::default());
        let stop = Stop::Discard { unit_bytes: long.len() as u64 };
        assert_eq!(progress, Progress { consumed: 0, stop });
    }

    #[test]
    fn a_visitor_that_has_no_room_sees_the_message_again() {
        let stream = [message("35=0|"), message("35=1|112=x|")].concat();
        let mut told = Told { wait_at: Some(1), ..Told::default() };
        let progress = decode_stream(&stream, LIMIT, &mut told);
        assert_eq!(progress, Progress { consumed: message("35=0|").len(), stop: Stop::Wait });
        told.wait_at = None;
        decode_stream(&stream[progress.consumed..], LIMIT, &mut told);
        assert_eq!(told, decode(&stream));
    }

    #[test]
    fn a_stretch_of_garbage_takes_no_memory_and_is_one_refusal() {
        let garbage = b"8=8=FI8=FI".repeat(5_000);
        let stream = [&garbage[..], &message("35=0|")].concat();
        let everywhere: Vec<usize> = (0..stream.len()).collect();
        let mut told = Told::default();
        let progress = decode_stream(&garbage, LIMIT, &mut told);
        assert!(progress.consumed >= garbage.len() - BEGIN_STRING_BYTES_MAX);
        assert_eq!(told, Told::default());
        assert_eq!(in_pieces(&stream, &everywhere, LIMIT).order, ["bad_field", "0"]);
    }

    #[test]
    fn descriptions_name_fields_by_tag() {
        let value = describe(&message("35=V|146=2|55=A|55=B|55=C|58=\u{fc}=1|")).expect("is described");
        assert_eq!(value["35"], "V");
        assert_eq!(value["55"], serde_json::json!(["A", "B", "C"]));
        assert_eq!(value["58"], "\u{fc}=1");
        let many = format!("35=V|{}", "1=x|".repeat(1_000));
        assert_eq!(describe(&message(&many)).expect("is described")["1"].as_array().map(Vec::len), Some(253));
        assert_eq!(describe(b"no field"), None);
    }

    #[test]
    fn every_cut_gives_the_same() {
        let stream = [
            message("35=A|34=1|52=20170502-19:58:29|98=0|108=30|"),
            b"noise".to_vec(),
            message("35=D|34=2|11=8=FIX|"),
            message("35=AE|34=3|"),
        ]
        .concat();
        let whole = in_pieces(&stream, &[], LIMIT);
        assert_eq!(whole.order, ["A", "bad_field", "D", "AE"]);
        for limit in [LIMIT, 40] {
            let whole = in_pieces(&stream, &[], limit);
            for cut in 0..=stream.len() {
                assert_eq!(in_pieces(&stream, &[cut], limit), whole, "cut at {cut}");
            }
            let everywhere: Vec<usize> = (0..stream.len()).collect();
            assert_eq!(in_pieces(&stream, &everywhere, limit), whole);
        }
    }

    proptest! {
        #[test]
        fn damage_and_noise_give_the_same_however_cut(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            noise in prop::collection::vec(prop::sample::select(b"8=FIX.\x01910=35".to_vec()), 0..80),
            cuts in prop::collection::vec(0usize..260, 0..6),
        ) {
            let mut stream = [message("35=A|34=1|52=20170502-19:58:29|"), message("35=D|34=2|")].concat();
            for (place, byte) in damage {
                let place = place.index(stream.len());
                stream[place] = byte;
            }
            stream.extend(noise);
            stream.extend(message("35=0|34=3|"));
            let mut cuts = cuts;
            cuts.sort_unstable();
            let whole = in_pieces(&stream, &[], LIMIT);
            prop_assert_eq!(&in_pieces(&stream, &cuts, LIMIT), &whole);
            prop_assert!(whole.order.len() <= stream.len());
        }

        #[test]
        fn any_digits_are_a_time_or_none(digits in "[0-9]{8}-[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{9})?") {
            prop_assert!(timestamp(digits.as_bytes()).is_none_or(|ns| ns / 1_000_000_000 <= 18_429_292_800));
        }

        #[test]
        fn any_packet_is_decoded(packet in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut told = Told::default();
            let progress = decode_any(Protocol::Fix, &packet, LIMIT, &mut told);
            prop_assert!(progress.consumed <= packet.len());
        }

        #[test]
        fn one_changed_byte_is_never_taken_for_the_message(place in 0usize..60, byte in any::<u8>()) {
            let good = message("35=D|34=2|52=20170502-19:58:29|11=order|");
            let mut damaged = good.clone();
            let place = place % good.len();
            prop_assume!(damaged[place] != byte);
            damaged[place] = byte;
            let told = decode(&damaged);
            // What is left of the header may be damaged without harm only where its bytes are not summed.
            prop_assert!(told.messages.is_empty(), "{}", damaged.escape_ascii());
        }
    }
}
