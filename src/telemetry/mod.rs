//! What we say of ourselves to those who ask by HTTP: whether the loop turns, whether the files are in place, whether the
//! app runs with the newest ones, and metrics. It decides what is answered to which path; `server` knows the connections,
//! `text` the format of metrics, `sensor` those that handlers measure, `control` who may also tell us something, and the
//! facts are `state`'s.

pub mod control;
pub mod sensor;
pub mod server;
pub mod text;

use crate::plan::Millis;
use crate::state::facts::{COUNTS, Count, Facts};
use sensor::Meters;
use text::{Kind, Page};

/// The metrics that are counted: by `Count`, with a label's name and value where one metric has several.
pub static COUNTERS: [(&str, &str, &str, &str); COUNTS] = [
    ("pilotfish_syncs_total", "", "", "Times that keys came from a source."),
    ("pilotfish_renders_total", "result", "ok", "Renders of a file or a folder."),
    ("pilotfish_renders_total", "result", "failed", ""),
    ("pilotfish_checks_failed_total", "", "", "Checks that refused new content."),
    ("pilotfish_updates_total", "", "", "Files and folders put in place."),
    ("pilotfish_reloads_total", "result", "ok", "Times that somebody was told of new files."),
    ("pilotfish_reloads_total", "result", "failed", ""),
    ("pilotfish_rollbacks_total", "", "", "Files and folders whose content of before was put back."),
    ("pilotfish_app_starts_total", "", "", "Starts of the app."),
];

/// When things were done last.
pub static TIMES: [(&str, Count, &str); 3] = [
    ("pilotfish_last_sync_timestamp_seconds", Count::Syncs, "When keys came last."),
    ("pilotfish_last_update_timestamp_seconds", Count::Updates, "When a file or folder was put in place last."),
    ("pilotfish_last_reload_timestamp_seconds", Count::Reloads, "When a reload succeeded last."),
];

/// All that is neither.
pub static GAUGES: [(&str, &str); 8] = [
    ("pilotfish_build_info", "Always 1; the label says which version it is."),
    ("pilotfish_ready", "Whether /readyz says yes."),
    ("pilotfish_app_running", "Whether the app runs."),
    ("pilotfish_source_up", "Whether a source works."),
    ("pilotfish_source_keys", "The keys a source gave."),
    ("pilotfish_certificate_expiry_timestamp_seconds", "When a certificate in use ends."),
    ("pilotfish_service_passing", "Whether the catalog knows that a service of ours is well."),
    ("pilotfish_backend_instances", "The instances of a watched service that are well."),
];

/// An answer.
pub struct Answer {
    /// The HTTP status, with its words.
    pub status: &'static str,
    /// What the body is.
    pub kind: &'static str,
    /// The body.
    pub body: String,
}

/// How a service is that is well (`Facts::services`).
const PASSING: &str = "passing";
const PLAIN: &str = "text/plain; charset=utf-8";

fn said(status: &'static str, text: &str) -> Answer {
    Answer { status, kind: PLAIN, body: [text, "\n"].concat() }
}

fn yes_unless(why: Option<&str>, yes: &str) -> Answer {
    match why {
        None => said("200 OK", yes),
        Some(why) => said("503 Service Unavailable", why),
    }
}

/// What the clocks show.
#[derive(Clone, Copy, Default)]
pub struct Clocks {
    /// The clock of the facts, in milliseconds.
    pub now: Millis,
    /// The clock of the sensors, in milliseconds: it goes on when a new configuration takes over.
    pub lasting: Millis,
    /// Seconds since 1970.
    pub wall: u64,
}

/// The answer to a method and a path.
#[inline(never)]
pub fn answer(method: &str, path: &str, facts: &Facts, meters: &Meters, at: Clocks) -> Answer {
    if method != "GET" {
        return said("405 Method Not Allowed", "only GET is understood here");
    }
    match path {
        // Whoever answers is the loop itself.
        "/healthz" => said("200 OK", "the loop turns"),
        "/startupz" => yes_unless(facts.unstarted.as_deref(), "the files are in place"),
        "/readyz" => yes_unless(facts.unready.as_deref(), "ready"),
        "/metrics" => Answer {
            status: "200 OK",
            kind: "text/plain; version=0.0.4; charset=utf-8",
            body: metrics(facts, meters, at),
        },
        _ => said("404 Not Found", "there are /healthz, /startupz, /readyz and /metrics"),
    }
}

fn bit(is_so: bool) -> &'static str {
    if is_so { "1" } else { "0" }
}

#[inline(never)]
fn metrics(facts: &Facts, meters: &Meters, clocks: Clocks) -> String {
    let mut page = Page::default();
    for ((name, label, of, help), n) in COUNTERS.iter().zip(facts.tally.counts) {
        if !help.is_empty() {
            page.metric(name, Kind::Counter, help);
        }
        page.sample(name, (label, of), &n.to_string());
    }
    for (name, what, help) in &TIMES {
        if let Some(at) = facts.tally.last.get(*what as usize).copied().flatten() {
            page.metric(name, Kind::Gauge, help);
            let ago = clocks.now.saturating_sub(at) / 1000;
            page.sample(name, ("", ""), &clocks.wall.saturating_sub(ago).to_string());
        }
    }
    for (i, (name, help)) in GAUGES.iter().enumerate() {
        let is_there = match i {
            2 => facts.app_runs.is_some(),
            5 => !facts.certificates.is_empty(),
            6 => !facts.services.is_empty(),
            7 => !facts.instances.is_empty(),
            _ => true,
        };
        if !is_there {
            continue;
        }
        page.metric(name, Kind::Gauge, help);
        match i {
            0 => page.sample(name, ("version", env!("CARGO_PKG_VERSION")), "1"),
            1 => page.sample(name, ("", ""), bit(facts.unready.is_none())),
            2 => page.sample(name, ("", ""), bit(facts.app_runs == Some(true))),
            5 => {
                for (whose, end) in &facts.certificates {
                    page.sample(name, ("certificate", whose), &end.to_string());
                }
            }
            6 => {
                for (id, how) in &facts.services {
                    page.sample(name, ("service", id), bit(*how == PASSING));
                }
            }
            7 => {
                for (backend, n) in &facts.instances {
                    page.sample(name, ("backend", backend), &n.to_string());
                }
            }
            _ => {
                for source in &facts.sources {
                    let keys = source.keys.to_string();
                    page.sample(name, ("source", &source.name), if i == 3 { bit(source.is_up) } else { &keys });
                }
            }
        }
    }
    meters.write(&mut page, clocks.lasting);
    page.text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::plan::{Sensor, SensorKind};
    use crate::state::facts::{SourceFact, Tally};

    pub(super) fn facts() -> Facts {
        let mut tally = Tally::default();
        if let (Some(n), Some(last)) =
            (tally.counts.get_mut(Count::Reloads as usize), tally.last.get_mut(Count::Reloads as usize))
        {
            (*n, *last) = (7, Some(5_000));
        }
        let source = |name: &str, is_up: bool| SourceFact { name: name.to_string(), is_up, keys: 3 };
        let sources = vec![source("a \"b\"", true), source("c", false)];
        Facts {
            unready: None,
            unstarted: None,
            tally,
            sources,
            app_runs: Some(true),
            services: vec![("web-1".to_string(), "passing"), ("db-1".to_string(), "failing")],
            instances: vec![("nginx?x".to_string(), 2)],
            is_maintained: false,
            certificates: vec![("mine".to_string(), 99)],
        }
    }

    #[test]
    fn each_path_has_its_answer() {
        let mut f = facts();
        let get = |f: &Facts, path: &str| answer("GET", path, f, &Meters::default(), Clocks::default());
        let status = |f: &Facts, path: &str| get(f, path).status.split(' ').next().unwrap().to_string();
        let all = ["/healthz", "/startupz", "/readyz", "/metrics", "/", "/readyz/"];
        assert_eq!(all.map(|p| status(&f, p)), ["200", "200", "200", "200", "404", "404"]);
        f.unready = Some("why".to_string());
        assert_eq!(all.map(|p| status(&f, p)), ["200", "200", "503", "200", "404", "404"]);
        assert_eq!(get(&f, "/readyz").body, "why\n");
        for method in ["POST", "PUT", "get", ""] {
            let got = answer(method, "/healthz", &f, &Meters::default(), Clocks::default());
            assert!(got.status.starts_with("405 "), "{method}");
        }
        f.unstarted = Some("not yet".to_string());
        assert_eq!(all.map(|p| status(&f, p)), ["200", "503", "503", "200", "404", "404"]);
    }

    #[test]
    fn metrics_tell_what_is() {
        let sensor = Sensor { name: "a_b_c".to_string(), help: "Of it.".to_string(), kind: SensorKind::Counter };
        let mut meters = Meters::new(&[sensor], Meters::default());
        meters.observe(0, "2.5", 0).unwrap();
        let clocks = Clocks { now: 12_000, lasting: 0, wall: 1_000_000 };
        let page = metrics(&facts(), &meters, clocks);
        for line in [
            "pilotfish_reloads_total{result=\"ok\"} 7",
            "pilotfish_reloads_total{result=\"failed\"} 0",
            "pilotfish_last_reload_timestamp_seconds 999993",
            "pilotfish_ready 1",
            "pilotfish_app_running 1",
            "pilotfish_source_up{source=\"a \\\"b\\\"\"} 1",
            "pilotfish_source_up{source=\"c\"} 0",
            "pilotfish_source_keys{source=\"c\"} 3",
            "pilotfish_certificate_expiry_timestamp_seconds{certificate=\"mine\"} 99",
            "pilotfish_service_passing{service=\"web-1\"} 1",
            "pilotfish_service_passing{service=\"db-1\"} 0",
            "pilotfish_backend_instances{backend=\"nginx?x\"} 2",
            "a_b_c 2.5",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in:\n{page}");
        }
        assert!(!page.contains("last_sync"), "what never was has no time");
        assert_eq!(page.matches("# TYPE pilotfish_reloads_total ").count(), 1);
    }
}
