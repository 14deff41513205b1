//! From "this template wants these keys" to the fewest queries: prefixes of one source that lie under one another
//! share a watch. It knows no syntax of any door.

use crate::plan::{Input, Source, SourceKind, Template, Watch};

/// A template, with the keys it wants.
pub struct Draft {
    /// Everything but its inputs.
    pub template: Template,
    /// Index into `Plan::sources`.
    pub source: usize,
    /// Prefixes, with a leading `/`.
    pub wants: Vec<String>,
    /// The part in front of keys that the template does not see: `/` for none.
    pub hidden: String,
}

/// Two drafts that write the same file would take turns: what is wrong, and which is the later one.
pub fn same_destination(drafts: &[Draft]) -> Option<(usize, String)> {
    for (i, later) in drafts.iter().enumerate() {
        let path = &later.template.dest.path;
        if let Some(first) = drafts.iter().take(i).find(|d| d.template.dest.path == *path) {
            let (a, b) = (&first.template.name, &later.template.name);
            return Some((i, format!("{} is the destination of both {a} and {b}", path.display())));
        }
    }
    None
}

/// The watches that give all drafts their keys, and the templates wired to them. Files are read as a whole, so they are
/// one watch: one reading, and one word of it when it fails.
pub fn assemble(drafts: Vec<Draft>, sources: &[Source]) -> (Vec<Watch>, Vec<Template>) {
    let covers = |source: usize, watched: &str, prefix: &str| match sources.get(source) {
        Some(s) if s.kind.is_tree() => crate::source::etcd::is_under(watched, prefix),
        _ => prefix.starts_with(watched),
    };
    let is_whole = |source: usize| sources.get(source).is_some_and(|s| matches!(s.kind, SourceKind::Files { .. }));
    let mut all: Vec<(usize, &str)> = drafts
        .iter()
        .flat_map(|d| d.wants.iter().map(|w| (d.source, if is_whole(d.source) { "/" } else { w })))
        .collect();
    all.sort_unstable();
    let mut watches: Vec<Watch> = Vec::new();
    for (source, prefix) in all {
        // Sorted: whatever covers this prefix came before it.
        if !watches.iter().any(|w| w.source == source && covers(source, &w.prefix, prefix)) {
            watches.push(Watch { source, prefix: prefix.to_string() });
        }
    }
    let mut templates = Vec::new();
    for d in drafts {
        let mut t = d.template;
        let strip = if d.hidden == "/" { 0 } else { d.hidden.len() };
        for prefix in d.wants {
            let found = watches.iter().position(|w| w.source == d.source && covers(d.source, &w.prefix, &prefix));
            if let Some(watch) = found {
                t.inputs.push(Input { watch, prefix, strip });
            }
        }
        templates.push(t);
    }
    (watches, templates)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::dest::Dest;
    use crate::plan::Etcd;
    use crate::template::Dialect;

    fn draft(source: usize, wants: &[&str]) -> Draft {
        let dest = Dest { path: "/d".into(), mode: None, uid: None, gid: None, make_dirs: false };
        let template = Template {
            name: String::new(),
            text: String::new(),
            dialect: Dialect::Go,
            dest,
            inputs: Vec::new(),
            guard: crate::guard::Guard::default(),
            check: None,
            reload: None,
            rollback: false,
            group: 0,
        };
        Draft { template, source, wants: wants.iter().map(|w| (*w).to_string()).collect(), hidden: "/".into() }
    }

    #[test]
    fn watches_are_shared_under_a_common_prefix() {
        let drafts = vec![draft(0, &["/b", "/a/x"]), draft(0, &["/a", "/ab"]), draft(1, &["/a/x"])];
        let (watches, templates) = assemble(drafts, &[]);
        let got: Vec<(usize, &str)> = watches.iter().map(|w| (w.source, w.prefix.as_str())).collect();
        assert_eq!(got, [(0, "/a"), (0, "/b"), (1, "/a/x")]);
        let inputs: Vec<Vec<usize>> = templates.iter().map(|t| t.inputs.iter().map(|i| i.watch).collect()).collect();
        assert_eq!(inputs, [vec![1, 0], vec![0, 0], vec![2]]);
    }

    #[test]
    fn in_a_tree_a_prefix_is_whole_parts_of_the_path() {
        let tree = || Source { name: String::new(), kind: SourceKind::Etcd(Etcd::default()), allow_empty: false };
        let drafts = vec![draft(0, &["/a/x", "/b"]), draft(0, &["/a", "/ab", "/a-b"]), draft(1, &["/", "/a"])];
        let (watches, templates) = assemble(drafts, &[tree(), tree()]);
        let got: Vec<(usize, &str)> = watches.iter().map(|w| (w.source, w.prefix.as_str())).collect();
        assert_eq!(got, [(0, "/a"), (0, "/a-b"), (0, "/ab"), (0, "/b"), (1, "/")]);
        let inputs: Vec<Vec<usize>> = templates.iter().map(|t| t.inputs.iter().map(|i| i.watch).collect()).collect();
        assert_eq!(inputs, [vec![0, 3], vec![0, 2, 1], vec![4, 4]]);
    }
}
