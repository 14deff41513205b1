//! pilotfish keeps an app's config files in step with Consul, etcd, files and the environment, checks and
//! swaps them atomically, and starts, reloads and stops the app as PID 1. The program is `main.rs`; this library
//! is its rooms, so that tests, benchmarks and fuzz targets can enter them one by one.
//!
//! `#[inline(never)]` marks functions with one caller that the compiler would merge into it: small frames of their own
//! make smaller code than one huge one (4,000 bytes in all).

// The release prints nothing for {:?} (build.sh, -Zfmt-debug).
#![cfg_attr(not(test), deny(clippy::use_debug))]

pub mod backoff;
pub mod base64;
pub mod case;
pub mod catalog;
pub mod command;
pub mod control;
pub mod dest;
pub mod diff;
pub mod dns;
pub mod driver;
pub mod error;
pub mod formats;
pub mod front;
pub mod guard;
pub mod kv;
pub mod log;
pub mod map;
pub mod md5;
pub mod output;
pub mod plan;
pub mod probe;
pub mod request;
pub mod secret;
pub mod sha;
pub mod source;
pub mod state;
pub mod store;
pub mod sys;
pub mod telemetry;
pub mod template;
pub mod text;
pub mod tls;
pub mod value;
