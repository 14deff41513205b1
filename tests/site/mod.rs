//! A confd user's folder: resources, templates, destinations, and the command that runs confd's way in on it.

use std::path::PathBuf;

use crate::util::*;

/// A confdir with resources, and a folder for destinations.
pub struct Site {
    /// Holds `etc/`, the confdir, and `out/`.
    pub dir: TempDir,
}

impl Site {
    /// One without resources.
    pub fn new() -> Site {
        let dir = TempDir::new();
        dir.mkdir("etc/conf.d");
        dir.mkdir("etc/templates");
        dir.mkdir("out");
        Site { dir }
    }

    /// A resource `NAME.toml` for the template text, with more lines of TOML; its destination is `out/NAME`.
    pub fn resource(&self, name: &str, template: &str, more: &str) {
        self.dir.write(format!("etc/templates/{name}.tmpl"), template);
        let dest = self.dir.join("out").join(name);
        let text = format!("[template]\nsrc = \"{name}.tmpl\"\ndest = \"{}\"\n{more}\n", dest.display());
        self.dir.write(format!("etc/conf.d/{name}.toml"), text);
    }

    /// Where the resource's file goes.
    pub fn out(&self, name: &str) -> PathBuf {
        self.dir.join("out").join(name)
    }

    /// What that file holds.
    pub fn read(&self, name: &str) -> String {
        self.dir.read(format!("out/{name}"))
    }

    /// confd's way in on this folder.
    pub fn confd(&self, args: &[&str]) -> Cmd {
        let dir = self.dir.join("etc").display().to_string();
        pilotfish().arg("confd").args(["-confdir", &dir]).args(args)
    }
}
