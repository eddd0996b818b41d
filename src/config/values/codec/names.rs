//! Booleans and names out of a fixed set.

use serde_json::Value;

use super::super::choice::{Choice, bare};
use super::{Codec, Kind, Raw, Reject, items, optional_of, scalar, show_optional};

/// `true` or `false`, in any case.
pub(in crate::config) const fn flag() -> Codec<bool> {
    Codec {
        kind: Kind::Flag,
        parse: |kind, raw| {
            let text = scalar(kind, raw)?;
            match text.to_ascii_lowercase().as_str() {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(kind.wrong(text)),
            }
        },
        show: |value| Value::from(*value),
    }
}

fn choice_of<C: Choice>(kind: &Kind, raw: &Raw) -> Result<C, Reject> {
    let text = scalar(kind, raw)?;
    match C::from_name(text) {
        Some(choice) => Ok(choice),
        None => match C::LATER.iter().find(|later| bare(later) == bare(text)) {
            Some(later) => Err(Reject::NotYet(format!(
                "{later:?} here (it has {})",
                C::NAMES.join(", ")
            ))),
            None => Err(kind.wrong(text)),
        },
    }
}

/// One of a type's names.
pub(in crate::config) const fn choice<C: Choice>() -> Codec<C> {
    Codec {
        kind: Kind::Names {
            now: C::NAMES,
            later: C::LATER,
        },
        parse: choice_of::<C>,
        show: |choice| Value::from(choice.name()),
    }
}

/// One of a type's names, or nothing.
pub(in crate::config) const fn optional_choice<C: Choice>() -> Codec<Option<C>> {
    Codec {
        kind: Kind::Names {
            now: C::NAMES,
            later: C::LATER,
        },
        parse: |kind, raw| optional_of(choice_of::<C>, kind, raw),
        show: |choice| show_optional(|choice: &C| Value::from(choice.name()), choice),
    }
}

/// One of these names, for a setting that no version has had yet; an empty text where `""` is among them.
pub(in crate::config) const fn one_of(names: &'static [&'static str]) -> Codec<&'static str> {
    Codec {
        kind: Kind::Names {
            now: names,
            later: &[],
        },
        parse: |kind, raw| {
            let text = if *raw == Raw::Unset {
                ""
            } else {
                scalar(kind, raw)?
            };
            match kind {
                Kind::Names { now, .. } => {
                    now.iter().find(|name| bare(name) == bare(text)).copied()
                }
                _ => None,
            }
            .ok_or_else(|| kind.wrong(text))
        },
        show: |name| Value::from(*name),
    }
}

/// Columns: at least one, none twice.
pub(in crate::config) const fn distinct<C: Choice + PartialEq>() -> Codec<Vec<C>> {
    Codec {
        kind: Kind::NameList(C::NAMES),
        parse: |kind, raw| {
            let mut chosen: Vec<C> = Vec::new();
            for item in items(kind, raw)? {
                let choice = C::from_name(&item).ok_or_else(|| kind.wrong(&item))?;
                if chosen.contains(&choice) {
                    return Err(Reject::Wrong(format!("{} is named twice", choice.name())));
                }
                chosen.push(choice);
            }
            if chosen.is_empty() {
                return Err(Reject::Wrong(format!(
                    "expected {}, found nothing",
                    kind.expected()
                )));
            }
            Ok(chosen)
        },
        show: |choices| choices.iter().map(|choice| choice.name()).collect(),
    }
}
