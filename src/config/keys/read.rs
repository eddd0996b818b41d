//! Takes each row's value out of the layers, typed, and notes what is wrong and what is in force.

use serde_json::Value;

use super::super::error::Problem;
use super::super::layers::{Layers, Origin};
use super::super::table::{Key, join};
use super::super::values::{Codec, Raw, Reject};

/// A setting that is in force, fit to be shown: a secret is masked.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its row in the table.
    pub key: &'static Key,
    /// Its value; `null` is unset.
    pub value: Value,
    /// Where the value comes from.
    pub origin: Origin,
}

pub(crate) struct Reader<'a> {
    layers: &'a Layers,
    pub(in crate::config) problems: Vec<Problem>,
    pub(in crate::config) entries: Vec<Entry>,
}

impl<'a> Reader<'a> {
    pub(in crate::config) fn new(layers: &'a Layers) -> Self {
        Self {
            layers,
            problems: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// The value of a row that this version has.
    pub(in crate::config) fn take<T>(
        &mut self,
        section: &'static str,
        name: &'static str,
        codec: Codec<T>,
    ) -> Option<T> {
        let key = self.layers.key(section, name)?;
        let (raw, origin) = match self.layers.value(section, name) {
            Some(assigned) => (assigned.raw.clone(), assigned.origin.clone()),
            None => (default_of(key), Origin::Default),
        };
        match (codec.parse)(&codec.kind, &raw) {
            Ok(value) => {
                self.entries.push(Entry {
                    key,
                    value: (codec.show)(&value),
                    origin,
                });
                Some(value)
            }
            Err(reject) => {
                let spelled = match raw {
                    Raw::SecretFile(_) => format!("{name}File"),
                    _ => name.to_owned(),
                };
                self.reject(section, &spelled, origin, reject);
                None
            }
        }
    }

    /// Notes a row that this version does not have and that was set to something else than its default.
    pub(in crate::config) fn refuse<T>(
        &mut self,
        section: &'static str,
        name: &'static str,
        codec: Codec<T>,
    ) {
        let Some((key, assigned)) = self
            .layers
            .key(section, name)
            .zip(self.layers.value(section, name))
        else {
            return;
        };
        let shown = |raw: &Raw| (codec.parse)(&codec.kind, raw).map(|value| (codec.show)(&value));
        let reject = if key.is_secret() {
            if assigned.raw == Raw::Unset {
                return;
            }
            Reject::NotYet("this setting".to_owned())
        } else {
            match (shown(&assigned.raw), shown(&default_of(key))) {
                (Ok(value), Ok(default)) if value == default => return,
                (Ok(_), _) => Reject::NotYet("this setting".to_owned()),
                (Err(reject), _) => reject,
            }
        };
        self.reject(section, name, assigned.origin.clone(), reject);
    }

    fn reject(&mut self, section: &str, name: &str, origin: Origin, reject: Reject) {
        let key = join(section, name);
        self.problems.push(match reject {
            Reject::Wrong(reason) => Problem::Invalid {
                key,
                origin,
                reason,
            },
            Reject::NotYet(what) => Problem::NotYet { key, origin, what },
        });
    }
}

fn default_of(key: &Key) -> Raw {
    if key.default.is_empty() {
        Raw::Unset
    } else {
        Raw::Scalar(key.default.to_owned())
    }
}
