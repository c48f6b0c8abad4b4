//! Hot path: placeholder until the decoder lands.
use super::Visitor;
use crate::event::FrameReject;
/// Placeholder.
pub fn decode<V: Visitor>(_packet: &[u8], _visitor: &mut V) -> Result<(), FrameReject> {
    Err(FrameReject::PacketTooShort)
}
