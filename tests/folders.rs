//! No circle among folders, at any depth: what a folder is built on can be read without it.
//!
//! Each path in the sources that leads to an item of this crate is an arrow from the file that holds it to the file that
//! defines the item; a re-export counts as the file that defines it. Tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

type Module = Vec<String>;

/// What one file says.
#[derive(Default)]
struct Names {
    /// Paths, each with the module in which it stands.
    paths: Vec<(Module, Vec<String>)>,
    /// What a name stands for in a module, by its `use` lines.
    imports: BTreeMap<(Module, String), Vec<String>>,
}

fn ident(token: Option<&TokenTree>) -> Option<String> {
    match token {
        Some(TokenTree::Ident(name)) => Some(name.to_string()),
        _ => None,
    }
}

fn is(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn end_of_item(tokens: &[TokenTree], at: usize) -> usize {
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    };
    let length = tokens.iter().skip(at).position(ends);
    length.map_or(tokens.len(), |length| at + length + 1)
}

impl Names {
    fn read(&mut self, module: &mut Module, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let name = ident(Some(token));
            if is(Some(token), '#')
                && let Some(TokenTree::Group(attribute)) = tokens.get(at + 1)
                && attribute
                    .stream()
                    .to_string()
                    .replace(' ', "")
                    .starts_with("cfg(test")
            {
                at = end_of_item(&tokens, at + 2);
            } else if name.as_deref() == Some("use") {
                at = self.tree(module, &[], &tokens, at + 1);
            } else if let TokenTree::Group(group) = token {
                let inside = (at >= 2 && ident(tokens.get(at - 2)).as_deref() == Some("mod"))
                    .then(|| ident(tokens.get(at - 1)))
                    .flatten();
                let depth = module.len();
                module.extend(inside);
                self.read(module, group.stream());
                module.truncate(depth);
                at += 1;
            } else if let Some(first) = name {
                let mut path = vec![first];
                while is(tokens.get(at + 1), ':')
                    && is(tokens.get(at + 2), ':')
                    && let Some(next) = ident(tokens.get(at + 3))
                {
                    path.push(next);
                    at += 3;
                }
                if path.len() > 1 {
                    self.paths.push((module.clone(), path));
                }
                at += 1;
            } else {
                at += 1;
            }
        }
    }

    /// One branch of a `use` line from `at` on; gives the place behind it.
    fn tree(
        &mut self,
        module: &Module,
        before: &[String],
        tokens: &[TokenTree],
        at: usize,
    ) -> usize {
        let (mut path, mut at) = (before.to_vec(), at);
        loop {
            match tokens.get(at) {
                Some(TokenTree::Ident(name)) => path.push(name.to_string()),
                Some(TokenTree::Group(group)) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    let mut place = 0;
                    while place < inner.len() {
                        place = self.tree(module, &path, &inner, place) + 1;
                    }
                    return at + 1;
                }
                _ => return at + 1,
            }
            if !is(tokens.get(at + 1), ':') {
                break;
            }
            at += 3;
        }
        if path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let mut known_as = path.last().cloned().unwrap_or_default();
        if ident(tokens.get(at + 1)).as_deref() == Some("as") {
            known_as = ident(tokens.get(at + 2)).unwrap_or_default();
            at += 2;
        }
        self.imports
            .insert((module.clone(), known_as), path.clone());
        self.paths.push((module.clone(), path));
        at + 1
    }
}

#[derive(Default)]
struct Crate {
    /// The folder of each module that is a file.
    folders: BTreeMap<Module, Module>,
    names: Names,
}

impl Crate {
    fn read(root: &Path) -> Self {
        let mut all = Self::default();
        let mut tests = BTreeSet::new();
        let mut texts = Vec::new();
        let mut open = vec![root.to_owned()];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    open.push(path);
                    continue;
                }
                let relative = path
                    .strip_prefix(root)
                    .expect("below src")
                    .with_extension("");
                let mut module: Module = relative
                    .iter()
                    .map(|part| part.to_string_lossy().into_owned())
                    .collect();
                if module == ["main"] || module == ["lib"] {
                    continue;
                }
                let folder = module[..module.len() - 1].to_vec();
                if module.last().is_some_and(|last| last == "mod") {
                    module.pop();
                }
                let tokens: TokenStream = std::fs::read_to_string(&path)
                    .expect("UTF-8")
                    .parse()
                    .expect("Rust");
                let text = tokens.to_string().replace(' ', "");
                for (at, _) in text.match_indices("#[cfg(test)]") {
                    let rest = &text[at + "#[cfg(test)]".len()..];
                    let rest = rest
                        .strip_prefix("pub(crate)")
                        .or(rest.strip_prefix("pub(super)"))
                        .unwrap_or(rest);
                    if let Some((name, _)) = rest
                        .strip_prefix("mod")
                        .and_then(|rest| rest.split_once(';'))
                    {
                        tests.insert(
                            module
                                .iter()
                                .cloned()
                                .chain([name.to_owned()])
                                .collect::<Module>(),
                        );
                    }
                }
                texts.push((module, folder, tokens));
            }
        }
        for (mut module, folder, tokens) in texts {
            if (1..=module.len()).any(|depth| tests.contains(&module[..depth])) {
                continue;
            }
            all.folders.insert(module.clone(), folder);
            all.names.read(&mut module, tokens);
        }
        all
    }

    /// The file of the module that is furthest along the path.
    fn file_of(&self, path: &[String]) -> Option<(&Module, usize)> {
        let depths = (1..=path.len()).rev();
        depths.into_iter().find_map(|depth| {
            let (module, _) = self.folders.get_key_value(&path[..depth])?;
            Some((module, depth))
        })
    }

    /// The path from the root that `path` stands for in `module`; `None` leads out of the crate.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let mut base = match first.as_str() {
            "crate" => Vec::new(),
            "self" => module.clone(),
            "super" => module[..module.len().checked_sub(1)?].to_vec(),
            child => {
                let mut below = module.clone();
                below.push(child.to_owned());
                return self
                    .folders
                    .contains_key(&below)
                    .then(|| [below, rest.to_vec()].concat());
            }
        };
        for name in rest {
            match name.as_str() {
                "super" => drop(base.pop()),
                name => base.push(name.to_owned()),
            }
        }
        Some(base)
    }

    /// The file that defines what the path leads to.
    fn defined_in(&self, path: &[String], depth: usize) -> Option<&Module> {
        let (module, length) = self.file_of(path)?;
        if depth < 8
            && let Some(name) = path.get(length)
            && let Some(import) = self.names.imports.get(&(module.clone(), name.clone()))
            && let Some(path) = self.absolute(module, import)
        {
            return self.defined_in(&path, depth + 1);
        }
        Some(module)
    }

    /// For each pair of folders beside each other, an arrow between files of theirs.
    fn arrows(&self) -> BTreeMap<(Module, Module), String> {
        let mut arrows = BTreeMap::new();
        for (at, path) in &self.names.paths {
            let from = self.file_of(at).map(|(module, _)| module);
            let to = self
                .absolute(at, path)
                .and_then(|path| self.defined_in(&path, 0));
            let Some((from, to)) = from.zip(to) else {
                continue;
            };
            let (a, b) = (&self.folders[from], &self.folders[to]);
            let shared = a.iter().zip(b).take_while(|(a, b)| a == b).count();
            if let (Some(a), Some(b)) = (a.get(..=shared), b.get(..=shared)) {
                let arrow = format!(
                    "{} names {} ({})",
                    from.join("/"),
                    path.join("::"),
                    to.join("/")
                );
                arrows.entry((a.to_vec(), b.to_vec())).or_insert(arrow);
            }
        }
        arrows
    }
}

/// The folders that lie on a circle, each with an arrow of it.
fn circles(arrows: &BTreeMap<(Module, Module), String>) -> Vec<&String> {
    let reaches = |from: &Module, to: &Module| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(folder) = open.pop() {
            if folder == to {
                return true;
            }
            if seen.insert(folder) {
                open.extend(arrows.keys().filter(|(a, _)| a == folder).map(|(_, b)| b));
            }
        }
        false
    };
    let found = arrows.iter().filter(|((a, b), _)| reaches(b, a));
    found.map(|(_, arrow)| arrow).collect()
}

#[test]
fn folders_form_no_circle() {
    let all = Crate::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let arrows = all.arrows();
    assert!(arrows.len() > 60, "only {} arrows were found", arrows.len());
    let found = circles(&arrows);
    assert!(
        found.is_empty(),
        "folders form a circle:\n  {}",
        found
            .iter()
            .map(|arrow| arrow.as_str())
            .collect::<Vec<_>>()
            .join("\n  ")
    );
}

#[test]
fn a_circle_is_found_through_a_re_export() {
    let mut all = Crate::default();
    let files = [
        (vec!["a"], vec!["a"], "mod x; pub use x::Thing;"),
        (
            vec!["a", "x"],
            vec!["a"],
            "pub struct Thing; fn f() { crate::b::y::go() }",
        ),
        (vec!["b"], vec!["b"], "pub mod y;"),
        (
            vec!["b", "y"],
            vec!["b"],
            "use crate::a::Thing; #[cfg(test)] use crate::c::No;",
        ),
    ];
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Module>();
    for (module, folder, text) in files {
        all.folders.insert(owned(module.clone()), owned(folder));
        all.names
            .read(&mut owned(module), text.parse().expect("Rust"));
    }
    let arrows = all.arrows();
    assert_eq!(circles(&arrows).len(), 2, "{arrows:?}");
}
