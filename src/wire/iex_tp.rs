//! Hot path: placeholder until the decoder lands.
use super::Visitor;
use crate::event::FrameReject;
/// Placeholder.
pub fn decode<V: Visitor>(_packet: &[u8], _visitor: &mut V) -> Result<(), FrameReject> {
    Err(FrameReject::PacketTooShort)
}
/// Placeholder.
pub fn describe(_body: &[u8]) -> Option<serde_json::Value> {
    None
}
/// Placeholder.
pub fn entries(_body: &[u8], _found: &mut impl FnMut(super::Entry)) {}
