//! config-controller's way in: its flags in Go's style, ConfigMaps (and here Secrets) that become the files of one folder,
//! and who is told of them: a server elsewhere by HTTP, or the program behind `--`.

use super::draft::{want, wire};
use super::flags::Given;
use super::help::{self, Help};
use super::options::{self, Options};
use super::settings::{go_bool, typed};
use super::{World, identity, kube, native, reload};
use crate::error::{Error, Kind, Result};
use crate::plan::{Level, Part, Plan, Reload, Tree};
use crate::template::Dialect;

/// The help, as Go prints it. Every flag there is stands in it.
pub const HELP: &str = "\
Usage of config-controller: [FLAGS] [-- PROGRAM [ARGS...]]
  -allow-empty
    \tlet all keys vanish, and all files with them; by default the last good ones stay
  -atomic-dir
    \treplace all files at once, as the kubelet does in a volume
  -configmap value
    \t[NAMESPACE/]NAME of a ConfigMap whose keys become files; repeatable
  -configroot value
    \tthe folder of the files; / in a key makes a folder in it
  -dir-mode value
    \tthe mode of folders (default 0755)
  -health-port value
    \tanswer /healthz, /readyz and /metrics on this port
  -kubeconfig value
    \tthe cluster and who we are there, where this is no pod
  -max-outage value
    \tnot ready when a source is in trouble for longer, such as 10m (default: ready with the last good files)
  -mode value
    \tthe mode of files (default 0644, of Secrets 0600)
  -reload-http value
    \ttell who listens at this URL of new files
  -reload-http-method value
    \tby this method (default POST)
  -running-in-cluster
    \tthis is a pod with a service account (default true, without -kubeconfig)
  -secret value
    \t[NAMESPACE/]NAME of a Secret whose keys become files; repeatable
  -selector value
    \t[NAMESPACE/]LABELS of ConfigMaps whose keys become files; repeatable
  -v value
    \t4 and more: log each step
  -version
    \tprint the version
";

/// Flags of Go's and Kubernetes' libraries that users pass.
static FOREIGN: &str = "logtostderr? alsologtostderr? stderrthreshold vmodule log_backtrace_at log-backtrace-at log_dir \
                        log-dir log_file log-file log-flush-frequency skip_headers? skip-headers? one-output? \
                        one_output? add_dir_header? skip_log_headers? log_file_max_size";

/// Reads the command line behind `config-controller` into the plan, or gives what to print.
///
/// # Errors
/// `Kind::Flag` for the command line, in Go's words; `Kind::Usage` and `Kind::Config` for what it names.
#[inline(never)]
pub fn read(args: &[String], plan: &mut Plan, world: &World) -> Result<Option<&'static str>> {
    let (given, program) = typed(args, help::text(Help::ConfigController), FOREIGN)?;
    if given.is_set("help") {
        return Ok(Some(help::text(Help::ConfigController)));
    }
    if given.is_set("version") {
        return Ok(Some(concat!("config-controller (pilotfish ", env!("CARGO_PKG_VERSION"), ")\n")));
    }
    fill(plan, &given, program, world)?;
    Ok(None)
}

#[inline(never)]
fn wrong(flag: &str, value: &str, why: &str) -> Error {
    Error::filled(Kind::Usage, "--%=%: %", &[flag, value, why])
}

/// The mode that a flag says.
#[inline(never)]
fn mode(given: &Given, flag: &str) -> Result<Option<u32>> {
    let Some(text) = given.get(flag) else { return Ok(None) };
    options::mode(text).map(Some).map_err(|want| wrong(flag, text, &["expected ", want].concat()))
}

#[inline(never)]
fn fill(plan: &mut Plan, given: &Given, program: &[String], world: &World) -> Result<()> {
    let need = |text: &str| Err(Error::usage(["config-controller: ", text, "; see config-controller --help"].concat()));
    let Some(root) = given.get("configroot").filter(|r| !r.is_empty()) else {
        return need("--configroot=DIR is missing");
    };
    if program.is_empty() && !given.is_set("reload-http") {
        return need("who is to be told of new files? give --reload-http=URL, or -- PROGRAM [ARGS...]");
    }
    // A folder that is named says more than the default of the switch.
    let is_pod = match given.get("running-in-cluster") {
        Some(said) => go_bool(said).unwrap_or(true),
        None => !given.is_set("kubeconfig") && world.var("KUBERNETES_SERVICE_HOST").is_some(),
    };
    let said = mode(given, "mode")?;
    let mut tree = Tree {
        parts: Vec::new(),
        dir_mode: mode(given, "dir-mode")?.unwrap_or(0o755),
        is_swapped: given.is_set("atomic-dir") && given.get("atomic-dir").and_then(go_bool) != Some(false),
    };
    let mut inputs = Vec::new();
    for flag in ["configmap", "selector", "secret"] {
        for value in given.every(flag) {
            // The prefix of a label has a dot, a namespace has none.
            let (namespace, name) = match value.split_once('/') {
                Some((namespace, name)) if !(flag == "selector" && namespace.contains(['.', '=', ','])) => {
                    (namespace, name)
                }
                _ => (kube::DEFAULT, value),
            };
            let mut k = kube::unknown();
            if is_pod {
                kube::by_account(&mut k, world)?;
            } else {
                kube::access(&mut k, given.get("kubeconfig"), world)?;
            }
            k.is_secret = flag == "secret";
            k.wait = 60_000;
            if flag == "selector" {
                k.selector = name.to_string();
                kube::set(&mut k, namespace, "")?;
            } else if namespace.is_empty() || name.is_empty() || name.contains('/') {
                return Err(wrong(flag, value, "expected NAME or NAMESPACE/NAME"));
            } else {
                kube::set(&mut k, namespace, name)?;
            }
            tree.parts.push(Part {
                mode: said.unwrap_or(if k.is_secret { 0o600 } else { 0o644 }),
                is_flat: flag == "selector",
            });
            let source = kube::add(plan, k, given.is_set("allow-empty"));
            inputs.push(want(source, "/", "/".to_string()));
        }
    }
    if inputs.is_empty() {
        return need("--configmap=[NAMESPACE/]NAME is missing");
    }
    let one = plan.template(root, String::new(), Dialect::Go, root);
    one.dest.make_dirs = true;
    (one.inputs, one.tree) = (inputs, Some(tree));
    wire(plan);
    let mut options = Options::read(&[], world, "")?;
    options.program = program.to_vec();
    native::add_app(plan, &options, None, world)?;
    identity::hide(plan, &[identity::OWN], &identity::passed(None, Some(&options)), "");
    native::common(plan, &options);
    if let Some(url) = given.get("reload-http") {
        let found = reload::by_http(url, given.get("reload-http-method").unwrap_or(""), "--reload-http", world)?;
        match &mut plan.app {
            Some(app) => app.reload = Reload::Request(found),
            None => plan.target = Some(Reload::Request(found)),
        }
    }
    if let Some(port) = given.get("health-port") {
        if port.parse::<u16>().is_err() {
            return Err(wrong("health-port", port, "expected a port such as 8080"));
        }
        plan.telemetry = Some([":", port].concat());
    }
    if let Some(time) = given.get("max-outage") {
        plan.max_outage =
            Some(options::time(time).map_err(|want| wrong("max-outage", time, &["expected ", want].concat()))?);
    }
    if given.get("v").is_some_and(|v| v.parse().is_ok_and(|n: u32| n >= 4)) {
        plan.log.level = Level::Debug;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
