//! What a command's words are when it is run: places filled in, a line given to the shell or split. It starts nothing.

use crate::error::Result;
use crate::plan::{Command, Form};
use crate::template;

impl Command {
    /// What is run. A line goes to the shell where there is one; elsewhere it is split as a shell would split it, quotes and
    /// backslashes included, and nothing else of the shell's language is understood.
    ///
    /// # Errors
    /// It is a template, and a wrong one.
    #[inline(never)]
    pub fn words(&self, src: &str, dest: &str, has_shell: bool) -> Result<Vec<String>> {
        let line = self.argv.first().map_or("", String::as_str);
        let line = match self.form {
            Form::Words => return Ok(self.argv.iter().map(|w| braces(w, src, dest)).collect()),
            Form::Line => fields(&braces(line, src, dest), src, dest),
            Form::Fields => fields(line, src, dest),
            Form::Go => template::command_line(line, src, dest)?,
        };
        if has_shell {
            return Ok(vec!["/bin/sh".to_string(), "-c".to_string(), line]);
        }
        Ok(split(&line))
    }
}

fn braces(text: &str, src: &str, dest: &str) -> String {
    text.replace("{src}", src).replace("{dest}", dest)
}

/// Fills in `{{.src}}` and `{{.dest}}`; any other `{{` may be somebody else's.
fn fields(text: &str, src: &str, dest: &str) -> String {
    let mut line = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        line.push_str(before);
        let field = after.split_once("}}").map(|(inside, behind)| (inside.trim().trim_matches('-').trim(), behind));
        (rest, _) = match field {
            Some((".src", behind)) => (behind, line.push_str(src)),
            Some((".dest", behind)) => (behind, line.push_str(dest)),
            _ => (after, line.push_str("{{")),
        };
    }
    line.push_str(rest);
    line
}

fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn words(form: Form, line: &str, has_shell: bool) -> Vec<String> {
        Command { argv: vec![line.into()], form, timeout: 0 }.words("S", "D", has_shell).unwrap()
    }

    #[test]
    fn lines_become_words() {
        assert_eq!(words(Form::Line, "a b", true), ["/bin/sh", "-c", "a b"]);
        for (line, want) in [
            ("nginx -t  -c {src}", &["nginx", "-t", "-c", "S"][..]),
            ("a 'b c' \"d \\\" e\" f\\ g", &["a", "b c", "d \" e", "f g"]),
            ("a '' b", &["a", "", "b"]),
            ("  ", &[]),
        ] {
            assert_eq!(words(Form::Line, line, false), want, "{line}");
        }
    }

    #[test]
    fn places_are_filled_in_as_each_form_has_them() {
        for (form, line, want) in [
            (Form::Line, "x {src} ${dest}", "x S $D"),
            (Form::Fields, "nginx -t -c {{.src}}", "nginx -t -c S"),
            (Form::Fields, "cp {{ .src }} {{- .dest -}}", "cp S D"),
            (
                Form::Fields,
                "docker ps --format '{{.Names}}' {dest} ${src} {{",
                "docker ps --format '{{.Names}}' {dest} ${src} {{",
            ),
            (
                Form::Go,
                "test -f {{.src | printf \"%s\"}} {{if .dest}}{{index . \"dest\"}}{{end}} ${src}",
                "test -f S D ${src}",
            ),
        ] {
            assert_eq!(words(form, line, true).last().unwrap(), want);
        }
        let wrong = Command { argv: vec!["echo {{.src".into()], form: Form::Go, timeout: 0 };
        assert!(wrong.words("S", "D", true).is_err());
    }
}
