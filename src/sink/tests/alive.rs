//! A proof of a directory into which a sink writes meanwhile.

use std::io;
use std::path::Path;
use std::sync::Mutex;

use super::super::{Compression, Publish, Settings, Sink};
use super::closing::{names, tend};
use super::desk::{append_for_good, now, open};
use super::settings;
use crate::durable::{Disk, Fs, FsFile};
use crate::verify::{Outcome, Report, examine_on};

/// The disk; something happens whenever a file of that name is opened, or a directory of that name listed.
struct Meanwhile<F> {
    at: &'static str,
    happens: Mutex<F>,
}

impl<F: FnMut() + Send> Meanwhile<F> {
    fn pass(&self, path: &Path) -> &Disk {
        if path.ends_with(self.at) {
            (self.happens.lock().unwrap())();
        }
        &Disk
    }
}

impl<F: FnMut() + Send> Fs for Meanwhile<F> {
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        unreachable!()
    }
    fn create_new(&self, _: &Path) -> io::Result<Box<dyn FsFile>> {
        unreachable!()
    }
    fn create(&self, _: &Path) -> io::Result<Box<dyn FsFile>> {
        unreachable!()
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.pass(path).open(path)
    }
    fn open_to_append(&self, _: &Path) -> io::Result<Box<dyn FsFile>> {
        unreachable!()
    }
    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.pass(path).open_to_read(path)
    }
    fn len(&self, path: &Path) -> io::Result<Option<u64>> {
        Disk.len(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.pass(path).list(path)
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        unreachable!()
    }
    fn rename_new(&self, _: &Path, _: &Path) -> io::Result<()> {
        unreachable!()
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        unreachable!()
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        unreachable!()
    }
    fn lock(&self, _: &Path) -> io::Result<Option<Box<dyn Send>>> {
        unreachable!()
    }
}

/// Proves a directory, of two days so far, in which the files are closed and a new one is begun at every `at`, `times` times.
fn prove(
    settings: &Settings,
    at: &'static str,
    times: i64,
    spoil: impl FnOnce(&mut Sink),
) -> Report {
    let mut sink = open(settings.clone()).unwrap();
    sink.start_at(0, 0).unwrap();
    append_for_good(&mut sink, 0, 1);
    append_for_good(&mut sink, 1, 2);
    spoil(&mut sink);
    let mut offset = 2;
    let happens = move || {
        if offset < 2 + times {
            sink.end_files().unwrap();
            tend(&mut sink, now());
            append_for_good(&mut sink, offset, 3);
            offset += 1;
        }
    };
    let fs = Meanwhile {
        at,
        happens: Mutex::new(happens),
    };
    Report::new(&examine_on(&fs, std::slice::from_ref(&settings.directory)).unwrap())
}

#[test]
fn a_sink_that_goes_on_is_not_accused() {
    for (compression, publish) in [
        (Compression::None, Publish::Append),
        (Compression::None, Publish::Atomic),
        (Compression::Gzip, Publish::Append),
        (Compression::Gzip, Publish::Atomic),
    ] {
        for at in ["index", "out"] {
            for times in [1, 100] {
                let directory = tempfile::tempdir().unwrap();
                let settings = Settings {
                    compression,
                    publish,
                    ..settings(&directory.path().join("out"))
                };
                let report = prove(&settings, at, times, |_| ());
                let text = format!(
                    "{compression:?} {publish:?} {at} {times}:\n{}",
                    report.text()
                );
                let is_read = at == "out" || times == 1;
                let moves = compression != Compression::None || publish == Publish::Atomic;
                if is_read || !moves {
                    assert_eq!(report.verdict, Outcome::Proven, "{text}");
                    continue;
                }
                // Each time that it was read, a file of it was gone.
                assert_eq!(report.verdict, Outcome::Undecided, "{text}");
                let doubts = report.json()["doubts"].as_array().unwrap().clone();
                assert_eq!(doubts.len(), 1, "{text}");
                assert!(text.contains("it changes while it is read"), "{text}");
            }
        }
    }
}

#[test]
fn what_is_missing_is_missing_beside_a_sink_that_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings {
        compression: Compression::Gzip,
        ..settings(directory.path())
    };
    let report = prove(&settings, "index", 100, |sink| {
        sink.end_files().unwrap();
        tend(sink, now());
        let closed = names(directory.path());
        let closed = closed.iter().find(|name| name.ends_with(".gz")).unwrap();
        std::fs::remove_file(directory.path().join(closed)).unwrap();
    });
    assert_eq!(report.verdict, Outcome::Broken, "{}", report.text());
    let findings = report.json()["findings"].as_array().unwrap().clone();
    assert_eq!(findings.len(), 1, "{}", report.text());
}
