//! What this region serves: one line a service, and who may do what.

use service::Service;
use std::sync::Arc;
use trust::Rules;

/// Every service. The order matters on the bare host (`localhost`), where several claim paths: exact ones first.
pub fn all() -> Vec<Arc<dyn Service>> {
    let mut services: Vec<Arc<dyn Service>> = vec![
        Arc::new(record_log::RecordLog),
        Arc::new(identity::Graph),
    ];
    // sign-in gives tokens for all the others
    services.push(Arc::new(identity::Login::new(&services)));
    services
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
