//! confd's template resources: the TOML files of conf.d and the templates they name, wherever their text comes from.

use super::backend::spelled;
use super::draft::want;
use super::table::{Document, Keys, Table};
use super::{World, join};
use crate::error::{Error, Kind, Result};
use crate::plan::{Command, Form, Millis, Plan, Reload, Template};
use crate::template::Dialect;

/// A check that takes longer is killed, in milliseconds. confd has no limit.
const CHECK: Millis = 30_000;
/// A reload command that takes longer is killed, in milliseconds.
const RELOAD: Millis = 60_000;

static KEYS: Keys = "\
    src dest keys prefix prefix_mode uid gid owner group mode check_cmd reload_cmd check_timeout \
    reload_timeout make_dirs rollback min_keys require";

/// What all template resources of a door have in common.
pub struct Resources<'a> {
    /// Where keys come from, by confd's name.
    pub backend: &'a str,
    /// The global prefix.
    pub prefix: &'a str,
    /// Where files come from.
    pub world: &'a World<'a>,
    /// For resources that do not say.
    pub make_dirs: bool,
    /// A key that is none is an error; to confd it is none.
    pub is_strict: bool,
    /// The text of a template by its `src`.
    pub template: &'a dyn Fn(&str) -> Result<String>,
}

/// Reads one template resource and adds its template.
///
/// # Errors
/// `Kind::Config`, naming file, line and key.
#[inline(never)]
pub fn read(plan: &mut Plan, all: &Resources, file: &str, text: &str) -> Result<()> {
    let document = Document::parse_as_go(file, text)?;
    let root = document.root();
    if !root.has("template") {
        return Err(Error::filled(Kind::Config, "%: there is no [template] table in it", &[file]));
    }
    let t = root.table("template");
    if all.is_strict {
        t.only(KEYS);
    } else {
        t.strangers(KEYS, &mut plan.notes);
    }
    let src = t.required("src");
    let dest = t.required("dest");
    let own = t.str("prefix").unwrap_or("");
    // confd replaces a resource's prefix by the global one; putting one behind the other must be asked for.
    let mode = t.str("prefix_mode").unwrap_or("replace");
    if !matches!(mode, "replace" | "concat") {
        t.wrong("prefix_mode", "must be \"replace\" or \"concat\"");
    }
    let prefix = match (mode, all.prefix) {
        ("concat", global) => join(global, own),
        (_, "") => join(own, ""),
        (_, global) => join(global, ""),
    };
    let keys = t.strs("keys").unwrap_or_default();
    let command = |key: &str, form: Form, timeout: &str, default: Millis| -> Option<Command> {
        let timeout = t.time(timeout).unwrap_or(default);
        let line = t.str(key).filter(|c| !c.trim().is_empty())?;
        Some(Command { argv: vec![line.to_string()], form, timeout })
    };
    let one = plan.template(src, String::new(), Dialect::Go, dest);
    one.check = command("check_cmd", Form::Go, "check_timeout", CHECK);
    one.reload = command("reload_cmd", Form::Fields, "reload_timeout", RELOAD).map(Reload::Command);
    // No shell knows such a command; an image without a docker client needs none.
    match super::reload::elsewhere(t.str("reload_cmd").unwrap_or("").trim(), "reload_cmd", all.world) {
        Ok(None) => {}
        Ok(elsewhere) => one.reload = elsewhere,
        Err(e) => t.wrong("reload_cmd", &e.text),
    }
    common(&t, one, all.world, all.make_dirs);
    one.rollback = t.bool("rollback", false);
    let hidden = spelled(all.backend, prefix.clone());
    for key in &keys {
        one.inputs.push(want(0, &hidden, spelled(all.backend, join(&prefix, key))));
    }
    match document.verdict().and_then(|()| (all.template)(src)) {
        Ok(text) => one.text = text,
        Err(e) => {
            plan.templates.pop(); // the others go on
            return Err(e);
        }
    }
    Ok(())
}

/// Owner and mode of a destination, and what must be there before it is rendered, as confd and pilotfish.toml both write
/// them. `make_dirs` is for those that do not say.
#[inline(never)]
pub fn common(t: &Table, one: &mut Template, world: &World, make_dirs: bool) {
    let octal = t.str("mode").unwrap_or("");
    one.dest.mode = super::options::mode(octal).ok();
    if one.dest.mode.is_none() && !octal.is_empty() {
        t.wrong("mode", "must be an octal mode in quotes, such as \"0644\"");
    }
    one.dest.uid = id(t, "uid", "owner", "/etc/passwd", world);
    one.dest.gid = id(t, "gid", "group", "/etc/group", world);
    one.dest.make_dirs = t.bool("make_dirs", make_dirs);
    one.guard.min_keys = t.id("min_keys").unwrap_or(0);
    one.guard.require = t.strs("require").unwrap_or_default();
}

/// A number, or a name looked up in its file without the C library's name services.
#[inline(never)]
fn id(t: &Table, number: &str, name: &str, file: &str, world: &World) -> Option<u32> {
    if let Some(id) = t.id(number) {
        return Some(id);
    }
    let wanted = t.str(name)?;
    if let Ok(id) = wanted.parse() {
        return Some(id);
    }
    let known = (world.read)(std::path::Path::new(file)).unwrap_or_default();
    for line in String::from_utf8_lossy(&known).lines() {
        let mut fields = line.split(':');
        if fields.next() == Some(wanted)
            && let Some(id) = fields.nth(1).and_then(|id| id.parse().ok())
        {
            return Some(id);
        }
    }
    t.wrong(name, &["is not known in ", file, "; use `", number, "` with a number"].concat());
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn draft(text: &str, prefix: &str) -> std::result::Result<Template, String> {
        let world = World {
            vars: &[],
            read: &|p| {
                let passwd: &[u8] = b"root:x:0:0:::\nweb:x:33:34:::\n";
                if p.ends_with("passwd") { Ok(passwd.to_vec()) } else { Err(std::io::ErrorKind::NotFound.into()) }
            },
            files: &|_| Ok(Vec::new()),
            host: &crate::front::Host::default,
        };
        let template = |_: &str| Ok("text".to_string());
        let all = Resources {
            backend: "consul",
            prefix,
            world: &world,
            make_dirs: false,
            is_strict: true,
            template: &template,
        };
        let mut plan = Plan::default();
        super::read(&mut plan, &all, "r.toml", text).map_err(Error::into_text)?;
        Ok(plan.templates.remove(0))
    }

    fn wants(t: &Template) -> Vec<&str> {
        t.inputs.iter().map(|i| i.prefix.as_str()).collect()
    }

    #[test]
    fn resources() {
        let base = "[template]\nsrc = 's.tmpl'\ndest = '/d'\n";
        let with = |more: &str| [base, more].concat();
        let d = draft(&with("keys = ['/a', 'b']\nprefix = '/p'\nmode = '0640'\nowner = 'web'"), "").unwrap();
        assert_eq!(wants(&d), ["/p/a", "/p/b"]);
        assert_eq!(d.inputs.first().unwrap().strip, 2);
        assert_eq!((d.dest.mode, d.dest.uid), (Some(0o640), Some(33)));
        let d = draft(&with("keys = ['/a']\nprefix = '/p'"), "/g").unwrap();
        assert_eq!(wants(&d), ["/g/a"], "the global prefix replaces");
        let d = draft(&with("keys = ['/a']\nprefix = '/p'\nprefix_mode = 'concat'"), "/g").unwrap();
        assert_eq!(wants(&d), ["/g/p/a"]);
        assert_eq!(draft(&with("mode = '644'"), "").unwrap().dest.mode, Some(0o644));
        for (text, want) in [
            ("[template]\nsrc = 's'\n", "r.toml:1: `template.dest` is missing"),
            ("a = 1\n", "r.toml: there is no [template] table"),
            (&with("mode = 'rw'"), "r.toml:4: `template.mode` must be an octal mode"),
            (&with("keys = [1]"), "r.toml:4: `template.keys` must be a list of texts"),
            (&with("kees = []"), "r.toml:4: `template.kees` is no key here"),
            (&with("owner = 'nobody-here'"), "`template.owner` is not known in /etc/passwd"),
            (&with("x = "), "r.toml:4:5: "),
        ] {
            let e = draft(text, "").err().unwrap();
            assert!(e.contains(want), "{e}\nwanted {want}");
        }
    }
}
