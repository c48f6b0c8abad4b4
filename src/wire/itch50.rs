//! Placeholder.
/// Placeholder.
pub fn describe(_body: &[u8]) -> Option<serde_json::Value> {
    None
}
/// Placeholder.
pub fn entries(_body: &[u8], _found: &mut impl FnMut(super::Entry)) {}
