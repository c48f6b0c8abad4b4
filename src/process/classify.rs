//! Hot path: which class a message is of, by protocol and type.
//!
//! Invariant: every protocol and every type has exactly one class, known without a branch on the protocol; types
//! below 256 cost one load.

use crate::event::{Class, Protocol};

/// Types below this have a place of their own in the table; all letters and all CME templates in use do.
const DIRECT_KINDS: usize = 256;

/// Types from 256 on that may be given a class of their own, over all protocols. NYSE alone has types that large,
/// and none in the feeds that were looked at: this is room for configuration.
const WIDE_KINDS_MAX: usize = 64;

/// The class of types that no list names: order matters for what is not known, and it must not hold up trades.
const UNLISTED: Class = Class::Transactional;

/// A type from 256 on with a class of its own.
#[derive(Clone, Copy, Debug)]
struct WideKind {
    protocol: Protocol,
    kind: u16,
    class: Class,
}

/// No place for another message type of 256 or more in the class table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "more than {WIDE_KINDS_MAX} message types of 256 or more were given a class: \
     take some out of the configuration's class table"
)]
pub struct WideKindsFull;

/// The class of each message type of each protocol.
///
/// [`ClassTable::default`] says: trades, executions and changes of trading status are realtime; changes of the
/// order book, quotes, auction states, and what brackets or clears the book are transactional, for they must stay
/// in order; directory, statistics and administrative messages are batch; types that are not listed are
/// transactional; native frames go by their own priority. In full:
///
/// | protocol | realtime | batch | transactional, by name |
/// |---|---|---|---|
/// | native | priority 3, 4 | priority 0, 1 | priority 2 |
/// | ITCH 5.0 | `E C` executions, `P Q` trades, `B` broken trade, `H h W K` status | `S R Y L V` | `A F X D U`, `I J N O` auctions |
/// | IEX TOPS, DEEP | `T` trade, `L` execution, `B` trade break, `H O E` status | `S D P X` | `Q 8 5`, `a M R C`, `A I` |
/// | CME MDP 3.0 | 36 42 48 65 trades, 30 60 security status | 12 15 16 administrative, 27 29 41 54–58 63 definitions, 33–35 37 49–51 62 66 statistics and limits | 4 channel reset, 32 43 46 47 64 books, 38 44 52 53 59 61 67 68 snapshots, 39 quote request |
/// | Cboe PITCH | 23 24 38 58 executions, 2A 2B 30 36 3D B8 trades, 2C 3E breaks, 31 3B status, 96 AF auction results (hex) | 20 B1 time, 2D 2E 9A–9C 9F BB FA directory, B9 BA BE D2 D3 E3 | 21 22 25–29 2F 37 39 3A 3C orders, 95 98 AD AE D1 auctions, 97 unit clear, BC BD brackets, D4–D7 tops |
/// | NYSE Pillar | 103 execution, 110 111 220 trades, 112 113 221 222 corrections, 33 34 status | 2 3 10–13 15 31 35 223 | 100 101 102 104 106 orders, 105 imbalance, 114, 140 quote, 1 32 clears |
/// | MIAX MACH | `T` last sale, `X` trade cancel, `H U` underlying status | `1 P S` | `B O W A D d` top of market |
/// | ICE iMpact | `G Y W` trades, `H I` investigated and cancelled, `K V f 3 4` status | `J L M N O R U b c i l u v w z 9` | `D E F` orders, `m r s t` levels, `C g k 0`, `T` brackets |
/// | engine20 | 0 CPU overload, 2 shutdown | | 1 unknown, 3–6 |
/// | FIX | `8` executions, `9 j` rejects of orders, `Q` doubted trade, `h f` trading status, `B` news | `0 1 2 3 4 5 A` session, `c d v w x y` definitions | `D F G` orders, `S R b` quotes, `V W X Y` market data, types of two letters |
/// | ITCH 5.0 over SoupBinTCP | as over MoldUDP64 | | |
#[derive(Clone, Debug)]
pub struct ClassTable {
    direct: [[Class; DIRECT_KINDS]; Protocol::ALL.len()],
    wide: [WideKind; WIDE_KINDS_MAX],
    wide_count: usize,
}

impl ClassTable {
    /// The class of messages of type `kind` (a [`crate::wire::Message::kind`]) of `protocol`.
    #[inline]
    pub fn class_of(&self, protocol: Protocol, kind: u16) -> Class {
        match self.direct[protocol as usize].get(usize::from(kind)) {
            Some(class) => *class,
            None => self.class_of_wide(protocol, kind),
        }
    }

    #[cold]
    #[inline(never)]
    fn class_of_wide(&self, protocol: Protocol, kind: u16) -> Class {
        self.wide[..self.wide_count]
            .iter()
            .find(|wide| wide.protocol == protocol && wide.kind == kind)
            .map_or(UNLISTED, |wide| wide.class)
    }

    /// Gives messages of type `kind` of `protocol` another class than the default one. For boot: configuration
    /// names the exceptions, this puts them into the table.
    ///
    /// # Errors
    /// Only for types of 256 or more, when 64 of them have a class of their own already.
    pub fn override_kind(
        &mut self,
        protocol: Protocol,
        kind: u16,
        class: Class,
    ) -> Result<(), WideKindsFull> {
        if let Some(place) = self.direct[protocol as usize].get_mut(usize::from(kind)) {
            *place = class;
            return Ok(());
        }
        let known = self.wide[..self.wide_count]
            .iter()
            .position(|wide| wide.protocol == protocol && wide.kind == kind);
        let index = known.unwrap_or(self.wide_count);
        *self.wide.get_mut(index).ok_or(WideKindsFull)? = WideKind { protocol, kind, class };
        self.wide_count = self.wide_count.max(index + 1);
        Ok(())
    }

    fn set_all(&mut self, protocol: Protocol, kinds: &[u8], class: Class) {
        for kind in kinds {
            self.direct[protocol as usize][usize::from(*kind)] = class;
        }
    }
}

/// The realtime and the batch types of a protocol; the others are transactional.
struct Lists {
    protocol: Protocol,
    realtime: &'static [u8],
    batch: &'static [u8],
}

/// The table of [`ClassTable`]'s documentation as data.
const LISTS: [Lists; Protocol::ALL.len()] = [
    Lists { protocol: Protocol::Native, realtime: &[3, 4], batch: &[0, 1] },
    Lists { protocol: Protocol::Moldudp64Itch50, realtime: b"ECPQBHhWK", batch: b"SRYLV" },
    Lists { protocol: Protocol::IexTp, realtime: b"TLBHOE", batch: b"SDPX" },
    Lists {
        protocol: Protocol::CmeMdp3,
        realtime: &[30, 36, 42, 48, 60, 65],
        batch: &[12, 15, 16, 27, 29, 33, 34, 35, 37, 41, 49, 50, 51, 54, 55, 56, 57, 58, 62, 63, 66],
    },
    Lists {
        protocol: Protocol::CboePitch,
        realtime: &[
            0x23, 0x24, 0x2A, 0x2B, 0x2C, 0x30, 0x31, 0x36, 0x38, 0x3B, 0x3D, 0x3E, 0x58, 0x96, 0xAF, 0xB8,
        ],
        batch: &[
            0x20, 0x2D, 0x2E, 0x9A, 0x9B, 0x9C, 0x9F, 0xB1, 0xB9, 0xBA, 0xBB, 0xBE, 0xD2, 0xD3, 0xE3, 0xFA,
        ],
    },
    Lists {
        protocol: Protocol::NysePillar,
        realtime: &[33, 34, 103, 110, 111, 112, 113, 220, 221, 222],
        batch: &[2, 3, 10, 11, 12, 13, 15, 31, 35, 223],
    },
    Lists { protocol: Protocol::MiaxMach, realtime: b"TXHU", batch: b"1PS" },
    Lists { protocol: Protocol::IceImpact, realtime: b"GYWHIKVf34", batch: b"JLMNORUbciluvwz9" },
    Lists { protocol: Protocol::Engine20, realtime: &[0, 2], batch: &[] },
    // Of one letter; types of two letters are transactional until a configuration says otherwise.
    Lists { protocol: Protocol::Fix, realtime: b"89jQhfB", batch: b"012345Acdvwxy" },
    Lists { protocol: Protocol::SoupbintcpItch50, realtime: b"ECPQBHhWK", batch: b"SRYLV" },
];

impl Default for ClassTable {
    fn default() -> ClassTable {
        let nothing = WideKind { protocol: Protocol::Native, kind: 0, class: UNLISTED };
        let mut table = ClassTable {
            direct: [[UNLISTED; DIRECT_KINDS]; Protocol::ALL.len()],
            wide: [nothing; WIDE_KINDS_MAX],
            wide_count: 0,
        };
        for lists in &LISTS {
            table.set_all(lists.protocol, lists.realtime, Class::Realtime);
            table.set_all(lists.protocol, lists.batch, Class::Batch);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Priority;

    #[test]
    fn native_frames_go_by_their_priority() {
        let table = ClassTable::default();
        for byte in 0..=4 {
            let class = Priority::from_u8(byte).unwrap().class();
            assert_eq!(table.class_of(Protocol::Native, u16::from(byte)), class);
        }
    }

    #[test]
    fn trades_status_books_and_directories() {
        let table = ClassTable::default();
        let class = |protocol, kind: u8| table.class_of(protocol, u16::from(kind));
        for (protocol, realtime, transactional, batch) in [
            (Protocol::Moldudp64Itch50, b'P', b'A', b'R'),
            (Protocol::Moldudp64Itch50, b'H', b'U', b'S'),
            (Protocol::IexTp, b'T', b'Q', b'D'),
            (Protocol::IexTp, b'H', b'8', b'S'),
            (Protocol::CmeMdp3, 42, 32, 35),
            (Protocol::CmeMdp3, 48, 46, 51),
            (Protocol::CmeMdp3, 30, 4, 12),
            (Protocol::CboePitch, 0x2A, 0x21, 0x20),
            (Protocol::NysePillar, 103, 100, 3),
            (Protocol::NysePillar, 34, 32, 223),
            (Protocol::MiaxMach, b'T', b'B', b'1'),
            (Protocol::IceImpact, b'G', b'E', b'J'),
        ] {
            assert_eq!(class(protocol, realtime), Class::Realtime, "{protocol} {realtime}");
            assert_eq!(class(protocol, transactional), Class::Transactional, "{protocol} {transactional}");
            assert_eq!(class(protocol, batch), Class::Batch, "{protocol} {batch}");
        }
    }

    #[test]
    fn no_type_is_listed_twice_and_every_protocol_once() {
        for (lists, protocol) in LISTS.iter().zip(Protocol::ALL) {
            assert_eq!(lists.protocol, protocol);
            let mut all = [lists.realtime, lists.batch].concat();
            all.sort_unstable();
            let listed = all.len();
            all.dedup();
            assert_eq!(all.len(), listed, "{protocol}");
        }
    }

    #[test]
    fn unlisted_types_are_transactional() {
        let table = ClassTable::default();
        for protocol in Protocol::ALL {
            for kind in [255, 256, u16::MAX] {
                assert_eq!(table.class_of(protocol, kind), Class::Transactional);
            }
        }
    }

    #[test]
    fn overrides_change_one_type_of_one_protocol() {
        let mut table = ClassTable::default();
        table.override_kind(Protocol::IexTp, u16::from(b'Q'), Class::Batch).unwrap();
        table.override_kind(Protocol::NysePillar, 400, Class::Realtime).unwrap();
        table.override_kind(Protocol::NysePillar, 400, Class::Batch).unwrap();
        assert_eq!(table.class_of(Protocol::IexTp, u16::from(b'Q')), Class::Batch);
        assert_eq!(table.class_of(Protocol::IexTp, u16::from(b'T')), Class::Realtime);
        assert_eq!(table.class_of(Protocol::Moldudp64Itch50, u16::from(b'Q')), Class::Realtime);
        assert_eq!(table.class_of(Protocol::NysePillar, 400), Class::Batch);
        assert_eq!(table.class_of(Protocol::CmeMdp3, 400), Class::Transactional);
    }

    #[test]
    fn the_wide_kinds_have_a_limit_with_a_name() {
        let mut table = ClassTable::default();
        let full = u16::try_from(DIRECT_KINDS + WIDE_KINDS_MAX).unwrap();
        for kind in 256..full {
            table.override_kind(Protocol::NysePillar, kind, Class::Realtime).unwrap();
        }
        assert_eq!(table.override_kind(Protocol::NysePillar, full, Class::Realtime), Err(WideKindsFull));
        assert_eq!(table.class_of(Protocol::NysePillar, full - 1), Class::Realtime);
        assert_eq!(table.class_of(Protocol::NysePillar, full), Class::Transactional);
        table.override_kind(Protocol::NysePillar, full - 1, Class::Batch).unwrap();
        assert_eq!(table.class_of(Protocol::NysePillar, full - 1), Class::Batch);
    }
}
