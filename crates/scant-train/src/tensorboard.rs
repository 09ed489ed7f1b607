//! TensorBoard event files: TFRecord framing around hand-encoded `Event` protobuf messages.
//!
//! Format: `tensorflow/core/lib/io/record_writer.h` (length, masked CRC-32C of the length, data,
//! masked CRC-32C of the data) and `tensorflow/core/util/event.proto` (wall_time = 1, step = 2,
//! file_version = 3, summary = 5 { value = 1 { tag = 1, simple_value = 2 } }).

/// Builds the bytes of an event file.
#[derive(Debug, Clone)]
pub(crate) struct EventFile {
    bytes: Vec<u8>,
}

impl EventFile {
    pub(crate) fn new(wall_secs: f64) -> Self {
        let mut file = Self { bytes: Vec::new() };
        let mut event = Vec::new();
        double(&mut event, 1, wall_secs);
        bytes_field(&mut event, 3, b"brain.Event:2");
        file.record(&event);
        file
    }

    pub(crate) fn scalars(&mut self, wall_secs: f64, step: u64, values: &[(String, f64)]) {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut v = Vec::new();
            bytes_field(&mut v, 1, tag.as_bytes());
            v.push(2 << 3 | 5);
            v.extend_from_slice(&(*value as f32).to_le_bytes());
            bytes_field(&mut summary, 1, &v);
        }
        let mut event = Vec::new();
        double(&mut event, 1, wall_secs);
        event.push(2 << 3);
        varint(&mut event, step);
        bytes_field(&mut event, 5, &summary);
        self.record(&event);
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn record(&mut self, data: &[u8]) {
        let length = (data.len() as u64).to_le_bytes();
        self.bytes.extend_from_slice(&length);
        self.bytes.extend_from_slice(&masked_crc(&length).to_le_bytes());
        self.bytes.extend_from_slice(data);
        self.bytes.extend_from_slice(&masked_crc(data).to_le_bytes());
    }
}

fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn double(out: &mut Vec<u8>, field: u8, value: f64) {
    out.push(field << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn bytes_field(out: &mut Vec<u8>, field: u8, data: &[u8]) {
    out.push(field << 3 | 2);
    varint(out, data.len() as u64);
    out.extend_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_matches_a_file_written_by_tensorflow() {
        // First record of an event file of tensorboard 2.x with wall_time 0: 24 bytes of payload.
        let file = EventFile::new(0.0);
        let payload = &file.as_bytes()[12..file.as_bytes().len() - 4];
        assert_eq!(payload[0], 0x09);
        assert_eq!(&payload[9..11], &[0x1a, 13]);
        assert_eq!(&payload[11..], b"brain.Event:2");
        assert_eq!(&file.as_bytes()[..8], &24_u64.to_le_bytes());
        // CRC-32C of the eight length bytes, masked, as TensorFlow writes it for every such file.
        assert_eq!(&file.as_bytes()[8..12], &masked_crc(&24_u64.to_le_bytes()).to_le_bytes());
    }

    #[test]
    fn the_checksum_is_castagnoli_and_masked() {
        // RFC 3720 B.4: CRC-32C of 32 zero bytes is 0x8a9136aa.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(
            masked_crc(&[0; 32]),
            0x8a91_36aa_u32.rotate_right(15).wrapping_add(0xa282_ead8)
        );
    }

    #[test]
    fn varints_carry() {
        let mut out = Vec::new();
        varint(&mut out, 300);
        assert_eq!(out, [0xac, 0x02]);
    }
}
