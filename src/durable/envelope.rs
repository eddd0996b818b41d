//! The common form of the state files: one line with what it is, its version and a CRC-32C of the rest; then JSON.
//!
//! They are replaced as a whole (temporary file, fsync, rename, fsync of the directory), so at any instant the old or
//! the new one is there, never a part of one.

use std::path::Path;

use super::error::DurableError;
use super::fs::Fs;

/// The version of all state files. The second one knows closed files: a program of the first would take their names for
/// free.
const VERSION: &str = "2";
/// The versions that can be read.
const READABLE: [&str; 2] = ["1", VERSION];

pub(crate) fn seal(kind: &str, body: &[u8]) -> Vec<u8> {
    let mut sealed =
        format!("stockflow {kind} {VERSION} {:08x}\n", crc32c::crc32c(body)).into_bytes();
    sealed.extend_from_slice(body);
    sealed
}

/// The body, or what is wrong.
pub(crate) fn unseal<'a>(kind: &str, sealed: &'a [u8]) -> Result<&'a [u8], String> {
    let end = memchr::memchr(b'\n', sealed).ok_or("its first line is missing")?;
    let (line, body) = sealed.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| "its first line is not text")?;
    match line.split(' ').collect::<Vec<_>>()[..] {
        ["stockflow", k, version, crc] if k == kind && READABLE.contains(&version) => {
            let crc = u32::from_str_radix(crc, 16).map_err(|_| "its checksum is not a number")?;
            if crc == crc32c::crc32c(body) {
                Ok(body)
            } else {
                Err("its checksum differs".to_owned())
            }
        }
        ["stockflow", k, version, _] if k == kind => Err(format!(
            "its version is {version}, this program knows {VERSION}"
        )),
        _ => Err(format!("it is not a {kind}")),
    }
}

/// Puts a file in place as a whole, durably.
pub(crate) fn replace(
    fs: &dyn Fs,
    directory: &Path,
    name: &str,
    bytes: &[u8],
) -> Result<(), DurableError> {
    let path = directory.join(name);
    let temporary = directory.join(format!("{name}.new"));
    let write = || {
        let mut file = fs.create(&temporary)?;
        file.write_at(0, bytes)?;
        file.sync()?;
        drop(file);
        fs.rename(&temporary, &path)?;
        fs.sync_dir(directory)
    };
    write().map_err(DurableError::io("write", &path))
}

/// The whole file, or `None` when it is not there.
pub(crate) fn read(fs: &dyn Fs, path: &Path) -> Result<Option<Vec<u8>>, DurableError> {
    let read = || {
        if fs.len(path)?.is_none() {
            return Ok(None);
        }
        let mut file = fs.open(path)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
        file.read_at(0, &mut bytes)?;
        Ok(Some(bytes))
    };
    read().map_err(DurableError::io("read", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_byte_is_noticed() {
        let sealed = seal("checkpoint", b"{\"a\":1}");
        assert_eq!(unseal("checkpoint", &sealed), Ok(&b"{\"a\":1}"[..]));
        assert!(unseal("redo", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(unseal("checkpoint", &bad).is_err(), "byte {at}");
            assert!(unseal("checkpoint", &sealed[..at]).is_err(), "cut at {at}");
        }
    }
}
