use serde::{Deserialize, Serialize};

/// Light or dark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Theme {
    /// As the system says.
    #[default]
    System,
    /// Always light.
    Light,
    /// Always dark.
    Dark,
}

/// The language of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub enum Language {
    /// As the system says; English where it says another.
    #[default]
    #[serde(rename = "system")]
    System,
    /// English.
    #[serde(rename = "en")]
    English,
    /// Simplified Chinese.
    #[serde(rename = "zh-CN")]
    SimplifiedChinese,
}

/// Which key sends a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum SendKey {
    /// Enter sends, Shift Enter begins a line.
    #[default]
    Enter,
    /// Ctrl Enter sends (Command Enter on a Mac), Enter begins a line.
    CtrlEnter,
}

/// Type of the elements of the KV cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum KvType {
    /// 16 bits a value.
    #[default]
    F16,
    /// 8.5 bits a value: blocks of 32 with one scale.
    Q8_0,
}

/// What the person chose in Settings › General.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(default)]
pub struct Settings {
    /// Light or dark.
    pub theme: Theme,
    /// The language of the window.
    pub language: Language,
    /// Interface size in per cent, 80 to 200.
    pub scale: u32,
    /// Which key sends.
    pub send_key: SendKey,
    /// Whether answers show their rate, time and tokens.
    pub statistics: bool,
    /// Whether the sidebar is shown.
    pub sidebar: bool,
    /// Instructions that new conversations begin with; may be empty.
    pub system_prompt: String,
    /// Temperature of the sampling; `None`: llama.cpp's default.
    pub temperature: Option<f32>,
    /// Context in tokens; `None`: the model's own within a default.
    pub n_ctx: Option<u32>,
    /// Type of the KV cache, and so the size of snapshots.
    pub kv_type: KvType,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            theme: Theme::default(),
            language: Language::default(),
            scale: 100,
            send_key: SendKey::default(),
            statistics: true,
            sidebar: true,
            system_prompt: String::new(),
            temperature: None,
            n_ctx: None,
            kv_type: KvType::default(),
        }
    }
}
