//! Where a file stands at each step of its life, and under which name.
//!
//! ```text
//!              takes lines                   closed
//!  append      NAME ───────────────────────► NAME, or NAME.gz, or NAME.zst
//!  atomic      .stockflow/open/NAME ───────► NAME, or NAME.gz, or NAME.zst
//! ```
//!
//! The index, the checkpoint and the list of closed files know a file by NAME, whatever form it has. So nothing in the
//! index changes when a file is published or compressed.

use serde::{Deserialize, Serialize};

use super::super::settings::{Compression, Publish};

/// Where files are that nobody is to see yet, in the sidecar.
pub(crate) const HIDDEN: &str = "open";

/// The form that a file has now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    /// Under its name.
    #[default]
    Plain,
    /// In the sidecar, until it is closed.
    Hidden,
    /// Compressed (RFC 1952).
    Gzip,
    /// Compressed (RFC 8878).
    Zstd,
}

impl Form {
    /// All that a file can have.
    pub(crate) const ALL: [Self; 4] = [Self::Plain, Self::Hidden, Self::Gzip, Self::Zstd];

    /// The path of the file of that name, relative to the output directory.
    pub(crate) fn place(self, name: &str) -> String {
        match self {
            Self::Plain => name.to_owned(),
            Self::Hidden => format!("{STATE_DIRECTORY}/{HIDDEN}/{name}"),
            Self::Gzip => format!("{name}.gz"),
            Self::Zstd => format!("{name}.zst"),
        }
    }

    /// For serde: the form of the files of the first versions is left out.
    pub(crate) fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
}

impl Publish {
    /// The form of a file that takes lines.
    pub(crate) const fn open(self) -> Form {
        match self {
            Self::Append => Form::Plain,
            Self::Atomic => Form::Hidden,
        }
    }
}

impl Compression {
    /// The form of a file that is closed.
    pub(crate) const fn closed(self) -> Form {
        match self {
            Self::None => Form::Plain,
            Self::Gzip => Form::Gzip,
            Self::Zstd => Form::Zstd,
        }
    }
}

/// The sidecar directory.
pub(crate) const STATE_DIRECTORY: &str = ".stockflow";
