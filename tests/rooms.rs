//! Who may call whom, held by reading the sources.
//!
//! Each folder of `src` is a room. A room names another one by a path from the root of the crate, so the tokens of
//! every file are searched for such paths (`crate::…`, `stockflow::…`, `super::…` as far as it reaches the root), in
//! `use` lines and anywhere else, macros and tests included, and compared with [`MAY_CALL`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The rooms, and which others each may name. `main` is the program around them.
const MAY_CALL: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("cli", &["config", "commands", "pipeline"]),
    (
        "commands",
        &[
            "pipeline", "source", "producer", "consumer", "sink", "event", "broker", "config",
            "wire", "admin", "durable", "dedup", "verify",
        ],
    ),
    (
        "pipeline",
        &[
            "source", "dedup", "producer", "consumer", "sink", "event", "broker", "config", "wire",
            "admin", "durable",
        ],
    ),
    (
        "dedup",
        &["event", "producer", "consumer", "wire", "durable"],
    ),
    ("producer", &["wire"]),
    ("consumer", &["wire"]),
    ("admin", &["wire", "consumer"]),
    ("broker", &["wire"]),
    ("source", &["event", "net", "clock"]),
    ("verify", &["sink", "durable"]),
    ("sink", &["event", "short_copy", "durable"]),
    ("event", &["short_copy"]),
    ("config", &[]),
    ("wire", &["short_copy"]),
    ("durable", &[]),
    ("net", &[]),
    ("clock", &[]),
    ("short_copy", &[]),
];

/// What the tests of a room may name besides, because they drive the room through it.
const TESTS_MAY_CALL: &[(&str, &[&str])] = &[("sink", &["verify"]), ("dedup", &["broker"])];

/// A rule that a line breaks.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    file: PathBuf,
    line: usize,
    rule: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.file.display(), self.line, self.rule)
    }
}

/// One file of `src`: its path below `src`, and its text.
type Source = (PathBuf, String);

/// The path of the module that a file holds: `wire/messages/mod.rs` and `wire/messages.rs` are `wire::messages`.
/// The roots (`lib.rs`, `main.rs`) are the empty path.
fn module_of(file: &Path) -> Vec<String> {
    let mut path: Vec<String> = file
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    if path.last().is_some_and(|last| last == "mod") || path == ["lib"] || path == ["main"] {
        path.pop();
    }
    path
}

/// Everything that the sources break.
fn breaches(sources: &[Source]) -> Vec<Breach> {
    let mut found = Vec::new();
    let parsed: Vec<(&Source, TokenStream)> = sources
        .iter()
        .filter_map(|source| match source.1.parse() {
            Ok(tokens) => Some((source, tokens)),
            Err(error) => {
                let error: proc_macro2::LexError = error;
                let line = error.span().start().line;
                found.push(Breach {
                    file: source.0.clone(),
                    line,
                    rule: format!("not readable as Rust: {error}"),
                });
                None
            }
        })
        .collect();

    // Modules in files of their own that exist in tests alone, as the files that declare them say.
    let mut tests_alone = BTreeSet::new();
    for ((file, _), tokens) in &parsed {
        test_modules(tokens.clone(), &module_of(file), &mut tests_alone);
    }
    for ((file, text), tokens) in parsed {
        if !text.trim_start().starts_with("//!") {
            let rule = "a file opens with `//!`: why it exists and what it holds to".to_owned();
            found.push(Breach {
                file: file.clone(),
                line: 1,
                rule,
            });
        }
        let module = module_of(file);
        let in_tests = (1..=module.len()).any(|depth| tests_alone.contains(&module[..depth]));
        let room = match module.first() {
            Some(room) => room.clone(),
            None => file.with_extension("").to_string_lossy().into_owned(),
        };
        let mut reader = Reader {
            file,
            room: &room,
            module,
            in_tests,
            found: &mut found,
        };
        if room != "lib" && allowed(&room).is_none() {
            reader.report(
                1,
                format!("`{room}` is a room that the table in tests/rooms.rs does not know"),
            );
        }
        reader.read(&tokens.into_iter().collect::<Vec<_>>());
    }
    found
}

fn allowed(room: &str) -> Option<&'static [&'static str]> {
    MAY_CALL
        .iter()
        .find(|(name, _)| *name == room)
        .map(|(_, rooms)| *rooms)
}

fn ident(token: Option<&TokenTree>) -> Option<String> {
    match token {
        Some(TokenTree::Ident(name)) => Some(name.to_string()),
        _ => None,
    }
}

fn punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn colons(tokens: &[TokenTree], at: usize) -> bool {
    punct(tokens.get(at), ':') && punct(tokens.get(at + 1), ':')
}

/// Whether `tokens[at..]` is an attribute that keeps the item behind it out of everything but tests.
fn is_cfg_test(tokens: &[TokenTree], at: usize) -> bool {
    let (true, Some(TokenTree::Group(attribute))) =
        (punct(tokens.get(at), '#'), tokens.get(at + 1))
    else {
        return false;
    };
    let text = attribute.stream().to_string().replace(' ', "");
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

/// Where the item that begins at `at` ends: behind its first braces, or its `;`.
fn end_of_item(tokens: &[TokenTree], at: usize) -> usize {
    let end = tokens[at..].iter().position(|token| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    });
    end.map_or(tokens.len(), |length| at + length + 1)
}

/// Collects what `#[cfg(test)] mod name;` declares in the module `here`.
fn test_modules(tokens: TokenStream, here: &[String], into: &mut BTreeSet<Vec<String>>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for at in 0..tokens.len() {
        if !is_cfg_test(&tokens, at) {
            continue;
        }
        let item = &tokens[at..end_of_item(&tokens, at + 2)];
        let named = item
            .iter()
            .position(|token| ident(Some(token)).as_deref() == Some("mod"));
        if let Some(name) = named.and_then(|at| ident(item.get(at + 1))) {
            into.insert(here.iter().cloned().chain([name]).collect());
        }
    }
}

/// Walks the tokens of one file.
struct Reader<'a> {
    file: &'a Path,
    room: &'a str,
    module: Vec<String>,
    in_tests: bool,
    found: &'a mut Vec<Breach>,
}

impl Reader<'_> {
    fn report(&mut self, line: usize, rule: String) {
        self.found.push(Breach {
            file: self.file.to_owned(),
            line,
            rule,
        });
    }

    fn read(&mut self, tokens: &[TokenTree]) {
        let mut at = 0;
        while at < tokens.len() {
            if !self.in_tests && is_cfg_test(tokens, at) {
                let end = end_of_item(tokens, at + 2);
                self.in_tests = true;
                self.read(&tokens[at + 2..end]);
                self.in_tests = false;
                at = end;
                continue;
            }
            match &tokens[at] {
                TokenTree::Group(group) => {
                    // `mod name { … }`: a module within the file.
                    let name = if at >= 2 && ident(tokens.get(at - 2)).as_deref() == Some("mod") {
                        ident(tokens.get(at - 1))
                    } else {
                        None
                    };
                    let depth = self.module.len();
                    self.module.extend(name);
                    self.read(&group.stream().into_iter().collect::<Vec<_>>());
                    self.module.truncate(depth);
                    at += 1;
                }
                TokenTree::Ident(name) => at = self.path(&name.to_string(), tokens, at),
                _ => at += 1,
            }
        }
    }

    /// Reads a path whose first name is at `at`; gives the place behind what was read.
    fn path(&mut self, first: &str, tokens: &[TokenTree], at: usize) -> usize {
        let line = tokens[at].span().start().line;
        if first == "rskafka" && self.room != "wire" {
            self.report(
                line,
                format!("`{}` names rskafka; only `wire` may", self.room),
            );
        }
        if first == "kafka_protocol" && !self.in_tests {
            self.report(
                line,
                "kafka_protocol is the oracle of tests; nothing that ships may name it".to_owned(),
            );
        }
        // A name in the middle of a path is not the beginning of one.
        if at >= 2 && colons(tokens, at - 2) {
            return at + 1;
        }
        let (mut up, mut next) = match first {
            "crate" | "stockflow" => (self.module.len(), at + 1),
            "super" => (1, at + 1),
            "self" if colons(tokens, at + 1) => (0, at + 1),
            _ => return at + 1,
        };
        while colons(tokens, next) && ident(tokens.get(next + 2)).as_deref() == Some("super") {
            up += 1;
            next += 3;
        }
        // Still below the root: the path stays in this room.
        if up < self.module.len() {
            return next;
        }
        if !colons(tokens, next) {
            // `pub(crate)` and `pub(super)` end with their brackets; anything else makes the root known by another name.
            if first != "stockflow" && next < tokens.len() {
                self.report(
                    line,
                    "the root of the crate is named without a room; name the room".to_owned(),
                );
            }
            return next;
        }
        self.rooted(tokens, next + 2);
        next + 2
    }

    /// What stands behind `crate::` at `at`: a name, `*`, or a group of them.
    fn rooted(&mut self, tokens: &[TokenTree], at: usize) {
        match tokens.get(at) {
            Some(TokenTree::Ident(name)) => self.names(&name.to_string(), name.span().start().line),
            Some(TokenTree::Group(group)) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let mut begins = true;
                for (place, token) in inner.iter().enumerate() {
                    if begins {
                        self.rooted(&inner, place);
                    }
                    begins = punct(Some(token), ',');
                }
            }
            Some(token) => {
                let line = token.span().start().line;
                self.report(
                    line,
                    "a glob of the crate's root hides which rooms are named; name the room"
                        .to_owned(),
                );
            }
            None => {}
        }
    }

    fn names(&mut self, room: &str, line: usize) {
        if room == self.room || self.room == "lib" {
            return;
        }
        if room == "self" || allowed(room).is_none() {
            let what = if room == "self" {
                "the root of the crate"
            } else {
                room
            };
            self.report(
                line,
                format!("`{}` names `{what}`, which is no room", self.room),
            );
            return;
        }
        let may = allowed(self.room).unwrap_or_default();
        let in_tests = TESTS_MAY_CALL
            .iter()
            .any(|(name, rooms)| self.in_tests && *name == self.room && rooms.contains(&room));
        if !may.contains(&room) && !in_tests {
            let may = match may {
                [] => "no other room".to_owned(),
                rooms => format!("only {}", rooms.join(", ")),
            };
            self.report(
                line,
                format!("`{}` names `{room}`; it may name {may}", self.room),
            );
        }
    }
}

fn sources_below(root: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of src") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("UTF-8");
                sources.push((path.strip_prefix(root).expect("below src").to_owned(), text));
            }
        }
    }
    sources.sort();
    sources
}

#[test]
fn every_room_names_only_the_rooms_it_may() {
    let sources = sources_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let found = breaches(&sources);
    let list: String = found
        .iter()
        .map(|breach| format!("\n  src/{breach}"))
        .collect();
    assert!(
        found.is_empty(),
        "{} breach(es) of the rules in src/lib.rs:{list}",
        found.len()
    );
}

#[test]
fn the_table_knows_every_room_and_no_other() {
    let sources = sources_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let there: BTreeSet<String> = sources
        .iter()
        .filter_map(|(file, _)| module_of(file).first().cloned())
        .chain(["main".to_owned()])
        .collect();
    let known: BTreeSet<String> = MAY_CALL
        .iter()
        .map(|(room, _)| (*room).to_owned())
        .collect();
    assert_eq!(there, known);
}

/// The breaches of made-up files, as `line: rule`.
fn of(files: &[(&str, &str)]) -> Vec<String> {
    let sources: Vec<Source> = files
        .iter()
        .map(|(file, text)| (PathBuf::from(file), format!("//! Made up.\n{text}")))
        .collect();
    breaches(&sources)
        .iter()
        .map(|breach| format!("{}: {}", breach.line, breach.rule))
        .collect()
}

#[test]
fn a_room_may_name_itself_and_its_own() {
    assert_eq!(
        of(&[(
            "wire/frame.rs",
            "use crate::wire::error::Error; use super::error; use self::inner::X;"
        )]),
        [""; 0]
    );
    assert_eq!(
        of(&[(
            "pipeline/mod.rs",
            "use crate::{event, wire::{self, Error}, sink::Sink as S};"
        )]),
        [""; 0]
    );
    assert_eq!(
        of(&[(
            "main.rs",
            "use stockflow::cli; fn main() { stockflow::cli::run() }"
        )]),
        [""; 0]
    );
    assert_eq!(
        of(&[(
            "wire/mod.rs",
            "pub(crate) fn f() {} pub(super) struct S; use rskafka::messenger::Messenger;"
        )]),
        [""; 0]
    );
}

#[test]
fn a_forbidden_room_is_found_wherever_it_is_named() {
    let rule = "`sink` names `wire`; it may name only event, short_copy, durable";
    for (place, line) in [
        ("use crate::wire::Error;", 2),
        ("use crate::{event::TradeEvent,\n wire};", 3),
        ("fn f() -> crate::wire::Error { todo() }", 2),
        ("use super::super::wire;", 2),
        ("fn f() { vec![\n 1, crate::wire::ONE] }", 3),
        (
            "#[cfg(test)] mod tests { use super::super::super::wire; }",
            2,
        ),
        (
            "#[cfg(test)]\nmod tests {\n fn f() { crate::wire::f() } }",
            4,
        ),
        ("macro_rules! m { () => { $crate::wire::f() } }", 2),
        ("use stockflow::wire;", 2),
    ] {
        assert_eq!(
            of(&[("sink/rows.rs", place)]),
            [format!("{line}: {rule}")],
            "{place}"
        );
    }
}

#[test]
fn what_only_looks_like_a_name_is_none() {
    for text in [
        "// crate::wire",
        "/// See `crate::wire`.\nfn f() {}",
        "const S: &str = \"crate::wire\";",
        "const S: &str = r#\"use rskafka::x;\"#;",
        "mod tests { use super::super::rows; }",
        "use other::crate_::wire;",
    ] {
        assert_eq!(of(&[("sink/rows.rs", text)]), [""; 0], "{text}");
    }
}

#[test]
fn hiding_behind_the_root_is_found() {
    assert_eq!(of(&[("sink/mod.rs", "use crate::*;")]).len(), 1);
    assert_eq!(of(&[("sink/mod.rs", "use crate::{self as all};")]).len(), 1);
    assert_eq!(of(&[("sink/mod.rs", "use super::*;")]).len(), 1);
    assert_eq!(of(&[("sink/mod.rs", "use super as all;")]).len(), 1);
    assert_eq!(of(&[("sink/mod.rs", "use crate as all;")]).len(), 1);
    assert_eq!(
        of(&[("sink/mod.rs", "use crate::helpers::f;")]),
        ["2: `sink` names `helpers`, which is no room"]
    );
}

#[test]
fn only_wire_may_name_rskafka() {
    let found = of(&[
        ("producer/mod.rs", "use rskafka::client::Client;"),
        ("wire/mod.rs", "use rskafka::client;"),
    ]);
    assert_eq!(found, ["2: `producer` names rskafka; only `wire` may"]);
}

#[test]
fn the_oracle_stays_in_tests() {
    let oracle = "use kafka_protocol::messages;";
    assert_eq!(of(&[("wire/mod.rs", oracle)]).len(), 1);
    assert_eq!(
        of(&[(
            "wire/mod.rs",
            "#[cfg(not(test))] use kafka_protocol::messages;"
        )])
        .len(),
        1
    );
    assert_eq!(
        of(&[(
            "wire/mod.rs",
            "#[cfg(test)] use kafka_protocol::messages; fn f() {}"
        )]),
        [""; 0]
    );
    assert_eq!(
        of(&[(
            "wire/mod.rs",
            "#[cfg(test)] mod tests { use kafka_protocol::messages; }"
        )]),
        [""; 0]
    );
    // In a file of its own, and below one.
    let files = [
        ("wire/mod.rs", "#[cfg(test)]\npub(crate) mod oracle;"),
        ("wire/oracle.rs", oracle),
        ("wire/oracle/deep.rs", oracle),
    ];
    assert_eq!(of(&files), [""; 0]);
    assert_eq!(
        of(&[("wire/mod.rs", "mod oracle;"), ("wire/oracle.rs", oracle)]).len(),
        1
    );
}

#[test]
fn a_file_says_why_it_exists() {
    let found = breaches(&[(PathBuf::from("sink/mod.rs"), "use std::fs;".to_owned())]);
    assert_eq!(found.len(), 1);
    assert!(
        found[0]
            .to_string()
            .starts_with("sink/mod.rs:1: a file opens with `//!`"),
        "{}",
        found[0]
    );
}

#[test]
fn a_room_that_the_table_does_not_know_is_found() {
    assert_eq!(
        of(&[("attic/mod.rs", "")]),
        ["1: `attic` is a room that the table in tests/rooms.rs does not know"]
    );
}

/// A setting that nothing reads is a promise that is not kept.
#[test]
fn every_setting_is_read_outside_of_config() {
    let sources = sources_below(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
    let is_config = |source: &&Source| source.0.starts_with("config");
    let table = sources
        .iter()
        .find(|source| source.0.ends_with("config/keys/sections.rs"))
        .expect("the table of settings");
    let fields = table.1.lines().filter_map(|line| {
        let (field, _) = line.trim().strip_prefix("now ")?.split_once(':')?;
        Some(field)
    });
    let elsewhere: String = sources
        .iter()
        .filter(|source| !is_config(source))
        .map(|source| source.1.as_str())
        .collect();
    let is_read = |field: &&str| {
        let access = format!(".{field}");
        elsewhere.match_indices(&access).any(|(at, _)| {
            !elsewhere[at + access.len()..]
                .starts_with(|next: char| next.is_alphanumeric() || next == '_')
        })
    };
    let unread: Vec<&str> = fields.filter(|field| !is_read(field)).collect();
    assert_eq!(unread, [""; 0]);
}

#[test]
fn the_table_has_no_circle() {
    let table: BTreeMap<&str, &[&str]> = MAY_CALL.iter().copied().collect();
    // Rooms are taken away while they name none that is left; in a circle none ever could be.
    let mut left: BTreeSet<&str> = table.keys().copied().collect();
    loop {
        let free: Vec<&str> = left
            .iter()
            .copied()
            .filter(|room| table[room].iter().all(|named| !left.contains(named)))
            .collect();
        if free.is_empty() {
            break;
        }
        left.retain(|room| !free.contains(room));
    }
    assert!(
        left.is_empty(),
        "these rooms name each other in a circle: {left:?}"
    );
}
