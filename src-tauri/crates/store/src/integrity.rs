//! Checking the whole library: the file, the references, every text against its hash, the index.

use crate::{History, Message, NodeId, StoreError};

/// What a check of the whole library found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IntegrityReport {
    /// Messages that were read and compared with their hashes.
    pub messages: usize,
    /// Messages that are not what was written.
    pub damaged: Vec<NodeId>,
    /// What SQLite itself finds wrong, at most 100 sentences.
    pub problems: Vec<String>,
    /// The search index against the text.
    pub index: IndexCheck,
}

/// The search index against the text. `rebuild_index` repairs all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexCheck {
    /// Entries that are as they should be.
    pub good: u32,
    /// Texts or titles that have no entry.
    pub missing: u32,
    /// Entries that differ from their text or title.
    pub stale: u32,
    /// Entries of nothing.
    pub orphaned: u32,
}

impl IntegrityReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.damaged.is_empty() && self.problems.is_empty() && self.index.is_ok()
    }
}

impl IndexCheck {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        self.missing == 0 && self.stale == 0 && self.orphaned == 0
    }
}

impl History {
    /// Reads everything and compares. Takes as long as reading the file does.
    pub fn integrity_check(&self) -> Result<IntegrityReport, StoreError> {
        let mut report = IntegrityReport { index: self.check_index()?, ..IntegrityReport::default() };
        self.conn.pragma(None, "integrity_check", 100, |row| {
            let line: String = row.get(0)?;
            if line != "ok" {
                report.problems.push(line);
            }
            Ok(())
        })?;
        self.conn.pragma_query(None, "foreign_key_check", |row| {
            let table: String = row.get(0)?;
            report.problems.push(format!("a row of {table} refers to something that is gone"));
            Ok(())
        })?;
        let mut statement = self.conn.prepare("SELECT * FROM messages ORDER BY seq")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let message = Message::from_row(row)?;
            report.messages += 1;
            if message.damaged {
                report.damaged.push(message.id);
            }
        }
        Ok(report)
    }
}
