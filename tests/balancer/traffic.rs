//! Both sides of a load balancer: backends that say their name and can be stopped or die, and clients that never stop
//! asking and remember every request that was not answered as it should be.

use crate::util::*;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};

/// A small HTTP server on an address of its own. Each answer is its address.
pub struct Backend {
    pub address: String,
    life: Option<Life>,
}

struct Life {
    listener: TcpListener,
    thread: JoinHandle<()>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    answered: AtomicUsize,
    swallowed: AtomicUsize,
    is_dying: AtomicBool,
}

impl Backend {
    /// One that does not run yet.
    pub fn new(address: String) -> Backend {
        Backend { address, life: None }
    }
    /// From now on it takes connections.
    pub fn start(&mut self) {
        assert!(self.life.is_none(), "{} runs already", self.address);
        let listener = TcpListener::bind(&self.address).unwrap_or_else(|e| panic!("{}: {e}", self.address));
        let (ours, counts, name) = (listener.try_clone().unwrap(), Arc::new(Counts::default()), self.address.clone());
        let shared = Arc::clone(&counts);
        let thread = spawn(move || {
            while let Ok((stream, _)) = ours.accept() {
                serve(stream, &name, &shared);
            }
        });
        self.life = Some(Life { listener, thread, counts });
    }
    /// Requests it has answered since its start.
    pub fn answered(&self) -> usize {
        self.life.as_ref().map_or(0, |l| l.counts.answered.load(SeqCst))
    }
    /// It takes no more connections. Requests it has are answered, connections that wait are reset.
    pub fn stop(&mut self) {
        let Some(life) = self.life.take() else { return };
        // SAFETY: plain system call on a descriptor that is open. It ends accept(2) with EINVAL.
        unsafe { libc::shutdown(life.listener.as_raw_fd(), libc::SHUT_RD) };
        drop(life.listener);
        life.thread.join().unwrap();
    }
    /// It dies with a request in its hands: the last one is read and never answered.
    pub fn die_of_a_request(&mut self) {
        let counts = Arc::clone(&self.life.as_ref().expect("a running backend").counts);
        counts.is_dying.store(true, SeqCst);
        wait_until(secs(30), "the backend's last request", || (counts.swallowed.load(SeqCst) > 0).then_some(()));
        self.stop();
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(mut stream: TcpStream, name: &str, counts: &Counts) {
    let _ = stream.set_read_timeout(Some(secs(10)));
    let (mut head, mut part) = (Vec::new(), [0; 1024]);
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut part) {
            Ok(n) if n > 0 => head.extend_from_slice(&part[..n]),
            _ => return,
        }
    }
    if counts.is_dying.load(SeqCst) {
        counts.swallowed.fetch_add(1, SeqCst);
        return;
    }
    let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{name}", name.len());
    if stream.write_all(text.as_bytes()).is_ok() {
        counts.answered.fetch_add(1, SeqCst);
    }
}

/// Clients that ask for `/` again and again, each time by a new connection.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    asked: AtomicUsize,
    /// Answers for which nginx had to ask a second backend.
    retried: AtomicUsize,
    /// Answers of each backend.
    answers: Mutex<HashMap<String, usize>>,
    failures: Mutex<Vec<String>>,
}

impl Load {
    /// `clients` threads that ask this address. An answer is good when it is 200 and the name of the backend that nginx
    /// says it asked last (the article's X-Handler).
    pub fn start(address: &str, clients: usize) -> Load {
        let shared = Arc::new(Shared::default());
        let client = |_| {
            let (shared, address) = (Arc::clone(&shared), address.to_string());
            spawn(move || {
                while !shared.is_over.load(SeqCst) {
                    ask(&address, &shared);
                    sleep(millis(2)); // a pace, so that the machine has time for the rest
                }
            })
        };
        let threads = (0..clients).map(client).collect();
        Load { shared, threads }
    }
    /// Requests so far.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(SeqCst)
    }
    /// Those of them which a second backend had to answer.
    pub fn retried(&self) -> usize {
        self.shared.retried.load(SeqCst)
    }
    /// Good answers of this backend so far.
    pub fn answers_of(&self, backend: &str) -> usize {
        self.shared.answers.lock().unwrap().get(backend).copied().unwrap_or(0)
    }
    /// What went wrong so far.
    pub fn failures(&self) -> Vec<String> {
        self.shared.failures.lock().unwrap().clone()
    }
    /// Waits until so many more requests have begun and ended.
    pub fn wait(&self, n: usize) {
        // The first of each client may have begun before.
        let until = self.asked() + self.threads.len() + n;
        wait_until(secs(60), "requests", || (self.asked() >= until).then_some(()));
    }
    /// Ends when each client has its last answer.
    pub fn stop(&mut self) {
        self.shared.is_over.store(true, SeqCst);
        self.threads.drain(..).for_each(|t| t.join().unwrap());
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.is_over.store(true, SeqCst);
    }
}

fn ask(address: &str, shared: &Shared) {
    let failure = match http("GET", address, "/", &[], b"") {
        Ok(reply) => {
            let handlers = reply.header("x-handler").unwrap_or("nobody").to_string();
            let last = handlers.rsplit(", ").next().unwrap();
            if last != handlers {
                shared.retried.fetch_add(1, SeqCst);
            }
            let is_good = reply.status == 200 && reply.text() == last;
            if is_good {
                *shared.answers.lock().unwrap().entry(last.to_string()).or_default() += 1;
            }
            (!is_good).then(|| format!("{} by {handlers}: {}", reply.status, reply.text()))
        }
        Err(e) => Some(e.to_string()),
    };
    if let Some(text) = failure {
        shared.failures.lock().unwrap().push(text);
    }
    shared.asked.fetch_add(1, SeqCst);
}
