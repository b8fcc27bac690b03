//! What this region serves: one line a service, and who may do what.

use arm::{Arm, AzureRoles};
use base::Result;
use service::{Neighbours, Service, Urls};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use trust::{Rules, Trust};

const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// What this region serves. The order matters on the bare host (`localhost`), where several claim paths: sign-in and the
/// exact ones first, Resource Manager, whose paths are the widest, last.
pub struct Services {
    pub all: Vec<Arc<dyn Service>>,
    pub arm: Arc<Arm>,
}

impl Services {
    pub fn new() -> Services {
        let mut all: Vec<Arc<dyn Service>> = vec![Arc::new(record_log::RecordLog), Arc::new(identity::Graph), Arc::new(storage::Storage)];
        let arm = Arm::new(all.iter().flat_map(|s| s.kinds()).collect());
        all.push(arm.clone());
        // it gives tokens for all the others
        let sign_in = Arc::new(identity::Login::new(&all));
        all.insert(0, sign_in);
        arm.serving(&all);
        Services { all, arm }
    }
}

/// Work that no request waits for.
pub struct Workers {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    arm: arm::Running,
}

impl Workers {
    /// `near` is the reach of the region's part `storage`.
    pub async fn start(services: &Services, trust: Trust, urls: Arc<Urls>, near: &Neighbours) -> Result<Workers> {
        let arm = services.arm.start(trust, urls).await?;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(sweep_storage(near.clone(), stopped));
        Ok(Workers { stop, tasks, arm })
    }

    /// What is under way is finished.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
        self.arm.stop().await;
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
    Box::new(AzureRoles)
}
