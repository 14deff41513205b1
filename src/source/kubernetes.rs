//! ConfigMaps and Secrets of Kubernetes as keys: listed once, then watched from there on. It decides what a list, an event
//! and a refusal mean; it never writes to the API.

use super::{News, Stop};
use crate::plan::Kubernetes;

/// Watches the objects until `stop`.
pub fn watch(_: &Kubernetes, stop: &Stop, say: &dyn Fn(News)) {
    say(News::Trouble("cannot read from Kubernetes: not in this version".to_string(), 0));
    stop.sleep(u64::MAX);
}
