//! Results on standard output. A reader that went away (`| head`) ends the output quietly.

use std::io::{self, ErrorKind, Write};

/// Writes a result to standard output.
///
/// # Errors
/// When it cannot be written for another reason than that the reader closed the pipe.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Writes a line to standard output; false when nobody reads it any more.
pub(super) fn goes_on(line: &str) -> bool {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(line.as_bytes())
        .and_then(|()| stdout.write_all(b"\n"))
        .and_then(|()| stdout.flush())
        .is_ok()
}

/// Tells on standard error why nothing is done, before there is a log.
pub(super) fn complain(text: &str) {
    // Nobody is left to be told when this fails.
    let _ = writeln!(io::stderr().lock(), "stockflow: {text}");
}
