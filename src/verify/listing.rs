//! What lies in a directory under names like ours, beside what its state knows: whoever reads the directory reads it, too.
//!
//! A file beside its compressed self doubles rows for sure. Of any other that the state does not know (left over from a
//! state directory that was lost, a copy, another program's) nobody can tell.

use std::collections::{BTreeMap, BTreeSet};

use crate::sink::{Form, Purpose};

/// What there is too much of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Surplus {
    /// A file, and the one of the index that is there in another form.
    pub(super) beside: Vec<(String, String)>,
    /// Files that a process is making, or left behind when it was killed.
    pub(super) loose: Vec<String>,
    /// Files that the state does not know.
    pub(super) unknown: Vec<String>,
}

/// Compares the names in a directory with the files that its state knows, and those that it knows to be in the making.
pub(super) fn surplus(
    mut names: Vec<String>,
    known: &BTreeMap<String, Form>,
    loose: &BTreeSet<String>,
) -> Surplus {
    names.sort_unstable();
    let all: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let mut surplus = Surplus::default();
    for name in &names {
        let Some(plain) = Purpose::any(name) else {
            continue;
        };
        let place = known.get(plain).map(|form| form.place(plain));
        match place {
            Some(place) if place == *name => {}
            Some(place) if all.contains(place.as_str()) => {
                surplus.beside.push((name.clone(), place));
            }
            _ if loose.contains(name) => surplus.loose.push(name.clone()),
            _ => surplus.unknown.push(name.clone()),
        }
    }
    surplus
}

/// CSV files of other names, in order: whoever reads all of a directory reads them, too.
pub(super) fn others(names: &[String]) -> Vec<String> {
    let is_csv = |name: &String| {
        let name = name.to_ascii_lowercase();
        [".csv", ".csv.gz", ".csv.zst"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    let mut others = names.to_vec();
    others.retain(|name| is_csv(name) && Purpose::any(name).is_none());
    others.sort_unstable();
    others
}

/// The first few of many names.
pub(super) fn some(names: &[String]) -> String {
    const FEW: usize = 5;
    let few: Vec<&str> = names.iter().take(FEW).map(String::as_str).collect();
    let mut text = few.join(", ");
    if names.len() > FEW {
        text.push_str(&format!(" and {} more", names.len() - FEW));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_files_of_other_names_are_named() {
        let mut names = [
            "consumed_trades_2025-11-06.csv",
            "consumed_trades_2025-11-06 (1).csv",
            "Copy of consumed_trades_2025-11-06.CSV",
            "old.csv.gz",
            "notes.txt",
        ]
        .map(str::to_owned);
        let wanted = [names[2].clone(), names[1].clone(), names[3].clone()];
        assert_eq!(others(&names), wanted);
        names.reverse();
        assert_eq!(others(&names), wanted);
    }

    #[test]
    fn what_the_state_does_not_know_is_named() {
        let name = |rest: &str| format!("consumed_trades_2025-11-0{rest}");
        let known = [
            (name("1.csv"), Form::Plain),
            (name("2.csv"), Form::Gzip),
            (name("3.csv"), Form::Zstd),
            (name("4.csv"), Form::Hidden),
        ];
        let there = [
            "1.csv",
            "1.0001.csv",
            "2.csv",
            "2.csv.gz",
            "3.csv",
            "4.csv",
            "5.csv",
        ];
        let mut names: Vec<String> = there.into_iter().map(name).collect();
        names.push("notes.csv".into());
        let found = surplus(names, &known.into(), &[name("5.csv"), name("2.csv")].into());
        assert_eq!(
            found,
            Surplus {
                beside: vec![(name("2.csv"), name("2.csv.gz"))],
                loose: vec![name("5.csv")],
                // Its compressed self is not there: no row is twice, and nobody knows what it holds.
                unknown: vec![name("1.0001.csv"), name("3.csv"), name("4.csv")],
            }
        );
        assert_eq!(some(&found.unknown[..1]), name("1.0001.csv"));
    }
}
