//! A client of the W3C WebDriver protocol, as much as these tests need: one request a connection.
//! <https://www.w3.org/TR/webdriver2/>
//!
//! Not a library, because those bring an HTTP stack whose features would have the window's libraries,
//! and with them llama.cpp's build tools, built a second time for tests.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

/// The key under which an element's id travels.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Longest time a single command may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a command failed.
#[derive(Debug)]
pub enum Error {
    /// The driver cannot be reached, or did not answer.
    Connection(io::Error),
    /// It said no: WebDriver's own word, and its message.
    Refused { error: String, message: String },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => write!(f, "{error}"),
            Self::Refused { error, message } => write!(f, "{error}: {message}"),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

/// One session: one started app.
#[derive(Debug)]
pub struct Session {
    port: u16,
    id: String,
}

/// An element of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element(String);

impl Session {
    /// Starts the app.
    pub fn start(port: u16, application: &str) -> Result<Self, Error> {
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "webkitgtk:browserOptions": { "binary": application, "args": [] },
            "timeouts": { "script": 20_000 },
        } } });
        let value = request(port, "POST", "/session", Some(&wanted))?;
        let id = value["sessionId"].as_str().unwrap_or_default().to_owned();
        Ok(Self { port, id })
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Error> {
        request(self.port, method, &format!("/session/{}{path}", self.id), body)
    }

    /// Ends the app.
    pub fn end(self) -> Result<(), Error> {
        self.ask("DELETE", "", None).map(drop)
    }

    /// Runs a function body in the page and gives what it returns.
    pub fn run(&self, script: &str, arguments: &[Value]) -> Result<Value, Error> {
        self.ask("POST", "/execute/sync", Some(&json!({ "script": script, "args": arguments })))
    }

    /// All elements that a CSS selector finds.
    pub fn all(&self, css: &str) -> Result<Vec<Element>, Error> {
        let found = self.ask("POST", "/elements", Some(&json!({ "using": "css selector", "value": css })))?;
        Ok(found.as_array().into_iter().flatten().filter_map(element).collect())
    }

    /// The element that a function body returns, if it returns one.
    pub fn element(&self, script: &str, arguments: &[Value]) -> Result<Option<Element>, Error> {
        Ok(element(&self.run(script, arguments)?))
    }

    pub fn click(&self, Element(id): &Element) -> Result<(), Error> {
        self.ask("POST", &format!("/element/{id}/click"), Some(&json!({}))).map(drop)
    }

    /// Types into an element, key by key.
    pub fn send_keys(&self, Element(id): &Element, text: &str) -> Result<(), Error> {
        self.ask("POST", &format!("/element/{id}/value"), Some(&json!({ "text": text }))).map(drop)
    }

    pub fn clear(&self, Element(id): &Element) -> Result<(), Error> {
        self.ask("POST", &format!("/element/{id}/clear"), Some(&json!({}))).map(drop)
    }

    pub fn title(&self) -> Result<String, Error> {
        Ok(self.ask("GET", "/title", None)?.as_str().unwrap_or_default().to_owned())
    }

    /// What the window shows, as a PNG image.
    pub fn screenshot(&self) -> Result<Vec<u8>, Error> {
        let encoded = self.ask("GET", "/screenshot", None)?;
        let image = base64::engine::general_purpose::STANDARD.decode(encoded.as_str().unwrap_or_default());
        image.map_err(|error| io::Error::other(error).into())
    }
}

fn element(value: &Value) -> Option<Element> {
    value.get(ELEMENT).and_then(Value::as_str).map(|id| Element(id.to_owned()))
}

/// Whether a driver answers there.
pub fn is_ready(port: u16) -> bool {
    request(port, "GET", "/status", None).is_ok()
}

fn request(port: u16, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Error> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let json: Value = serde_json::from_slice(&payload(&answer)?).map_err(io::Error::from)?;
    let value = json["value"].clone();
    match value.get("error").and_then(Value::as_str) {
        Some(error) => Err(Error::Refused {
            error: error.to_owned(),
            message: value["message"].as_str().unwrap_or_default().to_owned(),
        }),
        None => Ok(value),
    }
}

/// The body of an HTTP/1.1 answer that was read to its end.
fn payload(answer: &[u8]) -> io::Result<Vec<u8>> {
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(broken)?;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let mut rest = &answer[end + 4..];
    if !head.contains("transfer-encoding: chunked") {
        return Ok(rest.to_vec());
    }
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").ok_or_else(broken)?;
        let size = std::str::from_utf8(&rest[..line]).map_err(|_| broken())?;
        let size = usize::from_str_radix(size.trim(), 16).map_err(|_| broken())?;
        if size == 0 {
            return Ok(body);
        }
        let end = line + 2 + size;
        body.extend_from_slice(rest.get(line + 2..end).ok_or_else(broken)?);
        rest = rest.get(end..).and_then(|rest| rest.strip_prefix(b"\r\n")).ok_or_else(broken)?;
    }
}

#[test]
fn both_kinds_of_bodies_are_read() {
    let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(payload(plain).unwrap(), b"hi");
    let chunked =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\na\r\n, and more.\r\n0\r\n\r\n";
    assert!(payload(chunked).is_err(), "a length that is wrong");
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n4\r\n you\r\n0\r\n\r\n";
    assert_eq!(payload(chunked).unwrap(), b"hi you");
    assert!(payload(b"HTTP/1.1 200 OK\r\n").is_err());
}
