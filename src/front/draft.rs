//! From "this template wants these keys" to the fewest queries: prefixes of one source that lie under one another
//! share a watch. It knows no syntax of any door.

use crate::plan::{Input, Plan, SourceKind, Template, Watch};
use crate::text::fill;

/// What a template wants of a source, until `wire`: the source stands where the watch will be. The template does not see
/// the part of its keys that is `hidden` (`/` for none).
pub fn want(source: usize, hidden: &str, prefix: String) -> Input {
    Input { watch: source, prefix, strip: if hidden == "/" { 0 } else { hidden.len() } }
}

/// Two templates that write the same file would take turns: what is wrong, and which is the later one.
#[inline(never)]
pub fn same_destination(templates: &[Template]) -> Option<(usize, String)> {
    for (i, later) in templates.iter().enumerate() {
        let path = &later.dest.path;
        if let Some(first) = templates.iter().take(i).find(|t| t.dest.path == *path) {
            let words = [&path.display().to_string(), &first.name, &later.name];
            return Some((i, fill("% is the destination of both % and %", &words.map(String::as_str))));
        }
    }
    None
}

/// Makes the watches that give all templates their keys, and wires the templates to them. What is read as a
/// whole is one watch: one reading, and one word of it when it fails.
#[inline(never)]
pub fn wire(plan: &mut Plan) {
    let Plan { sources, watches, templates, .. } = plan;
    let covers = |w: &Watch, source: usize, prefix: &str| {
        w.source == source
            && match sources.get(source) {
                Some(s) if s.kind.is_tree() => crate::store::is_under(&w.prefix, prefix),
                _ => prefix.starts_with(&w.prefix),
            }
    };
    let mut all = Vec::new();
    for input in templates.iter().flat_map(|t| &t.inputs) {
        let is_whole = sources.get(input.watch).is_some_and(|s| s.kind.is_whole());
        let want = (input.watch, if is_whole { "/" } else { input.prefix.as_str() });
        let at = all.partition_point(|w| *w < want);
        all.insert(at, want);
    }
    for (source, prefix) in all {
        // Sorted: whatever covers this prefix came before it.
        if !watches.iter().any(|w| covers(w, source, prefix)) {
            watches.push(Watch { source, prefix: prefix.to_string() });
        }
    }
    for t in templates {
        t.inputs.retain_mut(|input| {
            let found = watches.iter().position(|w| covers(w, input.watch, &input.prefix));
            // The keys of a watch of services do not say which tag their instances were chosen by.
            if sources.get(input.watch).is_some_and(|s| matches!(s.kind, SourceKind::Services(_))) {
                input.prefix.truncate(input.prefix.find('?').unwrap_or(input.prefix.len()));
            }
            input.watch = found.unwrap_or(0);
            found.is_some()
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::dest::Dest;
    use crate::plan::{Etcd, Source};
    use crate::template::Dialect;

    fn template(source: usize, wants: &[&str]) -> Template {
        Template {
            name: String::new(),
            text: String::new(),
            dialect: Dialect::Go,
            dest: Dest { path: "/d".into(), mode: None, uid: None, gid: None, make_dirs: false },
            inputs: wants.iter().map(|w| want(source, "/", (*w).to_string())).collect(),
            guard: crate::guard::Guard::default(),
            check: None,
            reload: None,
            rollback: false,
            group: 0,
            tree: None,
        }
    }

    /// The watches, and those of each template.
    fn wired(mut plan: Plan) -> (Vec<(usize, String)>, Vec<Vec<usize>>) {
        wire(&mut plan);
        let inputs = plan.templates.iter().map(|t| t.inputs.iter().map(|i| i.watch).collect()).collect();
        (plan.watches.into_iter().map(|w| (w.source, w.prefix)).collect(), inputs)
    }

    #[test]
    fn watches_are_shared_under_a_common_prefix() {
        let templates = vec![template(0, &["/b", "/a/x"]), template(0, &["/a", "/ab"]), template(1, &["/a/x"])];
        let (watches, inputs) = wired(Plan { templates, ..Plan::default() });
        assert_eq!(watches, [(0, "/a"), (0, "/b"), (1, "/a/x")].map(|(s, p)| (s, p.to_string())));
        assert_eq!(inputs, [vec![1, 0], vec![0, 0], vec![2]]);
    }

    #[test]
    fn in_a_tree_a_prefix_is_whole_parts_of_the_path() {
        let tree = || Source { name: String::new(), kind: SourceKind::Etcd(Etcd::default()), allow_empty: false };
        let templates =
            vec![template(0, &["/a/x", "/b"]), template(0, &["/a", "/ab", "/a-b"]), template(1, &["/", "/a"])];
        let (watches, inputs) = wired(Plan { templates, sources: vec![tree(), tree()], ..Plan::default() });
        let want = [(0, "/a"), (0, "/a-b"), (0, "/ab"), (0, "/b"), (1, "/")];
        assert_eq!(watches, want.map(|(s, p)| (s, p.to_string())));
        assert_eq!(inputs, [vec![0, 3], vec![0, 2, 1], vec![4, 4]]);
    }
}
