//! Templates: two dialects over one table of functions, and a third without. `Go` is Go's text/template, which confd's
//! templates are written in; `Upon` is the native one; `Erb` is what reconfig's templates use of Ruby's ERB. A template
//! is compiled once and rendered often; a render reads a `View` of the store and gives bytes or an error that names
//! file, line and column and shows the line.

mod budget;
pub mod erb;
pub mod funcs;
pub mod go;
pub mod scope;
pub mod upon;

use crate::error::{Error, Result};
use crate::formats;
use crate::map::Map;
use crate::store::{Snapshot, View};
use crate::value::Value;
use scope::Scope;

/// The language a template is written in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Go's text/template with confd's functions.
    Go,
    /// The `upon` template engine with the same functions.
    Upon,
    /// A part of Ruby's ERB, over the names of a `scope::Scope`.
    Erb,
}

/// What functions may look at, and how much a render may cost.
pub struct Context<'a> {
    /// The keys.
    pub store: View<'a>,
    /// An environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Most bytes a render may give.
    pub max_output: usize,
}

/// A compiled template.
pub struct Template {
    program: Program,
}

enum Program {
    Go(go::Program),
    Upon(upon::Program),
    Erb(erb::Program),
}

impl Template {
    /// Compiles `text`. `name` stands in errors (the template's file name).
    ///
    /// # Errors
    /// `Kind::Config`, with line, column and the line itself, when the text is no template or names an unknown function.
    pub fn compile(name: &str, text: &str, dialect: Dialect) -> Result<Template> {
        let program = match dialect {
            Dialect::Go => Program::Go(go::Program::compile(name, text)?),
            Dialect::Upon => Program::Upon(upon::Program::compile(name, text)?),
            Dialect::Erb => return Err(Error::config([name, ": ERB is for reconfig's templates"].concat())),
        };
        Ok(Template { program })
    }

    /// The same for a template that sees names.
    ///
    /// # Errors
    /// As `compile`.
    pub fn compile_in(name: &str, text: &str, dialect: Dialect, scope: Option<&Scope>) -> Result<Template> {
        let program = match (scope, dialect) {
            (Some(scope), Dialect::Erb) => Program::Erb(erb::Program::compile(name, text, scope)?),
            (Some(scope), Dialect::Upon) => Program::Upon(upon::Program::compile(name, text)?.with(scope)),
            _ => return Template::compile(name, text, dialect),
        };
        Ok(Template { program })
    }

    /// Renders to bytes. What was read is recorded in `ctx.store`, also when it fails.
    ///
    /// # Errors
    /// `Kind::MissingKey` when a key is not there, naming it in full; `Kind::Config` for everything else.
    pub fn render(&self, ctx: &Context) -> Result<Vec<u8>> {
        match &self.program {
            Program::Go(p) => p.render(ctx, &Value::Nil),
            Program::Upon(p) => p.render(ctx),
            Program::Erb(p) => p.render(ctx),
        }
    }
}

/// ContainerPilot's configuration, or an argument of its app: a Go template over the environment, and what is added to it.
/// `name` stands in errors.
///
/// # Errors
/// It is no template, or fails.
#[inline(never)]
pub fn over_environment(
    name: &str,
    text: &str,
    vars: &[(String, String)],
    more: &[(String, String)],
) -> Result<String> {
    let mut all = Map::new();
    for (name, value) in vars.iter().chain(more) {
        all.insert(name.clone(), Value::str(value));
    }
    let nothing = Snapshot::default();
    let env = |name: &str| vars.iter().find(|v| v.0 == name).map(|v| v.1.clone());
    let context = Context { store: View::new(&nothing), env: &env, max_output: 4 << 20 };
    let made = go::Program::compile_pilot(name, text).and_then(|program| program.render(&context, &Value::map(all)));
    let made = made.map_err(|mut e| {
        // The line of the template, shown below the message.
        if let Some(at) = e.text.find('\n')
            && formats::may_hold_secret(e.text.get(at..).unwrap_or(""))
        {
            e.text.truncate(at);
        }
        e
    })?;
    Ok(String::from_utf8_lossy(&made).into_owned())
}

/// confd's check_cmd: a Go template whose dot holds the paths of the new file and of its place.
///
/// # Errors
/// It is no template, or fails.
#[inline(never)]
pub fn command_line(text: &str, src: &str, dest: &str) -> Result<String> {
    let mut paths = Map::new();
    paths.insert("src".to_string(), Value::str(src));
    paths.insert("dest".to_string(), Value::str(dest));
    let nothing = Snapshot::default();
    let context = Context { store: View::new(&nothing), env: &|_| None, max_output: 1 << 20 };
    let line = go::Program::compile("check_cmd", text)?.render(&context, &Value::map(paths))?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_configuration_over_the_environment() {
        let vars = [("FOO", "bar"), ("URL", "a=b=c"), ("LIST", " x,y,z "), ("EMPTY", ""), ("N", "0")];
        let vars: Vec<(String, String)> = vars.iter().map(|(n, v)| ((*n).to_string(), (*v).to_string())).collect();
        for (text, want) in [
            ("{{.FOO}} {{ .FOO }}", "bar bar"),
            ("[{{.NONE}}]", "[]"),
            ("{{.URL}}", "a=b=c"),
            (
                "{{ .NONE | default \"d\" }} {{ .EMPTY | default \"d\" }} {{ .FOO | default \"d\" }} {{ .N | default 5 }}",
                "d d bar 0",
            ),
            ("{{ default 5 .NONE }}", "5"),
            ("{{ if .FOO }}yes{{ end }}{{ if .NONE }}no{{ end }}{{ if not .NONE }}, none{{ end }}", "yes, none"),
            ("{{ printf \"%s-%d\" .FOO 3 }}", "bar-3"),
            ("{{ index . \"FOO\" }}[{{ index . \"NONE\" }}]", "bar[]"),
            ("{{ range $i, $x := split \",\" .LIST }}{{ if $i }};{{ end }}{{ $x }}{{ end }}", "x;y;z"),
            ("{{ .LIST | split \",\" | join \"-\" }}", "x-y-z"),
            ("[{{ .NONE | split \",\" | join \"-\" }}]{{ len (split \",\" .EMPTY) }}", "[]0"),
            ("{{ index (split \"=\" .URL) 2 }}", "c"),
            ("{{ .URL | replaceAll \"=\" \"/\" }}", "a/b/c"),
            ("{{ regexReplaceAll \"(\\\\w)=\" \"$1:\" .URL }}", "a:b:c"),
            ("{{ .FOO | toUpper }} {{ getenv \"FOO\" }}", "BAR bar"),
            ("{{ range $k, $v := . }}{{ if eq $k \"N\" }}{{ $v }}{{ end }}{{ end }}", "0"),
            ("{{ with $x := .FOO }}{{ $x }}{{ $.URL }}{{ end }}", "bara=b=c"),
        ] {
            assert_eq!(over_environment("x", text, &vars, &[]).unwrap(), want, "{text}");
        }
        for text in ["{{ .FOO", "{{ none }}", "{{ regexReplaceAll \"(\" \"\" .FOO }}", "{{ .FOO.BAR }}"] {
            assert!(over_environment("x", text, &vars, &[]).is_err(), "{text}");
        }
        for text in ["{token: 'hush', a: '{{ if }}'}", "{'http://u:hush@h', '{{ index .FOO 9 9 }}'}"] {
            let e = over_environment("x", text, &vars, &[]).err().unwrap();
            assert!(!e.text.contains("hush") && e.text.starts_with("template: x:1"), "{}", e.text);
        }
        let e = over_environment("x", "{a: '{{ if }}'}", &vars, &[]).err().unwrap();
        assert!(e.text.contains("{a: '{{ if }}'}"), "{}", e.text);
    }
}
