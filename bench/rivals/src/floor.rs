//! What reading a topic costs at the least: the segment files of its partitions, from the broker's own directory and in
//! one thread, are decoded (checksums verified, LZ4 undone), parsed with serde_json into borrowed fields and written as
//! rows in place, with fsync at the end. No network, no group, no offsets kept, no recovery.

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;

use clap::Parser;
use serde::Deserialize;
use serde_json::value::RawValue;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Bytes of a batch before its records, and where in them its checksum begins to count.
const HEADER: usize = 61;
const CRC_FROM: usize = 21;
const WRITE_BYTES: usize = 128 * 1024;

/// Reads the segment files of a topic into CSV files.
#[derive(Parser)]
struct Arguments {
    /// The broker's log directory
    #[arg(long)]
    logs: PathBuf,
    #[arg(long)]
    topic: String,
    /// The directory for the files
    #[arg(long)]
    out: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TradeEvent<'a> {
    symbol: &'a str,
    side: &'a str,
    quantity: u64,
    #[serde(borrow)]
    price: &'a RawValue,
    timestamp: &'a str,
}

fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.out)?;
    let mut rows = 0_u64;
    for entry in std::fs::read_dir(&arguments.logs)? {
        let directory = entry?;
        let name = directory.file_name().into_string().unwrap_or_default();
        if name.rsplit_once('-').is_none_or(|(topic, _)| topic != arguments.topic) {
            continue;
        }
        let mut segments: Vec<_> = std::fs::read_dir(directory.path())?.collect::<Result<_, _>>()?;
        segments.retain(|file| file.path().extension().is_some_and(|kind| kind == "log"));
        segments.sort_by_key(|file| file.file_name());
        let mut sheet = Sheet { file: File::create_new(arguments.out.join(format!("{name}.csv")))?, buffer: Vec::new() };
        sheet.buffer.extend_from_slice(b"Symbol,Side,Quantity,Price,Timestamp\n");
        for segment in segments {
            rows += read(&std::fs::read(segment.path())?, &mut sheet)?;
        }
        sheet.flush()?;
        sheet.file.sync_all()?;
    }
    println!("{{\"rows_written\":{rows}}}");
    Ok(())
}

struct Sheet {
    file: File,
    buffer: Vec<u8>,
}

impl Sheet {
    fn put(&mut self, value: &[u8]) -> Outcome<()> {
        let event: TradeEvent<'_> = serde_json::from_slice(value)?;
        let out = &mut self.buffer;
        for text in [event.symbol, event.side] {
            out.extend_from_slice(text.as_bytes());
            out.push(b',');
        }
        out.extend_from_slice(itoa::Buffer::new().format(event.quantity).as_bytes());
        for text in [event.price.get(), event.timestamp] {
            out.push(b',');
            out.extend_from_slice(text.as_bytes());
        }
        out.push(b'\n');
        if out.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Outcome<()> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

/// Decodes the batches of one segment; the number of records.
fn read(mut log: &[u8], sheet: &mut Sheet) -> Outcome<u64> {
    let mut rows = 0;
    let mut plain = Vec::new();
    while log.len() > HEADER {
        let length = usize::try_from(i32::from_be_bytes(log[8..12].try_into()?))? + 12;
        if length <= HEADER {
            break; // What the broker has made room for and not yet written.
        }
        let (batch, rest) = log.split_at(length);
        log = rest;
        if crc32c::crc32c(&batch[CRC_FROM..]) != u32::from_be_bytes(batch[17..21].try_into()?) {
            return Err("a checksum differs".into());
        }
        let attributes = i16::from_be_bytes(batch[21..23].try_into()?);
        let count = u32::from_be_bytes(batch[57..61].try_into()?);
        let mut body = &batch[HEADER..];
        match attributes & 7 {
            0 => {}
            3 => {
                plain.clear();
                lz4_flex::frame::FrameDecoder::new(body).read_to_end(&mut plain)?;
                body = &plain;
            }
            codec => return Err(format!("codec {codec} is not read here").into()),
        }
        for _ in 0..count {
            let length = usize::try_from(varint(&mut body))?;
            let (mut record, rest) = body.split_at(length);
            body = rest;
            record = &record[1..];
            varint(&mut record);
            varint(&mut record);
            let key = varint(&mut record);
            record = &record[usize::try_from(key.max(0))?..];
            let value = usize::try_from(varint(&mut record))?;
            sheet.put(&record[..value])?;
        }
        rows += u64::from(count);
    }
    Ok(rows)
}

/// A zigzag number of seven bits a byte.
fn varint(input: &mut &[u8]) -> i64 {
    let (mut bits, mut shift) = (0_u64, 0);
    loop {
        let byte = input[0];
        *input = &input[1..];
        bits |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return (bits >> 1) as i64 ^ -((bits & 1) as i64);
        }
        shift += 7;
    }
}
