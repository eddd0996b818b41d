//! Market data: Alpha Vantage, replayed files, a simulated market.
