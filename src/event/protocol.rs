//! The protocols that Sluice decodes, by the names that the command line and configuration use.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A market-data or event protocol carried in UDP payloads or byte streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Protocol {
    /// Native event frames: version 1, as EventStreamCore's senders write them, and version 2.
    Native = 0,
    /// NASDAQ ITCH 5.0 over MoldUDP64.
    #[serde(rename = "moldudp64-itch50")]
    Moldudp64Itch50 = 1,
    /// IEX-TP carrying TOPS or DEEP.
    IexTp = 2,
    /// CME MDP 3.0 (SBE).
    #[serde(rename = "cme-mdp3")]
    CmeMdp3 = 3,
    /// Cboe PITCH over sequenced units.
    CboePitch = 4,
    /// NYSE Pillar / XDP.
    NysePillar = 5,
    /// MIAX MACH.
    MiaxMach = 6,
    /// ICE iMpact.
    IceImpact = 7,
    /// The 20-byte messages of Linux-cpp-event-server's producers, in a byte stream.
    Engine20 = 8,
    /// FIX tag=value messages (4.0 to 5.0 SP2, FIXT 1.1), in a byte stream.
    Fix = 9,
    /// NASDAQ ITCH 5.0 over SoupBinTCP 3.00, in a byte stream.
    #[serde(rename = "soupbintcp-itch50")]
    SoupbintcpItch50 = 10,
}

impl Protocol {
    /// All protocols, in the order of their discriminants.
    pub const ALL: [Protocol; 11] = [
        Protocol::Native,
        Protocol::Moldudp64Itch50,
        Protocol::IexTp,
        Protocol::CmeMdp3,
        Protocol::CboePitch,
        Protocol::NysePillar,
        Protocol::MiaxMach,
        Protocol::IceImpact,
        Protocol::Engine20,
        Protocol::Fix,
        Protocol::SoupbintcpItch50,
    ];

    /// The name used on the command line, in configuration and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Native => "native",
            Protocol::Moldudp64Itch50 => "moldudp64-itch50",
            Protocol::IexTp => "iex-tp",
            Protocol::CmeMdp3 => "cme-mdp3",
            Protocol::CboePitch => "cboe-pitch",
            Protocol::NysePillar => "nyse-pillar",
            Protocol::MiaxMach => "miax-mach",
            Protocol::IceImpact => "ice-impact",
            Protocol::Engine20 => "engine20",
            Protocol::Fix => "fix",
            Protocol::SoupbintcpItch50 => "soupbintcp-itch50",
        }
    }

    /// The protocol with this discriminant, if there is one.
    pub fn from_u8(value: u8) -> Option<Protocol> {
        Protocol::ALL.get(usize::from(value)).copied()
    }

    /// How many numbers its sequence has before it comes round, where its field has 32 bits; `None` for 64.
    ///
    /// Behind 4,294,967,295 comes 1 at Cboe, which says so (options notices of 2020), as 0 marks messages outside of the
    /// numbering; and at CME as far as can be told, where the numbers of a week that can be asked for again are 1 to
    /// 4,294,967,295. NYSE and ICE don't say, and are taken to count on from 0.
    pub const fn sequence_cycle(self) -> Option<u64> {
        match self {
            Protocol::CmeMdp3 | Protocol::CboePitch => Some(u32::MAX as u64),
            Protocol::NysePillar | Protocol::IceImpact => Some(1 << u32::BITS),
            Protocol::Native
            | Protocol::Moldudp64Itch50
            | Protocol::IexTp
            | Protocol::MiaxMach
            | Protocol::Engine20
            | Protocol::Fix
            | Protocol::SoupbintcpItch50 => None,
        }
    }

    /// How many ASCII letters a message type of this protocol has at most; 0 where types are numbers.
    pub const fn type_letters(self) -> usize {
        match self {
            Protocol::Moldudp64Itch50
            | Protocol::IexTp
            | Protocol::MiaxMach
            | Protocol::IceImpact
            | Protocol::SoupbintcpItch50 => 1,
            Protocol::Fix => 2,
            Protocol::Native
            | Protocol::CmeMdp3
            | Protocol::CboePitch
            | Protocol::NysePillar
            | Protocol::Engine20 => 0,
        }
    }

    /// How a message type of this protocol is written in reports: its letters, the first one in the high byte where there
    /// are two, or its decimal number.
    pub fn type_name(self, code: u16) -> String {
        let bytes = code.to_be_bytes();
        let letters = if bytes[0] == 0 { &bytes[1..] } else { &bytes[..] };
        if letters.len() <= self.type_letters() && letters.iter().all(u8::is_ascii_graphic) {
            letters.iter().map(|letter| char::from(*letter)).collect()
        } else {
            code.to_string()
        }
    }

    /// The message type that is written as `name`: the inverse of [`Protocol::type_name`]. Digits that may be letters are
    /// letters: of FIX, `12` is the type that begins with the letter 1.
    pub fn type_code(self, name: &str) -> Option<u16> {
        let letters = (1..=self.type_letters())
            .contains(&name.len())
            .then(|| name.bytes().fold(0, |code, letter| (code << 8) | u16::from(letter)));
        let code = letters.or_else(|| name.parse().ok())?;
        (self.type_name(code) == name).then_some(code)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Protocol, String> {
        Protocol::ALL.into_iter().find(|p| p.name() == text).ok_or_else(|| {
            let known: Vec<&str> = Protocol::ALL.iter().map(|p| p.name()).collect();
            format!("unknown protocol '{text}'; known: {}", known.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Protocol;

    #[test]
    fn discriminants_and_names_round_trip() {
        for protocol in Protocol::ALL {
            assert_eq!(Protocol::from_u8(protocol as u8), Some(protocol));
            assert_eq!(protocol.name().parse(), Ok(protocol));
            let toml_name = serde_json::to_value(protocol).expect("serializes");
            assert_eq!(toml_name, protocol.name());
        }
        assert_eq!(Protocol::from_u8(11), None);
    }

    #[test]
    fn fields_of_32_bits_come_round() {
        let narrow = Protocol::ALL.into_iter().filter(|protocol| protocol.sequence_cycle().is_some());
        let names: Vec<&str> = narrow.map(Protocol::name).collect();
        assert_eq!(names, ["cme-mdp3", "cboe-pitch", "nyse-pillar", "ice-impact"]);
    }

    #[test]
    fn message_types_are_read_as_they_are_printed() {
        for protocol in Protocol::ALL {
            for code in 0..=u16::MAX {
                let name = protocol.type_name(code);
                // A protocol of letters prints type 5 as "5", as it prints type 53, the letter '5': letters are meant,
                // wherever a number has no more digits than a type has letters.
                let is_number = name == code.to_string();
                let meant = if is_number && name.len() <= protocol.type_letters() {
                    name.bytes().fold(0, |letters, digit| letters * 256 + u16::from(digit))
                } else {
                    code
                };
                assert_eq!(protocol.type_code(&name), Some(meant), "{protocol} {name}");
            }
            assert_eq!(protocol.type_code(""), None);
            assert_eq!(protocol.type_code("TTT"), None);
            assert_eq!(protocol.type_code("\u{e9}"), None);
            let two = (protocol == Protocol::Fix).then_some(0x5454);
            assert_eq!(protocol.type_code("TT"), two);
        }
        assert_eq!(Protocol::CmeMdp3.type_code("032"), None);
        assert_eq!(Protocol::CmeMdp3.type_code("T"), None);
        assert_eq!(Protocol::Fix.type_name(0x4145), "AE");
        assert_eq!(Protocol::IexTp.type_name(0x4145), "16709");
    }
}
