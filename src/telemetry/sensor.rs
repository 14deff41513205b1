//! The values of sensors: what a handler printed becomes a number, the number a counter's, gauge's, histogram's or
//! summary's, and these become lines of the metrics. It decides what a text counts as; it runs nothing and reads no clock.

use super::text::{Kind, Page};
use crate::plan::{Millis, Sensor, SensorKind};
use crate::text::decimal;
use crate::text::float::fmt_float;
use crate::text::group;

/// The upper ends of a histogram's buckets, as numbers and as labels; above the last there is one more, without an end.
static ENDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
static LABELS: &str = "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 +Inf";
/// A summary's quantiles.
static QUANTILES: [(&str, usize); 3] = [("0.5", 50), ("0.9", 90), ("0.99", 99)];
/// They are those of the values of so many last milliseconds,
const WINDOW: Millis = 600_000;
/// and of no more than so many newest ones: 64 KiB.
const MOST: usize = 4096;

/// One sensor's values.
struct Meter {
    sensor: Sensor,
    /// The value of a counter or gauge, the sum of the others.
    sum: f64,
    count: u64,
    buckets: [u64; ENDS.len() + 1],
    /// A summary's newest values with the times they came at, the least value first: no quantile is ever a guess, and
    /// nothing needs to be sorted.
    recent: Vec<(f64, Millis)>,
}

/// All sensors' values.
#[derive(Default)]
pub struct Meters {
    all: Vec<Meter>,
}

/// A number as Prometheus' programs in Go write and read it.
#[inline(never)]
fn go(value: f64) -> String {
    fmt_float(value, b'g', None)
}

/// What strconv.ParseFloat takes for a number (as of the Go that ContainerPilot 2 was built with: no hexadecimal digits and
/// no underscores), with white space around it. What is too large for a float is none.
#[inline(never)]
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Some(value) = decimal::read(text) {
        return Some(value).filter(|v| v.is_finite());
    }
    match group(&text.to_ascii_lowercase(), "nan, inf +inf infinity +infinity, -inf -infinity") {
        0 => Some(f64::NAN),
        1 => Some(f64::INFINITY),
        2 => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

impl Meters {
    /// Those of these sensors; what `before` knows of the same ones is kept.
    #[inline(never)]
    pub fn new(sensors: &[Sensor], mut before: Meters) -> Meters {
        let mut all = Vec::new();
        for sensor in sensors {
            all.push(match before.all.iter().position(|m| m.sensor == *sensor) {
                Some(i) => before.all.swap_remove(i),
                None => Meter {
                    sensor: sensor.clone(),
                    sum: 0.0,
                    count: 0,
                    buckets: [0; ENDS.len() + 1],
                    recent: Vec::new(),
                },
            });
        }
        Meters { all }
    }

    /// Takes in what a sensor's handler printed. `now` is the clock of `sys::host::clock`, which goes on from one
    /// configuration to the next. NaN and the infinities are values like others, as they are for Prometheus' clients: a
    /// gauge can say that there is nothing to say, and what they do to a sum is what whoever knows those expects.
    ///
    /// # Errors
    /// It is no number, or one that a counter cannot take: in words, without it.
    #[inline(never)]
    pub fn observe(&mut self, sensor: usize, text: &str, now: Millis) -> Result<(), String> {
        let Some(m) = self.all.get_mut(sensor) else { return Ok(()) };
        let Some(value) = number(text) else { return Err("what it printed is no number".to_string()) };
        match m.sensor.kind {
            SensorKind::Gauge => {
                m.sum = value;
                return Ok(());
            }
            SensorKind::Counter if value < 0.0 => {
                return Err("what it printed is below 0, and a counter only grows".to_string());
            }
            SensorKind::Counter => {}
            SensorKind::Histogram => {
                // NaN is below no end: the last bucket has it.
                let at = ENDS.iter().position(|end| value <= *end).unwrap_or(ENDS.len());
                if let Some(n) = m.buckets.get_mut(at) {
                    *n += 1;
                }
            }
            SensorKind::Summary => {
                let recent = &mut m.recent;
                recent.retain(|(_, at)| is_recent(*at, now));
                if recent.len() >= MOST
                    && let Some(first) = recent.iter().map(|(_, at)| *at).min()
                    && let Some(i) = recent.iter().position(|(_, at)| *at == first)
                {
                    recent.remove(i);
                }
                let i = recent.iter().position(|(v, _)| v.total_cmp(&value).is_ge()).unwrap_or(recent.len());
                recent.insert(i, (value, now));
            }
        }
        m.sum += value;
        m.count += 1;
        Ok(())
    }

    /// Adds their lines.
    #[inline(never)]
    pub fn write(&self, page: &mut Page, now: Millis) {
        for m in &self.all {
            let name = m.sensor.name.as_str();
            let kind = match m.sensor.kind {
                SensorKind::Counter => Kind::Counter,
                SensorKind::Gauge => Kind::Gauge,
                SensorKind::Histogram => Kind::Histogram,
                SensorKind::Summary => Kind::Summary,
            };
            page.metric(name, kind, &m.sensor.help);
            match m.sensor.kind {
                SensorKind::Counter | SensorKind::Gauge => {
                    page.sample(name, ("", ""), &go(m.sum));
                    continue;
                }
                SensorKind::Histogram => {
                    let mut below = 0;
                    for (label, n) in LABELS.split(' ').zip(&m.buckets) {
                        below += n;
                        page.text.push_str(name);
                        page.sample("_bucket", ("le", label), &below.to_string());
                    }
                }
                SensorKind::Summary => {
                    let live = m.recent.iter().filter(|(_, at)| is_recent(*at, now));
                    let live: Vec<f64> = live.map(|(v, _)| *v).collect();
                    for (label, percent) in &QUANTILES {
                        // The value that so many in a hundred do not exceed.
                        let at = (live.len() * percent).div_ceil(100).saturating_sub(1);
                        page.sample(name, ("quantile", label), &go(live.get(at).copied().unwrap_or(f64::NAN)));
                    }
                }
            }
            page.text.push_str(name);
            page.sample("_sum", ("", ""), &go(m.sum));
            page.text.push_str(name);
            page.sample("_count", ("", ""), &m.count.to_string());
        }
    }
}

fn is_recent(at: Millis, now: Millis) -> bool {
    now.saturating_sub(at) < WINDOW
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn sensor(name: &str, kind: SensorKind) -> Sensor {
        Sensor { name: name.to_string(), help: "Of it.".to_string(), kind }
    }

    fn one(kind: SensorKind) -> Meters {
        Meters::new(&[sensor("m", kind)], Meters::default())
    }

    /// The page without its two lines of comment.
    fn page(of: &Meters, now: Millis) -> Vec<String> {
        let mut page = Page::default();
        of.write(&mut page, now);
        page.text.lines().filter(|l| !l.starts_with('#')).map(str::to_string).collect()
    }

    fn line(of: &Meters, name: &str, now: Millis) -> String {
        let all = page(of, now);
        let found = all.iter().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("{name} is not in {all:?}")).to_string()
    }

    #[test]
    fn what_counts_as_a_number() {
        for (text, want) in [
            ("1", "1"),
            (" 2.5 \n", "2.5"),
            ("\t-3\r\n", "-3"),
            ("+4e3", "4000"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1e-400", "0"),
            ("NaN", "NaN"),
            ("nan", "NaN"),
            ("Inf", "+Inf"),
            ("+inf", "+Inf"),
            ("-Infinity", "-Inf"),
            ("infinity\n", "+Inf"),
            ("123456789", "1.23456789e+08"),
            ("", "none"),
            (" \n", "none"),
            ("1 2", "none"),
            ("1\n2\n", "none"),
            ("1,5", "none"),
            ("0x10", "none"),
            ("1_000", "none"),
            ("1e400", "none"),
            ("-1e999", "none"),
            ("+NaN", "none"),
            ("-nan", "none"),
            ("infinit", "none"),
            ("value 3", "none"),
            ("e", "none"),
            ("\u{0}1", "none"),
        ] {
            assert_eq!(number(text).map_or("none".to_string(), go), want, "{text:?}");
        }
    }

    #[test]
    fn before_the_first_value_all_is_zero_and_quantiles_are_nothing() {
        let all = [SensorKind::Counter, SensorKind::Gauge, SensorKind::Histogram, SensorKind::Summary];
        let sensors: Vec<Sensor> = ["c", "g", "h", "s"].iter().zip(all).map(|(n, k)| sensor(n, k)).collect();
        let mut page = Page::default();
        Meters::new(&sensors, Meters::default()).write(&mut page, 0);
        let want = "# HELP c Of it.\n# TYPE c counter\nc 0\n# HELP g Of it.\n# TYPE g gauge\ng 0\n\
            # HELP h Of it.\n# TYPE h histogram\nh_bucket{le=\"0.005\"} 0\nh_bucket{le=\"0.01\"} 0\n\
            h_bucket{le=\"0.025\"} 0\nh_bucket{le=\"0.05\"} 0\nh_bucket{le=\"0.1\"} 0\nh_bucket{le=\"0.25\"} 0\n\
            h_bucket{le=\"0.5\"} 0\nh_bucket{le=\"1\"} 0\nh_bucket{le=\"2.5\"} 0\nh_bucket{le=\"5\"} 0\n\
            h_bucket{le=\"10\"} 0\nh_bucket{le=\"+Inf\"} 0\nh_sum 0\nh_count 0\n\
            # HELP s Of it.\n# TYPE s summary\ns{quantile=\"0.5\"} NaN\ns{quantile=\"0.9\"} NaN\n\
            s{quantile=\"0.99\"} NaN\ns_sum 0\ns_count 0\n";
        assert_eq!(page.text, want);
    }

    #[test]
    fn counters_add_and_gauges_set() {
        let mut c = one(SensorKind::Counter);
        for _ in 0..5 {
            c.observe(0, " 2.5 ", 0).unwrap();
        }
        assert_eq!(page(&c, 0), ["m 12.5"]);
        // What is refused changes nothing, and is not in the message.
        for text in ["-1", "-0.001", "-inf", "secret", "", "1e999"] {
            let why = c.observe(0, text, 0).unwrap_err();
            assert!(text.is_empty() || !why.contains(text), "{why}");
        }
        c.observe(0, "-0", 0).unwrap();
        c.observe(0, "0", 0).unwrap();
        assert_eq!(page(&c, 0), ["m 12.5"]);
        c.observe(0, "1e6", 0).unwrap();
        assert_eq!(page(&c, 0), ["m 1.0000125e+06"]);
        let mut g = one(SensorKind::Gauge);
        for (text, want) in
            [("7", "m 7"), ("-2.5", "m -2.5"), ("NaN", "m NaN"), ("+Inf", "m +Inf"), ("1e21", "m 1e+21")]
        {
            g.observe(0, text, 0).unwrap();
            assert_eq!(page(&g, 0), [want]);
            assert!(g.observe(0, "no", 0).is_err());
            assert_eq!(page(&g, 0), [want], "what is no number leaves the value");
        }
        // A sensor that is not there: nothing to do.
        assert_eq!(g.observe(1, "1", 0), Ok(()));
    }

    #[test]
    fn histograms_count_what_is_at_most_a_buckets_end() {
        let mut h = one(SensorKind::Histogram);
        // By hand: on an end, just above one, below all, above all.
        for text in ["0.005", "0.0051", "-3", "1", "1.5", "10", "10.1", "2.5"] {
            h.observe(0, text, 0).unwrap();
        }
        let want = [
            ("0.005", 2),
            ("0.01", 3),
            ("0.025", 3),
            ("0.05", 3),
            ("0.1", 3),
            ("0.25", 3),
            ("0.5", 3),
            ("1", 4),
            ("2.5", 6),
            ("5", 6),
            ("10", 7),
            ("+Inf", 8),
        ];
        for (end, n) in want {
            assert_eq!(line(&h, &format!("m_bucket{{le=\"{end}\"}}"), 0), n.to_string(), "{end}");
        }
        assert_eq!((line(&h, "m_sum", 0).as_str(), line(&h, "m_count", 0).as_str()), ("22.1101", "8"));
        h.observe(0, "NaN", 0).unwrap();
        assert_eq!((line(&h, "m_bucket{le=\"10\"}", 0).as_str(), line(&h, "m_count", 0).as_str()), ("7", "9"));
        assert_eq!((line(&h, "m_bucket{le=\"+Inf\"}", 0).as_str(), line(&h, "m_sum", 0).as_str()), ("9", "NaN"));
    }

    fn quantiles(of: &Meters, now: Millis) -> [String; 3] {
        ["0.5", "0.9", "0.99"].map(|q| line(of, &format!("m{{quantile=\"{q}\"}}"), now))
    }

    #[test]
    fn summaries_know_the_last_ten_minutes() {
        let mut s = one(SensorKind::Summary);
        s.observe(0, "3", 0).unwrap();
        assert_eq!(quantiles(&s, 0), ["3", "3", "3"]);
        // 1 to 10 in no order: the fifth, the ninth, the tenth.
        for n in [7, 2, 9, 1, 10, 5, 8, 4, 6] {
            s.observe(0, &n.to_string(), 1_000).unwrap();
        }
        assert_eq!(quantiles(&s, 2_000), ["5", "9", "10"]);
        assert_eq!((line(&s, "m_sum", 0).as_str(), line(&s, "m_count", 0).as_str()), ("55", "10"));
        // The 3 is too old: of 1 2 4 5 6 7 8 9 10 the fifth, the ninth (8.1), the ninth (8.91).
        assert_eq!(quantiles(&s, WINDOW + 500), ["6", "10", "10"]);
        s.observe(0, "100", WINDOW + 500).unwrap();
        assert_eq!(quantiles(&s, WINDOW + 500), ["6", "10", "100"]);
        assert_eq!(quantiles(&s, WINDOW + 1_000), ["100", "100", "100"]);
        // Sum and count are of all times.
        assert_eq!(quantiles(&s, 3 * WINDOW), ["NaN", "NaN", "NaN"]);
        assert_eq!((line(&s, "m_sum", 0).as_str(), line(&s, "m_count", 0).as_str()), ("155", "11"));
        let mut s = one(SensorKind::Summary);
        for n in (1..=1000).rev() {
            s.observe(0, &n.to_string(), n).unwrap();
        }
        assert_eq!(quantiles(&s, 1000), ["500", "900", "990"]);
    }

    #[test]
    fn a_summary_takes_no_more_memory_than_it_may() {
        let mut s = one(SensorKind::Summary);
        // Only the newest count: 1 to MOST are gone by the end.
        for n in 1..=2 * MOST as u64 {
            s.observe(0, &n.to_string(), n).unwrap();
        }
        assert_eq!(s.all.iter().map(|m| m.recent.len()).max(), Some(MOST));
        assert_eq!(quantiles(&s, 2 * MOST as u64)[0], (MOST + MOST / 2).to_string());
        assert_eq!(line(&s, "m_count", 0), (2 * MOST).to_string());
    }

    #[test]
    fn what_stays_the_same_keeps_its_value() {
        let (a, b) = (sensor("a", SensorKind::Counter), sensor("b", SensorKind::Gauge));
        let mut m = Meters::new(&[a.clone(), b.clone()], Meters::default());
        m.observe(0, "1", 0).unwrap();
        m.observe(1, "2", 0).unwrap();
        // In another order, and with one more.
        let mut m = Meters::new(&[b.clone(), sensor("c", SensorKind::Gauge), a.clone()], m);
        assert_eq!(page(&m, 0), ["b 2", "c 0", "a 1"]);
        m.observe(2, "5", 0).unwrap();
        assert_eq!(page(&m, 0), ["b 2", "c 0", "a 6"]);
        // Another kind or help: another sensor.
        let other = Sensor { help: "Another.".to_string(), ..b };
        let m = Meters::new(&[other, sensor("a", SensorKind::Gauge), a], m);
        assert_eq!(page(&m, 0), ["b 0", "a 0", "a 6"]);
    }
}
