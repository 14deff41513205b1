//! A server between a program and a real server: every request is handed on as it came, and its answer handed back; the
//! test reads later who asked what and when, or answers some requests itself.

use super::{Answer, FakeHttp, Request, http};

/// Hands everything on to `to` (host:port), but for the requests that `instead` answers.
pub fn recorder(to: String, instead: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) -> FakeHttp {
    FakeHttp::start(move |request| {
        if let Some(answer) = instead(request) {
            return answer;
        }
        let own = ["host", "connection", "content-length"];
        let headers: Vec<String> = request
            .headers
            .iter()
            .filter(|(n, _)| !own.contains(&n.as_str()))
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let Ok(reply) = http(&request.method, &to, &request.path, &headers, &request.body) else {
            return Answer::Cut(Vec::new());
        };
        let framing = ["connection", "content-length", "transfer-encoding"];
        let headers: Vec<String> = reply
            .headers
            .iter()
            .filter(|(n, _)| !framing.contains(&n.as_str()))
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        Answer::reply(reply.status, &headers, &reply.body)
    })
}
