//! Hot path: a message body taken apart into its SBE header, root block and repeating groups.
//!
//! Invariant: every part lies inside the body; a length that doesn't fit yields nothing.

use super::layout::{SCHEMA, SbeHeader};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// How a group writes its dimensions.
#[derive(Clone, Copy)]
pub(super) enum Dimension {
    /// Block length u16, count u8.
    Bytes3,
    /// Block length u16, five bytes of padding, count u8.
    Bytes8,
}

/// A message body in parts.
pub(super) struct Body<'a> {
    /// The SBE header.
    pub(super) header: &'a SbeHeader,
    /// The root block.
    pub(super) root: &'a [u8],
    /// The groups behind it.
    pub(super) groups: &'a [u8],
}

impl<'a> Body<'a> {
    /// Takes `bytes` (from the SBE header on) apart, if it is a message of `template` of the MDP 3.0 schema
    /// whose root block lies inside it.
    #[inline]
    pub(super) fn parse(template: u16, bytes: &'a [u8]) -> Option<Body<'a>> {
        let (header, rest) = SbeHeader::ref_from_prefix(bytes).ok()?;
        if header.template.get() != template || header.schema.get() != SCHEMA {
            return None;
        }
        let (root, groups) = rest.split_at_checked(usize::from(header.block_bytes.get()))?;
        Some(Body { header, root, groups })
    }

    /// The root block as `B`, if it is long enough.
    #[inline]
    pub(super) fn root<B: FromBytes + Immutable + KnownLayout + Unaligned>(&self) -> Option<&'a B> {
        B::ref_from_prefix(self.root).ok().map(|(block, _)| block)
    }
}

/// A repeating group.
#[derive(Clone, Copy)]
pub(super) struct Group<'a> {
    block_bytes: usize,
    entries: &'a [u8],
}

impl<'a> Group<'a> {
    /// Takes the group that `bytes` begins with, and what is behind it; `None` when it doesn't fit.
    #[inline]
    pub(super) fn take(bytes: &'a [u8], dimension: Dimension) -> Option<(Group<'a>, &'a [u8])> {
        let (block, count, rest) = match dimension {
            Dimension::Bytes3 => {
                let ([low, high, count], rest) = bytes.split_first_chunk::<3>()?;
                ([*low, *high], *count, rest)
            }
            Dimension::Bytes8 => {
                let ([low, high, _, _, _, _, _, count], rest) = bytes.split_first_chunk::<8>()?;
                ([*low, *high], *count, rest)
            }
        };
        let block_bytes = usize::from(u16::from_le_bytes(block));
        let (entries, rest) = rest.split_at_checked(block_bytes * usize::from(count))?;
        Some((Group { block_bytes, entries }, rest))
    }

    /// The entries as `E`; `None` when their block is shorter than `E`.
    #[inline]
    pub(super) fn entries<E>(self) -> Option<impl Iterator<Item = &'a E>>
    where
        E: FromBytes + Immutable + KnownLayout + Unaligned + 'a,
    {
        if self.block_bytes < size_of::<E>() && !self.entries.is_empty() {
            return None;
        }
        // A block length of 0 can't step through a slice; the slice is empty then.
        let blocks = self.entries.chunks_exact(self.block_bytes.max(1));
        Some(blocks.filter_map(|entry| E::ref_from_prefix(entry).ok().map(|(block, _)| block)))
    }
}
