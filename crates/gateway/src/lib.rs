//! Listeners, TLS, limits, and "which service is this for?". One request's way:
//!
//! 1. `edge`: a connection gets a place (`places`) and is served within its time-outs (`connection`); the head
//!    becomes a [`Head`](service::Head), the body stays a stream.
//! 2. `route`: host and path find a door and a row in the services' tables.
//! 3. Authentication: the service's own scheme, then a bearer token, else anonymous.
//! 4. `trust`: the permit for what the row says, refused or opened.
//! 5. The row's handler makes a reply out of a receipt; the service's dialect prints errors.
//!
//! The gateway knows no service by name: it is handed tables.

mod answer;
mod connection;
pub mod dns;
mod edge;
mod linger;
mod names;
mod places;
mod route;
mod tls;

pub use answer::VerifyBearer;
pub use edge::{Limits, Listening, ResponseBody};
pub use names::certificate_names;
pub use tls::Tls;

use base::Result;
use service::{Operations, Service, Urls};
use std::net::SocketAddr;
use std::sync::Arc;
use trust::Trust;

/// The services behind one set of listeners. Cheap to clone.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

pub(crate) struct Inner {
    trust: Trust,
    urls: Arc<Urls>,
    services: Vec<(Arc<dyn Service>, Operations)>,
    bearer: VerifyBearer,
    limits: Limits,
    places: Arc<places::Places>,
}

impl Gateway {
    /// Services earlier in the list are asked first on the bare host (`localhost`), where several claim the same paths.
    pub fn new(trust: Trust, urls: Arc<Urls>, services: Vec<Arc<dyn Service>>, bearer: VerifyBearer) -> Gateway {
        Gateway::bounded(trust, urls, services, bearer, Limits::default())
    }

    /// As [`Gateway::new`], with other bounds.
    pub fn bounded(trust: Trust, urls: Arc<Urls>, services: Vec<Arc<dyn Service>>, bearer: VerifyBearer, limits: Limits) -> Gateway {
        let services = services.into_iter().map(|s| (s.clone(), s.operations())).collect();
        Gateway(Arc::new(Inner { trust, urls, services, bearer, limits, places: Arc::new(places::Places::new(limits)) }))
    }

    /// Accepts connections until [`Listening::stop`]. Errors: the address is taken or not ours.
    pub async fn listen(&self, at: SocketAddr, tls: Tls) -> Result<Listening> {
        edge::listen(self.clone(), at, Some(tls)).await
    }

    /// Answers one request without a socket: for the test kit.
    pub async fn answer<B>(&self, request: http::Request<B>, peer: Option<std::net::IpAddr>) -> http::Response<ResponseBody>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        answer::answer(self.0.clone(), request, peer, None).await
    }

    /// Every row of every service: for the refusal tests, the documents and the coverage list.
    pub fn operations(&self) -> impl Iterator<Item = (&'static str, &service::Operation)> {
        self.0.services.iter().flat_map(|(s, table)| table.rows.iter().map(|row| (s.namespace(), &**row)))
    }
    /// The audiences each door accepts in a bearer token: a golden file in the tests.
    pub fn audiences(&self) -> Vec<(&'static str, Vec<String>)> {
        self.0.services.iter().flat_map(|(s, table)| table.doors.iter().map(|d| (d.name, s.audiences(&self.0.urls, d.name)))).collect()
    }
}
