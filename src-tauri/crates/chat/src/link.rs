//! Addresses that a model wrote, before a person is asked whether to open one.

use url::Url;

use crate::ChatError;

/// Longest address, in bytes: about what a dialog can show whole.
const LONGEST: usize = 2048;

/// An address that may be opened once a person has seen it: plain ASCII, with nothing hidden in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link(String);

impl Link {
    /// Takes https, http and mailto. International host names come out as they are asked for on the
    /// wire (`xn--…`), so that two letters that look the same do not.
    pub fn parse(address: &str) -> Result<Self, ChatError> {
        let refused = |why| ChatError::Link { why };
        if address.len() > LONGEST {
            return Err(refused("its address is too long to be shown"));
        }
        if address.chars().any(is_hidden) {
            return Err(refused("its address holds characters that cannot be seen"));
        }
        let url = Url::parse(address).map_err(|_| refused("it is not a whole address"))?;
        match url.scheme() {
            "https" | "http" if url.host().is_some() => {}
            "mailto" => {}
            _ => return Err(refused("only web and mail addresses are opened")),
        }
        if url.as_str().len() > LONGEST {
            return Err(refused("its address is too long to be shown"));
        }
        Ok(Self(url.into()))
    }

    /// All of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Control characters, and those of Unicode that change the order or show nothing.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, expect: Option<&str>) {
        let parsed = Link::parse(address);
        assert_eq!(parsed.as_ref().ok().map(Link::as_str), expect, "{address:?}");
    }

    #[test]
    fn the_web_and_mail_are_opened_and_shown_whole() {
        check("https://example.org/a?b#c", Some("https://example.org/a?b#c"));
        check("HTTP://example.org", Some("http://example.org/"));
        check("mailto:a@example.org", Some("mailto:a@example.org"));
        check("https://google.com@example.org/", Some("https://google.com@example.org/"));
        check("https://p\u{430}ypal.com/", Some("https://xn--pypal-4ve.com/"));
    }

    #[test]
    fn nothing_else_is() {
        for address in [
            "",
            "example.org",
            "/etc/passwd",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "data:text/html,x",
            "smb://host/share",
            "https://",
            "https://example.org/\u{202e}gpj.exe",
            "https://exa\u{200b}mple.org",
            "https://example.org/\n",
            "java\tscript:alert(1)",
            &format!("https://example.org/{}", "a".repeat(LONGEST)),
            &format!("https://example.org/{}", "语".repeat(LONGEST / 6)),
        ] {
            check(address, None);
        }
    }
}
