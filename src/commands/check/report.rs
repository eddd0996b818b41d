//! What all checks found, as text for people or as one JSON object.

use serde_json::{Map, Value, json};

use crate::pipeline::Format;
use crate::source::alpha_vantage::Outlook;

/// The check that says what is left of the key's budget.
pub(super) const BUDGET: &str = "API budget";

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok,
    Failed,
    /// It could not be tried, and why is said.
    Skipped,
    /// Nothing was configured that could be tried.
    NotSetUp,
}

/// One check.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    check: &'static str,
    outcome: Outcome,
    detail: String,
}

/// What all checks found.
#[derive(Debug, Default)]
pub struct CheckReport {
    findings: Vec<Finding>,
    outlook: Option<Outlook>,
}

impl CheckReport {
    /// Whether no check failed.
    pub fn is_good(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.outcome != Outcome::Failed)
    }

    /// As it goes to standard output, with its line end.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Text => self.text(),
            Format::Json => format!("{}\n", self.json()),
        }
    }

    pub(super) fn add(&mut self, check: &'static str, outcome: Outcome, detail: impl Into<String>) {
        let detail = detail.into();
        self.findings.push(Finding {
            check,
            outcome,
            detail,
        });
    }

    pub(super) fn note<E: std::fmt::Display>(
        &mut self,
        check: &'static str,
        result: Result<String, E>,
    ) -> bool {
        match result {
            Ok(detail) => self.add(check, Outcome::Ok, detail),
            Err(error) => self.add(check, Outcome::Failed, error.to_string()),
        }
        self.findings
            .last()
            .is_some_and(|finding| finding.outcome == Outcome::Ok)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for Finding {
            check,
            outcome,
            detail,
        } in &self.findings
        {
            let outcome = outcome.as_str();
            text.push_str(&format!("{outcome:<10} {check:<17} {detail}\n"));
        }
        let of = |outcome| {
            self.findings
                .iter()
                .filter(|finding| finding.outcome == outcome)
                .count()
        };
        let (failed, skipped) = (of(Outcome::Failed), of(Outcome::Skipped));
        text + &match (failed, skipped) {
            (0, 0) => "all is well\n".to_owned(),
            (failed, skipped) => format!("{failed} failed, {skipped} not tried\n"),
        }
    }

    fn json(&self) -> Value {
        let checks: Vec<Value> = self
            .findings
            .iter()
            .map(|finding| {
                json!({
                    "check": finding.check,
                    "outcome": finding.outcome.as_str(),
                    "detail": finding.detail,
                })
            })
            .collect();
        let mut object = Map::new();
        object.insert("ok".into(), self.is_good().into());
        object.insert("checks".into(), checks.into());
        if let Some(outlook) = &self.outlook {
            object.insert(
                "api_budget".into(),
                json!({
                    "used_today": outlook.day.used,
                    "limit_per_day": outlook.day.limit,
                    "left_today": outlook.left(),
                    "limit_per_minute": outlook.minute,
                    "runs_out_at": outlook.runs_out.map(|at| at.to_rfc3339()),
                    "renewed_at": outlook.renewed.to_rfc3339(),
                    "blocked_until": outlook.blocked_until.map(|at| at.to_rfc3339()),
                    "paid_plan": outlook.paid,
                }),
            );
        }
        Value::Object(object)
    }
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::NotSetUp => "not set up",
        }
    }
}

impl CheckReport {
    /// Says what is left of the key's budget and when it runs out, in place of what was said of it before.
    pub(super) fn tell_budget(&mut self, outlook: Outlook) {
        self.findings.retain(|finding| finding.check != BUDGET);
        let blocked = outlook.blocked_until.map(|until| {
            format!(
                "the service said that it will not answer this key before {} ({} requests were counted here today)",
                until.to_rfc3339(),
                outlook.day.used
            )
        });
        let day = match (outlook.left(), outlook.day.limit) {
            _ if blocked.is_some() => blocked.unwrap_or_default(),
            (Some(left), Some(limit)) => {
                let end = match outlook.runs_out {
                    Some(at) if left > 0 => format!(
                        "polled as configured it runs out at {}; polls are spread out to make it last",
                        at.to_rfc3339()
                    ),
                    Some(_) => "it is used up".to_owned(),
                    None => "it lasts until then as configured".to_owned(),
                };
                format!(
                    "{left} of {limit} requests are left today, new ones come at {}; {end}",
                    outlook.renewed.to_rfc3339()
                )
            }
            _ => format!(
                "{} requests were used today, there is no limit a day",
                outlook.day.used
            ),
        };
        let minute = match outlook.minute {
            Some(minute) => format!("{minute} a minute"),
            None => "no limit a minute".to_owned(),
        };
        let plan = match (outlook.paid, outlook.no_intraday_since) {
            (true, _) => "; the key has a paid plan",
            (false, Some(_)) => "; the key has no intraday data",
            (false, None) => "",
        };
        let outcome = match outlook.left() {
            Some(0) => Outcome::Skipped,
            _ => Outcome::Ok,
        };
        self.add(BUDGET, outcome, format!("{day}; {minute}{plan}"));
        self.outlook = Some(outlook);
    }
}
