//! Telling a program elsewhere by HTTP to read its files again, and Docker to signal a container. It runs on a thread of
//! its own, tries as often as it was asked to, and gives what came of it; what follows is decided in state/.

use crate::plan::{RETRY_PAUSE, Request};
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
    let headers: Vec<(&str, String)> = r.headers.iter().map(|(n, v)| (n.as_str(), v.clone())).collect();
    let mut left = r.retries;
    loop {
        let why = match server.call(&r.method, &r.path, &headers, r.body.as_bytes(), r.timeout) {
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
