//! Models.

use reprise_chat::engine::KvType as Stored;
use reprise_chat::{ListedModel, TokenCount as Counted};
use reprise_protocol::{KvType, ModelRow, TokenCount};

/// The list of models.
pub fn rows(listed: Vec<ListedModel>) -> Vec<ModelRow> {
    listed.into_iter().map(row).collect()
}

fn row(ListedModel { model, bytes }: ListedModel) -> ModelRow {
    ModelRow { id: model.id.to_string(), name: model.name, path: model.path, bytes, chosen: model.chosen }
}

/// The type of the KV cache.
pub fn kv_type(chosen: KvType) -> Stored {
    match chosen {
        KvType::F16 => Stored::F16,
        KvType::Q8_0 => Stored::Q8_0,
    }
}

/// How long a text is.
pub fn count(counted: Counted) -> TokenCount {
    TokenCount { tokens: counted.tokens, exact: counted.exact }
}
