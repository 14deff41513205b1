//! A service as keys of etcd: `<prefix>/NAME/ID/service` holds it as JSON, and goes when there was no sign of life for the
//! TTL. In v2 the folder `ID` has the time to live, in v3 the key has a lease. Any member of the cluster will do. When and
//! how often is decided elsewhere.

use super::{Fail, What, ask, quoted};
use crate::base64;
use crate::plan::{Etcd, Millis, Service};
use crate::secret::{Headers, bare};
use crate::source::consul::encode_into;
use crate::source::etcd::watch::{Client, NO_LEASE};
use crate::source::etcd::{field, number};
use crate::source::http::{Server, words};
use crate::text::fill;

/// A folder with all it holds.
const ALL: &str = "?recursive=true";

/// What the key holds.
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
    sent.push("content-type", "application/x-www-form-urlencoded".to_string());
    sent.push_basic(&e.basic).map_err(Fail::Refused)?;
    let call = |method: &str, behind: &str, body: &str| {
        let path = [&folder, behind].concat();
        let (status, said) = ask(server, method, &path, &sent, body.as_bytes(), until)?;
        match status {
            200..=299 => Ok(()),
            404 if said.starts_with(br#"{"errorCode":100"#) => Err(Fail::Unknown),
            // What should be a new folder is one already (403, errorCode 102); etcd 3.5 says so (500, 300) of each folder
            // whose time to live should be prolonged.
            403 | 500 if String::from_utf8_lossy(&said).contains("Not a file") => Err(Fail::Known),
            _ => {
                let hint = match status {
                    401 | 403 => " (are user and password right, and may the user write this prefix?)",
                    404 => " (etcd 3.4 and 3.5 speak v2 with --enable-v2 only, later ones never)",
                    _ => "",
                };
                let secrets: Vec<&str> = sent.iter().map(|h| bare(&h.1)).collect();
                Err(Fail::Refused(fill("% %%", &[&status.to_string(), &words(&said, &secrets), hint])))
            }
        }
    };
    let ttl = (s.ttl / 1_000).to_string();
    let beat = || call("PUT", &["?dir=true&prevExist=true&ttl=", &ttl].concat(), "");
    match what {
        What::Register => {
            match call("PUT", &["?dir=true&ttl=", &ttl].concat(), "") {
                Ok(()) | Err(Fail::Known) => {}
                made => return made,
            }
            *is_flat = false;
            match beat() {
                Err(Fail::Known) => {
                    *is_flat = true;
                    call("DELETE", ALL, "")?;
                }
                kept => kept?,
            }
            let mut form = String::from("value=");
            encode_into(&mut form, &value(s), false);
            if *is_flat {
                form.push_str("&ttl=");
                form.push_str(&ttl);
            }
            call("PUT", "/service", &form)
        }
        What::Pass if *is_flat => call("PUT", &["/service?prevExist=true&refresh=true&ttl=", &ttl].concat(), ""),
        What::Pass => beat(),
        What::Leave => call("DELETE", ALL, ""),
    }
}

/// What is known of a service at an etcd that speaks v3.
pub struct Lease<'a> {
    client: Client<'a>,
    /// The key, as it is in JSON.
    key: String,
    /// 0: none.
    id: u64,
}

impl<'a> Lease<'a> {
    /// None is held yet.
    pub fn new(client: Client<'a>, prefix: &str, s: &Service) -> Lease<'a> {
        let key = fill("%/%/%/service", &[prefix, &s.name, &s.id]);
        Lease { client, key: base64::encode(key.as_bytes()), id: 0 }
    }

    /// Tells an etcd, before `until` (by `clock`).
    #[inline(never)]
    pub fn tell(&mut self, s: &Service, what: What, server: &Server, until: Millis) -> Result<(), Fail> {
        let id = self.id.to_string();
        let lease = fill(r#"{"ID":"%"}"#, &[&id]);
        let mut call = |path: &str, pattern: &str, words: &[&str]| {
            let said = self.client.ask(server, path, &fill(pattern, words), until);
            said.map_err(|why| if why.contains(NO_LEASE) { Fail::Unknown } else { Fail::Lost(why) })
        };
        match what {
            What::Register => {
                let granted = call("/lease/grant", r#"{"TTL":"%"}"#, &[&(s.ttl / 1_000).to_string()])?;
                let granted = number(&granted, "ID");
                if granted == 0 {
                    return Err(Fail::Refused("the answer names no lease: it is none of etcd's".to_string()));
                }
                let body = [&*self.key, &base64::encode(value(s).as_bytes()), &granted.to_string()];
                call("/kv/put", r#"{"key":"%","value":"%","lease":"%"}"#, &body)?;
                self.id = granted;
            }
            What::Pass => {
                let kept = call("/lease/keepalive", &lease, &[])?;
                let left = field(&kept, "result").map_or(0, |r| number(r, "TTL"));
                // Somebody may have removed the key alone.
                let found = call("/kv/range", r#"{"key":"%","count_only":true,"serializable":true}"#, &[&self.key])?;
                if left == 0 || number(&found, "count") == 0 {
                    return Err(Fail::Unknown);
                }
            }
            What::Leave => {
                call("/kv/deleterange", r#"{"key":"%"}"#, &[&self.key])?;
                // Where etcd 3.3 has it, and later ones too.
                call("/kv/lease/revoke", &lease, &[])?;
                self.id = 0;
            }
        }
        Ok(())
    }
}
