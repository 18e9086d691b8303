//! Log lines and numbers.

use std::io::IsTerminal;

use metrics_exporter_prometheus::PrometheusBuilder;
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

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
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        return Box::new(String::new);
    }
    metrics::describe_counter!("caseworker_cases_ended_total", "Cases that ended, by phase");
    metrics::describe_counter!("caseworker_alerts_total", "Times that a case needed a person");
    metrics::describe_gauge!("caseworker_cases_live", "Cases in memory");
    metrics::describe_gauge!("caseworker_cases_pending", "Cases that wait to be started");
    metrics::describe_gauge!("caseworker_projector_lag_seconds", "How far the views are behind");
    metrics::describe_gauge!("caseworker_breaker_open", "1 where a breaker holds calls back");
    Box::new(move || {
        handle.run_upkeep();
        handle.render()
    })
}
