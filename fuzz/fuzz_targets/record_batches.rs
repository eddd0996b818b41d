//! The records field of a Fetch response, as a broker that means harm would send it.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use stockflow::wire::records::{Batches, ControlType, Entry, HEADER_LEN, Opened, Scratch};

fuzz_target!(|input: &[u8]| {
    walk(Bytes::copy_from_slice(input));
    // The checksum would keep nearly every input from getting any further: make it right and walk again.
    if input.len() >= HEADER_LEN {
        let mut sealed = input.to_vec();
        let length = (sealed.len() - 12) as i32;
        sealed[8..12].copy_from_slice(&length.to_be_bytes());
        sealed[16] = 2;
        let crc = crc32c::crc32c(&sealed[21..]);
        sealed[17..21].copy_from_slice(&crc.to_be_bytes());
        walk(sealed.into());
    }
});

fn walk(bytes: Bytes) {
    let mut scratch = Scratch::new();
    for batch in Batches::new(bytes).flatten() {
        match batch.open(&mut scratch) {
            Ok(Opened::Whole(records)) => {
                for record in records.flatten() {
                    record.headers.iter().for_each(drop);
                    ControlType::from_record(&record);
                }
            }
            Ok(Opened::Stream(mut stream)) => {
                while let Some(entry) = stream.next() {
                    if let Ok(Entry::Record(record)) = entry {
                        record.headers.iter().for_each(drop);
                    }
                }
            }
            Err(_) => {}
        }
    }
}
