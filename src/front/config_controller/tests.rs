//! The flags of config-controller's users, and what they become.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::plan::{Kubernetes, SourceKind};
use std::io::ErrorKind;
use std::path::Path;

fn enter_by(args: &[&str], vars: &[(&str, &str)]) -> std::result::Result<Plan, String> {
    let vars: Vec<(String, String)> = vars.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
    let read = |path: &Path| match path.to_str().unwrap() {
        "kc" => Ok(b"{\"current-context\":\"\",\"contexts\":[{\"name\":\"\",\"context\":{}}]}".to_vec()),
        _ => Err(ErrorKind::NotFound.into()),
    };
    let list = |_: &Path| Err(ErrorKind::NotFound.into());
    let args: Vec<String> = args.iter().map(|a| (*a).to_string()).collect();
    let mut plan = Plan::default();
    match super::read(
        &args,
        &mut plan,
        &World { vars: &vars, read: &read, files: &list, host: &crate::front::Host::default },
    )
    .map_err(Error::into_text)?
    {
        None => Ok(plan),
        Some(text) => Err(text.to_string()),
    }
}

fn enter(args: &str) -> std::result::Result<Plan, String> {
    enter_by(&args.split(' ').filter(|a| !a.is_empty()).collect::<Vec<_>>(), &[("KUBERNETES_SERVICE_HOST", "10.0.0.1")])
}

fn objects(plan: &Plan) -> Vec<String> {
    let k = |kind: &SourceKind| match kind {
        SourceKind::Kubernetes(k) => Kubernetes::what(k),
        _ => panic!("no Kubernetes"),
    };
    plan.sources.iter().map(|s| k(&s.kind)).collect()
}

fn tree(plan: &Plan) -> &Tree {
    plan.templates[0].tree.as_ref().unwrap()
}

/// The seed's own examples.
#[test]
fn the_command_lines_of_its_readme() {
    let plan = enter(
        "--configroot=/mnt/config --configmap=production/prometheus --reload-http=http://localhost:9090/-/reload \
         --reload-http-method=POST",
    );
    let plan = plan.unwrap();
    assert_eq!(objects(&plan), ["configmap production/prometheus"]);
    assert_eq!(plan.templates[0].dest.path, Path::new("/mnt/config"));
    assert!(plan.templates[0].dest.make_dirs && plan.app.is_none());
    let Some(Reload::Request(r)) = &plan.target else { panic!("no request") };
    assert_eq!(
        (r.address.as_str(), r.path.as_str(), r.method.as_str()),
        ("http://localhost:9090", "/-/reload", "POST")
    );
    assert!(r.expect.is_empty() && r.retries == 0);
    assert_eq!((tree(&plan).parts[0].mode, tree(&plan).dir_mode, tree(&plan).is_swapped), (0o644, 0o755, false));

    let plan = enter(
        "--configroot=/config --configmap=production/postgresql -- /usr/lib/postgresql/9.3/bin/postgres -c \
         config_file=/config/postgresql.conf",
    );
    let app = plan.unwrap().app.unwrap();
    assert_eq!(app.argv, ["/usr/lib/postgresql/9.3/bin/postgres", "-c", "config_file=/config/postgresql.conf"]);
    assert!(matches!(app.reload, Reload::Signal(1)));
}

#[test]
fn more_objects_modes_and_ports() {
    let plan = enter(
        "-configroot /c -configmap a -secret=s/b --configmap=n/c --selector=n/app=web --selector app.io/x=y,z --mode 0640 \
         --dir-mode=700 --atomic-dir --health-port 8080 --max-outage=10m --v=4 --logtostderr --stderrthreshold 2 --log-dir=/x \
         --skip_headers=true --add_dir_header --log_file_max_size 9 --one_output --skip_log_headers --reload-http http://h/r --reload-http-method get -- app -v",
    );
    let plan = plan.unwrap();
    let want = [
        "configmap default/a",
        "configmap n/c",
        "configmaps of n with app=web",
        "configmaps of default with app.io/x=y,z",
        "secret s/b",
    ];
    assert_eq!(objects(&plan), want);
    let t = tree(&plan);
    assert!(t.parts.iter().all(|p| p.mode == 0o640) && t.dir_mode == 0o700 && t.is_swapped);
    assert_eq!(t.parts.iter().map(|p| p.is_flat).collect::<Vec<_>>(), [false, false, true, true, false]);
    assert_eq!(plan.templates[0].inputs.len(), plan.watches.len());
    assert_eq!((plan.telemetry.as_deref(), plan.max_outage), (Some(":8080"), Some(600_000)));
    assert!(plan.log.level == Level::Debug);
    let app = plan.app.unwrap();
    assert_eq!(app.argv, ["app", "-v"]);
    assert!(matches!(&app.reload, Reload::Request(r) if r.method == "GET"));
    let plan = enter("--configroot=/c --configmap=a --secret=b --atomic-dir=false -- app").unwrap();
    assert_eq!(tree(&plan).parts.iter().map(|p| p.mode).collect::<Vec<_>>(), [0o644, 0o600]);
    assert!(!tree(&plan).is_swapped && plan.log.level == Level::Info);
}

#[test]
fn what_is_wrong_is_said() {
    for (args, want) in [
        ("--configroot=/c --configmap=a", "who is to be told of new files? give --reload-http=URL, or -- PROGRAM"),
        ("--configroot=/c --configmap=a --", "who is to be told"),
        ("--configmap=a -- app", "--configroot=DIR is missing"),
        ("--configroot=/c -- app", "--configmap=[NAMESPACE/]NAME is missing"),
        ("--configroot=/c --configmap=a/b/c -- app", "--configmap=a/b/c: expected NAME or NAMESPACE/NAME"),
        ("--configroot=/c --configmap= -- app", "--configmap=: expected NAME"),
        ("--configroot=/c --configmap=a/ -- app", "expected NAME or NAMESPACE/NAME"),
        ("--configroot=/c --configmap=A -- app", "A is no name of Kubernetes'"),
        ("--configroot=/c --configmap=a --mode=rw -- app", "--mode=rw: expected an octal mode such as 0640"),
        ("--configroot=/c --configmap=a --max-outage=x -- app", "--max-outage=x: expected a time such as"),
        ("--configroot=/c --configmap=a --health-port=x -- app", "--health-port=x: expected a port"),
        ("--configroot=/c --configmap=a --reload-http=ftp://x", "--reload-http ftp://x: expected http"),
        (
            "--configroot=/c --configmap=a --reload-http=http://x --reload-http-method=EAT",
            "the method must be one of POST",
        ),
        (
            "--configroot=/c --configmap=a --nonsense -- app",
            "flag provided but not defined: -nonsense\nUsage of config-controller",
        ),
        ("--configroot", "flag needs an argument: -configroot"),
    ] {
        let why = enter(args).err().unwrap();
        assert!(why.contains(want), "{args}\n{why}\nwanted {want}");
    }
    assert!(enter("--help").err().unwrap().starts_with("Usage of config-controller"));
    assert!(enter("--version").err().unwrap().starts_with("config-controller (pilotfish "));
}

#[test]
fn a_pod_or_a_kubeconfig() {
    let args = ["--configroot=/c", "--configmap=a", "--reload-http=http://h/"];
    let with = |more: &[&str], vars: &[(&str, &str)]| enter_by(&[&args[..], more].concat(), vars).map(|_| ());
    let pod = [("KUBERNETES_SERVICE_HOST", "10.0.0.1")];
    assert!(with(&[], &pod).is_ok());
    assert!(with(&["--running-in-cluster"], &pod).is_ok());
    assert!(with(&[], &[]).err().unwrap().contains("KUBERNETES_SERVICE_HOST"));
    assert!(with(&["--running-in-cluster=true", "--kubeconfig=kc"], &[]).err().unwrap().contains("this is no pod"));
    for more in [&["--kubeconfig=kc"][..], &["--running-in-cluster=false", "--kubeconfig=kc"]] {
        assert!(with(more, &pod).err().unwrap().contains("the kubeconfig kc: there is no cluster"));
    }
}
