//! What the app itself says in the system's dialogs. The page has its own words.

use reprise_protocol::Language;

/// Words of one language.
#[derive(Debug)]
pub struct Words {
    pub pick_model: &'static str,
    pub models: &'static str,
    pub open_link: &'static str,
    pub open: &'static str,
    pub cancel: &'static str,
}

const ENGLISH: Words = Words {
    pick_model: "Choose a model file",
    models: "GGUF models",
    open_link: "Open this address?",
    open: "Open",
    cancel: "Cancel",
};

const SIMPLIFIED_CHINESE: Words = Words {
    pick_model: "选择模型文件",
    models: "GGUF 模型",
    open_link: "要打开此地址吗？",
    open: "打开",
    cancel: "取消",
};

/// The words of a language.
pub fn of(language: Language) -> &'static Words {
    match language {
        Language::SimplifiedChinese => &SIMPLIFIED_CHINESE,
        Language::System if system_is_chinese() => &SIMPLIFIED_CHINESE,
        Language::English | Language::System => &ENGLISH,
    }
}

/// As POSIX says: the first of these that is set counts.
fn system_is_chinese() -> bool {
    let locale = ["LC_ALL", "LC_MESSAGES", "LANG"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    locale.is_some_and(|locale| locale.starts_with("zh"))
}
