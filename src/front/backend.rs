//! confd's backends, as confd and confd-sidecar name them: from names, nodes and credentials to a source.

use super::draft::Draft;
use super::{World, consul_address, consul_from_environment, consul_source, file_source, list};
use crate::error::{Error, Result};
use crate::plan::{Consul, Level, Secret, Source, SourceKind};

/// What confd's settings say of the backend, by confd's own names.
pub struct Backend<'a> {
    /// Its name.
    pub name: &'a str,
    /// `-node`, lists split or not.
    pub nodes: Vec<String>,
    /// `-scheme`.
    pub scheme: &'a str,
    /// `-username` and `-password`.
    pub basic: Option<(String, String)>,
    /// `-auth-token`.
    pub token: Option<String>,
    /// `-file`, lists split or not.
    pub files: Vec<String>,
    /// `-filter`.
    pub filter: Option<String>,
}

impl Backend<'_> {
    /// The source, and what confd says of it. `consul` is what may be settled by other options.
    ///
    /// # Errors
    /// `Kind::Usage` for a backend that is not there, `Kind::Config` for a node that is none.
    pub fn source(
        self,
        allow_empty: bool,
        world: &World,
        consul: &dyn Fn(&mut Consul) -> Result<()>,
    ) -> Result<(Source, Vec<(Level, String)>)> {
        let mut notes =
            vec![(Level::Info, format!("Backend set to {}", self.name)), (Level::Info, "Starting confd".to_string())];
        let source = match self.name {
            "consul" => {
                let mut c = consul_from_environment(world)?;
                let nodes: Vec<&str> = self.nodes.iter().flat_map(|n| list(n)).collect();
                if !nodes.is_empty() {
                    c.addresses = nodes.into_iter().map(|n| consul_address(n, self.scheme)).collect::<Result<_>>()?;
                }
                if let Some(token) = self.token {
                    c.token = Secret::Text(token);
                }
                if self.basic.is_some() {
                    c.basic = self.basic;
                }
                consul(&mut c)?;
                let bare: Vec<&str> = c.addresses.iter().map(|a| a.strip_prefix("http://").unwrap_or(a)).collect();
                notes.push((Level::Info, format!("Backend nodes set to {}", bare.join(", "))));
                consul_source(c, allow_empty)
            }
            "env" => {
                notes.push((Level::Info, "Backend nodes set to ".to_string()));
                Source { name: "the environment".to_string(), kind: SourceKind::Env, allow_empty }
            }
            "file" => {
                let source = file_source(&self.files.join(","), self.filter.as_deref(), allow_empty)
                    .map_err(|e| Error::config(format!("the backend file: {e}; see -file (CONFD_FILE)")))?;
                let files = source.name.strip_prefix("files ").unwrap_or("");
                notes.push((Level::Info, format!("Backend source(s) set to {files}")));
                source
            }
            other => {
                return Err(Error::usage(format!(
                    "the backend {other} is not in this version; there are consul, env and file"
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
}
