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

/// What a message of these tests is: it ends with its own number among all messages of its stream, over all epochs.
pub(crate) fn id_of(body: &[u8]) -> u64 {
    u64::from_le_bytes(body[body.len() - 8..].try_into().expect("eight bytes"))
}

/// A MoldUDP64 packet of messages with these ids.
pub(crate) fn mold_ids(session: u64, first: u64, ids: &[u64]) -> Vec<u8> {
    let mut packet = mold(session, first, ids.len() as u64);
    packet.truncate(20);
    for id in ids {
        packet.extend([0, 9, b'z']);
        packet.extend(id.to_le_bytes());
    }
    packet
}

/// A NYSE packet of messages of this type with these ids.
pub(crate) fn nyse(sent_ns: u64, flag: u8, first: u64, kind: u16, ids: &[u64]) -> Vec<u8> {
    let message = |id: &u64| [&12u16.to_le_bytes()[..], &kind.to_le_bytes(), &id.to_le_bytes()].concat();
    let messages: Vec<u8> = ids.iter().flat_map(message).collect();
    let mut packet = (16 + messages.len() as u16).to_le_bytes().to_vec();
    packet.extend([flag, ids.len() as u8]);
    packet.extend((first as u32).to_le_bytes());
    packet.extend(((sent_ns / 1_000_000_000) as u32).to_le_bytes());
    packet.extend(((sent_ns % 1_000_000_000) as u32).to_le_bytes());
    packet.extend(messages);
    packet
}

/// A CME packet of messages of an unknown template with these ids; the last one is a channel reset, if it `resets`.
pub(crate) fn cme(sent_ns: u64, sequence: u64, ids: &[u64], resets: bool) -> Vec<u8> {
    let mut packet = (sequence as u32).to_le_bytes().to_vec();
    packet.extend(sent_ns.to_le_bytes());
    for (index, id) in ids.iter().enumerate() {
        let is_reset = resets && index + 1 == ids.len();
        let block: &[u8] = if is_reset { &[0, 0, 0, 0, 0, 0, 0, 0, 0x80] } else { &[0; 4] };
        let template: u16 = if is_reset { 4 } else { 999 };
        for field in [(18 + block.len()) as u16, block.len() as u16, template, 1, 9] {
            packet.extend(field.to_le_bytes());
        }
        packet.extend(block);
        packet.extend(id.to_le_bytes());
    }
    packet
}

/// A Cboe packet of unit 1 of messages with these ids; the first one is a unit clear, if it `clears`.
pub(crate) fn cboe(first: u64, ids: &[u64], clears: bool) -> Vec<u8> {
    let mut messages = Vec::new();
    for (index, id) in ids.iter().enumerate() {
        messages.extend([14, if clears && index == 0 { 0x97 } else { 0x29 }, 0, 0, 0, 0]);
        messages.extend(id.to_le_bytes());
    }
    let mut packet = (8 + messages.len() as u16).to_le_bytes().to_vec();
    packet.extend([ids.len() as u8, 1]);
    packet.extend((first as u32).to_le_bytes());
    packet.extend(messages);
    packet
}
