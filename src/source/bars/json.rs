//! Reads an Alpha Vantage JSON document in one pass, keeping whatever came before the place where it breaks.
//!
//! Bars and their fields are taken as raw text first, so that one bad bar costs no other, and so that numbers stay
//! digits. Only broken syntax ends the pass; what was read until there stands.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::bar::BarTexts;

/// The longest "Meta Data" and the longest notice worth reading, in bytes; real ones have some hundred.
const MAX_SMALL_VALUE_BYTES: usize = 16 * 1024;

/// The most bars and the most quotes of a body: ten times what the longest real ones have (a month of minutes, 100
/// quotes), so that a body made of nothing but the beginnings of bars cannot take many times its size.
pub(in crate::source) const MAX_BARS: usize = 250_000;
const MAX_QUOTES: usize = 1_000;

/// The bytes as text: what is no UTF-8 becomes question marks where it stands, so that it costs only its own bar.
pub(in crate::source) fn text_of(bytes: &mut [u8]) -> &str {
    let mut from = 0;
    while let Some(rest) = bytes.get_mut(from..)
        && let Err(error) = std::str::from_utf8(rest)
    {
        let begin = error.valid_up_to();
        let end = error
            .error_len()
            .map_or(rest.len(), |length| begin + length);
        rest.get_mut(begin..end).unwrap_or_default().fill(b'?');
        from += end;
    }
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// What a document held.
#[derive(Debug, Default)]
pub(in crate::source) struct Document<'a> {
    /// "Meta Data", by the names without their numbers.
    pub(in crate::source) meta: Option<BTreeMap<String, String>>,
    /// The name of the series, `Time Series (1min)` say.
    pub(in crate::source) series: Option<String>,
    /// The name of a series of bars that are neither of minutes nor of days, `Weekly Time Series` say.
    pub(in crate::source) other_series: Option<String>,
    /// Each bar's start and its object, both as they stand in the body.
    pub(in crate::source) bars: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// The key and the words of a notice.
    pub(in crate::source) notice: Option<(String, String)>,
    /// A quote's object.
    pub(in crate::source) quote: Option<&'a RawValue>,
    /// Rows of bulk quotes.
    pub(in crate::source) rows: Option<Vec<&'a RawValue>>,
    /// A key says that the data come late.
    pub(in crate::source) delayed: bool,
    /// How many keys the document has.
    pub(in crate::source) keys: usize,
    /// Why the pass ended early.
    pub(in crate::source) broken: Option<String>,
}

impl<'a> Document<'a> {
    /// Reads as much of the text as is sound.
    pub(in crate::source) fn read(text: &'a str) -> Self {
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
pub(in crate::source) fn bar_texts(bar: &RawValue) -> Option<BarTexts<'_>> {
    let mut texts = BarTexts::default();
    let mut reader = serde_json::Deserializer::from_str(bar.get());
    Fields(&mut texts).deserialize(&mut reader).ok()?;
    Some(texts)
}

/// The fields of a quote by their names, as texts; `None` when it is no object.
pub(in crate::source) fn fields(raw: &RawValue) -> Option<BTreeMap<String, String>> {
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
struct Rows<'d, 'a>(&'d mut Vec<&'a RawValue>);
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
            document.delayed |= key.to_ascii_uppercase().contains("DELAYED BY");
            match key.as_ref() {
                _ if key.starts_with("Meta Data") => document.meta = fields(map.next_value()?),
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
                    let rows = document.rows.insert(Vec::new());
                    map.next_value_seed(Rows(rows))?;
                }
                _ if key.starts_with("Global Quote") => document.quote = Some(map.next_value()?),
                _ if key.starts_with("Time Series") => {
                    document.series = Some(key.into_owned());
                    map.next_value_seed(Series(&mut document.bars))?;
                }
                _ => {
                    if key.contains("Time Series") {
                        document.other_series = Some(key.into_owned());
                    }
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
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
            if self.0.len() >= MAX_BARS {
                return Err(serde::de::Error::custom("more bars than a body has"));
            }
            self.0.push((start, bar));
        }
        Ok(())
    }
}

impl<'a> DeserializeSeed<'a> for Rows<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'a> Visitor<'a> for Rows<'_, 'a> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an array of quotes")
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut rows: S) -> Result<(), S::Error> {
        while let Some(row) = rows.next_element()? {
            if self.0.len() >= MAX_QUOTES {
                return Err(serde::de::Error::custom("more quotes than a body has"));
            }
            self.0.push(row);
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
