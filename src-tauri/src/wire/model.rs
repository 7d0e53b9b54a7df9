//! Models.

use reprise_chat::{ListedModel, TokenCount as Counted};
use reprise_protocol::{ModelRow, TokenCount};

/// The list of models.
pub fn rows(listed: Vec<ListedModel>) -> Vec<ModelRow> {
    listed.into_iter().map(row).collect()
}

fn row(ListedModel { model, bytes }: ListedModel) -> ModelRow {
    ModelRow { id: model.id.to_string(), name: model.name, path: model.path, bytes, chosen: model.chosen }
}

/// How long a text is.
pub fn count(counted: Counted) -> TokenCount {
    TokenCount { tokens: counted.tokens, exact: counted.exact }
}
