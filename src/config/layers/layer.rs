//! Layers, later wins: defaults, files, environment, `--set`, flags.
//!
//! Every source of settings is brought into one form, [`Write`] (a path, a value, where it was written), and goes through
//! [`Layers::apply`]. Within one layer a setting may be given once, under one of its names; `--set` and flags may repeat
//! it, and the last one counts, as everywhere on a command line.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

use super::super::error::Problem;
use super::super::table::{Found, Key, Table, find, join, nearest};
use super::super::values::{Kind, Raw};
use super::foreign;
use super::origin::Origin;
use super::setting::Write;

/// A setting that found its row.
#[derive(Clone, Debug)]
pub(in crate::config) struct Assigned {
    pub(in crate::config) raw: Raw,
    pub(in crate::config) origin: Origin,
    spelled: String,
    /// Items that were given one by one, by their index.
    items: BTreeMap<usize, String>,
}

type Row = (&'static str, &'static str);
type Values = BTreeMap<Row, Assigned>;

/// The layers applied so far.
#[derive(Debug)]
pub(in crate::config) struct Layers {
    table: Table,
    values: Values,
    pub(in crate::config) problems: Vec<Problem>,
    foreign: BTreeMap<String, String>,
    unknown_sections: BTreeSet<String>,
}

enum Place {
    Row(Found, Vec<String>),
    Section,
    NoKey(String, String),
    Elsewhere,
}

fn is_section(table: Table, path: &str) -> bool {
    !path.is_empty()
        && table
            .iter()
            .copied()
            .flatten()
            .any(|key| key.section.eq_ignore_ascii_case(path))
}

fn locate(table: Table, path: &[String]) -> Place {
    if is_section(table, &path.join(".")) {
        return Place::Section;
    }
    for at in (1..path.len()).rev() {
        let (section, rest) = path.split_at(at);
        let section = section.join(".");
        if let [name, rest @ ..] = rest
            && is_section(table, &section)
        {
            return match find(table, &section, name) {
                Some(found) => Place::Row(found, rest.to_vec()),
                None => Place::NoKey(section, name.clone()),
            };
        }
    }
    match path {
        [name] => {
            find(table, "", name).map_or(Place::Elsewhere, |found| Place::Row(found, Vec::new()))
        }
        _ => Place::Elsewhere,
    }
}

impl Layers {
    /// No layer yet, for the keys of `table`.
    pub(in crate::config) fn new(table: Table) -> Self {
        Self {
            table,
            values: Values::new(),
            problems: Vec::new(),
            foreign: BTreeMap::new(),
            unknown_sections: BTreeSet::new(),
        }
    }

    /// The row of that name.
    pub(in crate::config) fn key(&self, section: &str, name: &str) -> Option<&'static Key> {
        let mut keys = self.table.iter().copied().flatten();
        keys.find(|key| key.section == section && key.name == name)
    }

    /// What the row was set to, if it was.
    pub(in crate::config) fn value(
        &self,
        section: &'static str,
        name: &'static str,
    ) -> Option<&Assigned> {
        self.values.get(&(section, name))
    }

    /// Lays one layer over those before.
    pub(in crate::config) fn apply(&mut self, writes: Vec<Write>, may_repeat: bool) {
        let mut layer = Values::new();
        for write in writes {
            let spelled = write.path.join(".");
            match locate(self.table, &write.path) {
                Place::Row(..) | Place::Section if write.raw == Raw::Null => {}
                Place::Row(found, rest) => {
                    self.place(&mut layer, found, &rest, write, spelled, may_repeat)
                }
                Place::Section => self.problems.push(Problem::Invalid {
                    key: spelled,
                    origin: write.origin,
                    reason: "this is a section: its keys stand inside { }".to_owned(),
                }),
                Place::NoKey(section, name) => self.no_key(&section, &name, write, spelled),
                Place::Elsewhere => self.elsewhere(write, spelled),
            }
        }
        for (row, mut assigned) in layer {
            if !assigned.items.is_empty() {
                assigned.raw =
                    Raw::List(std::mem::take(&mut assigned.items).into_values().collect());
            }
            self.values.insert(row, assigned);
        }
    }

    fn place(
        &mut self,
        layer: &mut Values,
        found: Found,
        rest: &[String],
        write: Write,
        spelled: String,
        may_repeat: bool,
    ) {
        let key: &'static Key = found.key;
        let mut assigned = Assigned {
            raw: write.raw,
            origin: write.origin,
            spelled,
            items: BTreeMap::new(),
        };
        match rest {
            [] => {}
            [index] if matches!(key.kind, Kind::List(_) | Kind::NameList(_)) => {
                match (index.parse(), &assigned.raw) {
                    (Ok(index), Raw::Scalar(item)) => {
                        assigned.items.insert(index, item.clone());
                    }
                    _ => {
                        return self.unknown(
                            key.section,
                            &join(key.name, index),
                            assigned.origin,
                            assigned.spelled,
                        );
                    }
                }
            }
            // .NET's shape: { "LogLevel": { "Default": "Information", "Microsoft": "Warning" } }
            [category] if key.path() == "Logging.Level" => {
                if !category.eq_ignore_ascii_case("Default") {
                    self.foreign.insert(
                        assigned.spelled,
                        "categories of .NET loggers are not known here".to_owned(),
                    );
                    return;
                }
            }
            [first, ..] => {
                return self.unknown(
                    key.section,
                    &join(key.name, first),
                    assigned.origin,
                    assigned.spelled,
                );
            }
        }
        if found.as_file
            && let Raw::Scalar(path) = &assigned.raw
        {
            assigned.raw = Raw::SecretFile(PathBuf::from(path));
        }
        match layer.get_mut(&(key.section, key.name)) {
            Some(before) if !before.items.is_empty() && !assigned.items.is_empty() => {
                before.items.append(&mut assigned.items);
            }
            Some(before)
                if !(may_repeat && before.spelled.eq_ignore_ascii_case(&assigned.spelled)) =>
            {
                self.problems.push(Problem::Twice {
                    first_key: before.spelled.clone(),
                    first: before.origin.clone(),
                    second_key: assigned.spelled,
                    second: assigned.origin,
                });
            }
            _ => {
                layer.insert((key.section, key.name), assigned);
            }
        }
    }

    fn no_key(&mut self, section: &str, name: &str, write: Write, spelled: String) {
        let value = match &write.raw {
            Raw::Scalar(text) => text.as_str(),
            _ => "",
        };
        match foreign::reason(section, name, value) {
            Some(reason) => {
                self.foreign
                    .insert(format!("{spelled} ({})", write.origin), reason.to_owned());
            }
            None => self.unknown(section, name, write.origin, spelled),
        }
    }

    fn unknown(&mut self, section: &str, name: &str, origin: Origin, spelled: String) {
        self.problems.push(Problem::UnknownKey {
            key: spelled,
            origin,
            nearest: nearest(self.table, section, name),
        });
    }

    /// Files are shared with other programs, so a foreign section in them is no mistake; on the command line it is one.
    fn elsewhere(&mut self, write: Write, spelled: String) {
        let (section, name) = match write.path.split_first() {
            Some((first, rest)) if !rest.is_empty() => (first.clone(), rest.join(".")),
            _ => (String::new(), spelled.clone()),
        };
        match write.origin {
            Origin::Set | Origin::Flag(_) => self.problems.push(Problem::UnknownSection {
                nearest: nearest(self.table, &section, &name),
                key: spelled,
                origin: write.origin,
            }),
            Origin::File { .. } | Origin::Variable(_) | Origin::Default => {
                if let Some(first) = write.path.into_iter().next() {
                    self.unknown_sections.insert(first);
                }
            }
        }
    }

    /// What is worth saying though it is no mistake.
    pub(in crate::config) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.unknown_sections.is_empty() {
            let names: Vec<_> = self.unknown_sections.iter().map(String::as_str).collect();
            warnings.push(format!(
                "sections that are not ours were passed over: {}",
                names.join(", ")
            ));
        }
        for (key, reason) in &self.foreign {
            warnings.push(format!("{key} has no effect: {reason}"));
        }
        for ((section, name), assigned) in &self.values {
            let secret = self.key(section, name).is_some_and(Key::is_secret);
            if secret && assigned.origin == Origin::Set && matches!(assigned.raw, Raw::Scalar(_)) {
                let path = join(section, name);
                warnings.push(format!(
                    "{path} (--set): everyone on this machine can see a secret on a command line; give it by the variable {} or the key {path}File",
                    path.replace('.', "__")
                ));
            }
        }
        warnings
    }
}

fn scalar(text: &str) -> Raw {
    if text.is_empty() {
        Raw::Unset
    } else {
        Raw::Scalar(text.to_owned())
    }
}

/// The variables of the form `Section__Key` whose section is ours, and the names of keys at the top.
pub(in crate::config) fn environment(
    table: Table,
    variables: &[(OsString, OsString)],
    problems: &mut Vec<Problem>,
) -> Vec<Write> {
    let mut writes = Vec::new();
    for (name, value) in variables {
        let Some(name) = name.to_str() else { continue };
        let path: Vec<String> = name.split("__").map(str::to_owned).collect();
        let ours = match path.as_slice() {
            [name] => find(table, "", name).is_some(),
            [section, ..] => is_section(table, section),
            [] => false,
        };
        if !ours {
            continue;
        }
        let origin = Origin::Variable(name.to_owned());
        match value.to_str() {
            Some(value) => writes.push(Write {
                path,
                raw: scalar(value),
                origin,
            }),
            None => problems.push(Problem::Invalid {
                key: path.join("."),
                origin,
                reason: "the value is not UTF-8".to_owned(),
            }),
        }
    }
    writes.sort_by(|a, b| a.path.cmp(&b.path));
    writes
}

/// `--set Section.Key=VALUE`, already split at the first `=`.
pub(in crate::config) fn sets(sets: &[(String, String)]) -> Vec<Write> {
    let write = |(path, value): &(String, String)| Write {
        path: path
            .split(['.', ':'])
            .map(|part| part.trim().to_owned())
            .collect(),
        raw: scalar(value),
        origin: Origin::Set,
    };
    sets.iter().map(write).collect()
}

/// A flag that stands for a key of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// `Section.Key`.
    pub path: &'static str,
    /// The flag, with its dashes.
    pub flag: &'static str,
    /// What it was given.
    pub given: Given,
}

/// What a flag was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// One value.
    One(String),
    /// Items of a list, each as it is, commas included.
    Many(Vec<String>),
}

/// What flags set.
pub(in crate::config) fn flags(overrides: &[Override]) -> Vec<Write> {
    let write = |one: &Override| Write {
        path: one.path.split('.').map(str::to_owned).collect(),
        raw: match &one.given {
            Given::One(value) => scalar(value),
            Given::Many(items) => Raw::List(items.clone()),
        },
        origin: Origin::Flag(one.flag),
    };
    overrides.iter().map(write).collect()
}
