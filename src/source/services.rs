//! The instances of a service, as its catalog lists those that are well: one key each, `/NAME/ID`, whose value is
//! `address:port`.

use super::{News, Stop};
use crate::plan::Catalog;

/// Watches the instances of `/NAME` (or `/NAME?TAG`) until `stop`.
pub fn watch(_catalog: &Catalog, _prefix: &str, _stop: &Stop, _say: &dyn Fn(News)) {}
