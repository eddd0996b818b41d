//! `demo`: a broker, a market and both halves in one process, with nothing else; `broker`: the embedded broker alone.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use chrono::Utc;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;

use super::options::{BrokerOptions, DemoOptions};
use crate::pipeline::{
    ConsumerTask, Format, PipelineError, PublishOptions, Published, Report, SourceOptions, Stop,
    Told, Written, consume, publish_from, report, settings,
};
use crate::{
    broker::{self, Broker},
    config::{Config, HostPort},
    source::simulated::{Seed, Settings, Simulated},
};

/// Events a second of a demo that nobody limits: enough to see files grow, few enough to watch for an hour.
const RATE: f64 = 250.0;

/// How often progress is shown.
const REDRAW: Duration = Duration::from_millis(200);

/// Shows everything at work, without Kafka, key or network. `say` gets lines for standard output.
pub async fn demo(
    config: &Config,
    options: &DemoOptions,
    stop: &Stop,
    say: &dyn Fn(&str),
) -> Report {
    let started = Instant::now();
    let published = watch::Sender::default();
    let written = watch::Sender::default();
    let outcome = play(config, options, stop, say, &published, &written).await;
    let figures = (*published.borrow(), *written.borrow());
    report(started, Some(figures.0), Some(figures.1), outcome)
}

async fn play(
    config: &Config,
    options: &DemoOptions,
    stop: &Stop,
    say: &dyn Fn(&str),
    published: &watch::Sender<Published>,
    written: &watch::Sender<Written>,
) -> Result<(), PipelineError> {
    let talk = |line: &str| {
        if options.format == Format::Text {
            say(line);
        }
    };
    let broker = bind(options.listen.as_ref(), None).await?;
    let address = broker.local_addr();
    let directory = match &options.out {
        Some(directory) => directory.clone(),
        None => fresh_directory()?,
    };
    let mut config = config.clone();
    config.kafka.bootstrap_servers = vec![HostPort {
        host: address.ip().to_string(),
        port: address.port(),
    }];
    config.output.directory = directory.clone();
    let config = &config;

    talk(&format!(
        "broker    embedded, memory only, on {address} (kcat -b {address} -L shows it)"
    ));
    talk(&format!(
        "market    simulated: {}",
        config.simulated.symbols.join(", ")
    ));
    talk(&format!(
        "producer  to topic {}, group {} reads it",
        config.kafka.topic, config.kafka.group_id
    ));
    talk(&format!("consumer  CSV files in {}", directory.display()));
    if options.events.is_none() && options.duration.is_none() {
        talk("          Ctrl-C stops it");
    }

    let source = Simulated::new(Settings {
        symbols: config
            .simulated
            .symbols
            .iter()
            .map(|symbol| symbol.as_str().into())
            .collect(),
        rate: options
            .events
            .is_none()
            .then_some(config.simulated.rate.unwrap_or(RATE)),
        seed: Seed::Random {
            seed: config.simulated.seed.unwrap_or_else(rand::random),
            now: Utc::now(),
        },
    })?;
    let cluster = settings::connect(config);
    let (at_end_sender, at_end) = watch::channel(false);
    let publishing = PublishOptions {
        source: SourceOptions::default(),
        count: options.events,
        // Its broker is its own, too.
        sole: false,
        told: Told::default(),
    };
    let consuming = ConsumerTask {
        one_shot: true,
        count: None,
        from: None,
        create_topic: true,
        told: Told::default(),
    };
    // The market closes first, at a stop or when its time is over; the consumer then goes on to the end, because the
    // broker's memory ends with the process.
    let market = Stop::new(config.process.shutdown_timeout);
    let both = async {
        let produce = async {
            let outcome = publish_from(
                Box::new(source),
                config,
                &cluster,
                &publishing,
                &market,
                published,
            )
            .await;
            at_end_sender.send_replace(true);
            outcome
        };
        let never = Stop::new(config.process.shutdown_timeout);
        let consume =
            async { consume::consume(config, &cluster, &consuming, &never, at_end, written).await };
        let (produced, consumed) = tokio::join!(produce, consume);
        produced.and(consumed)
    };
    let close = async {
        tokio::select! {
            () = stop.requested() => {}
            () = sleep_for(options.duration) => {}
        }
        market.request();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = both => outcome?,
        () = close => {}
        () = show(options.events, published, written) => {}
        late = stop.overdue() => return Err(late),
        () = broker.run(std::future::pending::<()>()) => {
            return Err(PipelineError::Internal("the embedded broker ended".to_owned()));
        }
    }
    talk("");
    for file in csv_files(&directory)? {
        talk(&format!("wrote     {}", file.display()));
    }
    talk(
        "next      stockflow produce --source simulated --count 1000 with a Kafka on localhost:9092, then",
    );
    talk(
        "          stockflow consume --until-end; README.md shows a run with an Alpha Vantage key",
    );
    Ok(())
}

async fn sleep_for(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// Draws what was done, on a terminal; elsewhere it only waits.
async fn show(
    events: Option<u64>,
    published: &watch::Sender<Published>,
    written: &watch::Sender<Written>,
) {
    let style = |template| {
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
    };
    let bar = match events {
        Some(events) => {
            ProgressBar::new(events).with_style(style("{bar:30} {pos}/{len} rows written{msg}"))
        }
        None => ProgressBar::no_length().with_style(style("{spinner} {pos} rows written{msg}")),
    };
    let began = Instant::now();
    loop {
        tokio::time::sleep(REDRAW).await;
        let rows = written.borrow().rows;
        let published = published.borrow().events;
        let rate = rows as f64 / began.elapsed().as_secs_f64();
        bar.set_position(rows);
        bar.set_message(format!(", {rate:.0} a second, {published} published"));
    }
}

/// A directory that is not there yet, in the working directory, named after the moment.
fn fresh_directory() -> Result<PathBuf, PipelineError> {
    let moment = Utc::now()
        .format("stockflow-demo-%Y%m%dT%H%M%S")
        .to_string();
    (0..1000)
        .map(|number| match number {
            0 => PathBuf::from(&moment),
            number => PathBuf::from(format!("{moment}-{number}")),
        })
        .find_map(|directory| match std::fs::create_dir(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => None,
            Ok(()) => Some(Ok(directory)),
            Err(source) => Some(Err(PipelineError::Io {
                action: format!(
                    "make {} (--out names another directory)",
                    directory.display()
                ),
                source,
            })),
        })
        .unwrap_or_else(|| {
            Err(PipelineError::Setting(format!(
                "{moment} and its like are all there; name a directory with --out"
            )))
        })
}

/// The data files of a directory, by name.
fn csv_files(directory: &Path) -> Result<Vec<PathBuf>, PipelineError> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "csv") {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    };
    list().map_err(|source| PipelineError::Io {
        action: format!("list {}", directory.display()),
        source,
    })
}

async fn bind(
    listen: Option<&HostPort>,
    advertise: Option<&HostPort>,
) -> Result<Broker, PipelineError> {
    Ok(Broker::bind(broker::Settings {
        listen: listen.map_or_else(|| "127.0.0.1:0".to_owned(), ToString::to_string),
        advertise: advertise.map(ToString::to_string),
        ..broker::Settings::default()
    })
    .await?)
}

/// The embedded broker alone, until the stop is asked for. `say` gets a line for standard output.
///
/// # Errors
/// When it cannot listen.
pub async fn broker(
    options: &BrokerOptions,
    stop: &Stop,
    say: &dyn Fn(&str),
) -> Result<(), PipelineError> {
    let broker = bind(Some(&options.listen), options.advertise.as_ref()).await?;
    say(&format!("listening on {}", broker.local_addr()));
    tracing::info!(
        "the broker keeps everything in memory only: what it holds is gone when it stops"
    );
    broker.run(stop.requested()).await;
    Ok(())
}
