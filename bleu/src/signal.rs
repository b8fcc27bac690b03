//! Asking a process to stop.

use anyhow::Result;
use std::future::Future;
use tokio::signal::unix::{SignalKind, signal};

/// Ends at the first SIGTERM or SIGINT. Error: the handlers can't be set.
pub fn stop() -> Result<impl Future<Output = ()> + Send> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
