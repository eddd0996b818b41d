//! Which files an input means: itself, or those of a directory and of the directories in it.

use std::collections::HashSet;
use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::ReplayFault;

/// What is taken from a directory; a file that is named itself may be called anything.
pub(super) const EXTENSIONS: [&str; 4] = ["json", "csv", "ndjson", "jsonl"];

/// How deep directories are looked through.
const MAX_DEPTH: usize = 16;

/// How a compressed file ends.
pub(super) const PACKED: [&str; 3] = ["gz", "zst", "lz4"];

/// Names that are shown of those that are skipped.
const MAX_SHOWN: usize = 5;

/// What cannot be replayed, and why.
pub(super) type Missing = Vec<(String, ReplayFault)>;

/// Adds the files of an input, in the order of their names, each seen to be readable, and what is missing.
pub(super) fn find(path: &str, files: &mut Vec<String>, missing: &mut Missing) {
    let kind = match fs::metadata(path) {
        Ok(kind) => kind,
        Err(error) => return missing.push((path.to_owned(), error.into())),
    };
    if !kind.is_dir() {
        // A named pipe waits for its writer when it is opened, so only what is a file is tried.
        return match kind.is_file().then(|| File::open(path)) {
            Some(Err(error)) => missing.push((path.to_owned(), error.into())),
            _ => files.push(path.to_owned()),
        };
    }
    let mut walk = Walk::default();
    walk.through(Path::new(path), MAX_DEPTH);
    if !walk.others.is_empty() {
        tracing::info!(
            "skipped in {path}, because the name does not end in {} (plain, .gz, .zst, .lz4): {}; give their names to --input to replay them",
            EXTENSIONS.join(", "),
            listed(&walk.others)
        );
    }
    if !walk.deep.is_empty() {
        tracing::warn!(
            "skipped in {path}, because they lie more than {MAX_DEPTH} directories deep: {}; give their names to --input to replay them",
            listed(&walk.deep)
        );
    }
    if !walk.again.is_empty() {
        tracing::info!(
            "skipped in {path}, because they are other names (links) of what is read already: {}",
            listed(&walk.again)
        );
    }
    if walk.files.is_empty() && walk.missing.is_empty() {
        walk.missing
            .push((path.to_owned(), ReplayFault::NothingInIt));
    }
    files.append(&mut walk.files);
    missing.append(&mut walk.missing);
}

/// The first of these names, and how many more there are.
fn listed(names: &[String]) -> String {
    let shown = names.get(..MAX_SHOWN).unwrap_or(names).join(", ");
    match names.len().saturating_sub(MAX_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[derive(Default)]
struct Walk {
    files: Vec<String>,
    missing: Missing,
    /// Named in another way than what is taken.
    others: Vec<String>,
    /// Directories that lie too deep.
    deep: Vec<String>,
    /// Names of files that are read under another one, and of directories that were looked through.
    again: Vec<String>,
    /// Files and directories that were met, by device and inode: links may lead back up, and to what has two names.
    met: HashSet<(u64, u64)>,
}

impl Walk {
    fn through(&mut self, directory: &Path, depth: usize) {
        let entries = fs::metadata(directory).and_then(|kind| {
            if !self.is_new(directory, &kind) {
                return Ok(Vec::new());
            }
            fs::read_dir(directory)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        });
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.miss(directory, error.into()),
        };
        // The first part of a day has no number, and comes before the others.
        entries.sort_by_cached_key(|path| {
            let name = path.to_string_lossy().into_owned();
            let stem = name.rsplit_once(".csv").map(|(stem, _)| stem.to_owned());
            (stem.unwrap_or_else(|| name.clone()), name)
        });
        for path in entries {
            let hidden = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if hidden {
                continue;
            }
            if path.is_dir() {
                match depth {
                    0 => self.deep.push(path.to_string_lossy().into_owned()),
                    _ => self.through(&path, depth - 1),
                }
            } else if is_replayable(&path) {
                // A pipe waits for its writer, maybe for ever; who wants that names it.
                match fs::metadata(&path) {
                    Ok(kind) if !kind.is_file() => self.miss(&path, ReplayFault::NotRegular),
                    Ok(kind) => match File::open(&path) {
                        Ok(_) if !self.is_new(&path, &kind) => {}
                        Ok(_) => self.files.push(path.to_string_lossy().into_owned()),
                        Err(error) => self.miss(&path, error.into()),
                    },
                    Err(error) => self.miss(&path, error.into()),
                }
            } else {
                self.others.push(path.to_string_lossy().into_owned());
            }
        }
    }

    /// Whether it was not met before under another name.
    fn is_new(&mut self, path: &Path, kind: &Metadata) -> bool {
        let new = self.met.insert((kind.dev(), kind.ino()));
        if !new {
            self.again.push(path.to_string_lossy().into_owned());
        }
        new
    }

    fn miss(&mut self, path: &Path, fault: ReplayFault) {
        self.missing
            .push((path.to_string_lossy().into_owned(), fault));
    }
}

fn is_replayable(path: &Path) -> bool {
    let is = |path: &Path, extensions: &[&str]| {
        path.extension().is_some_and(|extension| {
            extensions
                .iter()
                .any(|each| extension.eq_ignore_ascii_case(each))
        })
    };
    is(path, &EXTENSIONS)
        || (is(path, &PACKED)
            && path
                .file_stem()
                .is_some_and(|stem| is(Path::new(stem), &EXTENSIONS)))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn pipes_circles_and_dangling_links_in_a_directory_hold_nothing_up() {
        let directory = tempfile::tempdir().expect("a directory");
        let base = directory.path();
        fs::write(base.join("a.json"), "{}").expect("a file");
        for link in ["l1", "l2", "l3", "l4"] {
            std::os::unix::fs::symlink(base, base.join(link)).expect("a link");
        }
        rustix::fs::mkfifoat(rustix::fs::CWD, base.join("b.json"), 0o600.into()).expect("a pipe");
        std::os::unix::fs::symlink(base.join("gone"), base.join("c.csv")).expect("a link");
        let (mut files, mut missing) = (Vec::new(), Vec::new());
        find(&base.to_string_lossy(), &mut files, &mut missing);
        assert_eq!(files, [base.join("a.json").to_string_lossy()]);
        let named: Vec<_> = missing.iter().map(|(path, _)| path.clone()).collect();
        let at = |name: &str| base.join(name).to_string_lossy().into_owned();
        assert_eq!(named, [at("b.json"), at("c.csv")]);
    }

    #[test]
    fn a_file_with_two_names_is_read_once_and_a_link_to_a_file_elsewhere_counts() {
        use std::os::unix::fs::symlink;
        let directory = tempfile::tempdir().expect("a directory");
        let base = directory.path().join("in");
        fs::create_dir_all(base.join("days")).expect("a directory");
        let outside = directory.path().join("outside.json");
        fs::write(&outside, "{}").expect("a file");
        fs::write(base.join("days/1.json"), "{}").expect("a file");
        symlink(base.join("days"), base.join("latest")).expect("a link");
        symlink(base.join("days/1.json"), base.join("newest.json")).expect("a link");
        fs::hard_link(base.join("days/1.json"), base.join("same.json")).expect("a link");
        symlink(&base, base.join("days/up")).expect("a link");
        symlink(&outside, base.join("elsewhere.json")).expect("a link");
        let (mut files, mut missing) = (Vec::new(), Vec::new());
        find(&base.to_string_lossy(), &mut files, &mut missing);
        let at = |name: &str| base.join(name).to_string_lossy().into_owned();
        assert_eq!(files, [at("days/1.json"), at("elsewhere.json")]);
        assert!(missing.is_empty(), "{missing:?}");
    }
}

/// The name of the standard input among the files.
pub const STDIN: &str = "-";
