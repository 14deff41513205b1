//! The unix socket where a running pilotfish is asked how it is, and told to read its configuration again or to take its
//! services out of the catalog. It decides where the socket is, who may use it, and what is answered; what follows from a
//! wish is `state`'s. `server` knows the connections.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::server::Server;
use super::{Answer, said, yes_unless};
use crate::error::{Error, Kind, Result, os_text};
use crate::plan::{Control, Millis};
use crate::state::facts::Facts;
use crate::sys::folder::Folder;
use crate::sys::{host, socket};
use crate::text::{fill, time};
use crate::value::Time;

/// A socket of ours; its file goes with it.
pub struct Socket {
    /// Who takes the connections.
    pub server: Server,
    /// Where it is.
    pub path: String,
    /// Which file that is: device and number.
    file: (u64, u64),
    /// Its folder is ours, too.
    is_usual: bool,
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Somebody may have put another in its place.
        if fs::symlink_metadata(&self.path).is_ok_and(|f| (f.dev(), f.ino()) == self.file) {
            let _ = fs::remove_file(&self.path);
            if self.is_usual
                && let Some(folder) = Path::new(&self.path).parent()
            {
                let _ = fs::remove_dir(folder); // the last one: it is empty
            }
        }
    }
}

/// The folders that hold users' folders. An image from scratch has neither /run nor /tmp; /dev/shm is in every container.
pub static OPEN: [&str; 2] = ["/tmp", "/dev/shm"];

/// In them, a user's folder is called so, with the user's number behind it.
pub static BEGIN: &str = "pilotfish-";

/// The folders where a user's instances may have their sockets, the best first.
#[inline(never)]
pub fn folders(user: u32) -> Vec<String> {
    let mut all = Vec::new();
    if user == 0 {
        all.push("/run/pilotfish".to_string());
    }
    for parent in OPEN {
        all.push([parent, "/", BEGIN, &user.to_string()].concat());
    }
    all
}

/// Whether this is a folder, no link to one, that only its owner may enter: this user, or root.
#[inline(never)]
pub fn is_private(folder: &str, user: u32) -> bool {
    let is_it = |f: fs::Metadata| f.is_dir() && (f.uid() == user || f.uid() == 0) && f.mode() & 0o077 == 0;
    fs::symlink_metadata(folder).is_ok_and(is_it)
}

/// Whether somebody listens at this path: `None` when there is no socket.
#[inline(never)]
fn is_alive(path: &str) -> Option<bool> {
    fs::symlink_metadata(path).ok().filter(|f| f.file_type().is_socket())?;
    // Whose queue is full is there, too, and so is who will not have us.
    Some(!socket::connect_unix(Path::new(path)).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused))
}

/// What a folder has that is named by a number between these two words.
#[inline(never)]
pub fn numbered(folder: &str, begin: &str, end: &str) -> Vec<(u32, String)> {
    let mut all = Vec::new();
    if let Ok(entries) = fs::read_dir(folder) {
        for entry in entries {
            let Ok(entry) = entry else { break };
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let number = name.strip_prefix(begin).and_then(|n| n.strip_suffix(end)).and_then(|n| n.parse().ok());
            if let Some(number) = number {
                all.push((number, [folder, "/", name].concat()));
            }
        }
    }
    all
}

/// The sockets in a folder, with the numbers of the processes they are named after.
pub fn sockets(folder: &str) -> Vec<(u32, String)> {
    numbered(folder, "", ".sock")
}

/// Listens where the plan says, if it does; or why that cannot be, where it need not.
///
/// # Errors
/// `Kind::Fatal`: the path that the plan names is not to be had.
#[inline(never)]
pub fn open(control: &Control) -> Result<(Option<Socket>, Option<String>)> {
    match control {
        Control::None => Ok((None, None)),
        Control::At(path) => {
            listen(path, false).map(|socket| (Some(socket), None)).map_err(|why| Error::new(Kind::Fatal, why))
        }
        Control::Usual => {
            let mut all = Vec::new();
            for folder in folders(host::user()) {
                match inside(&folder) {
                    Ok(socket) => return Ok((Some(socket), None)),
                    Err(why) => all.push(why),
                }
            }
            Ok((None, Some(["no control socket: ", &all.join("; ")].concat())))
        }
    }
}

/// Listens in a folder that is ours alone, and clears away what others left there.
#[inline(never)]
fn inside(folder: &str) -> std::result::Result<Socket, String> {
    let (parent, name) = folder.rsplit_once('/').unwrap_or_default();
    let made = Folder::open(Path::new(parent)).and_then(|parent| parent.make(name));
    if let Err(e) = made
        && e.kind() != ErrorKind::AlreadyExists
    {
        return Err(fill("cannot make the folder %: %", &[folder, &os_text(&e)]));
    }
    if !is_private(folder, host::user()) {
        return Err(fill("% is not a folder that only we may enter: remove it", &[folder]));
    }
    for (_, path) in sockets(folder) {
        if is_alive(&path) == Some(false) {
            let _ = fs::remove_file(path);
        }
    }
    listen(&[folder, "/", &std::process::id().to_string(), ".sock"].concat(), true)
}

/// Listens at a path, in place of what an instance that is gone left there.
#[inline(never)]
fn listen(path: &str, is_usual: bool) -> std::result::Result<Socket, String> {
    let fail = |why: &str| Err(fill("cannot listen at %: %", &[path, why]));
    let at = Path::new(path);
    match is_alive(path) {
        Some(true) => return fail("another instance listens there"),
        Some(false) => drop(fs::remove_file(at)),
        None => {}
    }
    let made = socket::listen_unix(at).and_then(|fd| fs::symlink_metadata(at).map(|file| (fd, file)));
    match made {
        Ok((fd, file)) => {
            let server = Server::on(fd, true);
            Ok(Socket { server, path: path.to_string(), file: (file.dev(), file.ino()), is_usual })
        }
        Err(e) if e.kind() == ErrorKind::AddrInUse => fail("there is something that is no socket"),
        Err(e) if e.kind() == ErrorKind::InvalidFilename => fail("the path of a socket has 1 to 107 bytes"),
        Err(e) => fail(&os_text(&e)),
    }
}

/// What somebody wants done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Take our services out of the catalog, or put them back.
    Maintenance(bool),
    /// Read the configuration again.
    Reload,
}

/// The answer to a method and a path; a wish that goes with it is added to `wishes`. `now` is the clock of the facts.
#[inline(never)]
pub fn answer(method: &str, path: &str, facts: &Facts, now: Millis, wishes: &mut Vec<Wish>) -> Answer {
    let (wish, text) = match path {
        "/status" => (None, ""),
        "/maintenance/on" => (Some(Wish::Maintenance(true)), "our services are taken out of the catalog"),
        "/maintenance/off" => (Some(Wish::Maintenance(false)), "our services are told of again"),
        "/reload" => (Some(Wish::Reload), "the configuration is read again; the log says how that went"),
        _ => return said("404 Not Found", "there are /status, /maintenance/on, /maintenance/off and /reload"),
    };
    let (status, text) = match wish {
        None if method == "GET" => {
            let mut page = yes_unless(facts.unready.as_deref(), "ready");
            if facts.unready.is_some() {
                page.body.insert_str(0, "not ready: ");
            }
            add_status(&mut page.body, facts, now);
            return page;
        }
        // What changes something is not done by who only looks.
        Some(wish) if method == "POST" => {
            if wish != Wish::Reload && facts.services.is_empty() {
                ("409 Conflict", "there are no services of ours")
            } else {
                wishes.push(wish);
                ("202 Accepted", text)
            }
        }
        _ => ("405 Method Not Allowed", "/status is for GET, all else for POST"),
    };
    said(status, text)
}

/// What is counted, by `Count`, as the status has it.
pub static COUNTED: &str =
    "syncs,renders,failed renders,failed checks,updates,reloads,failed reloads,rollbacks,app starts";

/// Adds a line.
#[inline(never)]
fn line(out: &mut String, kind: &str, name: &str, value: &str) {
    for part in [kind, name, ": ", value, "\n"] {
        out.push_str(part);
    }
}

/// The lines below the first: `name: value`.
#[inline(never)]
fn add_status(out: &mut String, facts: &Facts, now: Millis) {
    if let Some(runs) = facts.app_runs {
        line(out, "app", "", if runs { "running" } else { "not running" });
    }
    line(out, "files", "", if facts.unstarted.is_none() { "in place" } else { "not all in place yet" });
    if !facts.services.is_empty() {
        line(out, "maintenance", "", if facts.is_maintained { "on" } else { "off" });
    }
    for (id, how) in &facts.services {
        line(out, "service ", id, how);
    }
    for (name, n) in &facts.instances {
        line(out, "backend ", name, &n.to_string());
    }
    for source in &facts.sources {
        let how = if source.is_up { "up, " } else { "down, " };
        line(out, "source ", &source.name, &[how, &source.keys.to_string(), " keys"].concat());
    }
    let all = facts.tally.counts.iter().zip(&facts.tally.last);
    for (name, (n, last)) in COUNTED.split(',').zip(all) {
        let mut value = n.to_string();
        if let Some(at) = last {
            value.push_str(&fill(", the last % s ago", &[&(now.saturating_sub(*at) / 1000).to_string()]));
        }
        line(out, name, "", &value);
    }
    for (whose, end) in &facts.certificates {
        let end = time::format(Time { secs: *end, nanos: 0 }, "ends 2006-01-02T15:04:05Z");
        line(out, "certificate ", whose, &end);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::facts;
    use super::*;
    use crate::state::facts::COUNTS;
    use std::fs::DirBuilder;
    use std::io::{Read, Write};
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    use std::os::unix::net::{UnixListener, UnixStream};

    /// A folder of this test's own.
    fn folder(name: &str) -> String {
        let dir = std::env::temp_dir().join(format!("pilotfish-control-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        DirBuilder::new().mode(0o700).create(&dir).unwrap();
        dir.display().to_string()
    }

    fn mode(path: &str) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn each_path_has_its_method() {
        let mut f = facts();
        let asked = |f: &Facts, method: &str, path: &str| {
            let mut wishes = Vec::new();
            let status = answer(method, path, f, 0, &mut wishes).status.get(..3).unwrap().to_string();
            (status, wishes)
        };
        let on = vec![Wish::Maintenance(true)];
        let off = vec![Wish::Maintenance(false)];
        for (method, path, status, wishes) in [
            ("GET", "/status", "200", vec![]),
            ("POST", "/status", "405", vec![]),
            ("POST", "/maintenance/on", "202", on),
            ("POST", "/maintenance/off", "202", off),
            ("POST", "/reload", "202", vec![Wish::Reload]),
            ("GET", "/reload", "405", vec![]),
            ("GET", "/maintenance/on", "405", vec![]),
            ("PUT", "/maintenance/off", "405", vec![]),
            ("", "/reload", "405", vec![]),
            ("GET", "/", "404", vec![]),
            ("POST", "/maintenance", "404", vec![]),
            ("POST", "/metrics", "404", vec![]),
        ] {
            assert!(asked(&f, method, path) == (status.to_string(), wishes), "{method} {path}");
        }
        f.services.clear();
        assert!(asked(&f, "POST", "/maintenance/on") == ("409".to_string(), vec![]));
        assert!(asked(&f, "POST", "/reload").1 == [Wish::Reload]);
    }

    #[test]
    fn the_status_tells_all_there_is() {
        let mut f = facts();
        let mut page = answer("GET", "/status", &f, 12_000, &mut Vec::new());
        let want = "ready\napp: running\nfiles: in place\nmaintenance: off\nservice web-1: passing\nservice db-1: failing\n\
            backend nginx?x: 2\nsource a \"b\": up, 3 keys\nsource c: down, 3 keys\nsyncs: 0\nrenders: 0\nfailed renders: 0\n\
            failed checks: 0\nupdates: 0\nreloads: 7, the last 7 s ago\nfailed reloads: 0\nrollbacks: 0\napp starts: 0\n\
            certificate mine: ends 1970-01-01T00:01:39Z\n";
        assert_eq!(page.body, want);
        assert_eq!(COUNTED.split(',').count(), COUNTS);
        f.unready = Some("why".to_string());
        f.unstarted = Some("why".to_string());
        (f.app_runs, f.is_maintained) = (None, true);
        f.instances.clear();
        page = answer("GET", "/status", &f, 0, &mut Vec::new());
        assert_eq!(page.status, "503 Service Unavailable");
        let begin = "not ready: why\nfiles: not all in place yet\nmaintenance: on\nservice ";
        assert!(page.body.starts_with(begin) && !page.body.contains("\nbackend "), "{}", page.body);
    }

    #[test]
    fn a_path_that_is_named_is_taken_or_an_error() {
        let dir = folder("at");
        let path = [&dir, "/s"].concat();
        let at = |path: &str| open(&Control::At(path.to_string()));
        let (first, note) = at(&path).unwrap();
        assert!(note.is_none());
        assert_eq!(mode(&path), 0o600);
        // Somebody listens there.
        let why = at(&path).err().unwrap().into_text();
        assert!(why.ends_with("/s: another instance listens there"), "{why}");
        drop(first);
        assert!(fs::symlink_metadata(&path).is_err(), "it is removed at the end");
        // Who listened there is gone.
        drop(UnixListener::bind(&path).unwrap());
        let (second, _) = at(&path).unwrap();
        // Its place was taken: what is there now is not ours.
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        drop(second);
        assert!(UnixStream::connect(&path).is_ok());
        drop(other);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        let why = at(&path).err().unwrap().into_text();
        assert!(why.ends_with("there is something that is no socket"), "{why}");
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        for (path, want) in [
            ([&dir, "/none/s"].concat(), "No such file or directory"),
            ([&dir, "/", &"x".repeat(108)].concat(), "the path of a socket has 1 to 107 bytes"),
            (String::new(), "the path of a socket has 1 to 107 bytes"),
        ] {
            let why = at(&path).err().unwrap();
            assert!(why.kind == Kind::Fatal && why.text.ends_with(want), "{why}");
        }
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_usual_folder_is_made_for_its_owner_alone() {
        let outer = folder("usual");
        let inner = [&outer, "/p"].concat();
        drop(inside(&inner).ok().unwrap());
        assert!(fs::symlink_metadata(&inner).is_err(), "nothing is left behind");
        let socket = inside(&inner).ok().unwrap();
        assert_eq!((mode(&inner), mode(&socket.path)), (0o700, 0o600));
        assert_eq!(socket.path, [&inner, "/", &std::process::id().to_string(), ".sock"].concat());
        // Leftovers go; what listens stays, as does what is no socket.
        let name = |n: &str| [&inner, "/", n].concat();
        drop(UnixListener::bind(name("7.sock")).unwrap());
        let living = UnixListener::bind(name("8.sock")).unwrap();
        fs::write(name("9.sock"), "").unwrap();
        drop(UnixListener::bind(name("x.sock")).unwrap());
        drop(socket);
        let socket = inside(&inner).ok().unwrap();
        let mut left: Vec<u32> = sockets(&inner).into_iter().map(|(pid, _)| pid).collect();
        left.sort_unstable();
        assert_eq!(left, [8, 9, std::process::id()]);
        assert!(fs::symlink_metadata(name("x.sock")).is_ok(), "it is nobody's");
        drop((socket, living));
        assert!(Path::new(&inner).is_dir(), "there are others in it");
        // Others may look in, or it is a link to a folder: no place for it.
        let refused = |folder: &str| inside(folder).err().unwrap();
        for open in [0o701, 0o710, 0o750, 0o777, 0o1777] {
            fs::set_permissions(&inner, fs::Permissions::from_mode(open)).unwrap();
            assert!(refused(&inner).contains("is not a folder that only we may enter"), "{open:o}");
        }
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o700)).unwrap();
        let link = [&outer, "/link"].concat();
        std::os::unix::fs::symlink(&inner, &link).unwrap();
        assert!(refused(&link).contains("is not a folder that only we may enter"));
        fs::write([&outer, "/file"].concat(), "").unwrap();
        assert!(refused(&[&outer, "/file"].concat()).contains("is not a folder that only we may enter"));
        assert!(refused(&[&outer, "/no/p"].concat()).starts_with("cannot make the folder "));
        if host::user() == 0 {
            std::os::unix::fs::chown(&inner, Some(65_534), None).unwrap();
            assert!(refused(&inner).contains("is not a folder that only we may enter"), "somebody else's");
        }
        fs::remove_dir_all(&outer).unwrap();
    }

    /// Takes a turn as the loop does, until this answer is there.
    fn served(socket: &mut Socket, client: &mut UnixStream, now: Millis) -> String {
        client.set_nonblocking(true).unwrap();
        let mut got = Vec::new();
        for _ in 0..200 {
            socket.server.turn(now, &mut |method, path| answer(method, path, &facts(), 0, &mut Vec::new()));
            match client.read_to_end(&mut got) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                _ => break,
            }
        }
        String::from_utf8(got).unwrap()
    }

    #[test]
    fn clients_that_mean_no_good_change_nothing_for_others() {
        let dir = folder("hostile");
        let path = [&dir, "/s"].concat();
        let mut socket = open(&Control::At(path.clone())).unwrap().0.unwrap();
        let connect = || UnixStream::connect(&path).unwrap();
        let begun = |client: &mut UnixStream, text: &[u8]| {
            client.set_nonblocking(true).unwrap();
            let _ = client.write(text);
        };
        let whole = b"GET /status HTTP/1.1\r\n\r\n";
        // Half a request, for ever; one connection after another, a thousand of them; a head without an end.
        let mut half = connect();
        begun(&mut half, b"GET /status HTTP/1.1\r\n");
        let mut held = Vec::new();
        for i in 0..1000 {
            let mut client = connect();
            begun(&mut client, if i % 2 == 0 { b"P" } else { b"" });
            held.push(client);
            if i % 10 == 0 {
                socket.server.turn(0, &mut |_, _| said("200 OK", "x"));
            }
        }
        let mut long = connect();
        long.set_nonblocking(true).unwrap();
        let sent = long.write(&vec![b'x'; 1 << 20]).unwrap();
        assert!(sent > 8 << 10, "{sent}");
        assert!(served(&mut socket, &mut long, 0).starts_with("HTTP/1.1 431 "));
        let mut good = connect();
        begun(&mut good, whole);
        let text = served(&mut socket, &mut good, 0);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("\r\n\r\nready\napp: running\n"), "{text}");
        // Who says nothing more is cut off; the thousand held no more than they may.
        assert!(socket.server.awaited().len() <= 33);
        assert_eq!(served(&mut socket, &mut half, 5_000), "");
        let open_ones = socket.server.awaited().len();
        socket.server.turn(10_001, &mut |_, _| said("200 OK", "x"));
        assert_eq!((open_ones, socket.server.awaited().len()), (1, 1));
        // Two requests in one go, garbage, a body: one answer each.
        for (text, want) in [
            (&b"GET /status HTTP/1.1\r\n\r\nPOST /reload HTTP/1.1\r\n\r\n"[..], "HTTP/1.1 200 "),
            (b"\x00\xff\r\n\r\n", "HTTP/1.1 400 "),
            (b"POST /reload HTTP/1.1\r\ncontent-length: 5\r\n\r\nabcde", "HTTP/1.1 202 "),
            (b"POST /reload?x=/status HTTP/1.0\n\n", "HTTP/1.1 202 "),
            (b"HEAD /reload HTTP/1.1\r\n\r\n", "HTTP/1.1 405 "),
        ] {
            let mut client = connect();
            begun(&mut client, text);
            let got = served(&mut socket, &mut client, 20_000);
            assert!(got.starts_with(want) && got.matches("HTTP/1.1").count() == 1, "{want} {got}");
        }
        drop(socket);
        fs::remove_dir_all(&dir).unwrap();
    }
}
