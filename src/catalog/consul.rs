//! A service and its TTL check at one of Consul's agents: what is asked, and what the answers mean. An agent keeps what it
//! was told and tells the servers; another agent knows nothing of it. When and how often is decided elsewhere.

use super::{Fail, What, ask, quoted};
use crate::plan::{Consul, Millis, Service};
use crate::source::consul::{encode_into, headers, refusal};
use crate::source::http::Server;

/// Tells an agent, before `until` (by `clock`).
#[inline(never)]
pub fn tell(c: &Consul, s: &Service, what: What, server: &Server, until: Millis) -> Result<(), Fail> {
    let mut path = String::from("/v1/agent/");
    path.push_str(match what {
        What::Register => "service/register",
        What::Pass => "check/pass/",
        What::Leave => "service/deregister/",
    });
    let mut body = String::new();
    match what {
        What::Register => body = registration(s),
        What::Pass | What::Leave => encode_into(&mut path, &s.id, false),
    }
    if what == What::Pass {
        path.push_str("?note=ok");
    }
    let sent = headers(c).map_err(Fail::Refused)?;
    let (status, said) = ask(server, "PUT", &path, &sent, body.as_bytes(), until)?;
    if (200..300).contains(&status) {
        return Ok(());
    }
    let words = refusal(status, &said, &sent, " (is the token right, and may it write this service?)");
    // 1.8: 500 `CheckID "x" does not have associated TTL`, and with ACLs 500 `Unknown check "x"` or `Unknown service`; since
    // 1.11: 404 `Unknown check ID "x"`.
    let is_unknown = status == 404 || words.contains("does not have associated TTL") || words.contains("Unknown ");
    if is_unknown && what != What::Register { Err(Fail::Unknown) } else { Err(Fail::Refused(words)) }
}

/// What stands in front of each text of a registration.
static NAMES: [&str; 8] = [
    "{\"ID\":",
    ",\"Name\":",
    ",\"Address\":",
    ",\"Check\":{\"Status\":\"passing\",\"CheckID\":",
    ",\"Name\":",
    ",\"TTL\":",
    ",\"Notes\":",
    ",\"DeregisterCriticalServiceAfter\":",
];

/// The body of a registration. The check's id is the service's. What is empty may be left out.
#[inline(never)]
fn registration(s: &Service) -> String {
    let ttl = [&(s.ttl / 1_000).to_string(), "s"].concat();
    let texts = [&s.id, &s.name, &s.address, &s.id, &s.id, &ttl, &s.notes, &s.deregister_after];
    let mut out = String::new();
    for (name, text) in NAMES.iter().zip(texts) {
        if !text.is_empty() {
            out.push_str(name);
            out.push_str(&quoted(text));
        }
    }
    out.push_str("},\"Port\":");
    out.push_str(&s.port.to_string());
    if s.enable_tag_override {
        out.push_str(",\"EnableTagOverride\":true");
    }
    let mut before = ",\"Tags\":[";
    for tag in &s.tags {
        out.push_str(before);
        out.push_str(&quoted(tag));
        before = ",";
    }
    out.push_str(if s.tags.is_empty() { "}" } else { "]}" });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_json() {
        let mut s = super::super::tests::service();
        s.notes = "100% \"ok\"".to_string();
        s.tags.push("a\\b".to_string());
        let want = r#"{"ID":"app-H","Name":"app","Address":"10.0.0.1","Check":{"Status":"passing","CheckID":"app-H","Name":"app-H","TTL":"4s","Notes":"100% \"ok\""},"Port":80,"Tags":["t1","a\\b"]}"#;
        assert_eq!(registration(&s), want);
        (s.tags, s.enable_tag_override, s.deregister_after) = (Vec::new(), true, "10m".to_string());
        let text = registration(&s);
        let end = r#","DeregisterCriticalServiceAfter":"10m"},"Port":80,"EnableTagOverride":true}"#;
        assert!(text.ends_with(end), "{text}");
    }
}
