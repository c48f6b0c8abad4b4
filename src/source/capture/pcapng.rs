//! pcapng: several sections in either byte order, several interfaces with clocks of their own.
//!
//! Invariant: a block's length is checked before its content is asked for; blocks without frames are never held.

use pcap_parser::{
    Block, EnhancedPacketBlock, InterfaceDescriptionBlock, OptionCode, SimplePacketBlock, parse_block_be,
    parse_block_le,
};

use super::input::Input;
use super::step::{Found, RECORD_BYTES_MAX, Step, Stepped, link_type, short};
use crate::event::Nanos;
use crate::source::LinkType;

/// Type of a section header block, the same in both byte orders.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;

/// Type, length, byte-order word or first word of the body.
const BLOCK_HEAD_BYTES: usize = 12;
/// Longest block that is held: the longest record, and as much again for its options.
const BLOCK_BYTES_MAX: usize = 2 * RECORD_BYTES_MAX;
/// Interfaces of a section that are told apart; more of them is garbage.
const INTERFACES_MAX: usize = 65_536;

/// Fixed bytes in front of a frame in its block.
const ENHANCED_HEAD_BYTES: usize = 28;
const SIMPLE_HEAD_BYTES: usize = 12;

/// A section's state.
pub(super) struct PcapNg {
    big_endian: bool,
    interfaces: Vec<Interface>,
}

/// What an interface description says.
#[derive(Clone, Copy)]
struct Interface {
    link: LinkType,
    snaplen: u32,
    units_per_second: u128,
    offset_s: i64,
}

/// Whether these are the first bytes of a pcapng file.
pub(super) fn is_pcapng(head: &[u8]) -> bool {
    head.len() >= BLOCK_HEAD_BYTES && word(head, 0, false) == SECTION_HEADER && byte_order(head).is_some()
}

impl PcapNg {
    /// A reader that expects a section header first.
    pub(super) fn new() -> PcapNg {
        PcapNg { big_endian: false, interfaces: Vec::new() }
    }

    /// The next record, or a block passed over.
    pub(super) fn step(&mut self, input: &mut Input) -> Stepped {
        if !input.want(BLOCK_HEAD_BYTES)? {
            return Ok(short(input));
        }
        let head = input.data();
        if word(head, 0, false) == SECTION_HEADER {
            match byte_order(head) {
                Some(big_endian) => self.big_endian = big_endian,
                None => return Ok(Step::Damaged(String::from("a section header without a byte-order word"))),
            }
            self.interfaces.clear();
        }
        let kind = word(head, 0, self.big_endian);
        let length = word(head, 4, self.big_endian) as usize;
        if length < BLOCK_HEAD_BYTES || !length.is_multiple_of(4) {
            return Ok(Step::Damaged(format!("a block of type {kind:#x} claims {length} bytes")));
        }
        match kind {
            SECTION_HEADER | INTERFACE_DESCRIPTION | SIMPLE_PACKET | ENHANCED_PACKET => {
                if length > BLOCK_BYTES_MAX {
                    return Ok(Step::Damaged(format!("a block of type {kind:#x} claims {length} bytes")));
                }
                if !input.want(length)? {
                    return Ok(short(input));
                }
                Ok(self.block(input, length))
            }
            _ if input.skip(length as u64)? => Ok(Step::Skipped),
            _ => Ok(match short(input) {
                Step::End => Step::TruncatedTail,
                step => step,
            }),
        }
    }

    /// Reads a whole block that is in the window.
    fn block(&mut self, input: &mut Input, length: usize) -> Step {
        let parse = if self.big_endian { parse_block_be } else { parse_block_le };
        let found = match parse(&input.data()[..length]) {
            Ok((_, Block::SectionHeader(_))) => Ok(None),
            Ok((_, Block::InterfaceDescription(block))) => self.describe(&block).map(|()| None),
            Ok((_, Block::EnhancedPacket(block))) => self.enhanced(&block).map(Some),
            Ok((_, Block::SimplePacket(block))) => self.simple(&block).map(Some),
            _ => Err(String::from("a block whose fields contradict its length")),
        };
        match found {
            Ok(None) => {
                input.consume(length);
                Step::Skipped
            }
            Ok(Some(mut found)) => {
                let start = input.consume(length).start;
                found.bytes = start + found.bytes.start..start + found.bytes.end;
                Step::Record(found)
            }
            Err(reason) => Step::Damaged(reason),
        }
    }

    /// Adds an interface. The options are walked here because the parser reads `if_tsoffset` in little-endian order
    /// always, does not stop at the end-of-options mark, and gives no resolution for powers of two.
    fn describe(&mut self, block: &InterfaceDescriptionBlock<'_>) -> Result<(), String> {
        if self.interfaces.len() == INTERFACES_MAX {
            return Err(String::from("too many interface descriptions"));
        }
        let (mut resolution, mut offset_s) = (6, 0);
        for option in &block.options {
            match option.code {
                OptionCode::EndOfOpt => break,
                OptionCode::IfTsresol => resolution = option.value.first().copied().unwrap_or(resolution),
                OptionCode::IfTsoffset => {
                    if let Some(bytes) = option.value.first_chunk() {
                        offset_s = if self.big_endian {
                            i64::from_be_bytes(*bytes)
                        } else {
                            i64::from_le_bytes(*bytes)
                        };
                    }
                }
                _ => {}
            }
        }
        let units_per_second = units_per_second(resolution)
            .ok_or_else(|| format!("an interface with the time resolution {resolution:#x}"))?;
        let link = link_type(block.linktype.0);
        self.interfaces.push(Interface { link, snaplen: block.snaplen, units_per_second, offset_s });
        Ok(())
    }

    fn enhanced(&self, block: &EnhancedPacketBlock<'_>) -> Result<Found, String> {
        let interface = self
            .interfaces
            .get(block.if_id as usize)
            .ok_or_else(|| format!("a packet of interface {}, which was not described", block.if_id))?;
        let length = block.caplen as usize;
        if length > RECORD_BYTES_MAX || length > block.data.len() {
            return Err(format!("a packet claims {length} bytes"));
        }
        Ok(Found {
            time_ns: interface.time_ns(u64::from(block.ts_high) << 32 | u64::from(block.ts_low)),
            original_bytes: block.origlen,
            link: interface.link,
            bytes: ENHANCED_HEAD_BYTES..ENHANCED_HEAD_BYTES + length,
        })
    }

    /// A simple packet belongs to the first interface, has no time, and was cut at the interface's snaplen.
    fn simple(&self, block: &SimplePacketBlock<'_>) -> Result<Found, String> {
        let interface = self
            .interfaces
            .first()
            .ok_or_else(|| String::from("a packet before any interface description"))?;
        let snaplen = if interface.snaplen == 0 { u32::MAX } else { interface.snaplen };
        let length = (block.origlen.min(snaplen) as usize).min(block.data.len());
        if length > RECORD_BYTES_MAX {
            return Err(format!("a packet claims {length} bytes"));
        }
        let bytes = SIMPLE_HEAD_BYTES..SIMPLE_HEAD_BYTES + length;
        Ok(Found { time_ns: 0, original_bytes: block.origlen, link: interface.link, bytes })
    }
}

impl Interface {
    /// Nanoseconds since the epoch of a timestamp in this interface's units; out of range ends at the range's end.
    fn time_ns(&self, units: u64) -> Nanos {
        let ns = match self.units_per_second {
            1_000_000_000 => u128::from(units),
            1_000_000 => u128::from(units) * 1_000,
            // Whole seconds first: the product of a remainder and 10⁹ always fits.
            per_second => {
                let (seconds, rest) = (u128::from(units) / per_second, u128::from(units) % per_second);
                seconds * 1_000_000_000 + rest * 1_000_000_000 / per_second
            }
        };
        let ns = ns as i128 + i128::from(self.offset_s) * 1_000_000_000;
        u64::try_from(ns.max(0)).unwrap_or(u64::MAX)
    }
}

/// Units per second of an `if_tsresol`: a power of ten, or of two if the top bit is set. `None` beyond what a
/// timestamp of 64 bits can use.
fn units_per_second(resolution: u8) -> Option<u128> {
    let exponent = u32::from(resolution & 0x7f);
    if exponent > 63 {
        return None;
    }
    if resolution & 0x80 != 0 { Some(1 << exponent) } else { 10_u128.checked_pow(exponent) }
}

/// Whether a section is big-endian, by the word behind its length.
fn byte_order(head: &[u8]) -> Option<bool> {
    match word(head, 8, false) {
        BYTE_ORDER => Some(false),
        other if other.swap_bytes() == BYTE_ORDER => Some(true),
        _ => None,
    }
}

/// A word of a block head that is known to be there.
fn word(head: &[u8], offset: usize, big_endian: bool) -> u32 {
    let bytes = [head[offset], head[offset + 1], head[offset + 2], head[offset + 3]];
    if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}
