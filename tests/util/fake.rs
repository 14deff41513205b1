//! An HTTP server that misbehaves on purpose: the test says what each request gets, byte by byte, and reads later
//! who asked what and when. What real servers do by themselves is tested with real ones.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub at: Instant,
    /// From 1, over all connections.
    pub number: usize,
    /// Which connection, from 1.
    pub connection: usize,
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    /// A value of the query (`index` of `?recurse&index=12`); empty for a bare name.
    pub fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.path.split_once('?')?;
        query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v)
    }
}

/// What a request gets.
pub enum Answer {
    /// These bytes, status line and all; the connection stays for the next request, unless this one said `close`.
    Bytes(Vec<u8>),
    /// These bytes, then the end of the connection.
    Cut(Vec<u8>),
    /// These bytes, then silence for as long as the server lives.
    Hang(Vec<u8>),
    /// A pause, then this. The pause ends early when the server does.
    After(Duration, Box<Answer>),
}

impl Answer {
    /// A well-formed answer. `headers` are whole lines without their line ends.
    pub fn reply(status: u16, headers: &[&str], body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let mut head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n", body.len());
        for line in headers {
            head.push_str(line);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        Answer::Bytes(bytes)
    }
    /// As Consul answers a recursive KV read: `keys` are (key, value), the header says `index`.
    pub fn consul_kv(index: u64, keys: &[(&str, &str)]) -> Answer {
        let list: Vec<serde_json::Value> = keys
            .iter()
            .map(|(key, value)| {
                serde_json::json!({"LockIndex": 0, "Key": key, "Flags": 0, "Value": base64(value.as_bytes()),
                    "CreateIndex": index, "ModifyIndex": index})
            })
            .collect();
        let headers = format!("X-Consul-Index: {index}");
        let headers =
            ["Content-Type: application/json", &headers, "X-Consul-Knownleader: true", "X-Consul-Lastcontact: 0"];
        if list.is_empty() {
            return Answer::reply(404, &headers, "");
        }
        Answer::reply(200, &headers, serde_json::Value::Array(list).to_string())
    }
    /// This, after a pause.
    pub fn after(self, pause: Duration) -> Answer {
        Answer::After(pause, Box::new(self))
    }
}

/// Base64 of RFC 4648, with padding.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let n = part.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - part.len()));
        for i in 0..4 {
            text.push(if i <= part.len() { DIGITS[(n >> (18 - 6 * i) & 63) as usize] as char } else { '=' });
        }
    }
    text
}

/// The server; it ends when dropped.
pub struct FakeHttp {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    stop: AtomicBool,
    requests: Mutex<Vec<Request>>,
    connections: Mutex<Vec<TcpStream>>,
}

impl FakeHttp {
    /// Listens on a free port of 127.0.0.1. `answer` runs on a thread per connection.
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> FakeHttp {
        FakeHttp::start_at("127.0.0.1:0", answer)
    }
    /// The same on an address of the caller's choice.
    pub fn start_at(address: &str, answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> FakeHttp {
        let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("cannot listen on {address}: {e}"));
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            requests: Mutex::new(Vec::new()),
            connections: Mutex::new(Vec::new()),
        });
        let (ours, answer) = (Arc::clone(&shared), Arc::new(answer));
        spawn(move || {
            for stream in listener.incoming() {
                if shared.stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let number = {
                    let mut all = shared.connections.lock().unwrap();
                    all.push(stream.try_clone().unwrap());
                    all.len()
                };
                let (shared, answer) = (Arc::clone(&shared), Arc::clone(&answer));
                spawn(move || serve(&shared, stream, number, &*answer));
            }
        });
        FakeHttp { address, shared: ours }
    }
    /// host:port.
    pub fn addr(&self) -> String {
        self.address.to_string()
    }
    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }
    /// How many requests came so far.
    pub fn count(&self) -> usize {
        self.shared.requests.lock().unwrap().len()
    }
}

impl Drop for FakeHttp {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        for stream in self.shared.connections.lock().unwrap().iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn serve(shared: &Shared, stream: TcpStream, connection: usize, answer: &dyn Fn(&Request) -> Answer) {
    let Ok(mut out) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Some(mut request) = read_request(&mut reader) {
        request.connection = connection;
        {
            let mut all = shared.requests.lock().unwrap();
            request.number = all.len() + 1;
            all.push(request.clone());
        }
        let mut what = answer(&request);
        while let Answer::After(pause, then) = what {
            let until = Instant::now() + pause;
            while Instant::now() < until && !shared.stop.load(Ordering::SeqCst) {
                sleep(Duration::from_millis(2).min(until.saturating_duration_since(Instant::now())));
            }
            what = *then;
        }
        match what {
            Answer::Bytes(bytes) => {
                if out.write_all(&bytes).is_ok() && request.header("connection") != Some("close") {
                    continue;
                }
            }
            Answer::Hang(bytes) => {
                let _ = out.write_all(&bytes);
                // Until the other side, or Drop, ends the connection; what comes meanwhile is not answered.
                let _ = std::io::copy(&mut reader, &mut std::io::sink());
            }
            Answer::Cut(bytes) => {
                let _ = out.write_all(&bytes);
            }
            Answer::After(..) => {}
        }
        let _ = out.shutdown(Shutdown::Both);
        return;
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let at = Instant::now();
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_string(), words.next()?.to_string());
    let mut headers: Vec<(String, String)> = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_string())),
            None => break,
        }
    }
    let length = headers.iter().find(|(n, _)| n == "content-length").and_then(|(_, v)| v.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { at, number: 0, connection: 0, method, path, headers, body })
}
