//! The difference of two texts as `diff -u` prints it, for people who look before they leap. The shortest edit is
//! found by Myers' greedy method ("An O(ND) Difference Algorithm", 1986) while few lines differ; past a bound
//! everything between the first and the last difference counts as replaced. It reads no file and decides nothing.

/// Lines of unchanged text around a change.
const CONTEXT: usize = 3;
/// Most inserted plus deleted lines that are searched for; time and memory grow with its square (4 MB).
const EDITS: usize = 1000;

/// Which lines of the old text go, and which of the new one come.
struct Edits {
    gone: Vec<bool>,
    come: Vec<bool>,
}

/// One printed line: its tag (` `, `-` or `+`), and how many lines of each text stand before it.
struct Op {
    tag: u8,
    old: usize,
    new: usize,
}

/// The unified diff; empty when both are the same. What is no UTF-8 is shown with replacement characters.
pub fn unified(old: &[u8], new: &[u8], old_name: &str, new_name: &str) -> String {
    let mut out = String::new();
    if old == new {
        return out;
    }
    let (a, b) = (lines(old), lines(new));
    let ops = ops(&edits(&a, &b));
    for (tag, name) in [("--- ", old_name), ("+++ ", new_name)] {
        out.push_str(tag);
        out.push_str(name);
        out.push('\n');
    }
    let mut at = 0;
    while let Some(first) = next_change(&ops, at) {
        // Changes with no more than twice the context between them share a hunk.
        let mut last = first;
        while let Some(next) = next_change(&ops, last.saturating_add(1)) {
            if next.saturating_sub(last) > 2 * CONTEXT + 1 {
                break;
            }
            last = next;
        }
        let from = first.saturating_sub(CONTEXT);
        at = last.saturating_add(CONTEXT + 1).min(ops.len());
        hunk(&mut out, ops.get(from..at).unwrap_or(&[]), &a, &b);
    }
    out
}

/// Each with its end.
#[inline(never)]
fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|b| *b == b'\n').collect()
}

#[inline(never)]
fn next_change(ops: &[Op], from: usize) -> Option<usize> {
    let at = ops.get(from..)?.iter().position(|op| op.tag != b' ')?;
    from.checked_add(at)
}

fn hunk(out: &mut String, ops: &[Op], a: &[&[u8]], b: &[&[u8]]) {
    let Some(first) = ops.first() else { return };
    out.push_str("@@ -");
    range(out, first.old, ops.iter().filter(|op| op.tag != b'+').count());
    out.push_str(" +");
    range(out, first.new, ops.iter().filter(|op| op.tag != b'-').count());
    out.push_str(" @@\n");
    for op in ops {
        let line = if op.tag == b'+' { b.get(op.new) } else { a.get(op.old) };
        let line = line.copied().unwrap_or(&[]);
        out.push(op.tag as char);
        out.push_str(&String::from_utf8_lossy(line));
        if line.last() != Some(&b'\n') {
            out.push_str("\n\\ No newline at end of file\n");
        }
    }
}

/// `start,count`, from the number of lines before; a lone line goes without its count, and an empty range names the
/// line before it.
fn range(out: &mut String, before: usize, count: usize) {
    let start = if count == 0 { before } else { before.saturating_add(1) };
    out.push_str(&start.to_string());
    if count != 1 {
        out.push(',');
        out.push_str(&count.to_string());
    }
}

#[inline(never)]
fn ops(edits: &Edits) -> Vec<Op> {
    let (mut old, mut new) = (0usize, 0usize);
    let mut ops = Vec::new();
    loop {
        let (gone, come) = (edits.gone.get(old), edits.come.get(new));
        let tag = match (gone, come) {
            (None, None) => return ops,
            (Some(true), _) => b'-',
            (_, Some(true)) => b'+',
            _ => b' ',
        };
        ops.push(Op { tag, old, new });
        old = old.saturating_add(usize::from(tag != b'+'));
        new = new.saturating_add(usize::from(tag != b'-'));
    }
}

#[inline(never)]
fn edits(mut a: &[&[u8]], mut b: &[&[u8]]) -> Edits {
    let mut edits = Edits { gone: vec![false; a.len()], come: vec![false; b.len()] };
    let mut head = 0usize;
    while let (Some((x, more)), Some((y, others))) = (a.split_first(), b.split_first())
        && x == y
    {
        (a, b) = (more, others);
        head = head.saturating_add(1);
    }
    while let (Some((x, more)), Some((y, others))) = (a.split_last(), b.split_last())
        && x == y
    {
        (a, b) = (more, others);
    }

    let gone = edits.gone.get_mut(head..head.saturating_add(a.len())).unwrap_or(&mut []);
    let come = edits.come.get_mut(head..head.saturating_add(b.len())).unwrap_or(&mut []);
    match search(a, b) {
        Some(path) => back(&path, gone, come),
        None => {
            gone.fill(true);
            come.fill(true);
        }
    }
    edits
}

/// How far into `a` each diagonal (`x - y`) reaches: index `k + rounds`.
#[inline(never)]
fn reach(v: &[isize], k: isize, rounds: usize) -> isize {
    let at = usize::try_from(k.saturating_add_unsigned(rounds));
    at.ok().and_then(|at| v.get(at)).copied().unwrap_or(-1)
}

/// Whether diagonal `k` is reached in round `d` from the one above (an insertion) and not from the one below.
#[inline(never)]
fn comes_from_above(v: &[isize], k: isize, d: isize, rounds: usize) -> bool {
    k == -d || k != d && reach(v, k - 1, rounds) < reach(v, k + 1, rounds)
}

/// The furthest reach of every diagonal before each round, up to the one that gets to both ends; `None`: too many edits.
/// Round `d`'s row covers the diagonals `-d..=d`.
fn search(a: &[&[u8]], b: &[&[u8]]) -> Option<Vec<Vec<isize>>> {
    let (n, m) = (a.len() as isize, b.len() as isize);
    let most = a.len().saturating_add(b.len()).min(EDITS);
    let mut v = vec![0isize; 1]; // what round 0 starts from: a step down onto diagonal 0
    let mut path = Vec::new();
    for round in 0..=most {
        let d = round as isize;
        let mut next = vec![-1isize; round * 2 + 1];
        let rounds = round.saturating_sub(1);
        for k in (-d..=d).step_by(2) {
            let mut x = match round {
                0 => 0,
                _ if comes_from_above(&v, k, d, rounds) => reach(&v, k + 1, rounds),
                _ => reach(&v, k - 1, rounds) + 1,
            };
            while x < n && x - k < m && a.get(x as usize) == b.get((x - k) as usize) {
                x += 1;
            }
            if let Some(slot) = next.get_mut((k + d) as usize) {
                *slot = x;
            }
            if x >= n && x - k >= m {
                path.push(v);
                return Some(path);
            }
        }
        path.push(std::mem::replace(&mut v, next));
    }
    None
}

/// Walks back from both ends and marks the edits on the way.
fn back(path: &[Vec<isize>], gone: &mut [bool], come: &mut [bool]) {
    let (mut x, mut y) = (gone.len() as isize, come.len() as isize);
    for (round, v) in path.iter().enumerate().skip(1).rev() {
        let (k, d, rounds) = (x - y, round as isize, round.saturating_sub(1));
        let above = comes_from_above(v, k, d, rounds);
        let from = if above { k + 1 } else { k - 1 };
        x = reach(v, from, rounds);
        y = x - from;
        let flag = if above { come.get_mut(y as usize) } else { gone.get_mut(x as usize) };
        if let Some(flag) = flag {
            *flag = true;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use std::fs;
    use std::process::Command;

    #[test]
    fn hunks_as_diff_prints_them() {
        let cases = [
            ("same\n", "same\n", ""),
            ("", "a\n", "@@ -0,0 +1 @@\n+a\n"),
            ("a\n", "", "@@ -1 +0,0 @@\n-a\n"),
            ("a", "a\n", "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n"),
            ("a\nb", "c\nb", "@@ -1,2 +1,2 @@\n-a\n+c\n b\n\\ No newline at end of file\n"),
            ("1\n2\n3\n4\n5\n6\n", "1\n2\n3\n4\nx\n5\n6\n", "@@ -2,5 +2,6 @@\n 2\n 3\n 4\n+x\n 5\n 6\n"),
        ];
        for (old, new, want) in cases {
            let want = if want.is_empty() { String::new() } else { format!("--- o\n+++ n\n{want}") };
            assert_eq!(unified(old.as_bytes(), new.as_bytes(), "o", "n"), want, "{old:?} to {new:?}");
        }
    }

    #[test]
    fn huge_differences_are_replaced_whole() {
        let old: String = (0..3000).map(|i| format!("o{i}\n")).collect();
        let new: String = (0..3000).map(|i| format!("n{i}\n")).collect();
        let text = unified(format!("a\n{old}z\n").as_bytes(), format!("a\n{new}z\n").as_bytes(), "o", "n");
        assert!(text.starts_with("--- o\n+++ n\n@@ -1,3002 +1,3002 @@\n a\n-o0\n"));
        assert_eq!(text.lines().count(), 6000 + 2 + 3);
    }

    /// Lines of the given alphabet, from a small generator of pseudo-random numbers.
    fn text(seed: &mut u32, lines: u32, letters: u32) -> String {
        let mut next = |n: u32| {
            *seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
            (*seed >> 8) % n
        };
        let mut text: String = (0..next(lines)).map(|_| format!("{}\n", next(letters))).collect();
        if next(4) == 0 {
            text.pop();
        }
        text
    }

    /// `patch` turns old into new by our diff, and it is no longer than what `diff -d` finds.
    #[test]
    fn patch_applies_it_and_diff_finds_none_shorter() {
        let has = |tool: &str| Command::new(tool).arg("--version").output().is_ok_and(|o| o.status.success());
        if !has("diff") || !has("patch") {
            eprintln!("skipped: diff and patch are needed");
            return;
        }
        let folder = std::env::temp_dir().join(format!("pilotfish-diff-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut seed = 7;
        for round in 0..150 {
            let lines = [4, 20, 60][round % 3];
            let (old, new) = (text(&mut seed, lines, 5), text(&mut seed, lines, 5));
            let ours = unified(old.as_bytes(), new.as_bytes(), "old", "new");
            fs::write(folder.join("old"), &old).unwrap();
            fs::write(folder.join("new"), &new).unwrap();
            fs::write(folder.join("ours"), &ours).unwrap();
            let run = |tool: &str, args: &[&str]| Command::new(tool).args(args).current_dir(&folder).output().unwrap();
            let theirs = String::from_utf8(run("diff", &["-d", "-u", "old", "new"]).stdout).unwrap();
            let edits = |s: &str| s.lines().skip(2).filter(|l| l.starts_with(['+', '-'])).count();
            assert_eq!(edits(&ours), edits(&theirs), "round {round}\n{ours}\n{theirs}");
            if !ours.is_empty() {
                let done = run("patch", &["-s", "-F0", "-o", "got", "old", "ours"]);
                assert!(done.status.success(), "round {round}: {}\n{ours}", String::from_utf8_lossy(&done.stdout));
                assert_eq!(fs::read_to_string(folder.join("got")).unwrap_or_default(), new, "round {round}\n{ours}");
            }
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
