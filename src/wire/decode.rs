//! Hot path: the one place where a protocol's number becomes its decoder.

use super::{
    Entry, Visitor, cboe_pitch, cme_mdp3, engine20, fix, ice_impact, iex_tp, itch50, miax_mach, moldudp64,
    native, nyse_pillar, stream,
};
use crate::event::{FrameReject, Protocol};

/// Decodes one packet (a UDP payload) of `protocol` and tells `visitor` its runs and messages.
///
/// # Errors
/// The packet's own header is unusable: then `visitor` was told nothing.
#[inline]
pub fn decode<V: Visitor>(protocol: Protocol, packet: &[u8], visitor: &mut V) -> Result<(), FrameReject> {
    match protocol {
        Protocol::Native => native::decode(packet, visitor),
        Protocol::Moldudp64Itch50 => moldudp64::decode(packet, visitor),
        Protocol::IexTp => iex_tp::decode(packet, visitor),
        Protocol::CmeMdp3 => cme_mdp3::decode(packet, visitor),
        Protocol::CboePitch => cboe_pitch::decode(packet, visitor),
        Protocol::NysePillar => nyse_pillar::decode(packet, visitor),
        Protocol::MiaxMach => miax_mach::decode(packet, visitor),
        Protocol::IceImpact => ice_impact::decode(packet, visitor),
        Protocol::Engine20 | Protocol::Fix | Protocol::SoupbintcpItch50 => {
            stream::decode_packet(protocol, packet, visitor)
        }
    }
}

/// Tells `found` what one message (a `Message::body`) says of books and trades; nothing for messages that say
/// nothing of them, for unknown types and for damaged bodies.
#[inline]
pub fn entries(protocol: Protocol, kind: u16, body: &[u8], found: &mut impl FnMut(Entry)) {
    match protocol {
        Protocol::Moldudp64Itch50 | Protocol::SoupbintcpItch50 => itch50::entries(body, found),
        Protocol::IexTp => iex_tp::entries(body, found),
        Protocol::CmeMdp3 => cme_mdp3::entries(kind, body, found),
        _ => {}
    }
}

/// The fields of one message by name, for listings; `None` for types whose fields are not decoded.
/// Cold: it allocates.
pub fn describe(protocol: Protocol, kind: u16, body: &[u8]) -> Option<serde_json::Value> {
    match protocol {
        Protocol::Native => native::describe(body),
        Protocol::Engine20 => engine20::describe(body),
        Protocol::Moldudp64Itch50 | Protocol::SoupbintcpItch50 => itch50::describe(body),
        Protocol::IexTp => iex_tp::describe(body),
        Protocol::CmeMdp3 => cme_mdp3::describe(kind, body),
        Protocol::Fix => fix::describe(body),
        _ => None,
    }
}
