//! A service and its TTL check at one of Consul's agents: what is asked, and what the answers mean. An agent keeps what it
//! was told and tells the servers; another agent knows nothing of it. When and how often is decided elsewhere.

use super::{Fail, What, ask, quoted};
use crate::plan::{Consul, Millis, Service};
use crate::source::consul::{encode_into, headers, refusal};
use crate::source::http::Server;
use crate::text::fill;

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
    let words = refusal(status, &said, &sent, "write this service");
    // 1.8: 500 `CheckID "x" does not have associated TTL`, and with ACLs 500 `Unknown check "x"` or `Unknown service`; since
    // 1.11: 404 `Unknown check ID "x"`.
    let is_unknown = status == 404 || words.contains("does not have associated TTL") || words.contains("Unknown ");
    if is_unknown && what != What::Register { Err(Fail::Unknown) } else { Err(Fail::Refused(words)) }
}

/// The body of a registration. The check's id is the service's.
fn registration(s: &Service) -> String {
    let tags: Vec<String> = s.tags.iter().map(|t| quoted(t)).collect();
    let after = if s.deregister_after.is_empty() {
        String::new()
    } else {
        [",\"DeregisterCriticalServiceAfter\":", &quoted(&s.deregister_after)].concat()
    };
    let pattern = r#"{"ID":%,"Name":%,"Tags":[%],"Port":%,"Address":%,"EnableTagOverride":%,"Check":{"CheckID":%,"Name":%,"TTL":"%s","Notes":%,"Status":"passing"%}}"#;
    let id = &quoted(&s.id);
    fill(
        pattern,
        &[
            id,
            &quoted(&s.name),
            &tags.join(","),
            &s.port.to_string(),
            &quoted(&s.address),
            if s.enable_tag_override { "true" } else { "false" },
            id,
            id,
            &(s.ttl / 1_000).to_string(),
            &quoted(&s.notes),
            &after,
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_json() {
        let mut s = super::super::tests::service();
        s.notes = "100% \"ok\"".to_string();
        s.tags.push("a\\b".to_string());
        let want = r#"{"ID":"app-H","Name":"app","Tags":["t1","a\\b"],"Port":80,"Address":"10.0.0.1","EnableTagOverride":false,"Check":{"CheckID":"app-H","Name":"app-H","TTL":"4s","Notes":"100% \"ok\"","Status":"passing"}}"#;
        assert_eq!(registration(&s), want);
        (s.tags, s.enable_tag_override, s.deregister_after) = (Vec::new(), true, "10m".to_string());
        let text = registration(&s);
        assert!(text.contains(r#""Tags":[],"#) && text.contains(r#""EnableTagOverride":true"#), "{text}");
        assert!(text.ends_with(r#","Status":"passing","DeregisterCriticalServiceAfter":"10m"}}"#), "{text}");
    }
}
