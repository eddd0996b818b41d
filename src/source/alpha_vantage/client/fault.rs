//! What can go wrong with a request, and the table of what to do about it. Pure.

use std::time::Duration;

use crate::source::ErrorClass;
use crate::source::bars::{Notice, NoticeKind};

/// How long to keep still after the limit of a second was hit.
const AFTER_BURST: Duration = Duration::from_secs(2);

/// How long to keep still after the limit of a minute was hit.
const AFTER_MINUTE_LIMIT: Duration = Duration::from_secs(60);

/// The longest that a Retry-After is believed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Why a request brought no bars, or not all of them. Texts of the service are in it without the API key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The service said something else.
    #[error("{0}")]
    Notice(Notice),
    /// No connection, or it broke before an answer.
    #[error("{address} cannot be reached ({why}); see AlphaVantage.BaseUrl")]
    Unreachable {
        /// Scheme, host and port.
        address: String,
        /// The cause.
        why: String,
        /// Whether the request may have got there.
        sent: bool,
    },
    /// No answer in time.
    #[error("{address} did not answer within {} s; see AlphaVantage.TimeoutSeconds", .after.as_secs_f64())]
    TimedOut {
        /// Scheme, host and port.
        address: String,
        /// The time-out.
        after: Duration,
    },
    /// The body ended before its end; its good bars were kept.
    #[error("the body is broken ({0}); the bars before the break are published")]
    Broken(String),
    /// The body is nothing that is known.
    #[error("the body is unusable: {0}")]
    Unusable(String),
    /// The body is larger than any real one.
    #[error("the body is larger than {limit} bytes; is AlphaVantage.BaseUrl right?")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The key's requests of the day are used up, so nothing was sent.
    #[error(
        "no request can be sent before {until}: the day's requests are used up (AlphaVantage.RequestsPerDay is {limit}), or the service said so"
    )]
    BudgetUsedUp {
        /// How many a day has.
        limit: u32,
        /// When the next day begins.
        until: String,
    },
    /// The key lost a function in the middle of a run, whose events must not be mixed with another's.
    #[error(
        "{0}; this run has published intraday bars, and daily bars are not mixed with them; start again to publish daily bars"
    )]
    PlanEnded(Notice),
    /// Another HTTP status than success, and no notice that would explain it.
    #[error("HTTP status {status}")]
    Status {
        /// The status code.
        status: u16,
        /// How long the service asks to keep still.
        retry_after: Option<Duration>,
    },
    /// A redirect, which is never followed: the URL has the API key in it.
    #[error(
        "HTTP status {status}, a redirect to {to}, was not followed, because the request carries the API key; set AlphaVantage.BaseUrl to the right address"
    )]
    Redirect {
        /// The status code.
        status: u16,
        /// Scheme, host, port and path of the target.
        to: String,
    },
    /// A body of bars has none, or none of the month that was asked for: what it lacks, and what it has instead.
    #[error("{0}")]
    NoBars(String),
}

impl Fault {
    /// What kind of problem it is, however its words differ.
    pub(in crate::source::alpha_vantage) fn kind(&self) -> String {
        match self {
            Self::Notice(notice) => format!("{:?}", notice.kind),
            Self::Status { status, .. } => status.to_string(),
            other => format!("{:?}", std::mem::discriminant(other)),
        }
    }

    /// Whether the service, or the way to it, fails: a refusal is an answer.
    pub(in crate::source::alpha_vantage) fn is_failure(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Broken(_)
            | Self::Unusable(_)
            | Self::TooLarge { .. }
            | Self::Redirect { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 500..),
            Self::Notice(notice) => matches!(
                notice.kind,
                NoticeKind::Html | NoticeKind::CsvRow | NoticeKind::Unknown
            ),
            Self::BudgetUsedUp { .. } | Self::PlanEnded(_) | Self::NoBars(_) => false,
        }
    }
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Ask again, each time later.
    Backoff,
    /// Ask nothing for this long, then ask again.
    KeepStill(Duration),
    /// Ask nothing before the next day begins for the service.
    NextDay,
    /// Leave it until the next poll.
    GiveUp,
    /// Nothing is wrong; there is just nothing.
    NoData,
    /// It is somebody else who should be asked; a second try would end at the same place.
    Elsewhere,
    /// Ask again without this parameter's value.
    Lower(String),
    /// No more of this symbol.
    DropSymbol,
    /// Stop.
    Stop(ErrorClass),
}

/// What to do about a fault.
pub(crate) fn reaction(fault: &Fault) -> Reaction {
    match fault {
        Fault::Notice(notice) => match &notice.kind {
            NoticeKind::InvalidSymbol => Reaction::DropSymbol,
            NoticeKind::InvalidKey | NoticeKind::DemoKey => Reaction::Stop(ErrorClass::WrongKey),
            NoticeKind::MinuteLimit => Reaction::KeepStill(AFTER_MINUTE_LIMIT),
            NoticeKind::Burst => Reaction::KeepStill(AFTER_BURST),
            NoticeKind::DailyLimit => Reaction::NextDay,
            NoticeKind::Premium | NoticeKind::SampleData | NoticeKind::NotAcceptable => {
                Reaction::Stop(ErrorClass::Stop)
            }
            NoticeKind::PremiumParameter { name } => Reaction::Lower(name.clone()),
            NoticeKind::NoData => Reaction::NoData,
            NoticeKind::CsvRow | NoticeKind::Html | NoticeKind::Quote | NoticeKind::Unknown => {
                Reaction::Backoff
            }
        },
        Fault::Unreachable { .. }
        | Fault::TimedOut { .. }
        | Fault::Broken(_)
        | Fault::Unusable(_) => Reaction::Backoff,
        // A second try would cost as much again, and end no better.
        Fault::TooLarge { .. } => Reaction::GiveUp,
        Fault::BudgetUsedUp { .. } | Fault::PlanEnded(_) => Reaction::Stop(ErrorClass::Stop),
        Fault::Status {
            retry_after: Some(after),
            ..
        } => Reaction::KeepStill((*after).min(MAX_RETRY_AFTER)),
        Fault::Status { status: 429, .. } => Reaction::KeepStill(AFTER_BURST),
        Fault::Status {
            status: 408 | 425 | 500..,
            ..
        } => Reaction::Backoff,
        Fault::Status { .. } => Reaction::Stop(ErrorClass::Stop),
        Fault::Redirect { .. } => Reaction::Elsewhere,
        Fault::NoBars(_) => Reaction::NoData,
    }
}
