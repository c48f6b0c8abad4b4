//! Packets of venues' protocols, made by hand.

/// A MoldUDP64 packet of session `session` with `count` messages from number `first` on; without any, a heartbeat. The
/// messages have a type that no specification knows, 'z', and their own number as body.
pub(crate) fn mold(session: u64, first: u64, count: u64) -> Vec<u8> {
    let mut packet = format!("{session:010}").into_bytes();
    packet.extend(first.to_be_bytes());
    packet.extend((count as u16).to_be_bytes());
    for number in first..first + count {
        packet.extend([0, 9, b'z']);
        packet.extend(number.to_be_bytes());
    }
    packet
}
