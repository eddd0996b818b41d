//! Arguments, one file a subcommand; no logic.
