//! How a conversation was made ready when it was opened: kept with the last message that was made ready.

use std::collections::HashMap;

use rusqlite::params;

use crate::{History, HistoryWriter, NodeId, StoreError, Timestamp, message};

/// How many are kept of one message; earlier ones are only counted.
const KEPT: u32 = 8;

/// They go with their message. `nth` counts those of one message from 1: clocks jump back, it does not.
pub(crate) const V4: &str = "
CREATE TABLE receipts (
    node TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    nth INTEGER NOT NULL CHECK (nth >= 1),
    at INTEGER NOT NULL CHECK (at >= 0),
    receipt TEXT NOT NULL CHECK (json_valid(receipt)),
    PRIMARY KEY (node, nth)
) STRICT, WITHOUT ROWID;
";

/// The receipts of one message.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KeptReceipts {
    /// When, and what was done: the last ones, in the order in which they were written.
    pub kept: Vec<(Timestamp, serde_json::Value)>,
    /// How many there were before these.
    pub before: u32,
}

impl History {
    /// The receipts of those of these messages that have any.
    pub fn receipts_of(&self, nodes: &[NodeId]) -> Result<HashMap<NodeId, KeptReceipts>, StoreError> {
        let mut statement =
            self.conn.prepare_cached("SELECT nth, at, receipt FROM receipts WHERE node = ?1 ORDER BY nth")?;
        let mut found = HashMap::new();
        for node in nodes {
            let mut receipts: Option<KeptReceipts> = None;
            let mut rows = statement.query([node])?;
            while let Some(row) = rows.next()? {
                let before: u32 = row.get::<_, u32>(0)?.saturating_sub(1);
                let receipts = receipts.get_or_insert_with(|| KeptReceipts { before, kept: Vec::new() });
                // One that a damaged disk made unreadable does not take the others with it.
                if let Ok(receipt) = serde_json::from_slice(row.get_ref(2)?.as_bytes().unwrap_or_default()) {
                    receipts.kept.push((row.get(1)?, receipt));
                }
            }
            found.extend(receipts.map(|receipts| (*node, receipts)));
        }
        Ok(found)
    }
}

impl HistoryWriter {
    /// Keeps how the conversation was made ready for what follows this message. Of those that it has, the
    /// earliest goes when there are too many.
    pub fn keep_receipt(
        &mut self,
        node: NodeId,
        at: Timestamp,
        receipt: &serde_json::Value,
    ) -> Result<(), StoreError> {
        self.change(|tx| {
            message::find(tx, node)?;
            let nth: u32 = tx.query_row(
                "SELECT coalesce(max(nth), 0) + 1 FROM receipts WHERE node = ?1",
                [node],
                |row| row.get(0),
            )?;
            tx.execute(
                "INSERT INTO receipts (node, nth, at, receipt) VALUES (?1, ?2, ?3, ?4)",
                params![node, nth, at, receipt.to_string()],
            )?;
            tx.execute(
                "DELETE FROM receipts WHERE node = ?1 AND nth <= ?2",
                params![node, nth.saturating_sub(KEPT)],
            )?;
            Ok(())
        })
    }
}
