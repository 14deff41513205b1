//! ContainerPilot's way in, as far as it runs nothing: what it prints, what it says is wrong, and with which exit code. Its
//! messages are those that ContainerPilot 2.0.1 and 2.7.8 gave for the same.
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

use util::*;

fn pilot(args: &[&str]) -> Cmd {
    pilotfish().arg("containerpilot").args(args)
}

/// It ends with this code and says this on standard error.
fn refused(cmd: Cmd, code: i32, want: &str) -> Proc {
    let p = cmd.run(secs(30));
    p.expect_exit(Exit::Code(code), secs(1));
    p.check(p.stderr().contains(want) && p.stdout().is_empty(), want);
    p
}

fn printed(cmd: Cmd, want: &str) {
    let p = cmd.run(secs(30));
    p.expect_exit(Exit::Code(0), secs(1));
    p.check(p.stdout().trim_end_matches('\n') == want, want);
}

#[test]
fn the_configuration_as_its_template_makes_it() {
    for (text, want) in [
        ("{\"a\": \"{{.FOO}}\"}", "{\"a\": \"bar\"}"),
        (
            "{ [{{.NONE}}][{{.FOO | default \"d\"}}][{{.NONE | default \"d\"}}][{{.EMPTY | default \"d\"}}] }",
            "{ [][bar][d][d] }",
        ),
        ("{{if .FOO}}{yes}{{else}}{no}{{end}}", "{yes}"),
        ("{{printf \"{%s:%d}\" .FOO 7}}", "{bar:7}"),
        ("{ {{index . \"FOO\"}} }", "{ bar }"),
        ("{{range split \",\" .LIST}}[{{.}}]{{end}}", "[a][b]"),
        ("{{.LIST | split \",\" | join \" and \" | printf \"{%s}\"}}", "{a and b}"),
        ("{{.LIST | replaceAll \",\" \"/\"}}", "a/b"),
        ("{{regexReplaceAll \"[a-z]\" \"<$0>\" .LIST}}", "<a>,<b>"),
        ("{{.URL}}", "tcp://db:5432?a=b=c"),
        ("{{if .CONTAINERPILOT_PID}}known{{end}}", "known"),
    ] {
        let cmd = pilot(&["-template", "-config", text]).env("FOO", "bar").env("EMPTY", "").env("LIST", "a,b");
        printed(cmd.env("URL", "tcp://db:5432?a=b=c"), want);
    }
}

#[test]
fn where_it_is_read_from() {
    let dir = TempDir::new();
    let file = dir.write("app.json", "{\"consul\": \"{{.FOO}}\"}");
    let (url, path) = (format!("file://{}", file.display()), file.display().to_string());
    for args in [
        vec!["-template", "-config", &url],
        vec!["--template", "--config", &path],
        vec!["-template=true", &format!("-config={url}")],
    ] {
        printed(pilot(&args).env("FOO", "bar"), "{\"consul\": \"bar\"}");
    }
    for said in [&url, &path, &"{\"consul\": \"{{.FOO}}\"}".to_string()] {
        printed(pilot(&["-template"]).env("FOO", "bar").env("CONTAINERPILOT", said), "{\"consul\": \"bar\"}");
    }
    // By the name it is called.
    let link = dir.join("containerpilot");
    std::os::unix::fs::symlink(pilotfish_bin(), &link).unwrap();
    printed(Cmd::new(&link).args(["-template", "-config", &path]).env("FOO", "x"), "{\"consul\": \"x\"}");
    let p = Cmd::new(&link).arg("-version").run(secs(30));
    p.expect_exit(Exit::Code(0), secs(1));
    p.check(p.stdout().starts_with("Version: 2.7.8 (pilotfish "), "the version");
    let none = format!("{path}.none");
    refused(pilot(&["-config", &none]), 1, "Could not read config file: cannot read the configuration ");
    refused(pilot(&[]), 1, "-config flag is required");
    refused(pilot(&["app"]), 1, "-config flag is required");
    refused(pilot(&["-nope"]), 2, "flag provided but not defined: -nope");
    refused(pilot(&["-config"]), 2, "flag needs an argument: -config");
}

#[test]
fn what_is_wrong_ends_it_with_1() {
    let service =
        |more: &str| format!("{{consul: 'c', services: [{{name: 'app', port: 1, poll: 1, ttl: 3, {more}}}]}}");
    for (config, want) in [
        ("{}".to_string(), "No discovery backend defined"),
        ("{\"consul\": \"c\", \"etcd\": {}}".to_string(), "More than one discovery backend defined"),
        ("{\"etcd\": {\"prefix\": \"/x\"}}".to_string(), "Must provide etcd endpoints"),
        (
            "{\n  \"consul\": \"c\",\n  preStart \"x\"\n}".to_string(),
            "Parse error at line:col [3:12]: invalid character '\"' after object key\n    2:   \"consul\": \"c\",\n    3:   \
             preStart \"x\"\n------------------^",
        ),
        (service("interfaces: 'none0'"), "None of the interface specifications were able to match"),
        (service("interfaces: 'eth0:inet5'"), "Unable to parse interface spec: eth0:inet5"),
        (service("interfaces: '127.0.0.1'"), "Unable to parse interface spec: 127.0.0.1"),
        (service("interfaces: 'lo', prot: 1"), "-config:1: Unknown config keys: prot"),
        ("{consul: '{{.X'}".to_string(), "Could not apply template to config: "),
        ("{consul: '{{none}}'}".to_string(), "function \"none\" not defined"),
    ] {
        refused(pilot(&["-config", &config, "/bin/true"]), 1, want);
    }
    // What may be secret is not shown.
    let p = refused(pilot(&["-config", "{consul: {token: s3cr3t}}"]), 1, "Parse error at line:col [1:18]: ");
    p.check(!p.stderr().contains("s3cr3t"), "no token");
}
