//! The filter `tojson` as transformers defines it, and the way from JSON to template values.

use std::fmt::Write;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::failure::TOO_DEEP;

/// Deepest nesting that is written; Python would go to about a thousand, no prompt goes to ten.
const DEPTH: usize = 128;

/// Widest indent in spaces; a wider one is an attack.
const INDENT: usize = 64;

/// `json.dumps(value, ensure_ascii=False, indent=…, separators=…, sort_keys=…)`: unlike the
/// filters of Jinja2 and of minijinja it leaves `<`, `>`, `&` and `'` alone.
#[expect(clippy::needless_pass_by_value, reason = "minijinja passes keyword arguments by value")]
pub(super) fn filter(
    state: &State,
    value: &Value,
    ensure_ascii: Option<bool>,
    options: Kwargs,
) -> Result<Value, Error> {
    let ensure_ascii = match ensure_ascii {
        Some(given) => given,
        None => options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
    };
    let indent = options.get::<Option<usize>>("indent")?;
    let separators = options.get::<Option<Vec<String>>>("separators")?;
    let sort_keys = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    options.assert_all_used()?;
    if indent.is_some_and(|width| width > INDENT) {
        return Err(Error::new(ErrorKind::InvalidOperation, "indent is too wide"));
    }
    let (item, key) = match separators.as_deref() {
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => {
            return Err(Error::new(ErrorKind::InvalidOperation, "separators must be two"));
        }
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
    };
    let mut writer =
        Writer { state, text: String::new(), paid: 0, ensure_ascii, indent, item, key, sort_keys };
    writer.value(value, 0)?;
    // Not marked safe: with escaping off that would change nothing but the type.
    Ok(Value::from(writer.text))
}

struct Writer<'a, 'template, 'env> {
    state: &'a State<'template, 'env>,
    text: String,
    /// Bytes of `text` already charged as steps.
    paid: usize,
    ensure_ascii: bool,
    indent: Option<usize>,
    item: String,
    key: String,
    sort_keys: bool,
}

impl Writer<'_, '_, '_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > DEPTH {
            return Err(Error::new(ErrorKind::InvalidOperation, TOO_DEEP));
        }
        // Paid as it grows: shared lists in lists may unfold without end.
        let unpaid = self.text.len() - self.paid;
        self.state.consume_fuel(1 + unpaid as u64 / 64)?;
        self.paid = self.text.len();
        match value.kind() {
            ValueKind::None => self.text.push_str("null"),
            ValueKind::Bool => self.text.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.number(value),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Map => self.map(value, depth)?,
            ValueKind::Seq | ValueKind::Iterable => self.sequence(value, depth)?,
            _ => return Err(Error::from(ErrorKind::BadSerialization)),
        }
        Ok(())
    }

    fn number(&mut self, value: &Value) {
        let text = match value.to_string().as_str() {
            "inf" => "Infinity".to_owned(),
            "-inf" => "-Infinity".to_owned(),
            other => other.to_owned(),
        };
        self.text.push_str(&text);
    }

    fn sequence(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.text.push('[');
        let mut empty = true;
        for item in value.try_iter()?.checked() {
            self.separate(empty, depth);
            empty = false;
            self.value(&item?, depth + 1)?;
        }
        self.close(empty, depth, ']');
        Ok(())
    }

    fn map(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let mut keys: Vec<Value> = value.try_iter()?.collect();
        if self.sort_keys {
            keys.sort();
        }
        self.text.push('{');
        let mut empty = true;
        for name in keys {
            self.separate(empty, depth);
            empty = false;
            match name.kind() {
                ValueKind::String => self.string(name.as_str().unwrap_or_default()),
                ValueKind::Number | ValueKind::Bool | ValueKind::None => {
                    self.text.push('"');
                    self.value(&name, depth + 1)?;
                    self.text.push('"');
                }
                _ => return Err(Error::from(ErrorKind::BadSerialization)),
            }
            self.text.push_str(&self.key);
            self.value(&value.get_item(&name)?, depth + 1)?;
        }
        self.close(empty, depth, '}');
        Ok(())
    }

    fn separate(&mut self, first: bool, depth: usize) {
        if !first {
            self.text.push_str(&self.item);
        }
        self.line(depth + 1);
    }

    fn close(&mut self, empty: bool, depth: usize, bracket: char) {
        if !empty {
            self.line(depth);
        }
        self.text.push(bracket);
    }

    fn line(&mut self, depth: usize) {
        if let Some(width) = self.indent {
            self.text.push('\n');
            self.text.extend(std::iter::repeat_n(' ', width * depth));
        }
    }

    fn string(&mut self, string: &str) {
        self.text.push('"');
        for c in string.chars() {
            match c {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                // Python escapes delete only when it escapes all that is not ASCII.
                c if c < ' ' || (self.ensure_ascii && c > '~') => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        // Writing to a String cannot fail.
                        let _ = write!(self.text, "\\u{unit:04x}");
                    }
                }
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }
}

/// A JSON value as a template sees it.
pub(super) fn to_template(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(value) => Value::from(*value),
        serde_json::Value::Number(number) => number
            .as_i64()
            .map(Value::from)
            .or_else(|| number.as_u64().map(Value::from))
            .or_else(|| number.as_f64().map(Value::from))
            .unwrap_or_default(),
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => items.iter().map(to_template).collect(),
        serde_json::Value::Object(map) => {
            Value::from_pairs(map.iter().map(|(key, value)| (key.as_str(), to_template(value))))
        }
    }
}
