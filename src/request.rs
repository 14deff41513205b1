//! Telling a program elsewhere by HTTP to read its files again, and Docker to signal a container. It runs on a thread of
//! its own, tries as often as it was asked to, and gives what came of it; what follows is decided in state/.

use crate::plan::{RETRY_PAUSE, Request};
use crate::secret::{AUTHORIZATION, Headers};
use crate::source::Stop;
use crate::source::http::Server;
use crate::sys::process::Ended;

/// Sends it until there is a wanted answer or no try left: `Exit(0)` for a wanted answer, `Exit(status)` for any other.
///
/// # Errors
/// Why there is no answer, or what Docker says, in words.
#[inline(never)]
pub fn send(r: &Request, stop: &Stop) -> Result<Ended, String> {
    let server = Server::new(&r.address, &r.tls, stop);
    let mut left = r.retries;
    loop {
        let call = |headers: Headers| server.call(&r.method, &r.path, &headers, r.body.as_bytes(), r.timeout);
        let why = match headers(r).and_then(call) {
            Ok(answer) => {
                let status = answer.status;
                if is_wanted(r, status) {
                    return Ok(Ended::Exit(0));
                }
                if !r.is_docker && left == 0 {
                    return Ok(Ended::Exit(i32::from(status)));
                }
                docker(status)
            }
            Err(why) if r.is_docker => ["Docker at ", &server.name, ": ", &why].concat(),
            Err(why) => why,
        };
        if left == 0 || stop.sleep(RETRY_PAUSE) {
            return Err([&r.shown, ": ", &why].concat());
        }
        left -= 1;
    }
}

/// What is said beside the request; a file of a token or password may have been replaced since the last try.
#[inline(never)]
fn headers(r: &Request) -> Result<Headers<'_>, String> {
    let mut all = Headers::default();
    all.push_basic(&r.basic)?;
    all.push_secret(AUTHORIZATION, "Bearer ", &r.token)?;
    for (name, value) in &r.headers {
        all.push(name, value.clone());
    }
    Ok(all)
}

fn is_wanted(r: &Request, status: u16) -> bool {
    if r.expect.is_empty() { (200..300).contains(&status) } else { r.expect.contains(&status) }
}

/// What Docker means (Engine API, ContainerKill).
fn docker(status: u16) -> String {
    match status {
        404 => "there is no such container".to_string(),
        409 => "the container is not running".to_string(),
        _ => "Docker answers ".to_string() + &status.to_string(),
    }
}
