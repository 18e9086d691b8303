//! Log lines and numbers.

use std::io::IsTerminal;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// How often samples are put together.
const UPKEEP: Duration = Duration::from_secs(5);

/// Bounds of the buckets of latencies, in seconds.
const LATENCIES: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Renders the numbers as Prometheus reads them.
pub type Render = Box<dyn Fn() -> String + Send + Sync>;

/// Begins to log to stderr. Only the first call in a process counts.
///
/// # Errors
/// When the filter is none.
pub fn log(log: &Log) -> Result<(), String> {
    let filter = EnvFilter::builder().parse(&log.filter.0);
    let filter = filter.map_err(|error| format!("log.filter: {error}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let colours = std::io::stderr().is_terminal();
    // an error means that a log is set up already
    let _ = match log.format {
        LogFormat::Text => builder.with_ansi(colours).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}

/// Begins to count. A second call in a process renders nothing.
pub fn count() -> Render {
    let builder = PrometheusBuilder::new();
    let latency = Matcher::Full("caseworker_http_request_seconds".to_owned());
    let builder = match builder.set_buckets_for_metric(latency, &LATENCIES) {
        Ok(builder) => builder,
        Err(_) => PrometheusBuilder::new(),
    };
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    // samples that nobody fetches are put together, or they would fill the memory
    let kept = handle.clone();
    let upkeep = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        loop {
            std::thread::park_timeout(UPKEEP);
            kept.run_upkeep();
        }
    });
    if let Err(error) = upkeep {
        tracing::error!(%error, "no thread for the upkeep of metrics");
    }
    if metrics::set_global_recorder(recorder).is_err() {
        return Box::new(String::new);
    }
    metrics::describe_counter!("caseworker_cases_ended_total", "Cases that ended, by phase");
    metrics::describe_counter!("caseworker_alerts_total", "Times that a case needed a person");
    metrics::describe_gauge!("caseworker_cases_live", "Cases in memory");
    metrics::describe_gauge!("caseworker_cases_pending", "Cases that wait to be started");
    metrics::describe_gauge!("caseworker_projector_lag_seconds", "How far the views are behind");
    metrics::describe_gauge!("caseworker_breaker_open", "1 where a breaker holds calls back");
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    metrics::gauge!("caseworker_build_info", &version).set(1.0);
    // what has not happened yet is nought, not unknown
    for phase in ["completed", "faulted", "cancelled"] {
        metrics::counter!("caseworker_cases_ended_total", "phase" => phase).absolute(0);
    }
    metrics::counter!("caseworker_alerts_total").absolute(0);
    metrics::counter!("caseworker_http_shed_total").absolute(0);
    metrics::describe_gauge!("caseworker_dead_letters", "Open dead letters");
    metrics::describe_gauge!("caseworker_cases_waiting", "Cases that wait, by service");
    metrics::describe_gauge!("caseworker_oldest_wait_seconds", "The oldest wait, by service");
    metrics::describe_counter!("caseworker_calls_total", "Calls, by service and outcome");
    Box::new(move || {
        handle.run_upkeep();
        handle.render()
    })
}
