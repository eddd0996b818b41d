//! Reads an Alpha Vantage JSON document in one pass, keeping whatever came before the place where it breaks.
//!
//! Bars and their fields are taken as raw text first, so that one bad bar costs no other, and so that numbers stay
//! digits. Only broken syntax ends the pass; what was read until there stands.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::bar::BarTexts;

/// The longest "Meta Data" and the longest notice worth reading, in bytes; real ones have some hundred.
const MAX_SMALL_VALUE_BYTES: usize = 16 * 1024;

/// What a document held.
#[derive(Debug, Default)]
pub(super) struct Document<'a> {
    /// "Meta Data", by the names without their numbers.
    pub(super) meta: Option<BTreeMap<String, String>>,
    /// The name of the series, `Time Series (1min)` say.
    pub(super) series: Option<String>,
    /// Each bar's start and its object, both as they stand in the body.
    pub(super) bars: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// The key and the words of a notice.
    pub(super) notice: Option<(String, String)>,
    /// A quote's object, or rows of quotes; `Some(false)` when it is empty.
    pub(super) quote: Option<bool>,
    /// How many keys the document has.
    pub(super) keys: usize,
    /// Why the pass ended early.
    pub(super) broken: Option<String>,
}

impl<'a> Document<'a> {
    /// Reads as much of the text as is sound.
    pub(super) fn read(text: &'a str) -> Self {
        let mut document = Self::default();
        let mut reader = serde_json::Deserializer::from_str(text);
        let outcome = (Top(&mut document))
            .deserialize(&mut reader)
            .and_then(|()| reader.end());
        document.broken = outcome.err().map(|error| error.to_string());
        document
    }
}

/// The fields of a bar; `None` when it is no object.
pub(super) fn bar_texts(bar: &RawValue) -> Option<BarTexts<'_>> {
    let mut texts = BarTexts::default();
    let mut reader = serde_json::Deserializer::from_str(bar.get());
    Fields(&mut texts).deserialize(&mut reader).ok()?;
    Some(texts)
}

/// A key without the number before it: `5. volume` is `volume`.
fn name(key: &str) -> &str {
    match key.split_once(". ") {
        Some((number, name)) if number.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => key,
    }
}

/// A string that borrows where it can.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The text of a string, or of any other value as it stands.
fn text(raw: &RawValue) -> Cow<'_, str> {
    serde_json::from_str(raw.get()).map_or(Cow::Borrowed(raw.get()), |Text(text)| text)
}

struct Top<'d, 'a>(&'d mut Document<'a>);
struct Series<'d, 'a>(&'d mut Vec<(Cow<'a, str>, &'a RawValue)>);
struct Fields<'d, 'a>(&'d mut BarTexts<'a>);

impl<'a> DeserializeSeed<'a> for Top<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Top<'_, 'a> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        let document = self.0;
        while let Some(Text(key)) = map.next_key::<Text<'a>>()? {
            document.keys += 1;
            match key.as_ref() {
                "Meta Data" => document.meta = meta(map.next_value()?),
                "Error Message" | "Note" | "Information" | "detail" | "message" => {
                    let raw: &RawValue = map.next_value()?;
                    let words = text(raw);
                    if words.len() <= MAX_SMALL_VALUE_BYTES
                        && !(key == "message" && words == "success")
                    {
                        document.notice = Some((key.into_owned(), words.into_owned()));
                    }
                }
                "data" => {
                    map.next_value::<IgnoredAny>()?;
                    document.quote = Some(true);
                }
                _ if key.starts_with("Global Quote") => {
                    let raw: &RawValue = map.next_value()?;
                    document.quote = Some(raw.get().contains(':'));
                }
                _ if key.starts_with("Time Series") => {
                    document.series = Some(key.into_owned());
                    map.next_value_seed(Series(&mut document.bars))?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

fn meta(raw: &RawValue) -> Option<BTreeMap<String, String>> {
    if raw.get().len() > MAX_SMALL_VALUE_BYTES {
        return None;
    }
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get()).ok()?;
    Some(
        fields
            .into_iter()
            .map(|(key, raw)| (name(&key).to_owned(), text(raw).into_owned()))
            .collect(),
    )
}

impl<'a> DeserializeSeed<'a> for Series<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Series<'_, 'a> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object of bars")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(Text(start)) = map.next_key::<Text<'a>>()? {
            let bar = map.next_value()?;
            self.0.push((start, bar));
        }
        Ok(())
    }
}

impl<'a> DeserializeSeed<'a> for Fields<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Fields<'_, 'a> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a bar")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(Text(key)) = map.next_key::<Text<'a>>()? {
            let raw: &'a RawValue = map.next_value()?;
            match name(&key) {
                "open" => self.0.open = Some(text(raw)),
                "close" => self.0.close = Some(text(raw)),
                "volume" => self.0.volume = Some(text(raw)),
                _ => {}
            }
        }
        Ok(())
    }
}
