//! What this region serves: one line a service, and who may do what.

use service::{Neighbours, Service};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use trust::Rules;

const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// Every service. The order matters on the bare host (`localhost`), where several claim paths: exact ones first, storage,
/// to which any path may belong, last.
pub fn all() -> Vec<Arc<dyn Service>> {
    let mut services: Vec<Arc<dyn Service>> = vec![Arc::new(record_log::RecordLog), Arc::new(identity::Graph), Arc::new(storage::Storage)];
    // it gives tokens for all the others
    let sign_in = Arc::new(identity::Login::new(&services));
    services.insert(0, sign_in);
    services
}

/// Work that no request waits for.
pub struct Workers {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Workers {
    pub fn start(near: &Neighbours) -> Workers {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(sweep_storage(near.clone(), stopped));
        Workers { stop, tasks }
    }

    /// What is under way is finished.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Deletes what deleted containers and abandoned uploads left behind.
async fn sweep_storage(near: Neighbours, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
        while !*stopped.borrow() {
            match storage::sweep(&near).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "the sweep of storage failed; it is tried again");
                    break;
                }
            }
        }
    }
}

/// Azure's roles, judged over the facts.
pub fn rules() -> Box<dyn Rules> {
    Box::new(Nobody)
}

struct Nobody;

impl Rules for Nobody {
    fn judge(&self, ask: &trust::Ask, _: &trust::Facts) -> trust::Verdict {
        trust::Verdict::Refuse(base::Error::new(base::Kind::Forbidden, "AuthorizationFailed", format!("No role allows '{}'.", ask.verb)))
    }
}
