//! Metrics in the text format that Prometheus reads (version 0.0.4). It knows the format, and no metric.

/// What kind of metric it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Values counted in buckets.
    Histogram,
    /// Quantiles of values.
    Summary,
}

/// A page of metrics.
#[derive(Default)]
pub struct Page {
    /// What is written so far.
    pub text: String,
}

impl Page {
    /// Begins a metric: all its samples follow.
    #[inline(never)]
    pub fn metric(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => " counter\n",
            Kind::Gauge => " gauge\n",
            Kind::Histogram => " histogram\n",
            Kind::Summary => " summary\n",
        };
        for part in ["# HELP ", name, " "] {
            self.text.push_str(part);
        }
        self.escaped(help, false);
        for part in ["\n# TYPE ", name, kind] {
            self.text.push_str(part);
        }
    }

    /// A sample; its label, if it has a name, stands for which of several it is.
    #[inline(never)]
    pub fn sample(&mut self, name: &str, (label, of): (&str, &str), value: &str) {
        self.text.push_str(name);
        if !label.is_empty() {
            for part in ["{", label, "=\""] {
                self.text.push_str(part);
            }
            self.escaped(of, true);
            self.text.push_str("\"}");
        }
        for part in [" ", value, "\n"] {
            self.text.push_str(part);
        }
    }

    fn escaped(&mut self, text: &str, is_label: bool) {
        for c in text.chars() {
            match c {
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '"' if is_label => self.text.push_str("\\\""),
                c => self.text.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_is_escaped() {
        let mut page = Page::default();
        page.metric("a_total", Kind::Counter, "Of \\ and \"\nend.");
        page.sample("a_total", ("", ""), "1");
        page.sample("a_total", ("of", "x\\y\"z\nend"), "2");
        page.metric("b", Kind::Gauge, "B.");
        let want = "# HELP a_total Of \\\\ and \"\\nend.\n# TYPE a_total counter\na_total 1\n\
                    a_total{of=\"x\\\\y\\\"z\\nend\"} 2\n# HELP b B.\n# TYPE b gauge\n";
        assert_eq!(page.text, want);
    }
}
