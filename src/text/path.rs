//! Go's path package for keys: clean, base, dir, and the patterns of path.Match. Text only; no file is looked at.

/// The shortest path with the same meaning.
pub fn clean(p: &str) -> String {
    let rooted = p.starts_with('/');
    let mut words: Vec<&str> = Vec::new();
    for word in p.split('/') {
        match word {
            "" | "." => {}
            ".." => {
                if words.last().is_some_and(|w| *w != "..") {
                    words.pop();
                } else if !rooted {
                    words.push(word);
                }
            }
            _ => words.push(word),
        }
    }
    let mut out = String::from(if rooted { "/" } else { "" });
    out.push_str(&words.join("/"));
    if out.is_empty() {
        out.push('.');
    }
    out
}

/// The last word of a path.
pub fn base(p: &str) -> &str {
    if p.is_empty() {
        return ".";
    }
    let trimmed = p.trim_end_matches('/');
    match trimmed.rsplit('/').next() {
        Some("") | None => "/",
        Some(word) => word,
    }
}

/// All but the last word of a path.
pub fn dir(p: &str) -> String {
    clean(p.rfind('/').and_then(|at| p.get(..=at)).unwrap_or(""))
}

/// One part of a pattern.
pub enum Part {
    /// `*`: any number of characters, but no `/`.
    Star,
    /// `?`: one character, but no `/`.
    Any,
    /// `[a-z]`, or with `true` `[^a-z]`.
    Class(bool, Vec<(char, char)>),
    /// This character.
    Char(char),
}

/// Reads a pattern. `None`: it is malformed.
pub fn compile(pattern: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        parts.push(match c {
            '*' => Part::Star,
            '?' => Part::Any,
            '\\' => Part::Char(chars.next()?),
            '[' => {
                let negated = chars.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                while ranges.is_empty() || chars.next_if_eq(&']').is_none() {
                    let mut bound = || match chars.next()? {
                        '-' | ']' => None,
                        '\\' => chars.next(),
                        c => Some(c),
                    };
                    let low = bound()?;
                    let high = if chars.next_if_eq(&'-').is_some() {
                        match chars.next()? {
                            '-' | ']' => return None,
                            '\\' => chars.next()?,
                            c => c,
                        }
                    } else {
                        low
                    };
                    ranges.push((low, high));
                }
                Part::Class(negated, ranges)
            }
            _ => Part::Char(c),
        });
    }
    Some(parts)
}

/// Whether the whole of `name` matches. A star that cannot be stretched over a `/` gives up: an earlier one could not
/// help, for it ends before a `/` too.
pub fn matches(pattern: &[Part], name: &str) -> bool {
    let (mut at, mut rest) = (0, name);
    let mut star: Option<(usize, &str)> = None;
    loop {
        let mut chars = rest.chars();
        let c = chars.next();
        let hit = match (pattern.get(at), c) {
            (None, None) => return true,
            (Some(Part::Star), _) => {
                star = Some((at + 1, rest));
                at += 1;
                continue;
            }
            (Some(Part::Any), Some(c)) => c != '/',
            (Some(Part::Char(want)), Some(c)) => c == *want,
            (Some(Part::Class(negated, ranges)), Some(c)) => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
            _ => false,
        };
        if hit {
            at += 1;
            rest = chars.as_str();
            continue;
        }
        // Let the last star take one character more.
        let Some((after, from)) = star else { return false };
        let mut chars = from.chars();
        match chars.next() {
            None | Some('/') => return false,
            Some(_) => {
                rest = chars.as_str();
                star = Some((after, rest));
                at = after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (p, c, b, d) in [
            ("/a/b/c", "/a/b/c", "c", "/a/b"),
            ("/", "/", "/", "/"),
            ("", ".", ".", "."),
            ("/a/", "/a", "a", "/a"),
            ("a//b/../c", "a/c", "c", "a"),
            ("/../x", "/x", "x", "/"),
            ("../x", "../x", "x", ".."),
        ] {
            assert_eq!((clean(p).as_str(), base(p), dir(p).as_str()), (c, b, d), "{p}");
        }
    }

    #[test]
    fn patterns() {
        for (pattern, name, want) in [
            ("/u/*", "/u/a", true),
            ("/u/*", "/u/a/b", false),
            ("/u/*", "/u/", true),
            ("/*/port", "/svc/port", true),
            ("/*/*t", "/svc/port", true),
            ("*", "/a", false),
            ("/a?c", "/abc", true),
            ("/a?c", "/a/c", false),
            ("/[a-c]", "/b", true),
            ("/[^a-c]", "/b", false),
            ("/[^a-c]x", "/dx", true),
            ("/a\\*", "/a*", true),
            ("/a\\*", "/ab", false),
            ("/a*b*c", "/a1b2b3c", true),
            ("/a*b*c", "/a1b2/3c", false),
            ("/é?", "/éü", true),
        ] {
            let compiled = compile(pattern).unwrap_or_default();
            assert_eq!(matches(&compiled, name), want, "{pattern} {name}");
        }
        for bad in ["[", "[a", "[]a]", "[a-]", "[-a]", "a\\", "[^"] {
            assert!(compile(bad).is_none(), "{bad}");
        }
    }
}
