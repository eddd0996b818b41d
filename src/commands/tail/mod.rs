//! `tail`: what is at the end of the topic, and what comes; or dead letters, from their files and their topic.
//!
//! Reads outside of any group and commits nothing. With a count it shows what is there at the start and ends, unless it was
//! told to follow.

mod beyond;
mod files;
mod show;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque, btree_map},
    ops::ControlFlow,
    path::Path,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, NaiveDate};

use self::{
    beyond::beyond,
    files::LetterFiles,
    show::{Letter, Shown, Style},
};
use super::options::{TailFrom, TailOptions};
use crate::pipeline::consume::dead_letter_topic;
use crate::pipeline::{
    Format, NOTE, OFFSET, PARTITION, PipelineError, REASON, Reachability, Stop, TOPIC, settings,
};
use crate::{
    config::Config,
    consumer::{self, Bound, Chunk, ConsumeError, Isolation, Reader},
    wire::{
        cluster::Cluster,
        records::{Entry, Record, Scratch, TooLarge},
    },
};

/// How many are shown when nothing else is asked for.
const LAST: u64 = 10;

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(300);

/// Where lines go, and when they are enough.
struct Printer<'a> {
    style: Style,
    /// How many more are shown; `None` is no limit.
    left: Option<u64>,
    /// The only partition that is shown.
    partition: Option<i32>,
    /// Whether somebody still reads the lines.
    read: bool,
    /// Takes lines; false when nobody reads them any more.
    print: &'a dyn Fn(&str) -> bool,
}

impl Printer<'_> {
    /// Whether its partition was asked for.
    fn wants(&self, shown: &Shown) -> bool {
        self.partition
            .is_none_or(|partition| partition == shown.partition)
    }

    /// Whether there is room for more.
    fn wants_more(&self) -> bool {
        self.left != Some(0)
    }

    /// Shows one, unless its partition was not asked for; false when it was the last.
    fn show(&mut self, topic: &str, shown: &Shown) -> bool {
        if !self.wants(shown) {
            return true;
        }
        if !(self.print)(&self.style.line(topic, shown)) {
            self.left = Some(0);
            self.read = false;
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
        self.wants_more()
    }
}

/// Shows what was asked for, until it is enough, nobody reads it any more, or a stop is asked for. `print` takes lines and
/// says whether somebody reads them; `colour` is for terminals.
///
/// # Errors
/// When the topic, or the dead letters' files, cannot be read.
pub async fn tail(
    config: &Config,
    options: &TailOptions,
    colour: bool,
    stop: &Stop,
    print: &dyn Fn(&str) -> bool,
) -> Result<(), PipelineError> {
    let mut printer = Printer {
        style: Style {
            format: options.format,
            colour: colour && options.format == Format::Text,
        },
        left: options.count,
        partition: options.partition,
        read: true,
        print,
    };
    let topic = if options.dead_letters {
        dead_letter_topic::topic(config)?
    } else {
        Some(config.kafka.topic.as_str())
    };
    let directory = &config.output.directory;
    let mut files = None;
    if options.dead_letters {
        if directory.is_dir() {
            files = Some(LetterFiles::new(directory));
        } else if topic.is_none() {
            return Err(PipelineError::Setting(format!(
                "there are no dead letters to show: {} is not a directory (--out), and Output.DeadLetterTopic is not set",
                directory.display()
            )));
        }
    }
    if let Some(files) = &mut files {
        let more = first(files, options, &mut printer).map_err(unread(directory))?;
        if !(more || options.follow && printer.read) {
            return Ok(());
        }
    }
    let ends = options.count.is_some() && !options.follow;
    let Some(topic) = topic else {
        if ends {
            return Ok(());
        }
        printer.left = None;
        return follow_files(files, directory, &mut printer, stop).await;
    };
    let cluster = settings::connect(config);
    let reach = Reachability::new(&cluster, ends);
    let topic: Arc<str> = topic.into();
    let mut reading = Topic {
        cluster: &cluster,
        topic,
        isolation: settings::isolation(config.kafka.isolation_level),
        letters: options.dead_letters,
        printer: &mut printer,
        scratch: Scratch::default(),
        unreadable: BTreeMap::new(),
    };
    let read = async {
        let positions = reading.begin(options, &reach).await?;
        if ends || !reading.printer.read {
            return Ok(());
        }
        reading.printer.left = None;
        reading.follow(positions, files, directory).await
    };
    tokio::select! {
        read = read => read?,
        lost = reach.watch() => return Err(lost),
        () = stop.requested() => {}
    }
    // What was left out must not look like all there is.
    let first = reading.unreadable.pop_first();
    first.map_or(Ok(()), |(_, error)| Err(error.into()))
}

fn unread(directory: &Path) -> impl Fn(std::io::Error) -> PipelineError {
    let action = format!("read the dead letters of {}", directory.display());
    move |source| PipelineError::Io {
        action: action.clone(),
        source,
    }
}

/// Which of the letters are wanted.
type Wanted = Box<dyn Fn(&Shown) -> bool>;

/// What is in the files at the start; whether more is wanted.
fn first(
    files: &mut LetterFiles,
    options: &TailOptions,
    printer: &mut Printer<'_>,
) -> std::io::Result<bool> {
    if !printer.wants_more() {
        return files.poll(None, |_| true);
    }
    let everything = |_: &Shown| true;
    let (since, wanted): (Option<NaiveDate>, Wanted) = match options.from {
        Some(TailFrom::Earliest) => (None, Box::new(everything)),
        Some(TailFrom::Latest) => return files.poll(None, |_| true),
        Some(TailFrom::Offset(from)) => (None, Box::new(move |shown: &Shown| shown.offset >= from)),
        Some(TailFrom::Since(ms)) => {
            let time = DateTime::from_timestamp_millis(ms);
            (time.map(|time| time.date_naive()), Box::new(everything))
        }
        None => {
            let room = usize::try_from(printer.left.unwrap_or(LAST)).unwrap_or(usize::MAX);
            let mut last = VecDeque::new();
            files.poll(None, |shown| {
                if !printer.wants(&shown) {
                    return true;
                }
                if last.len() == room {
                    last.pop_front();
                }
                last.push_back(shown);
                true
            })?;
            return Ok(last.iter().all(|shown| printer.show("", shown)) && printer.wants_more());
        }
    };
    files.poll(since, |shown| !wanted(&shown) || printer.show("", &shown))
}

async fn follow_files(
    files: Option<LetterFiles>,
    directory: &Path,
    printer: &mut Printer<'_>,
    stop: &Stop,
) -> Result<(), PipelineError> {
    let Some(mut files) = files else {
        return Ok(());
    };
    loop {
        tokio::select! {
            () = stop.requested() => return Ok(()),
            () = tokio::time::sleep(LOOK) => {}
        }
        let more = files.poll(None, |shown| printer.show("", &shown));
        if !more.map_err(unread(directory))? {
            return Ok(());
        }
    }
}

/// A topic that is read.
struct Topic<'a, 'p> {
    cluster: &'a Arc<Cluster>,
    topic: Arc<str>,
    isolation: Isolation,
    /// Whether its records are dead letters.
    letters: bool,
    printer: &'a mut Printer<'p>,
    scratch: Scratch,
    /// The partitions that cannot be read on.
    unreadable: BTreeMap<i32, ConsumeError>,
}

impl Topic<'_, '_> {
    async fn bounds(
        &self,
        partitions: &[i32],
        bound: Bound,
    ) -> Result<BTreeMap<i32, i64>, ConsumeError> {
        consumer::list_offsets(self.cluster, &self.topic, self.isolation, partitions, bound).await
    }

    /// Finds out where to begin, and shows the last ones where they are asked for; where reading goes on.
    async fn begin(
        &mut self,
        options: &TailOptions,
        reach: &Reachability,
    ) -> Result<BTreeMap<i32, i64>, PipelineError> {
        let (cluster, topic) = (self.cluster, Arc::clone(&self.topic));
        let described = reach.ask(|| cluster.refresh_topic(&topic)).await?;
        let mut partitions: Vec<i32> = (0..).take(described.partitions.len()).collect();
        if let Some(wanted) = options.partition
            && !self.letters
        {
            if !partitions.contains(&wanted) {
                return Err(PipelineError::Setting(format!(
                    "topic {topic} has {} partitions, numbered from 0; partition {wanted} does not exist (-p)",
                    partitions.len()
                )));
            }
            partitions = vec![wanted];
        }
        let starts = self.bounds(&partitions, Bound::Earliest).await?;
        let ends = self.bounds(&partitions, Bound::Latest).await?;
        let from = match options.from {
            Some(TailFrom::Earliest) => starts,
            Some(TailFrom::Latest) => ends.clone(),
            Some(TailFrom::Offset(offset)) => {
                if let Some(said) = beyond(offset, &ends) {
                    tracing::warn!("topic {topic}: {said}");
                }
                let at = |(partition, start): (&i32, &i64)| {
                    let end = ends.get(partition).copied().unwrap_or(*start);
                    (*partition, offset.clamp(*start, end.max(*start)))
                };
                starts.iter().map(at).collect()
            }
            Some(TailFrom::Since(time)) => {
                let mut found = self.bounds(&partitions, Bound::Since(time)).await?;
                for (partition, offset) in &mut found {
                    let end = ends.get(partition).copied().unwrap_or_default();
                    *offset = (*offset).min(end);
                }
                found
            }
            None => {
                self.show_last(&starts, &ends).await?;
                return Ok(ends);
            }
        };
        if options.count.is_none() {
            return Ok(from);
        }
        if self.printer.wants_more() {
            self.show_first(&from, &ends).await?;
        }
        Ok(ends)
    }

    /// The records from `from` on and before `ends`, as many as there is room for.
    async fn show_first(
        &mut self,
        from: &BTreeMap<i32, i64>,
        ends: &BTreeMap<i32, i64>,
    ) -> Result<(), PipelineError> {
        let topic = Arc::clone(&self.topic);
        let mut reader = Reader::start(self.cluster, &topic, self.isolation, from, ends);
        while let Some(chunk) = self.next(&mut reader).await? {
            let end = ends.get(&chunk.partition()).copied().unwrap_or_default();
            let more = self.each(&mut reader, &chunk, |printer, shown, offset| {
                offset >= end || printer.show(&topic, &shown)
            })?;
            if !more {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The records with the latest timestamps before `ends`, in the order of these.
    async fn show_last(
        &mut self,
        starts: &BTreeMap<i32, i64>,
        ends: &BTreeMap<i32, i64>,
    ) -> Result<(), PipelineError> {
        let count = self.printer.left.unwrap_or(LAST);
        let room = usize::try_from(count).unwrap_or(usize::MAX);
        // Markers and holes make more offsets necessary than there are records.
        let mut window = i64::try_from(count).unwrap_or(i64::MAX);
        loop {
            let from: BTreeMap<i32, i64> = ends
                .iter()
                .map(|(partition, end)| {
                    let start = starts.get(partition).copied().unwrap_or_default();
                    (*partition, end.saturating_sub(window).max(start).min(*end))
                })
                .collect();
            let mut last = BinaryHeap::new();
            let mut reader = Reader::start(self.cluster, &self.topic, self.isolation, &from, ends);
            while let Some(chunk) = self.next(&mut reader).await? {
                let end = ends.get(&chunk.partition()).copied().unwrap_or_default();
                self.each(&mut reader, &chunk, |printer, shown, offset| {
                    if offset < end && printer.wants(&shown) {
                        last.push(Reverse(shown));
                        if last.len() > room {
                            last.pop();
                        }
                    }
                    true
                })?;
            }
            let all = from.iter().all(|(p, from)| starts.get(p) == Some(from));
            if last.len() >= room || all {
                let mut last = last.into_vec();
                last.sort_unstable_by(|a, b| b.cmp(a));
                for Reverse(shown) in &last {
                    if !self.printer.show(&self.topic, shown) {
                        break;
                    }
                }
                return Ok(());
            }
            window = window.saturating_mul(8);
        }
    }

    /// The next data; a partition that cannot be read on is left out.
    async fn next(&mut self, reader: &mut Reader) -> Result<Option<Chunk>, ConsumeError> {
        loop {
            match reader.next().await {
                Err(error) => self.leave_out(reader, error)?,
                chunk => return chunk,
            }
        }
    }

    /// Shows no more of the partition that the error is about, and says so once.
    fn leave_out(&mut self, reader: &mut Reader, error: ConsumeError) -> Result<(), ConsumeError> {
        let Some(what) = error.unreadable() else {
            return Err(error);
        };
        reader.skip(what.partition);
        if let btree_map::Entry::Vacant(new) = self.unreadable.entry(what.partition) {
            tracing::error!("{error}; from there on this partition is not shown");
            new.insert(error);
        }
        Ok(())
    }

    /// Hands each record of a chunk to `take`, with its offset on this topic, until it says no.
    fn each(
        &mut self,
        reader: &mut Reader,
        chunk: &Chunk,
        mut take: impl FnMut(&mut Printer<'_>, Shown, i64) -> bool,
    ) -> Result<bool, ConsumeError> {
        let read = chunk.each(&mut self.scratch, |entry| {
            let offset = entry.offset();
            let shown = match entry {
                Entry::Record(record) => shown(chunk.partition(), &record, self.letters),
                Entry::TooLarge(large) => too_large(chunk.partition(), &large),
            };
            match take(self.printer, shown, offset) {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        match read {
            Ok(read) => Ok(read.is_continue()),
            Err(error) => self.leave_out(reader, error).map(|()| true),
        }
    }

    /// Shows what comes, of the topic and of files.
    async fn follow(
        &mut self,
        positions: BTreeMap<i32, i64>,
        mut files: Option<LetterFiles>,
        directory: &Path,
    ) -> Result<(), PipelineError> {
        let never: BTreeMap<i32, i64> = positions.keys().map(|p| (*p, i64::MAX)).collect();
        let mut reader = Reader::start(
            self.cluster,
            &self.topic,
            self.isolation,
            &positions,
            &never,
        );
        loop {
            let chunk = tokio::select! {
                chunk = self.next(&mut reader) => chunk?,
                () = tokio::time::sleep(LOOK), if files.is_some() => {
                    if let Some(files) = &mut files {
                        let printer = &mut *self.printer;
                        let more = files.poll(None, |shown| printer.show("", &shown));
                        if !more.map_err(unread(directory))? {
                            return Ok(());
                        }
                    }
                    continue;
                }
            };
            let Some(chunk) = chunk else {
                return Ok(());
            };
            let topic = Arc::clone(&self.topic);
            if !self.each(&mut reader, &chunk, |printer, shown, _| {
                printer.show(&topic, &shown)
            })? {
                return Ok(());
            }
        }
    }
}

/// A record that is too large to be read, as it is shown.
fn too_large(partition: i32, large: &TooLarge<'_>) -> Shown {
    Shown {
        timestamp_ms: large.timestamp_ms,
        partition,
        offset: large.offset,
        key: large.key.map(<[u8]>::to_vec),
        value: None,
        too_large: Some(large.size),
        letter: None,
    }
}

/// A record, as it is shown. A dead letter says where it came from.
fn shown(partition: i32, record: &Record<'_>, letters: bool) -> Shown {
    let mut shown = Shown {
        timestamp_ms: record.timestamp_ms,
        partition,
        offset: record.offset,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        too_large: None,
        letter: None,
    };
    if !letters {
        return shown;
    }
    let mut letter = Letter {
        topic: "unknown".to_owned(),
        reason: "a record of another program, without a reason".to_owned(),
    };
    let mut note = None;
    for header in record.headers.iter().flatten() {
        let text = String::from_utf8_lossy(header.value.unwrap_or_default());
        if header.key == TOPIC.as_bytes() {
            letter.topic = text.into_owned();
        } else if header.key == REASON.as_bytes() {
            letter.reason = text.into_owned();
        } else if header.key == NOTE.as_bytes() {
            note = Some(text.into_owned());
        } else if header.key == PARTITION.as_bytes() {
            shown.partition = text.parse().unwrap_or(partition);
        } else if header.key == OFFSET.as_bytes() {
            shown.offset = text.parse().unwrap_or(record.offset);
        }
    }
    if let Some(note) = note {
        letter.reason = format!("{}; {note}", letter.reason);
    }
    shown.letter = Some(letter);
    shown
}
