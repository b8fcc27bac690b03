//! stub
use base::Error;
use bytes::Bytes;
use service::*;
use std::sync::Arc;
pub struct Graph;
impl Service for Graph {
    fn namespace(&self) -> &'static str { "microsoft.directory" }
    fn operations(self: Arc<Self>) -> Operations { Operations::of(self).build() }
    fn audiences(&self, _: &Urls, _: &'static str) -> Vec<String> { Vec::new() }
    fn refuse(&self, _: &Head, _: &Error) -> http::Response<Bytes> { http::Response::new(Bytes::new()) }
}
pub fn fuzz_body(_: &[u8]) {}
