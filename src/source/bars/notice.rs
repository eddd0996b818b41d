//! What the service says instead of data, told apart by its wording: it sends every notice with status 200.
//!
//! The texts name several limits at once ("1 request per second … 25 requests per day … premium"), so the order in
//! which the rules are tried is part of the rules. Texts: <https://www.alphavantage.co/support/#support> and answers.

use std::fmt;

/// What a body without bars says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// The symbol is not known, or a parameter is wrong.
    InvalidSymbol,
    /// The API key is missing or malformed.
    InvalidKey,
    /// The demo key was used for more than the documented examples.
    DemoKey,
    /// More requests in a minute than the plan has.
    MinuteLimit,
    /// More requests in a second than the plan has.
    Burst,
    /// The day's requests are used up. A wrong key can get this answer too.
    DailyLimit,
    /// The function needs a paid plan.
    Premium,
    /// One parameter's value needs a paid plan.
    PremiumParameter {
        /// The parameter, `outputsize` say.
        name: String,
    },
    /// `{}`, or a quote without fields: nothing is known of the symbol.
    NoData,
    /// The Accept header was refused (406): a fault of this program.
    NotAcceptable,
    /// A notice written as a CSV row, one letter a column; which one cannot be told.
    CsvRow,
    /// A page for people, from a proxy or an overloaded server.
    Html,
    /// Rows that are artificial, sent to plans without the function.
    SampleData,
    /// A quote, where bars were asked for.
    Quote,
    /// A text that is none of these.
    Unknown,
}

/// A notice, and its text without the API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which notice it is.
    pub kind: NoticeKind,
    /// The service's words: on one line, shortened, without the key. Empty when it had none.
    pub text: String,
}

impl Notice {
    /// A notice that has no words.
    pub(crate) const fn wordless(kind: NoticeKind) -> Self {
        Self {
            kind,
            text: String::new(),
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match &self.kind {
            NoticeKind::InvalidSymbol => {
                "the symbol is unknown or a parameter is wrong; see AlphaVantage.Symbols"
            }
            NoticeKind::InvalidKey => {
                "the API key is invalid or missing; set AlphaVantage.ApiKey to one from https://www.alphavantage.co/support/#api-key"
            }
            NoticeKind::DemoKey => {
                "the demo key serves only the documented examples; set AlphaVantage.ApiKey to one from https://www.alphavantage.co/support/#api-key"
            }
            NoticeKind::MinuteLimit => "more requests in a minute than the plan allows",
            NoticeKind::Burst => {
                "more requests in a second than the plan allows; see AlphaVantage.RequestsPerSecond"
            }
            NoticeKind::DailyLimit => {
                "the day's requests are used up (a wrong API key can get this answer too)"
            }
            NoticeKind::Premium => "the function needs a paid plan; see AlphaVantage.Function",
            NoticeKind::PremiumParameter { name } => {
                return write!(
                    out,
                    "the value of the parameter {name} needs a paid plan ({:?})",
                    self.text
                );
            }
            NoticeKind::NoData => "the service has no data for this symbol",
            NoticeKind::NotAcceptable => "the service refused the Accept header",
            NoticeKind::CsvRow => {
                "the service sent a notice as a row of CSV; its reason is not known"
            }
            NoticeKind::Html => "a page of HTML instead of data",
            NoticeKind::SampleData => {
                "the rows are artificial: the plan does not have this function"
            }
            NoticeKind::Quote => "a quote where bars were expected",
            NoticeKind::Unknown => "the service sent a notice instead of data",
        };
        out.write_str(meaning)?;
        if self.text.is_empty() {
            Ok(())
        } else {
            write!(out, " ({:?})", self.text)
        }
    }
}

/// Tells a notice by the key it stands under and its words.
pub(crate) fn classify(key: &str, text: &str) -> NoticeKind {
    let text = text.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
    if key == "detail" {
        return if says(&["accept header"]) {
            NoticeKind::NotAcceptable
        } else {
            NoticeKind::Unknown
        };
    }
    if says(&["artificial and for illustration", "sample data schema"]) {
        return NoticeKind::SampleData;
    }
    if says(&["demo purposes"]) || (says(&["demo"]) && says(&["claim your free api key"])) {
        return NoticeKind::DemoKey;
    }
    if says(&["apikey", "api key"])
        && says(&[
            "invalid or missing",
            "key is invalid",
            "key is missing",
            "invalid api key",
        ])
    {
        return NoticeKind::InvalidKey;
    }
    if says(&["parameter value is a premium", "parameter is a premium"]) {
        return NoticeKind::PremiumParameter {
            name: parameter(&text),
        };
    }
    if says(&["is a premium"]) {
        return NoticeKind::Premium;
    }
    if key == "Error Message" {
        return if says(&["invalid"]) {
            NoticeKind::InvalidSymbol
        } else {
            NoticeKind::Unknown
        };
    }
    // The narrowest limit first: the texts of the narrow ones advertise the wide ones too.
    if says(&["per second", "burst", "spreading out"]) {
        NoticeKind::Burst
    } else if says(&["per minute"]) {
        NoticeKind::MinuteLimit
    } else if says(&["per day", "daily"]) {
        NoticeKind::DailyLimit
    } else if says(&["premium"]) {
        NoticeKind::Premium
    } else {
        NoticeKind::Unknown
    }
}

/// The parameter that a text speaks of: the `name` of its first `name=value`.
fn parameter(text: &str) -> String {
    text.split_whitespace()
        .find_map(|word| word.split_once('='))
        .map(|(name, _)| name)
        .filter(|name| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        })
        .unwrap_or("unnamed")
        .to_owned()
}
