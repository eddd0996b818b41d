//! The shape of the table of keys, and how a name finds its row.
//!
//! [`section!`] turns rows into a typed struct, into the rows' descriptions ([`Key`]) and into the code that reads them,
//! so a key's name stands in one line of the program. A row begins with `now`, or with `later` when this version cannot
//! honour the key: then it has no field, and setting it to anything but its default is an error.

use super::values::{Kind, bare};

/// One key of the configuration: a row of the table.
#[derive(Debug)]
pub struct Key {
    /// The section's path; empty at the top.
    pub section: &'static str,
    /// The key's name.
    pub name: &'static str,
    /// Other names; with a `.` the whole path, else in the same section.
    pub aliases: &'static [&'static str],
    /// What it accepts.
    pub kind: Kind,
    /// The default as one would write it; empty is unset.
    pub default: &'static str,
    /// What it is for, in one line.
    pub doc: &'static str,
    /// Whether this version honours it.
    pub supported: bool,
}

impl Key {
    /// `Section.Key`, or the bare name at the top.
    pub fn path(&self) -> String {
        join(self.section, self.name)
    }

    /// Whether its value must never be shown.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret)
    }
}

pub(super) fn join(section: &str, name: &str) -> String {
    if section.is_empty() {
        name.to_owned()
    } else {
        format!("{section}.{name}")
    }
}

/// All rows, a slice a section.
pub(in crate::config) type Table = &'static [&'static [Key]];

/// A row that a name found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) key: &'static Key,
    /// Whether the name was that of the secret's file.
    pub(super) as_file: bool,
}

/// The key of that name in that section; neither is matched by case.
pub(super) fn find(sections: Table, section: &str, name: &str) -> Option<Found> {
    let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    let path = join(section, name);
    for key in sections.iter().copied().flatten() {
        let direct = same(key.section, section) && same(key.name, name);
        let alias = key.aliases.iter().any(|alias| {
            if alias.contains('.') {
                same(alias, &path)
            } else {
                same(key.section, section) && same(alias, name)
            }
        });
        if direct || alias {
            return Some(Found {
                key,
                as_file: false,
            });
        }
        let stem = name
            .len()
            .checked_sub("File".len())
            .and_then(|end| name.split_at_checked(end));
        if let Some((stem, suffix)) = stem
            && key.is_secret()
            && same(suffix, "File")
            && same(key.section, section)
            && same(key.name, stem)
        {
            return Some(Found { key, as_file: true });
        }
    }
    None
}

/// The key that was probably meant by a name that is none: of the same section, unless another has it to the letter.
pub(super) fn nearest(sections: Table, section: &str, name: &str) -> String {
    let wanted = bare(name);
    let keys = || sections.iter().copied().flatten();
    if let Some(key) =
        keys().find(|key| bare(key.name) == wanted && !key.section.eq_ignore_ascii_case(section))
    {
        return key.path();
    }
    let inside = keys().any(|key| key.section.eq_ignore_ascii_case(section));
    keys()
        .filter(|key| !inside || key.section.eq_ignore_ascii_case(section))
        .map(|key| {
            let distance = if inside {
                bare(key.name)
            } else {
                bare(&key.path())
            };
            let written = if inside {
                wanted.clone()
            } else {
                bare(&join(section, name))
            };
            (
                strsim::normalized_damerau_levenshtein(&distance, &written),
                key,
            )
        })
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map_or_else(String::new, |(_, key)| key.path())
}

/// A section of the table: see the module.
macro_rules! section {
    ($(#[$meta:meta])* $vis:vis struct $name:ident = $section:literal { $($rows:tt)* }) => {
        section!(@sort [$(#[$meta])*] [$vis] $name $section [] [] [] $($rows)*);
    };
    (@sort $head:tt $vis:tt $name:ident $section:literal [$($now:tt)*] [$($later:tt)*] [$($key:tt)*]
        #[doc = $doc:literal] now $field:ident : $type:ty = $label:literal $(| $alias:literal)*, $codec:expr, $default:literal;
        $($rest:tt)*
    ) => {
        section!(@sort $head $vis $name $section
            [$($now)* { $field, $type, $label, $codec, $doc }]
            [$($later)*]
            [$($key)* { $label, [$($alias),*], $type, $codec, $default, $doc, true }]
            $($rest)*);
    };
    (@sort $head:tt $vis:tt $name:ident $section:literal [$($now:tt)*] [$($later:tt)*] [$($key:tt)*]
        #[doc = $doc:literal] later $field:ident : $type:ty = $label:literal $(| $alias:literal)*, $codec:expr, $default:literal;
        $($rest:tt)*
    ) => {
        section!(@sort $head $vis $name $section
            [$($now)*]
            [$($later)* { $type, $label, $codec }]
            [$($key)* { $label, [$($alias),*], $type, $codec, $default, $doc, false }]
            $($rest)*);
    };
    (@sort [$($head:tt)*] [$vis:vis] $name:ident $section:literal
        [$({ $field:ident, $type:ty, $label:literal, $codec:expr, $doc:literal })*]
        [$({ $later_type:ty, $later_label:literal, $later_codec:expr })*]
        [$({ $key:literal, [$($alias:literal),*], $key_type:ty, $key_codec:expr, $default:literal, $key_doc:literal, $supported:literal })*]
    ) => {
        $($head)*
        #[derive(Clone, Debug)]
        $vis struct $name {
            $(#[doc = $doc] pub $field: $type,)*
        }

        impl $name {
            pub(super) const KEYS: &'static [Key] = &[$(Key {
                section: $section,
                name: $key,
                aliases: &[$($alias),*],
                kind: {
                    const CODEC: Codec<$key_type> = $key_codec;
                    CODEC.kind
                },
                default: $default,
                doc: $key_doc.trim_ascii(),
                supported: $supported,
            },)*];

            /// The section's values, or `None` when one is wrong (then the reader has noted it).
            pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
                $(reader.refuse::<$later_type>($section, $later_label, $later_codec);)*
                $(let $field = reader.take::<$type>($section, $label, $codec);)*
                Some(Self { $($field: $field?,)* })
            }
        }
    };
}
pub(super) use section;
