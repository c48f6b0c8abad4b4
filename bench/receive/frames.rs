//! The frames that are sent: 64 bytes on the wire's terms (60 and FCS), each one native event.

use crate::rig::{PORT, RX_ADDRESS, RX_MAC, Rig, TX_ADDRESS, TX_MAC};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Frames in the small capture; senders loop over it.
pub(crate) const CAPTURE_FRAMES: u64 = 1_000;

/// One 60-byte frame (64 with its FCS): Ethernet, IPv4, UDP and an 18-byte native event.
pub(crate) fn small_frame() -> Vec<u8> {
    let mut payload = 14u32.to_be_bytes().to_vec();
    // Priority MEDIUM, topic "bench", six bytes of payload.
    payload.extend_from_slice(&[2, 0, 5]);
    payload.extend_from_slice(b"bench012345");
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2(TX_MAC, RX_MAC)
        .ipv4(TX_ADDRESS, RX_ADDRESS, 64)
        .udp(40_000, PORT)
        .write(&mut frame, &payload)
        .expect("writes to memory");
    assert_eq!(frame.len(), 60);
    frame
}

/// Writes the small capture (pcap, ns) into the temporary folder.
pub(crate) fn write_small_frames(rig: &Rig) -> Result<PathBuf, String> {
    let path = std::env::temp_dir().join(format!("{}.pcap", rig.rx_namespace));
    write(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

fn write(path: &Path) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let frame = small_frame();
    for word in [0xa1b2_3c4du32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.write_all(&word.to_le_bytes())?;
    }
    for index in 0..CAPTURE_FRAMES as u32 {
        for word in [1, index * 1_000, frame.len() as u32, frame.len() as u32] {
            file.write_all(&word.to_le_bytes())?;
        }
        file.write_all(&frame)?;
    }
    file.flush()
}

/// The real CME capture, where the folder of captures is at hand.
pub(crate) fn cme_capture() -> Option<PathBuf> {
    let folder = std::env::var_os("SLUICE_CAPTURES")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures"));
    let path = folder.join("cme-mdp3-ab.pcapng");
    path.exists().then_some(path)
}
