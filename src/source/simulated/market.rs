//! A random walk per symbol, in ticks of a cent. Pure: the same seed and symbols give the same events for ever, on every
//! machine (PCG-64, and integers only).
//!
//! Half of the trades are at the price before; the others move it by some ticks, the dearer the stock the more. A market
//! with session hours trades in those of New York alone: its clock goes from the close to the next opening, where prices
//! begin with a gap.

use chrono::{DateTime, Utc};
use compact_str::CompactString;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng as _, SeedableRng as _};
use uuid::{Builder, Variant, Version};

use super::super::market_hours::US;
use crate::event::{Side, TradeEvent, TradeId};

/// The cheapest and the dearest price, in cents; the walk turns there.
const PRICES: std::ops::RangeInclusive<i64> = 100..=500_000;

/// The largest step of a price, in hundredths of a percent.
const MAX_STEP_BASIS_POINTS: u64 = 8;

/// The part of a price by which it may change from a close to the next opening: 2 %.
const MAX_GAP_DIVISOR: u64 = 50;

#[derive(Clone, Debug)]
struct Walk {
    symbol: CompactString,
    cents: i64,
}

/// The generator.
#[derive(Clone, Debug)]
pub(super) struct Market {
    random: Pcg64Mcg,
    walks: Vec<Walk>,
    run: u64,
    sequence: u64,
    clock_micros: i64,
    mean_gap_micros: u64,
    /// When the session ends, in microseconds; `None` trades around the clock.
    close_micros: Option<i64>,
}

impl Market {
    /// `mean_gap_micros` is the mean time between two events, in microseconds; `symbols` must not be empty.
    pub(super) fn new(
        seed: u64,
        symbols: &[CompactString],
        start: DateTime<Utc>,
        mean_gap_micros: u64,
        session_hours: bool,
    ) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let walks = symbols
            .iter()
            .map(|symbol| Walk {
                symbol: symbol.clone(),
                cents: 2_000 + below(&mut random, 48_000).cast_signed(),
            })
            .collect();
        let names = symbols.iter().flat_map(|symbol| symbol.bytes().chain([0]));
        // FNV-1a over the names: another set of symbols is another run.
        let names = names.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self {
            random,
            walks,
            run: mix(seed ^ mix(names)),
            sequence: 0,
            clock_micros: start.timestamp_micros(),
            mean_gap_micros,
            // The first event finds the session that it is in.
            close_micros: session_hours.then_some(i64::MIN),
        }
    }

    /// Goes on to the session that is open, or else to the next opening.
    fn open_session(&mut self) {
        let Some(now) = DateTime::from_timestamp_micros(self.clock_micros) else {
            return;
        };
        let session = US.session_after(now, false);
        let open = session.open.timestamp_micros();
        self.close_micros = Some(session.close.timestamp_micros());
        if open <= self.clock_micros {
            return;
        }
        self.clock_micros = open;
        for walk in &mut self.walks {
            let reach = (walk.cents.unsigned_abs() / MAX_GAP_DIVISOR).max(1);
            let gap = below(&mut self.random, 2 * reach + 1).cast_signed() - reach.cast_signed();
            walk.cents = (walk.cents + gap).clamp(*PRICES.start(), *PRICES.end());
        }
    }
}

impl Iterator for Market {
    type Item = TradeEvent;

    /// The next trade; the market never ends, but where it has no symbols.
    fn next(&mut self) -> Option<TradeEvent> {
        let gap = below(&mut self.random, 2 * self.mean_gap_micros + 1);
        self.clock_micros = self.clock_micros.saturating_add(gap.cast_signed());
        if self
            .close_micros
            .is_some_and(|close| self.clock_micros >= close)
        {
            self.open_session();
        }
        let places = u64::try_from(self.walks.len()).unwrap_or(u64::MAX);
        let place = usize::try_from(below(&mut self.random, places)).ok()?;
        let walk = self.walks.get_mut(place)?;
        let dice = self.random.next_u64();

        let reach = (walk.cents.unsigned_abs() * MAX_STEP_BASIS_POINTS / 10_000).max(1);
        let quiet = dice >> 63 == 0;
        let step = ((dice & 0xffff) % (2 * reach + 1)).cast_signed() - reach.cast_signed();
        let step = if quiet { 0 } else { step };
        let cents = walk.cents + step;
        walk.cents = if PRICES.contains(&cents) {
            cents
        } else {
            walk.cents - step
        };

        let lots = (dice >> 16 & 0xff) % 12;
        let odd = (dice >> 24 & 0xff) % 99 + 1;
        let quantity = if lots == 0 { odd } else { lots * 100 };

        self.sequence += 1;
        // Whole milliseconds, so that the time's text needs no allocation.
        let instant = DateTime::from_timestamp_millis(self.clock_micros / 1_000)?;
        Some(TradeEvent {
            trade_id: TradeId::Uuid(id(self.run, self.sequence)),
            symbol: walk.symbol.clone(),
            side: if step > 0 || (step == 0 && dice >> 62 & 1 == 0) {
                Side::Buy
            } else {
                Side::Sell
            },
            quantity,
            price: price(walk.cents.unsigned_abs()),
            timestamp: instant.into(),
        })
    }
}

/// A UUID of version 8 (RFC 9562: own layout): the run, mixed, and the event's place in it, mixed. Different places
/// never meet, because the mix is one-to-one and only two bits of it are covered by the variant; those are kept.
fn id(run: u64, sequence: u64) -> uuid::Uuid {
    let place = mix(sequence);
    let mut bytes = [0; 16];
    let (high, low) = bytes.split_at_mut(8);
    // The place's two topmost bits give way to the variant: the run's half keeps them.
    high.copy_from_slice(&(run & !3 | place >> 62).to_be_bytes());
    low.copy_from_slice(&place.to_be_bytes());
    Builder::from_bytes(bytes)
        .with_variant(Variant::RFC4122)
        .with_version(Version::Custom)
        .into_uuid()
}

/// A one-to-one mix of 64 bits (the finalizer of SplitMix64).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// A number below `bound`, by multiplication: 0 when there is none.
fn below(random: &mut Pcg64Mcg, bound: u64) -> u64 {
    let product = u128::from(random.next_u64()) * u128::from(bound);
    u64::try_from(product >> 64).unwrap_or(0)
}

/// Cents as a decimal without trailing zeros, made in place: from the back, so that it becomes a text in one piece.
fn price(cents: u64) -> CompactString {
    let mut text = [b'0'; 24];
    let (mut at, mut rest) = (text.len(), cents);
    let mut put = |byte: u64, at: &mut usize| {
        *at = at.saturating_sub(1);
        if let (Some(place), Ok(byte)) = (text.get_mut(*at), u8::try_from(byte)) {
            *place = byte;
        }
    };
    let digit = |number: u64| u64::from(b'0') + number % 10;
    if !cents.is_multiple_of(10) {
        put(digit(cents), &mut at);
    }
    if !cents.is_multiple_of(100) {
        put(digit(cents / 10), &mut at);
        put(u64::from(b'.'), &mut at);
    }
    rest /= 100;
    loop {
        put(digit(rest), &mut at);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let digits = text.get(at..).unwrap_or_default();
    std::str::from_utf8(digits).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::event::{price::normalise, symbol::is_symbol};

    fn market(seed: u64, symbols: usize) -> Market {
        Market::new(
            seed,
            &super::super::tickers(symbols),
            "2025-01-02T14:30:00Z".parse().expect("a time"),
            1_000,
            false,
        )
    }

    #[test]
    fn session_hours_are_kept_and_prices_open_with_a_gap() {
        let start = "2025-01-02T14:30:00Z".parse().expect("a time");
        // An event every ten minutes: some 40 a day.
        let market = Market::new(7, &super::super::tickers(1), start, 600_000_000, true);
        let mut days = HashSet::new();
        for event in market.take(2_000) {
            let at = event.timestamp.instant;
            assert!(US.is_open(at, false), "{at}");
            days.insert(at.date_naive());
        }
        assert!(days.len() > 40, "{}", days.len());
    }

    #[test]
    fn the_first_events_of_a_seed_are_frozen() {
        let mut json = Vec::new();
        for event in market(7, 3).take(2) {
            event.write_json(&mut json);
            json.push(b'\n');
        }
        let id = |sequence| id(market(7, 3).run, sequence).to_string();
        let text = String::from_utf8(json).expect("UTF-8");
        assert!(text.contains(&id(1)) && text.contains(&id(2)), "{text}");
        assert_eq!(
            market(7, 3).take(1000).collect::<Vec<_>>(),
            market(7, 3).take(1000).collect::<Vec<_>>()
        );
    }

    #[test]
    fn runs_and_places_have_identities_of_their_own() {
        let mut seen = HashSet::new();
        for (seed, symbols) in [(1, 3), (2, 3), (1, 4)] {
            for event in market(seed, symbols).take(50_000) {
                assert!(seen.insert(event.trade_id), "{seed} {symbols}");
            }
        }
    }

    #[test]
    fn cents_as_decimals() {
        for (cents, text) in [
            (0, "0"),
            (5, "0.05"),
            (50, "0.5"),
            (100, "1"),
            (12_340, "123.4"),
            (500_000, "5000"),
            (u64::MAX, "184467440737095516.15"),
        ] {
            assert_eq!(price(cents), text);
        }
    }

    proptest! {
        #[test]
        fn trades_are_good_ones(seed: u64, symbols in 1_usize..40) {
            let mut last = None;
            for event in market(seed, symbols).take(100) {
                prop_assert!(is_symbol(event.symbol.as_bytes()));
                prop_assert!((1..=1100).contains(&event.quantity));
                prop_assert_eq!(normalise(&event.price), Some(event.price.clone()));
                prop_assert!(last <= Some(event.timestamp.instant));
                last = Some(event.timestamp.instant);
                let mut json = Vec::new();
                event.write_json(&mut json);
                prop_assert_eq!(TradeEvent::from_json(&json, 1), Ok(event));
            }
        }

        #[test]
        fn prices_are_cents(cents in 0_u64..10_000_000) {
            let text = format!("{}.{:02}", cents / 100, cents % 100);
            prop_assert_eq!(Some(price(cents)), normalise(&text));
        }
    }
}
