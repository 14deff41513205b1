//! Bad input: what is wrong is named, with the place where it stands, the exit code says which kind it is, nothing is
//! touched, and no secret is shown.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    unsafe_code,
    missing_docs,
    dead_code
)]

mod util;

use std::time::Duration;
use util::*;

const WAIT: Duration = secs(40);

/// `pilotfish check` of this pilotfish.toml given in PILOTFISH_CONFIG.
fn check(toml: &str) -> Proc {
    pilotfish().arg("check").env("PILOTFISH_CONFIG", toml).run(WAIT)
}

fn refused(proc: &Proc, code: i32, message: &str) {
    proc.expect_exit(Exit::Code(code), WAIT);
    if proc.stderr() != format!("pilotfish: {message}\n") || !proc.stdout().is_empty() {
        proc.fail(&format!("it should say:\npilotfish: {message}"));
    }
}

const TEMPLATE: &str = "[[template]]\ntext = 'x'\ndest = '/nowhere/x'\n";

#[test]
fn slips_with_the_variables_of_the_sidecar_are_named() {
    let resource = |name: &str, dest: &str| format!("{name}\n[template]\nsrc = '/a.tmpl'\ndest = '{dest}'\r");
    let base =
        || pilotfish().args(["confd-sidecar", "true"]).env("CONFD_BACKEND", "env").env("CONFD_CONFDIR", "/nowhere");
    let dir = TempDir::new();
    let one = resource("a.toml", &dir.join("one").display().to_string());
    refused(
        &base().env("CONFD_CONFDFILE", r"a.toml\n[template]\nsrc = 'a'").run(WAIT),
        78,
        r"CONFD_CONFDFILE: it has no line ends but \n as two characters; they must be real line ends",
    );
    refused(
        &base().env("CONFD_TEMPLATE_1", "a.tmpl\nx").env("CONFD_TEMPLATE_2", "./a.tmpl\ny").run(WAIT),
        78,
        "CONFD_TEMPLATE_2: another CONFD_TEMPLATE has the name ./a.tmpl already",
    );
    let two = resource("b.toml", &dir.join("one").display().to_string());
    let same = format!("{} is the destination of both /a.tmpl and /a.tmpl", dir.join("one").display());
    let both = base().env("CONFD_CONFDFILE_1", &one).env("CONFD_CONFDFILE_2", two).env("CONFD_TEMPLATE", "a.tmpl\nx");
    refused(&both.run(WAIT), 78, &same);
    // Windows line ends, a name with a path's `/`, a template nobody uses: it works, and says so.
    let proc = base().env("CONFD_CONFDFILE", one).env("CONFD_TEMPLATE_A", "a.tmpl\nx").env("CONFD_TEMPLATE_B", "b\ny");
    let proc = proc.run(WAIT);
    proc.expect_exit(Exit::Code(0), WAIT);
    assert_eq!(dir.read("one"), "x");
    let warning = "WARNING the template b of a CONFD_TEMPLATE* is used by no resource";
    proc.check(proc.stderr().contains(warning), "it says that b is not used");
}

#[test]
fn a_configuration_that_is_no_toml_is_shown_with_its_place() {
    for (toml, message) in [
        (
            "a = [1,\n",
            "PILOTFISH_CONFIG:2:1: expected a value: text in quotes, a number, true, false, a date, `[` or `{`\n \
             2 | \n   | ^",
        ),
        (
            "splay = 1\nsplay = 2\n",
            "PILOTFISH_CONFIG:2:1: `splay` is already defined on line 1: a key is defined only once\n \
             2 | splay = 2\n   | ^",
        ),
        ("\n\n[app\ncommand = 'x'\n", "PILOTFISH_CONFIG:3:5: expected `.` or `]`\n 3 | [app\n   |     ^"),
        (
            "once = yes\n",
            "PILOTFISH_CONFIG:1:8: expected a value: text needs quotes; a number has no spare zeros or underscores\n \
             1 | once = yes\n   |        ^",
        ),
    ] {
        refused(&check(toml), 78, message);
    }
    // In a file the file is named; the whole TOML in the variable works as well.
    let dir = TempDir::new();
    let file = dir.write("p.toml", "splay = '1s'\nonce = \n");
    let proc = pilotfish().arg("check").arg("--config").arg(&file).run(WAIT);
    let text = format!("{}:2:8: expected a value", file.display());
    proc.expect_exit(Exit::Code(78), WAIT);
    proc.check(proc.stderr().contains(&text) && proc.stderr().contains("\n 2 | once = \n   |        ^\n"), &text);
    dir.write("p.toml", TEMPLATE);
    for proc in [pilotfish().arg("check").arg("-c").arg(&file).run(WAIT), check(TEMPLATE)] {
        proc.expect_exit(Exit::Code(0), WAIT);
        assert_eq!(proc.stdout(), "the configuration is good\n");
    }
}

#[test]
fn what_a_configuration_says_is_checked_key_by_key() {
    for (toml, message) in [
        ("[[template]]\ntext = 'x'\n", "PILOTFISH_CONFIG:1: `template.0.dest` is missing"),
        ("[[template]]\ntext = 'x'\ndest = ''\n", "PILOTFISH_CONFIG:3: `template.0.dest` is missing"),
        (
            "[[template]]\ndest = '/x'\n",
            "PILOTFISH_CONFIG:1: `template.0.src` or `text` must be there, and only one of them",
        ),
        (
            "[[template]]\ndest = '/x'\ntext = 'x'\nsrc = 'y'\n",
            "PILOTFISH_CONFIG:4: `template.0.src` or `text` must be there, and only one of them",
        ),
        (
            "[[template]]\ndest = '/x'\nsrc = '/nowhere/x.tmpl'\n",
            "cannot read the template /nowhere/x.tmpl: No such file or directory",
        ),
        (
            "[template]\ndest = '/x'\n",
            "PILOTFISH_CONFIG:1: `template` must be a list of tables: [[...]] in TOML, [{...}] in JSON",
        ),
        (
            "[app]\nreload = 'HUP'\n",
            "PILOTFISH_CONFIG:1: `app.command` is missing, and no program is on the command line",
        ),
        ("[app]\ncommand = []\n", "PILOTFISH_CONFIG:2: `app.command` is empty"),
        (
            "[app]\ncommand = 'x'\nreload = 'NOPE'\n",
            "PILOTFISH_CONFIG:3: `app.reload` reload NOPE: expected a signal such as HUP, restart, none, http://..., \
             docker://NAME or signal:HUP@NAME",
        ),
        (
            "[app]\ncommand = 'x'\nstop_signal = 'NOPE'\n",
            "PILOTFISH_CONFIG:3: `app.stop_signal` must be a signal's name or number, such as HUP or 1",
        ),
        (
            "[app]\ncommand = 'x'\nstop_timeout = 'soon'\n",
            "PILOTFISH_CONFIG:3: `app.stop_timeout` must be a time such as \"500ms\", \"10s\" or a number of seconds",
        ),
        (
            "[app]\ncommand = 'x'\nrestart = 'maybe'\n",
            "PILOTFISH_CONFIG:3: `app.restart` must be never, on-failure or always",
        ),
        ("once = 'x'\n", "PILOTFISH_CONFIG:1: `once` must be true or false"),
        ("[log]\nformat = 'xml'\n", "PILOTFISH_CONFIG:2: `log.format` must be default, text or json"),
        ("[source]\nkv = 1\n", "PILOTFISH_CONFIG:2: `source.kv` must be a table"),
        ("[source.kv]\n", "PILOTFISH_CONFIG:1: `source.kv.url` is missing"),
    ] {
        // Something to do, so that nothing else is wrong.
        let more = if toml.contains("template") { String::new() } else { format!("\n{TEMPLATE}") };
        refused(&check(&(toml.to_string() + &more)), 78, message);
    }
    for (line, message) in [
        ("mode = 'rw-r--r--'", "`template.0.mode` must be an octal mode in quotes, such as \"0644\""),
        ("mode = '0888'", "`template.0.mode` must be an octal mode in quotes, such as \"0644\""),
        ("mode = '17777'", "`template.0.mode` must be an octal mode in quotes, such as \"0644\""),
        ("mode = 644", "`template.0.mode` must be text in quotes"),
        ("owner = 'nobody-knows'", "`template.0.owner` is not known in /etc/passwd; use `uid` with a number"),
        ("group = 'nobody-knows'", "`template.0.group` is not known in /etc/group; use `gid` with a number"),
        ("uid = 'root'", "`template.0.uid` must be a number"),
        ("gid = -1", "`template.0.gid` must be a number"),
        ("keys = [1]", "`template.0.keys` must be a list of texts"),
        ("dialect = 'erb'", "`template.0.dialect` must be \"go\" or \"upon\""),
        ("source = 'kv'", "`template.0.source` names no [source.kv]"),
        ("check = []", "`template.0.check` is empty"),
        ("check = 1", "`template.0.check` must be a list of texts"),
        (
            "check_timeout = true",
            "`template.0.check_timeout` must be a time such as \"500ms\", \"10s\" or a number of seconds",
        ),
    ] {
        refused(&check(&format!("{TEMPLATE}{line}\n")), 78, &format!("PILOTFISH_CONFIG:4: {message}"));
    }
    for (toml, message) in [
        (
            "splay = 1\nsplat = 1\n",
            "PILOTFISH_CONFIG:2: `splat` is no key here; there are source, template, tree, app, ",
        ),
        (
            "[app]\ncommand = 'x'\nreloat = 'HUP'\n",
            "PILOTFISH_CONFIG:3: `app.reloat` is no key here; there are command, ",
        ),
        ("[log]\nlevl = 'info'\n", "PILOTFISH_CONFIG:2: `log.levl` is no key here; there are format, level"),
        ("[source.a]\nurl = 'env:'\nurll = 1\n", "PILOTFISH_CONFIG:3: `source.a.urll` is no key here; there are url, "),
        (
            "[[template]]\ndest = '/x'\ntext = 'x'\nkees = []\n",
            "PILOTFISH_CONFIG:4: `template.0.kees` is no key here; there are src, text, ",
        ),
    ] {
        let proc = check(&format!("{toml}\n{TEMPLATE}"));
        proc.expect_exit(Exit::Code(78), WAIT);
        proc.check(proc.stderr().starts_with(&format!("pilotfish: {message}")), message);
    }
    let two = format!("[source.a]\nurl = 'env:'\n[source.b]\nurl = 'env:'\n{TEMPLATE}");
    refused(&check(&two), 78, "PILOTFISH_CONFIG:5: `template.0.source` must say which of the sources it is");
}

#[test]
fn a_configuration_that_cannot_be_read_is_named() {
    let dir = TempDir::new();
    for (path, why) in [
        (dir.join("no/such.toml"), "No such file or directory"),
        (dir.path().to_path_buf(), "Is a directory"),
        (dir.write("binary.toml", [0xff, 0xfe, b'\n']), "it is no UTF-8 text"),
    ] {
        let proc = pilotfish().arg("--config").arg(&path).run(WAIT);
        refused(&proc, 78, &format!("cannot read the configuration {}: {why}", path.display()));
        let proc = pilotfish().env("PILOTFISH_CONFIG", &path).run(WAIT);
        refused(&proc, 78, &format!("cannot read the configuration {}: {why}", path.display()));
    }
}

#[test]
fn a_confd_resource_is_checked_as_well() {
    let run = |body: &str, template: &str| {
        pilotfish()
            .args(["check", "true"])
            .env("CONFD_CONFDIR", "/nowhere")
            .env("CONFD_CONFDFILE_1", format!("a.toml\n{body}"))
            .env("CONFD_TEMPLATE_1", format!("a.tmpl\n{template}"))
            .run(WAIT)
    };
    for (body, message) in [
        ("[template]\nsrc = 'a.tmpl'\nkeys = ['/a']\n", "a.toml:1: `template.dest` is missing"),
        ("[template]\ndest = '/x'\n", "a.toml:1: `template.src` is missing"),
        ("src = 'a.tmpl'\n", "a.toml: there is no [template] table in it"),
        (
            "[template]\nsrc = 'a.tmpl'\ndest = '/x'\nmode = 'x'\n",
            "a.toml:4: `template.mode` must be an octal mode in quotes, such as \"0644\"",
        ),
        (
            "[template]\nsrc = 'b.tmpl'\ndest = '/x'\n",
            "cannot read the template /nowhere/templates/b.tmpl: No such file or directory (and no CONFD_TEMPLATE* is \
             named b.tmpl)",
        ),
        (
            "[template]\nsrc = 'a.tmpl'\ndest = \"/x\nmode = '0644'\n",
            "a.toml:3:8: this text has no closing quote on its line\n 3 | dest = \"/x\n   |        ^",
        ),
    ] {
        refused(&run(body, "x"), 78, message);
    }
    let proc = run("[template]\nsrc = 'a.tmpl'\ndest = '/x'\nkees = ['/a']\n", "x");
    proc.expect_exit(Exit::Code(78), WAIT);
    proc.check(
        proc.stderr().starts_with("pilotfish: a.toml:4: `template.kees` is no key here; there are src, "),
        "the key",
    );
    let message = "template: a.tmpl:2: function \"nope\" not defined\n  2 | {{nope}}\n    |   ^";
    refused(&run("[template]\nsrc = 'a.tmpl'\ndest = '/x'\n", "one\n{{nope}}"), 78, message);
}

#[test]
fn a_template_that_cannot_be_parsed_is_shown_with_its_place() {
    for (name, text, message) in [
        // As Go words it, with the line and the column below.
        (
            "n.tmpl",
            "a\n{{ nope }}\n",
            "template: n.tmpl:2: function \"nope\" not defined\n  2 | {{ nope }}\n    |    ^",
        ),
        ("n.tmpl", "a\n{{ if }}\n", "template: n.tmpl:2: missing value for if\n  2 | {{ if }}\n    |       ^"),
        ("n.tmpl", "a\n\n{{ end }}\n", "template: n.tmpl:3: unexpected {{end}}\n  3 | {{ end }}\n    |        ^"),
        ("n.tmpl", "{{ \"abc }}\n", "template: n.tmpl:1: unterminated quoted string\n  1 | {{ \"abc }}\n    |    ^"),
        (
            "n",
            "a\n {{ nope() }}\n",
            "n:2:5: there is no function nope; did you mean ne?\n 2 |  {{ nope() }}\n   |     ^",
        ),
        ("n", "{% if %}\n", "n:1:7: expected expression, found end block\n 1 | {% if %}\n   |       ^"),
        ("n", "{% if x %}\n", "n:1:1: unclosed `if` block\n 1 | {% if x %}\n   | ^"),
        ("n", "{{ toUpper() }}\n", "n:1:4: toUpper: takes 1 argument, not 0\n 1 | {{ toUpper() }}\n   |    ^"),
        ("n", "{{ \"a\" + }}\n", "n:1:8: expected end expression, found plus\n 1 | {{ \"a\" + }}\n   |        ^"),
    ] {
        let toml = format!("[[template]]\nname = '{name}'\ndest = '/nowhere/x'\ntext = '''\n{text}'''\n");
        refused(&check(&toml), 78, message);
        // Without `check` nothing is started either.
        let proc = pilotfish().args(["echo", "started"]).env("PILOTFISH_CONFIG", &toml).run(WAIT);
        refused(&proc, 78, message);
    }
}

#[test]
fn reloads_of_others_are_checked() {
    let docker = "expected docker://NAME?signal=HUP with a container's name or id";
    let address = "expected http://HOST:PORT/PATH or https://HOST:PORT/PATH";
    let password = "a user and a password belong into `username` and `password` of a table, see [app.reload]";
    let query = "behind the ? expected signal= and a signal's name or number, such as HUP or 1";
    let named = "expected signal:HUP@NAME with a process's name, as in /proc/PID/comm";
    for (how, shown, why) in [
        ("http://", "http://", address),
        ("http:///x", "http:///x", address),
        ("http:x", "http:x", address),
        ("http://:80/x", "http://:80/x", address),
        ("https://::1/x", "https://::1/x", address),
        ("http://[::1/x", "http://[::1/x", address),
        ("https://", "https://", address),
        ("https://h:x/y", "https://h:x/y", "its port is no number"),
        ("http://h:x/y", "http://h:x/y", "its port is no number"),
        ("http://h:99999", "http://h:99999", "its port is no number"),
        ("http://h:/y", "http://h:/y", "its port is no number"),
        ("http://h/a b", "http://h/a b", "a character in it must be escaped as %XX"),
        ("http://h/a\nX: y", "http://h/a\nX: y", "a character in it must be escaped as %XX"),
        ("http://h/#x", "http://h/#x", "a character in it must be escaped as %XX"),
        ("http://h/?token=secret#", "http://h/", "a character in it must be escaped as %XX"),
        ("http://me:secret@h/x", "h/x", password),
        ("https://me:secret@h/x", "h/x", password),
        ("docker://", "docker://", docker),
        ("docker://a/b", "docker://a/b", docker),
        ("docker://../x", "docker://../x", docker),
        ("docker://a b", "docker://a b", docker),
        ("docker://a?", "docker://a?", query),
        ("docker://a?signal=NOPE", "docker://a?signal=NOPE", query),
        ("docker://a?signal=HUP&x=1", "docker://a?signal=HUP&x=1", query),
        ("docker://a?restart", "docker://a?restart", query),
        ("signal:HUP", "signal:HUP", named),
        ("signal:HUP@", "signal:HUP@", named),
        ("signal:HUP@/usr/sbin/nginx", "signal:HUP@/usr/sbin/nginx", named),
        ("signal:NOPE@nginx", "signal:NOPE@nginx", "expected a signal's name or number, such as HUP or 1"),
    ] {
        let message = format!("--reload {shown}: {why}");
        refused(&pilotfish().args(["--reload", how, "echo", "started"]).run(WAIT), 64, &message);
        let message = format!("CONFD_SIDECAR_RELOAD_SIGNAL {shown}: {why}");
        let sidecar = pilotfish().args(["confd-sidecar", "true"]).env("CONFD_BACKEND", "env");
        refused(&sidecar.env("CONFD_SIDECAR_RELOAD_SIGNAL", how).run(WAIT), 64, &message);
        if how.contains('\n') {
            continue;
        }
        // In the file, for the app (with a program or without) and for a template.
        let message = format!("`app.reload` reload {shown}: {why}");
        refused(&check(&format!("[app]\nreload = '{how}'\n{TEMPLATE}")), 78, &format!("PILOTFISH_CONFIG:2: {message}"));
        let message = format!("`template.0.reload` reload {shown}: {why}");
        refused(&check(&format!("{TEMPLATE}reload = '{how}'\n")), 78, &format!("PILOTFISH_CONFIG:4: {message}"));
        let message = format!("`app.reload.url` url {shown}: {why}");
        let toml = format!("[app.reload]\nurl = '{how}'\n{TEMPLATE}");
        refused(&check(&toml), 78, &format!("PILOTFISH_CONFIG:2: {message}"));
    }
    let time = "must be a time such as \"500ms\", \"10s\" or a number of seconds";
    let header = "is no header: a name of letters and dashes, a text without line ends";
    for (line, key, why) in [
        ("url = 1", "url", "must be text in quotes"),
        ("method = 'post'", "method", "must be one of POST, GET, PUT, PATCH, DELETE"),
        ("method = 1", "method", "must be text in quotes"),
        ("expect = '200'", "expect", "must be a status such as 200, or a list of them"),
        ("expect = 99", "expect", "must be a status such as 200, or a list of them"),
        ("expect = [200, 600]", "expect", "must be a status such as 200, or a list of them"),
        ("timeout = true", "timeout", time),
        ("retries = 11", "retries", "must be at most 10"),
        ("retries = -1", "retries", "must be a number"),
        ("body = 1", "body", "must be text in quotes"),
        ("headers = 'a: b'", "headers", "must be a table"),
        ("headers = { a = 1 }", "headers.a", "must be text in quotes"),
        ("headers = { a = \"secret\\r\\nb: c\" }", "headers.a", header),
        ("headers = { 'a b' = 'c' }", "headers.a b", header),
    ] {
        let url = if key == "url" { "" } else { "url = 'http://h/'\n" };
        let n = if key == "url" { 2 } else { 3 };
        let message = format!("PILOTFISH_CONFIG:{n}: `app.reload.{key}` {why}");
        let proc = check(&format!("[app.reload]\n{url}{line}\n{TEMPLATE}"));
        refused(&proc, 78, &message);
        let message = message.replace("app.", "template.0.").replace(&format!(":{n}:"), &format!(":{}:", n + 3));
        refused(&check(&format!("{TEMPLATE}[template.reload]\n{url}{line}\n")), 78, &message);
    }
    for (toml, message) in [
        ("[app.reload]\n", "PILOTFISH_CONFIG:1: `app.reload.url` is missing"),
        ("[app]\nreload = []\n", "PILOTFISH_CONFIG:2: `app.reload` is empty"),
        ("[app]\nreload = 1\n", "PILOTFISH_CONFIG:2: `app.reload` must be a list of texts"),
        (
            "[app.reload]\nurl = 'signal:HUP@x'\n",
            "PILOTFISH_CONFIG:2: `app.reload.url` must begin with http://, https:// or docker://",
        ),
        (
            "[app.reload]\nurl = 'docker://x'\nmethod = 'GET'\n",
            "PILOTFISH_CONFIG:3: `app.reload.method` is no key here; there are url, timeout, retries",
        ),
        (
            "[app]\nreload = 'restart'\n",
            "PILOTFISH_CONFIG:1: `app.command` is missing, and no program is on the command line",
        ),
    ] {
        refused(&check(&format!("{toml}{TEMPLATE}")), 78, message);
    }
    let proc = check(&format!("[app.reload]\nurl = 'http://h/'\nurk = 1\n{TEMPLATE}"));
    proc.expect_exit(Exit::Code(78), WAIT);
    proc.check(proc.stderr().contains("`app.reload.urk` is no key here; there are url, method, "), "the key");
    for good in ["http://h", "http://h:1/x?y=z", "http://[::1]:8/", "docker://a_b.c-1?signal=1", "signal:USR1@a b"] {
        let proc = check(&format!("[app]\nreload = '{good}'\n{TEMPLATE}"));
        proc.expect_exit(Exit::Code(0), WAIT);
    }
}

#[test]
fn options_and_their_values_are_checked() {
    let (time, signal) = ("a time such as 500ms, 10s or 5m", "a signal's name or number, such as HUP or 1");
    let how = "a signal such as HUP, restart, none, http://..., docker://NAME or signal:HUP@NAME";
    for (option, value, want) in [
        ("wait", "-1", time),
        ("wait", "1 fortnight", time),
        ("max-stale", "x", time),
        ("stop-timeout", "1d", time),
        ("start-timeout", "99999999999999999999s", time),
        ("splay", "x", time),
        ("settle", "x", time),
        ("settle", "1s,x", time),
        ("stop-signal", "SIGNOPE", signal),
        ("stop-signal", "99", signal),
        ("reload", "sometimes", how),
        ("reload-signal", "0", how),
        ("restart", "maybe", "never, on-failure or always"),
        ("log-format", "xml", "default, text or json"),
        ("log-level", "loud", "debug, info, warning or error"),
    ] {
        let message = format!("--{option} {value}: expected {want}");
        refused(&pilotfish().arg(format!("--{option}")).arg(value).args(["echo", "started"]).run(WAIT), 64, &message);
        refused(&pilotfish().arg(format!("--{option}={value}")).args(["check"]).args(["x"]).run(WAIT), 64, &message);
        let variable = format!("PILOTFISH_{}", option.replace('-', "_").to_uppercase());
        refused(&pilotfish().args(["echo", "started"]).env(variable, value).run(WAIT), 64, &message);
    }
    let dir = TempDir::new();
    let file = dir.write("x.tmpl", "x");
    let pair = format!("{}:{}", file.display(), dir.join("out").display());
    for (args, message) in [
        (vec!["--nope"], "invalid option '--nope'; see pilotfish --help"),
        (vec!["-x"], "invalid option '-x'; see pilotfish --help"),
        (vec!["--config"], "missing argument for option '--config'; see pilotfish --help"),
        (vec!["--once=1", "true"], "unexpected argument for option '--once': \"1\"; see pilotfish --help"),
        (vec!["--template", "x.tmpl"], "--template x.tmpl: expected SRC:DEST"),
        (vec!["--template", "x.tmpl:"], "--template x.tmpl:: expected SRC:DEST"),
        (vec!["--template", &pair, "--dialect", "erb"], "--dialect erb: expected \"go\" or \"upon\""),
        (vec![], "nothing to do: no --template, no [[template]] and no program; see pilotfish --help"),
        (vec!["check"], "nothing to do: no --template, no [[template]] and no program; see pilotfish --help"),
    ] {
        refused(&pilotfish().args(args).run(WAIT), 64, message);
    }
    refused(
        &pilotfish().args(["--template", "/nowhere/x.tmpl:/nowhere/x"]).run(WAIT),
        78,
        "cannot read the template /nowhere/x.tmpl: No such file or directory",
    );
    assert_eq!(dir.names(""), ["x.tmpl"]);
}

#[test]
fn source_urls_are_checked() {
    let what = "expected consul://host:port/prefix, consul+https://host:port/prefix, consul+unix:///path, \
                etcd://host:port/prefix, etcd+https://host:port/prefix, etcd2://host:port/prefix, \
                etcd2+https://host:port/prefix, k8s://namespace/configmap/name, dir:/folder, file:/a.yaml,/b.json, \
                services: or env:";
    let address = "expected host:port, http://host:port, https://host:port or unix:///path";
    for (url, message) in [
        ("", what.to_string()),
        ("kv", what.to_string()),
        ("http://127.0.0.1:8500", what.to_string()),
        ("https://127.0.0.1:8500", what.to_string()),
        ("etcd3://127.0.0.1:2379", what.to_string()),
        ("etcd3+https://127.0.0.1:2379", what.to_string()),
        ("etcd+https://h:x", "cannot use etcd at https://h:x: its port is no number".to_string()),
        ("etcd2+https://a?b", format!("cannot use etcd at https://a?b: {address}")),
        ("etcd://a:1,h:x/app", "cannot use etcd at http://h:x: its port is no number".to_string()),
        ("etcd2://a:1,b?c", format!("cannot use etcd at http://b?c: {address}")),
        ("dir:", what.to_string()),
        ("consul+https://h:x", "cannot use Consul at https://h:x: its port is no number".to_string()),
        ("consul://h:x", "cannot use Consul at http://h:x: its port is no number".to_string()),
        ("consul://h:", "cannot use Consul at http://h:: its port is no number".to_string()),
        ("consul://h:70000/app", "cannot use Consul at http://h:70000: its port is no number".to_string()),
        ("consul://a:1,b?c", format!("cannot use Consul at http://b?c: {address}")),
    ] {
        let toml = format!("[source.kv]\nurl = '{url}'\n{TEMPLATE}");
        if url.is_empty() {
            refused(&check(&toml), 78, "PILOTFISH_CONFIG:2: `source.kv.url` is missing");
            continue;
        }
        refused(&check(&toml), 78, &format!("PILOTFISH_CONFIG:2: `source.kv.url` is no source: {message}"));
        refused(&pilotfish().args(["--source", url, "true"]).run(WAIT), 64, &format!("--source {url}: {message}"));
    }
    // The variables of Consul and confd-sidecar.
    let message = &format!("cannot use Consul at ftp://h:1: {address}");
    for (name, value) in [("CONSUL_HTTP_ADDR", "ftp://h:1"), ("CONFD_NODE", "ftp://h:1")] {
        let cmd = pilotfish().args(["confd-sidecar", "true"]).env(name, value);
        refused(&cmd.run(WAIT), 78, message);
    }
    let message_etcd = message.replace("Consul", "etcd");
    for backend in ["etcd", "etcdv3"] {
        let cmd = pilotfish().args(["confd", "-backend", backend, "-node", "ftp://h:1"]);
        refused(&cmd.run(WAIT), 1, &message_etcd); // as confd has it
        let own = "the user and the password have settings of their own: username, password";
        let cmd = pilotfish().args(["confd-sidecar", "true"]).env("CONFD_BACKEND", backend);
        let message = format!("cannot use etcd at https://h:1: {own}");
        refused(&cmd.env("CONFD_NODE", "https://user:s3cr3t@h:1").run(WAIT), 78, &message);
    }
    let cmd = pilotfish().args(["confd-sidecar", "true"]).env("CONFD_NODE", "h:1").env("CONFD_SCHEME", "ftp");
    refused(&cmd.run(WAIT), 78, message);
}

#[test]
fn what_a_way_in_says_of_tls_goes_together() {
    let toml = |lines: &str| format!("[source.kv]\n{lines}\n{TEMPLATE}");
    let only = "is for TLS: the URL must say https, as in consul+https://, etcd+https:// or https://";
    for (lines, message) in [
        ("url = 'consul+https://h'\ncert = '/c'", "3: `source.kv.cert` needs `key` beside it"),
        ("url = 'etcd+https://h'\nkey = '/k'", "3: `source.kv.key` needs `cert` beside it"),
        ("url = 'etcd+https://h'\nca = 1", "3: `source.kv.ca` must be a list of texts"),
        ("url = 'etcd+https://h'\ninsecure = 'yes'", "3: `source.kv.insecure` must be true or false"),
        ("url = 'consul://h'\nca = '/c'", &format!("3: `source.kv.ca` {only}")),
        ("url = 'env:'\npass_env = 'X'", "3: `source.kv.pass_env` is no key here; there are url, token, token_file, "),
        ("url = 'consul://h'\nusername = 'u'", "3: `source.kv.username` needs `password` or `password_file` beside it"),
        ("url = 'consul://h'\npassword = 's3cr3t'", "3: `source.kv.password` needs `username` beside it"),
    ] {
        let proc = check(&toml(lines));
        proc.expect_exit(Exit::Code(78), WAIT);
        proc.check(proc.stderr().starts_with(&format!("pilotfish: PILOTFISH_CONFIG:{message}")), message);
        proc.check(!proc.stderr().contains("s3cr3t"), "the secret is shown");
    }
    for (args, code, message) in [
        (&["--source=consul+https://h", "--key=/k", "true"][..], 64, "--source consul+https://h: --key needs --cert"),
        (&["--source=etcd://h", "--server-name=n", "true"], 64, &format!("--source etcd://h: --server-name {only}")),
        (&["kv", "ls", "-s", "consul://h", "--insecure"], 64, &format!("--source consul://h: --insecure {only}")),
        (&["confd", "-client-cert", "/c"], 1, "-client-cert needs -client-key beside it"),
        (&["confd", "-backend=consul", "-client-key", "/k"], 1, "-client-key needs -client-cert beside it"),
    ] {
        let proc = pilotfish().args(args).run(WAIT);
        proc.expect_exit(Exit::Code(code), WAIT);
        proc.check(proc.stderr().starts_with(&format!("pilotfish: {message}")), message);
    }
    for (name, other) in [("CONSUL_CLIENT_CERT", "CONSUL_CLIENT_KEY"), ("CONSUL_CLIENT_KEY", "CONSUL_CLIENT_CERT")] {
        let message = format!("{name} needs {other} beside it");
        refused(&pilotfish().args(["confd-sidecar", "true"]).env(name, "/x").run(WAIT), 78, &message);
    }
}

#[test]
fn no_message_shows_a_secret() {
    let secret = "s3cr3t-token";
    for toml in [
        format!("[source.kv]\nurl = 'consul://h'\ntoken = \"{secret}\n"),
        format!("[source.kv]\nurl = 'consul://h'\ntoken = {secret}\n"),
        format!("[source.kv]\nurl = 'consul://h'\npassword = '{secret}' x\n"),
        format!("[source.kv]\nurl = 'consul://h'\ntoken = '''{secret}\n"),
        format!("[source.kv]\nurl = 'consul://h'\ntoken = ['{secret}']\n{TEMPLATE}"),
        format!("[source.kv]\nurl = 'consul://h'\ntoken = \"\"\"\n{secret} \\q\n\"\"\"\n"),
        format!("source.kv = {{ url = 'consul://h', token = '{secret}', }}, }}\n"),
        format!("[source.kv]\nurl = 'consul://user:{secret}@h:1'\n{TEMPLATE}"),
        format!("[source.kv]\nurl = 'etcd://user:{secret}@h:1'\n{TEMPLATE}"),
        format!("[source.kv]\nurl = 'consul://user:{secret}@h:x'\n{TEMPLATE}"),
        format!("[source.kv]\nurl = 'consul+https://user:{secret}@h:1'\n{TEMPLATE}"),
        format!("[source.kv]\nurl = 'consul+https://h'\nkey = '''\n{secret}\n"),
        format!("[source.kv]\nurl = 'consul+https://h'\ncert = '/c', key = '{secret}' x\n"),
        format!("[app.reload]\nurl = 'https://h'\nheaders = {{ Authorization = '{secret}', }}, }}\n"),
        format!("[app.reload]\nurl = 'https://user:{secret}@h'\n{TEMPLATE}"),
        format!("[app.reload]\nurl = 'https://h'\ntoken = '{secret}'\nusername = 'u'\npassword = '{secret}'\n"),
    ] {
        let proc = check(&toml);
        proc.expect_exit(Exit::Code(78), WAIT);
        let said = proc.stderr() + &proc.stdout();
        proc.check(!said.contains(secret), "the secret is shown");
        proc.check(said.starts_with("pilotfish: PILOTFISH_CONFIG:"), "the place is still named");
    }
    for url in ["http", "consul", "consul+https"] {
        let proc = pilotfish().arg(format!("--source={url}://user:{secret}@h:1")).arg("true").run(WAIT);
        proc.expect_exit(Exit::Code(64), WAIT);
        proc.check(!proc.stderr().contains(secret), "the secret is shown");
    }
    // A value that a template cannot use is a secret too, and so is the token of a server that is not there.
    let dir = TempDir::new();
    dir.write("keys/a", format!("{secret}{{"));
    dir.write("keys/b", [b"s3cr3t-".as_slice(), &[0xff]].concat());
    let mut toml = format!("[source.d]\nurl = 'dir:{}'\n", dir.join("keys").display());
    let texts = [
        ("n.tmpl", "{{json (getv \"/a\")}}"),
        ("n.tmpl", "{{atoi (getv \"/a\")}}"),
        ("n.tmpl", "{{parseBool (getv \"/a\")}}"),
        ("n.tmpl", "{{(getv \"/a\").Field}}"),
        ("n.tmpl", "{{index (getv \"/a\") \"x\"}}"),
        ("n.tmpl", "{{len 1 (getv \"/a\")}}"),
        ("n.tmpl", "{{template (getv \"/a\")}}"),
        ("n.tmpl", "{{base64Decode (getv \"/a\")}}"),
        ("n", "{{ json(getv(\"/a\")) }}"),
        ("n", "{{ atoi(getv(\"/a\")) }}"),
        ("n", "{{ getv(\"/b\") }}"),
        ("n", "{{ base64Decode(getv(\"/a\")) }}"),
    ];
    for (i, (name, text)) in texts.iter().enumerate() {
        let out = dir.join(format!("out{i}"));
        let only = format!("[[template]]\nname = '{name}'\ndest = '{}'\ntext = '''{text}'''\n", out.display());
        let proc = pilotfish().arg("--once").env("PILOTFISH_CONFIG", toml.clone() + &only).run(WAIT);
        proc.check(!proc.stderr().contains("s3cr3t"), &format!("the value is shown by {text}"));
        proc.check(proc.exited() != Some(Exit::Code(0)), &format!("{text} should fail"));
    }
    toml = format!("[source.kv]\nurl = 'consul://127.0.0.1:{}'\ntoken = '{secret}'\n{TEMPLATE}", free_port());
    let proc = pilotfish().args(["--once", "--log-level=debug"]).env("PILOTFISH_CONFIG", toml).run(WAIT);
    proc.expect_exit(Exit::Code(1), WAIT);
    proc.check(!proc.stderr().contains(secret) && proc.stderr().contains("cannot read"), "the secret is shown");
}

#[test]
fn check_says_good_or_bad_and_touches_nothing() {
    let dir = TempDir::new();
    let toml = format!(
        "[source.kv]\nurl = 'consul://127.0.0.1:{}'\n[[template]]\nname = 'n.tmpl'\nmake_dirs = true\n\
         text = '{{{{getv \"/a\"}}}}'\ndest = '{}'\ncheck = ['touch', '{}']\n[app]\ncommand = ['touch', '{}']\n",
        free_port(), // nobody is there: nobody is asked
        dir.join("made/out").display(),
        dir.join("checked").display(),
        dir.join("started").display(),
    );
    let proc = check(&toml);
    proc.expect_exit(Exit::Code(0), WAIT);
    assert_eq!((proc.stdout(), proc.stderr()), ("the configuration is good\n".to_string(), String::new()));
    let bad = toml.replace("getv", "getx");
    refused(&check(&bad), 78, "template: n.tmpl:1: function \"getx\" not defined\n  1 | {{getx \"/a\"}}\n    |   ^");
    assert_eq!(dir.names(""), [""; 0]);
}

// ---- what only data shows ----

/// A folder of keys, and a pilotfish.toml with one Go template to `out`.
fn with_keys(text: &str) -> (TempDir, String) {
    let dir = TempDir::new();
    dir.mkdir("keys");
    let toml = format!(
        "[source.d]\nurl = 'dir:{}'\n[[template]]\nname = 'n.tmpl'\ntext = '''{text}'''\ndest = '{}'\n",
        dir.join("keys").display(),
        dir.join("out").display()
    );
    (dir, toml)
}

fn put(dir: &TempDir, key: &str, value: &str) {
    let aside = dir.write("keys/.aside", value);
    std::fs::rename(aside, dir.join("keys").join(key)).unwrap();
}

#[test]
fn a_missing_key_is_named_and_waited_for() {
    let (dir, toml) = with_keys("line\n{{getv \"/app/name\"}}");
    let proc = pilotfish().arg(static_app()).arg("config").arg(dir.join("out")).env("PILOTFISH_CONFIG", &toml).spawn();
    let text = "template: n.tmpl:2:2: executing \"n.tmpl\" at <getv \"/app/name\">: error calling getv: key does not \
                exist: /app/name";
    proc.wait_line(&format!("WARNING waiting: {text}"), WAIT);
    proc.check(count(&proc, "config:") == 0 && !dir.join("out").exists(), "the app should wait for its file");
    put(&dir, "other", "x");
    dir.mkdir("keys/app");
    put(&dir, "app/name", "here");
    proc.wait_line("config: line\\nhere pid", WAIT);
    proc.check(count(&proc, "WARNING waiting") == 1, "the same key should be missed once");
    // It goes again: the last good file stays, and that is said.
    std::fs::remove_file(dir.join("keys/app/name")).unwrap();
    proc.wait_nth_line(2, "WARNING waiting", WAIT);
    assert_eq!(dir.read("out"), "line\nhere");
    put(&dir, "app/name", "again");
    proc.wait_line("config: line\\nagain pid", WAIT);
    drop(proc);

    std::fs::remove_file(dir.join("keys/app/name")).unwrap();
    let timeout = pilotfish().arg("--start-timeout=300ms").arg("true").env("PILOTFISH_CONFIG", &toml).run(WAIT);
    timeout.expect_exit(Exit::Code(69), WAIT);
    let line = timeout.wait_line("giving up after 0.3", WAIT).text;
    timeout.check(line.contains("key does not exist: /app/name"), "it should name the key");
    timeout.check(count(&timeout, "starting main program") == 0, "nothing should have been started");
}

fn count(proc: &Proc, pattern: &str) -> usize {
    proc.lines_matching(pattern).len()
}

#[test]
fn an_error_that_only_some_data_shows_keeps_the_last_good_file() {
    for dialect in ["go", "upon"] {
        let go = dialect == "go";
        let text = if go { "a\n{{atoi (getv \"/n\")}}" } else { "a\n{{ atoi(getv(\"/n\")) }}" };
        let (dir, toml) = with_keys(text);
        let toml = format!("{toml}dialect = '{dialect}'\n");
        put(&dir, "n", "1");
        let cmd = pilotfish().arg(static_app()).arg("config").arg(dir.join("out"));
        let proc = cmd.env("PILOTFISH_CONFIG", &toml).spawn();
        proc.wait_line("config: a\\n1 pid", WAIT);
        put(&dir, "n", "many");
        let place = if go { "ERROR template: n.tmpl:2:2: executing \"n.tmpl\" at <atoi" } else { "ERROR n.tmpl:2:4: " };
        proc.wait_line(place, WAIT);
        put(&dir, "n", "more");
        put(&dir, "other", "x");
        put(&dir, "n", "most");
        put(&dir, "n", "2");
        proc.wait_line("config: a\\n2 pid", WAIT);
        proc.check(count(&proc, "ERROR") == 1, "the same error should be said once");
        proc.check(count(&proc, "config:") == 2, "bad data should be no reload");
        put(&dir, "n", "bad again");
        proc.wait_nth_line(2, place, WAIT);
        assert_eq!(dir.read("out"), "a\n2");
    }
}

#[test]
fn wrong_arguments_in_a_go_template_are_named_when_it_runs() {
    // Go itself finds these only then.
    for (text, message) in [
        (
            "{{toUpper}}",
            "n.tmpl:1:2: executing \"n.tmpl\" at <toUpper>: wrong number of args for toUpper: want 1 got 0",
        ),
        ("{{template \"x\"}}", "n.tmpl:1:11: executing \"n.tmpl\" at <{{template \"x\"}}>: template \"x\" not defined"),
    ] {
        let (dir, toml) = with_keys(text);
        let proc = pilotfish().arg("--once").env("PILOTFISH_CONFIG", toml).run(WAIT);
        proc.expect_exit(Exit::Code(1), WAIT);
        proc.check(count(&proc, &format!("ERROR template: {message}")) == 1, message);
        assert_eq!(dir.names(""), ["keys"]);
    }
}

#[test]
fn once_ends_with_0_when_all_is_done_and_1_when_not() {
    let (dir, toml) = with_keys("{{getv \"/a\"}}");
    let once = |more: &str| {
        pilotfish().args(["--once", "sh", "-c", "exit 9"]).env("PILOTFISH_CONFIG", format!("{toml}{more}")).run(WAIT)
    };
    let proc = once("");
    proc.expect_exit(Exit::Code(1), WAIT);
    proc.check(count(&proc, "key does not exist: /a") == 1, "it should name the key");
    put(&dir, "a", "1");
    let proc = once("check = ['false']\n");
    proc.expect_exit(Exit::Code(1), WAIT);
    proc.check(count(&proc, "Config check failed: exit status 1") == 1 && !dir.join("out").exists(), "the check");
    let proc = once("reload = 'exit 7'\n");
    proc.expect_exit(Exit::Code(1), WAIT);
    proc.check(count(&proc, "failed: exit status 7") == 1 && dir.read("out") == "1", "the reload");
    put(&dir, "a", "2");
    let proc = once("check = ['grep', '2', '{src}']\nreload = ['touch', '{dest}.reloaded']\n");
    proc.expect_exit(Exit::Code(0), WAIT); // and the program is not run
    assert_eq!(
        (dir.read("out").as_str(), dir.names("")),
        ("2", vec!["keys".into(), "out".into(), "out.reloaded".into()])
    );
    once("").expect_exit(Exit::Code(0), WAIT); // nothing to change is no failure
    let gone = toml.replace("/out'", "/no/such/out'");
    let proc = pilotfish().arg("--once").env("PILOTFISH_CONFIG", &gone).run(WAIT);
    proc.expect_exit(Exit::Code(1), WAIT);
    proc.check(count(&proc, "its folder does not exist; create it or set make_dirs = true") == 1, "the folder");
    let source = toml.replace("/keys'", "/nokeys'");
    let proc = pilotfish().arg("--once").env("PILOTFISH_CONFIG", &source).run(WAIT);
    proc.expect_exit(Exit::Code(1), WAIT);
    proc.check(count(&proc, "/nokeys: No such file or directory") == 1, "the source");
}

#[test]
fn a_destination_that_cannot_be_written_at_the_start_keeps_the_app_waiting() {
    let (dir, toml) = with_keys("x");
    let toml = toml.replace("/out'", "/no/such/out'");
    let proc = pilotfish().args(["--start-timeout=300ms", "true"]).env("PILOTFISH_CONFIG", &toml).run(WAIT);
    proc.expect_exit(Exit::Code(69), WAIT);
    let path = dir.join("no/such/out").display().to_string();
    let line = proc.wait_line("giving up after 0.3", WAIT).text;
    proc.check(line.contains(&format!("cannot write {path}: No such file or directory")), "it should name the file");
    let proc = pilotfish().args(["echo", "started"]).env("PILOTFISH_CONFIG", &toml).spawn();
    proc.wait_line(&format!("cannot write {path}"), WAIT);
    proc.check(proc.exited().is_none(), "it should go on trying");
    dir.mkdir("no/such");
    proc.wait_line("started", WAIT);
    proc.expect_exit(Exit::Code(0), WAIT);
}
