//! Classic pcap: microseconds or nanoseconds, either byte order.
//!
//! Invariant: a record is believed only if its length is; what is not believed ends the capture with a reason.

use pcap_parser::nom;
use pcap_parser::{LegacyPcapBlock, PcapError, parse_pcap_frame, parse_pcap_frame_be, parse_pcap_header};

use super::input::Input;
use super::step::{Found, RECORD_BYTES_MAX, Step, Stepped, link_type, short};
use crate::source::LinkType;

/// Bytes of the file header.
pub(super) const HEADER_BYTES: usize = 24;
/// Bytes in front of each record.
const RECORD_HEADER_BYTES: usize = 16;

type Parse = fn(&[u8]) -> nom::IResult<&[u8], LegacyPcapBlock<'_>, PcapError<&[u8]>>;

/// What the file header says.
pub(super) struct Pcap {
    parse: Parse,
    fraction_ns: u64,
    link: LinkType,
}

/// Whether these are the first bytes of a pcap file.
pub(super) fn is_pcap(head: &[u8]) -> bool {
    matches!(
        head.first_chunk(),
        Some(
            [0xa1, 0xb2, 0xc3, 0xd4]
                | [0xd4, 0xc3, 0xb2, 0xa1]
                | [0xa1, 0xb2, 0x3c, 0x4d]
                | [0x4d, 0x3c, 0xb2, 0xa1]
        )
    )
}

impl Pcap {
    /// Takes the file header; `None` if it is no pcap header. The header's snaplen is not used: 0 and values below
    /// the records' lengths occur.
    pub(super) fn open(input: &mut Input) -> Option<Pcap> {
        let (_, header) = parse_pcap_header(input.data()).ok()?;
        input.consume(HEADER_BYTES);
        Some(Pcap {
            parse: if header.is_bigendian() { parse_pcap_frame_be } else { parse_pcap_frame },
            fraction_ns: if header.is_nanosecond_precision() { 1 } else { 1_000 },
            // The upper bits of the field may hold the length of an FCS.
            link: link_type(header.network.0 & 0xffff),
        })
    }

    /// The next record.
    pub(super) fn step(&mut self, input: &mut Input) -> Stepped {
        loop {
            let missing = match (self.parse)(input.data()) {
                Ok((_, record)) => match check(&record) {
                    Some(reason) => return Ok(Step::Damaged(reason)),
                    None => {
                        let time_ns = u64::from(record.ts_sec) * 1_000_000_000
                            + u64::from(record.ts_usec) * self.fraction_ns;
                        let (original_bytes, length) = (record.origlen, record.data.len());
                        let taken = input.consume(RECORD_HEADER_BYTES + length);
                        let bytes = taken.start + RECORD_HEADER_BYTES..taken.end;
                        return Ok(Step::Record(Found { time_ns, original_bytes, link: self.link, bytes }));
                    }
                },
                Err(nom::Err::Incomplete(nom::Needed::Size(missing))) => missing.get(),
                Err(nom::Err::Incomplete(nom::Needed::Unknown)) => 1,
                Err(error) => return Ok(Step::Damaged(error.to_string())),
            };
            if missing > RECORD_BYTES_MAX {
                return Ok(Step::Damaged(format!("a record header asks for {missing} more bytes")));
            }
            if !input.want(input.data().len() + missing)? {
                return Ok(short(input));
            }
        }
    }
}

/// Why a record is not believed.
fn check(record: &LegacyPcapBlock<'_>) -> Option<String> {
    if record.data.len() > RECORD_BYTES_MAX {
        return Some(format!("a record header claims {} bytes", record.data.len()));
    }
    // Zeroed disk blocks read as endless empty records.
    if record.ts_sec == 0 && record.ts_usec == 0 && record.caplen == 0 && record.origlen == 0 {
        return Some(String::from("a record header is all zeros"));
    }
    None
}
