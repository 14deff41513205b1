//! A service as keys of etcd: `<prefix>/NAME/ID/service` holds it as JSON, and goes when there was no sign of life for the
//! TTL. In v2 the folder `ID` has the time to live, in v3 the key has a lease. Any member of the cluster will do. When and
//! how often is decided elsewhere.

use super::{Fail, What, ask, quoted};
use crate::base64;
use crate::plan::{Etcd, Millis, Service};
use crate::secret::{Headers, bare};
use crate::source::consul::encode_into;
use crate::source::etcd::watch::{Client, DELETE, GRANT, KEEP, NO_LEASE, PUT, REVOKE};
use crate::source::etcd2::refusal;
use crate::source::http::Server;
use crate::text::fill;

/// A folder with all it holds.
const ALL: &str = "?recursive=true";
/// A folder that is there lives on.
const BEAT: &str = "?dir=true&prevExist=true&ttl=";

/// What the key holds.
#[inline(never)]
fn value(s: &Service) -> String {
    let words = [&quoted(&s.id), &quoted(&s.name), &quoted(&s.address), &s.port.to_string()];
    fill(r#"{"id":%,"name":%,"address":%,"port":%}"#, &words.map(String::as_str))
}

/// Tells an etcd by its second interface, before `until` (by `clock`). `is_flat`: the key has the time to live.
#[inline(never)]
pub fn tell2(
    (e, prefix, is_flat): (&Etcd, &str, &mut bool),
    s: &Service,
    what: What,
    server: &Server,
    until: Millis,
) -> Result<(), Fail> {
    let mut folder = String::from("/v2/keys");
    encode_into(&mut folder, prefix, true);
    for part in [&s.name, &s.id] {
        folder.push('/');
        encode_into(&mut folder, part, false);
    }
    let mut sent = Headers::default();
    sent.push_basic(&e.basic).map_err(Fail::Refused)?;
    let call = |method: &str, behind: &str, tail: &str| {
        let path = [&folder, behind, tail].concat();
        let (status, said) = ask(server, method, &path, &sent, &[], until)?;
        match status {
            200..=299 => Ok(()),
            404 if said.starts_with(br#"{"errorCode":100"#) => Err(Fail::Unknown),
            // What should be a new folder is one already (403, errorCode 102); etcd 3.5 says so (500, 300) of each folder
            // whose time to live should be prolonged.
            403 | 500 if String::from_utf8_lossy(&said).contains("Not a file") => Err(Fail::Known),
            _ => Err(Fail::Refused(refusal(status, &said, sent.first().map_or("", |h| bare(&h.1))))),
        }
    };
    let ttl = (s.ttl / 1_000).to_string();
    match what {
        What::Register => {
            match call("PUT", "?dir=true&ttl=", &ttl) {
                Ok(()) | Err(Fail::Known) => {}
                made => return made,
            }
            let mut tail = String::new();
            encode_into(&mut tail, &value(s), false);
            match call("PUT", BEAT, &ttl) {
                Err(Fail::Known) => {
                    call("DELETE", ALL, "")?;
                    *is_flat = true;
                    tail.push_str("&ttl=");
                    tail.push_str(&ttl);
                }
                kept => {
                    *is_flat = false;
                    kept?;
                }
            }
            call("PUT", "/service?value=", &tail)
        }
        What::Pass => call("PUT", if *is_flat { "/service?prevExist=true&refresh=true&ttl=" } else { BEAT }, &ttl),
        What::Leave => call("DELETE", ALL, ""),
    }
}

/// What is known of a service at an etcd that speaks v3.
pub struct Lease<'a> {
    client: Client<'a>,
    /// Time to live, key, value and lease.
    words: [String; 4],
}

impl<'a> Lease<'a> {
    /// None is held yet.
    #[inline(never)]
    pub fn new(client: Client<'a>, prefix: &str, s: &Service) -> Lease<'a> {
        let key = fill("%/%/%/service", &[prefix, &s.name, &s.id]);
        let (key, value) = (base64::encode(key.as_bytes()), base64::encode(value(s).as_bytes()));
        Lease { client, words: [(s.ttl / 1_000).to_string(), key, value, "0".to_string()] }
    }

    /// Tells an etcd, before `until` (by `clock`).
    #[inline(never)]
    pub fn tell(&mut self, what: What, server: &Server, until: Millis) -> Result<(), Fail> {
        let calls = match what {
            What::Register => [GRANT, PUT],
            What::Pass => [KEEP, &[]],
            What::Leave => [DELETE, REVOKE],
        };
        for calls in calls {
            match self.client.make(server, calls, &mut self.words, until) {
                Err(why) if why.contains(NO_LEASE) => return Err(Fail::Unknown),
                made => made?,
            }
        }
        Ok(())
    }
}
