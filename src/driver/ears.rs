//! The driver's way with those who ask from outside, by HTTP and by the control socket: what is open, and what wishes become.

use super::Driver;
use crate::error::Result;
use crate::plan::{Control, Level, Plan};
use crate::state::Event;
use crate::sys::host::clock;
use crate::telemetry::control::{self, Socket, Wish};
use crate::telemetry::server::Server;

/// Where we can be asked from outside.
#[derive(Default)]
pub(super) struct Ears {
    /// By HTTP, and the address.
    http: Option<(String, Server)>,
    /// By the unix socket.
    control: Option<Socket>,
    /// Where that was asked for.
    asked: Control,
    /// Why it is not there.
    why: Option<String>,
}

impl Ears {
    /// Listens where the plan says, and nowhere else; what is the same stays open.
    ///
    /// # Errors
    /// An address or a path is not to be had: what was there before stays.
    #[inline(never)]
    pub(super) fn open(&mut self, plan: &Plan) -> Result<()> {
        let is_other = self.http.as_ref().map(|(at, _)| at) != plan.telemetry.as_ref();
        let listened = match &plan.telemetry {
            Some(address) if is_other => self.listen(address),
            Some(_) => Ok(()),
            None => {
                self.http = None;
                Ok(())
            }
        };
        if self.asked != plan.control {
            (self.control, self.why) = control::open(&plan.control)?;
            self.asked = plan.control.clone();
        }
        listened
    }

    fn listen(&mut self, address: &str) -> Result<()> {
        let server = Server::listen(address).or_else(|why| {
            // It may be we ourselves who stand in the way.
            let Some((old, _)) = self.http.take() else { return Err(why) };
            Server::listen(address).inspect_err(|_| self.http = Server::listen(&old).ok().map(|server| (old, server)))
        })?;
        self.http = Some((address.to_string(), server));
        Ok(())
    }

    /// Says in the log where we listen.
    pub(super) fn tell(&self, plan: &mut Plan) {
        if let Some((address, _)) = &self.http {
            let text = "listening on % for /healthz, /startupz, /readyz and /metrics";
            plan.note(Level::Info, text, &[address]);
        }
        if let Some(socket) = &self.control {
            plan.note(Level::Debug, "the control socket is %", &[&socket.path]);
        }
        if let Some(why) = &self.why {
            // Where there is no room, nobody may ever ask; where somebody took it, somebody should know.
            let level = if why.contains("remove it") { Level::Info } else { Level::Debug };
            plan.note(level, "%", &[why]);
        }
    }

    /// Answers who has asked; what they wish becomes events.
    #[inline(never)]
    pub(super) fn turn(&mut self, driver: &mut Driver) {
        if let Some((_, server)) = &mut self.http {
            server.turn(clock(), &mut |method, path| driver.answer(method, path));
        }
        let mut wishes = Vec::new();
        if let Some(socket) = &mut self.control {
            let now = driver.now();
            socket
                .server
                .turn(clock(), &mut |method, path| control::answer(method, path, &driver.facts(now), now, &mut wishes));
        }
        for wish in wishes {
            driver.events.push_back(match wish {
                Wish::Maintenance(is_on) => Event::Maintenance(is_on),
                Wish::Reload => Event::Reread,
            });
        }
    }

    pub(super) fn servers(&self) -> impl Iterator<Item = &Server> {
        let http = self.http.iter().map(|(_, server)| server);
        http.chain(self.control.iter().map(|socket| &socket.server))
    }
}
