//! CSV files that hold every record of a topic exactly once.
