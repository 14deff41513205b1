//! confd's backends, as confd and confd-sidecar name them: from names, nodes and credentials to a source.

use super::draft::Draft;
use super::settings::Settings;
use super::{consul_at, consul_source, etcd_source, file_source, list, owned, srv_record};
use crate::error::{Error, Result};
use crate::plan::{Consul, Level, Secret, Source, SourceKind};

/// The source that confd's settings speak of, and what confd says of it. `consul` is what may be settled by other options.
///
/// # Errors
/// `Kind::Usage` for a backend that is not there, `Kind::Config` for a node that is none.
pub fn source(
    name: &str,
    s: &Settings,
    allow_empty: bool,
    consul: &dyn Fn(&mut Consul),
) -> Result<(Source, Vec<(Level, String)>)> {
    let mut notes = vec![(Level::Info, format!("Backend set to {name}")), (Level::Info, "Starting confd".to_string())];
    let (mut nodes, scheme) = (s.many("node").join(","), s.or("scheme", "http"));
    if let Some(record) = srv_record(s.one("srv-record"), s.one("srv-domain"), name)
        && !matches!(name, "env" | "file")
    {
        notes.push((Level::Info, format!("SRV record set to {record}")));
        nodes = [crate::plan::SRV, &record].concat();
    }
    let source = match name {
        "consul" => {
            let mut c = consul_at(&nodes, scheme, s.world)?;
            if let Some(token) = s.one("auth-token") {
                c.token = Secret::Text(token.to_string());
            }
            c.basic = s.one("username").zip(s.one("password")).map(owned).or(c.basic);
            consul(&mut c);
            let bare: Vec<&str> = c.addresses.iter().map(|a| a.strip_prefix("http://").unwrap_or(a)).collect();
            notes.push((Level::Info, format!("Backend nodes set to {}", bare.join(", "))));
            consul_source(c, allow_empty)
        }
        "etcd" | "etcdv3" => {
            let (version, default) = if name == "etcd" { (2, "http://127.0.0.1:4001") } else { (3, "127.0.0.1:2379") };
            if list(&nodes).next().is_none() {
                nodes = s.world.var("ETCDCTL_PEERS").unwrap_or(default).to_string();
            }
            // The one option of Consul's that is etcd's too.
            let mut c = Consul { wait: 60_000, ..Consul::default() };
            consul(&mut c);
            let basic = s.one("username").zip(s.one("password"));
            let source = etcd_source((version, &nodes, scheme), basic, c.wait, allow_empty)?;
            notes.push((Level::Info, format!("Backend nodes set to {}", list(&nodes).collect::<Vec<_>>().join(", "))));
            source
        }
        "env" => {
            notes.push((Level::Info, "Backend nodes set to ".to_string()));
            Source { name: "the environment".to_string(), kind: SourceKind::Env, allow_empty }
        }
        "file" => {
            let source = file_source(&s.many("file").join(","), s.one("filter"), allow_empty)
                .map_err(|e| Error::config(format!("the backend file: {e}; see -file (CONFD_FILE)")))?;
            let files = source.name.strip_prefix("files ").unwrap_or("");
            notes.push((Level::Info, format!("Backend source(s) set to {files}")));
            source
        }
        other => {
            return Err(Error::usage(format!(
                "the backend {other} is not in this version; there are consul, env, etcd, etcdv3 and file"
            )));
        }
    };
    Ok((source, notes))
}

/// Spells a draft's prefixes as this backend has them: the environment knows no capitals and no `_` in keys.
pub fn spell(name: &str, draft: &mut Draft) {
    if name == "env" {
        for prefix in draft.wants.iter_mut().chain([&mut draft.hidden]) {
            *prefix = crate::case::lower(prefix).replace('_', "/");
        }
    }
}
