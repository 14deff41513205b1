//! `pilotfish health` and `pilotfish probe`: one question by HTTP, or one connection, and the exit code says how it went.

use crate::error::{Error, Kind, Result};
use crate::plan::Request;
use crate::source::Stop;
use crate::source::http::{Server, words};

/// Asks, and gives the exit code.
///
/// # Errors
/// `Kind::Fatal`: there is no answer, or none from 200 to 399 (what Kubernetes takes for good); what it says.
#[inline(never)]
pub fn run(r: &Request) -> Result<i32> {
    let stop = Stop::new()?;
    let server = Server::new(&r.address, &r.tls, &stop);
    let fail = |why: &str| Err(Error::filled(Kind::Fatal, "%: %", &[&r.shown, why]));
    if r.path.is_empty() {
        return server.reach(r.timeout).map_or_else(|why| fail(&why), |()| Ok(0));
    }
    match server.get(&r.path, &[], r.timeout, r.timeout) {
        Ok(reply) if (200..400).contains(&reply.status) => Ok(0),
        Ok(reply) => fail(&[&reply.status.to_string(), ": ", &words(&reply.body, &[])].concat()),
        Err(why) => fail(&why),
    }
}
