//! A secret that is never shown, given directly or as a file that is read again whenever the secret is needed.
//!
//! Orchestrators rotate a mounted secret by replacing the file, so the file's content is never kept: whoever needs the
//! value asks [`Secret::read`] each time it is needed (a request, a new connection).

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

/// A secret's file is read up to here; a longer one is not a secret but a mistake.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// What example files carry in place of an Alpha Vantage key.
const PLACEHOLDER: &str = "YOUR_API_KEY_HERE";

/// Why a secret's file gives no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("the secret's file {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file has no content but line ends.
    #[error("the secret's file {} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It is no API key.
    #[error("{of} {why}; an API key is one word of letters and digits")]
    NoKey {
        /// Whose value it is.
        of: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file is too long to be a secret.
    #[error("the secret's file {} is longer than {MAX_SECRET_BYTES} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
}

#[derive(Clone)]
enum Kept {
    Inline(SecretString),
    File(PathBuf),
}

/// A secret: a value that `Debug`, `config show` and errors never reveal.
#[derive(Clone)]
pub struct Secret(Kept);

impl Secret {
    /// A secret that stands in the configuration itself.
    pub fn inline(value: impl Into<String>) -> Self {
        Self(Kept::Inline(SecretString::from(value.into())))
    }

    /// A secret that stands in a file; trailing line ends are not part of it.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Kept::File(path.into()))
    }

    /// The value as it is now. A file is read anew each time (at most 64 KiB), because it may have been replaced.
    ///
    /// # Errors
    /// When the file cannot be read, is not UTF-8, is empty or is too long.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        match &self.0 {
            Kept::Inline(value) => Ok(value.clone()),
            Kept::File(path) => read_file(path),
        }
    }

    /// The value as an API key: what surely is not meant (a byte order mark, blanks and quotes around it) is left out.
    ///
    /// # Errors
    /// As [`Self::read`], and when what is left cannot be one key.
    pub fn read_key(&self) -> Result<SecretString, SecretError> {
        let value = self.read()?;
        let of = || match self.path() {
            Some(path) => format!("the secret's file {}", path.display()),
            None => "the API key".to_owned(),
        };
        key_of(value.expose_secret())
            .map(SecretString::from)
            .map_err(|why| SecretError::NoKey { of: of(), why })
    }

    /// The file that holds the secret, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Kept::Inline(_) => None,
            Kept::File(path) => Some(path),
        }
    }
}

/// Whether a key is what example files carry in place of one.
pub fn is_placeholder(value: &SecretString) -> bool {
    value
        .expose_secret()
        .trim()
        .eq_ignore_ascii_case(PLACEHOLDER)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kept::Inline(_) => f.write_str("Secret(********)"),
            Kept::File(path) => write!(f, "Secret(******** from {})", path.display()),
        }
    }
}

/// The key in a text; what is wrong with it.
fn key_of(text: &str) -> Result<String, &'static str> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let quoted = ['"', '\''].into_iter().find_map(|quote| {
        let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
        Some(inner.trim())
    });
    let key = quoted.unwrap_or(text);
    let has = |wrong: fn(char) -> bool| key.contains(wrong);
    if key.is_empty() {
        Err("is empty")
    } else if has(|c| c == '\n' || c == '\r') {
        Err("has a second line")
    } else if has(char::is_whitespace) {
        Err("has blanks within it")
    } else if has(|c| matches!(c, '"' | '\'')) {
        Err("has quotes within it")
    } else if has(|c| !c.is_ascii_graphic()) {
        Err("has characters that no key has")
    } else {
        Ok(key.to_owned())
    }
}

fn read_file(path: &Path) -> Result<SecretString, SecretError> {
    let unreadable = |source| SecretError::Unreadable {
        path: path.to_owned(),
        source,
    };
    if super::pipe::is_pipe(path) {
        return Err(unreadable(io::Error::other(
            "it is a pipe, and a secret's file is read again whenever the secret is needed",
        )));
    }
    let mut text = String::new();
    File::open(path)
        .map_err(unreadable)?
        .take(MAX_SECRET_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_SECRET_BYTES {
        return Err(SecretError::TooLong {
            path: path.to_owned(),
        });
    }
    let end = text.trim_end_matches(['\n', '\r']).len();
    text.truncate(end);
    if text.is_empty() {
        return Err(SecretError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_surely_is_not_meant_is_no_part_of_a_key() {
        for text in [
            "KEY1",
            "\u{feff}KEY1\r\n\r\n",
            " \tKEY1 \n",
            "\"KEY1\"\n",
            "'KEY1'",
            "\n\" KEY1 \"",
        ] {
            assert_eq!(key_of(text).as_deref(), Ok("KEY1"), "{text:?}");
        }
        for (text, why) in [
            ("", "empty"),
            ("\u{feff}\n", "empty"),
            ("\"\"", "empty"),
            ("KEY1\nKEY2", "second line"),
            ("KEY1\n# of the free plan", "second line"),
            ("KEY 1", "blanks"),
            ("\"KEY1", "quotes"),
            ("KÉY1", "characters"),
            ("KEY\u{0}", "characters"),
        ] {
            let wrong = key_of(text).expect_err(text);
            assert!(wrong.contains(why), "{text:?}: {wrong}");
        }
    }

    #[test]
    fn a_replaced_file_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "first\r\n").unwrap();
        let secret = Secret::file(&path);
        assert_eq!(secret.read().unwrap().expose_secret(), "first");
        std::fs::write(&path, "second \n").unwrap();
        assert_eq!(secret.read().unwrap().expose_secret(), "second ");
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(secret.read(), Err(SecretError::Empty { .. })));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(secret.read(), Err(SecretError::Unreadable { .. })));
        std::fs::write(&path, vec![b'x'; 70_000]).unwrap();
        assert!(matches!(secret.read(), Err(SecretError::TooLong { .. })));
    }
}
