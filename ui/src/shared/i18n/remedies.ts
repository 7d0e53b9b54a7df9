// What to do about the reason of a receipt, by code, or by code and field where that matters.

import type { Locale } from "./translate.svelte";

type Remedies = Record<string, string>;

const saved = "The next answer saves a new snapshot, and the next opening is instant again.";

const en: Remedies = {
  always_replay: "Switch it off in the settings of this conversation to resume it from snapshots.",
  asked: "Nothing is wrong. The next opening uses a snapshot again.",
  cancelled: "Read it now, or send a message: what is missing is read then.",
  challenge: `The snapshot is not used again. ${saved} If it happens again, test this model anew in Settings › Hardware.`,
  disabled: "Switch snapshots on to open conversations instantly.",
  engine_died: `The snapshot is not used again. ${saved} If it happens again, choose a smaller context or model.`,
  evicted: "Give snapshots more room in Settings › Storage, or pin the ones you come back to.",
  identity: `The snapshot stays, for the model and settings it was saved with. ${saved}`,
  "identity.context":
    "Set the context size of before to use the snapshot, or go on: the next answer saves a new one.",
  "identity.engine": `After an update every conversation is read once. ${saved}`,
  "identity.flash_attention": `The snapshot stays, for the settings it was saved with. ${saved}`,
  "identity.kv_type":
    "Choose the KV cache type of before to use the snapshot, or go on: the next answer saves a new one.",
  "identity.model":
    "Put the file of before back to use the snapshot, or go on: the next answer saves a new one.",
  "identity.rope": `The snapshot stays, for the settings it was saved with. ${saved}`,
  "identity.shape": `The snapshot stays, for the settings it was saved with. ${saved}`,
  "identity.template": `The snapshot stays, for the file it was saved with. ${saved}`,
  integrity: `${saved} If it happens again, check the disk; Verify all in Settings › Storage finds other damaged ones.`,
  live: "Nothing is wrong: what was in memory reaches further than the snapshot.",
  model_changed: "Load the model anew, so that what is loaded and the file are the same.",
  model_missing: "Put the model file back, or choose another one.",
  no_snapshot: saved,
  not_loaded: "Click into the message field: the model is loaded then.",
  other_model: "Click into the message field: the chosen model is loaded then.",
  replay_cheaper: "Nothing is wrong: reading the text costs less time here.",
  restore: `The snapshot is not used again. ${saved}`,
  snapshots_unusable:
    "Clear the snapshots in Settings › Storage, or delete the folder snapshots while Reprise is closed. Messages are not in it.",
  tokens: `Another branch was saved, or an earlier message was edited. ${saved}`,
  too_short: "Nothing is wrong: longer conversations are resumed from snapshots.",
  unqualified:
    "Test this model anew in Settings › Hardware, or use another device. Until then the text is read.",
  unsupported: "Nothing can be done here: the text is read each time. Another model may support it.",
};

const savedZh = "下一条回答会保存新的快照，之后即可立即打开。";

const zh: Remedies = {
  always_replay: "在此对话的设置中关闭该选项，即可从快照恢复。",
  asked: "一切正常，下次打开时会再次使用快照。",
  cancelled: "可以立即读取，也可以发送消息：届时会读取其余部分。",
  challenge: `此快照不会再使用。${savedZh}如果再次发生，请在“设置 › 硬件”中重新测试此模型。`,
  disabled: "开启快照即可立即打开对话。",
  engine_died: `此快照不会再使用。${savedZh}如果再次发生，请选择较小的上下文或模型。`,
  evicted: "在“设置 › 存储”中为快照留出更多空间，或固定常用的快照。",
  identity: `快照仍为保存时的模型和设置保留。${savedZh}`,
  "identity.context": "改回之前的上下文大小即可使用快照；也可继续，下一条回答会保存新的快照。",
  "identity.engine": `更新之后，每个对话都会重新读取一次。${savedZh}`,
  "identity.flash_attention": `快照仍为保存时的设置保留。${savedZh}`,
  "identity.kv_type": "改回之前的 KV 缓存类型即可使用快照；也可继续，下一条回答会保存新的快照。",
  "identity.model": "放回之前的文件即可使用快照；也可继续，下一条回答会保存新的快照。",
  "identity.rope": `快照仍为保存时的设置保留。${savedZh}`,
  "identity.shape": `快照仍为保存时的设置保留。${savedZh}`,
  "identity.template": `快照仍为保存时的文件保留。${savedZh}`,
  integrity: `${savedZh}如果再次发生，请检查磁盘；“设置 › 存储”中的“全部验证”可找出其他损坏的快照。`,
  live: "一切正常：内存中的内容比快照更多。",
  model_changed: "重新加载模型，使已加载的内容与文件一致。",
  model_missing: "放回模型文件，或选择其他模型。",
  no_snapshot: savedZh,
  not_loaded: "点击消息输入框，即会加载模型。",
  other_model: "点击消息输入框，即会加载所选的模型。",
  replay_cheaper: "一切正常：在这台机器上读取文本用时更少。",
  restore: `此快照不会再使用。${savedZh}`,
  snapshots_unusable: "在“设置 › 存储”中清除快照，或在 Reprise 关闭时删除 snapshots 文件夹。其中没有消息。",
  tokens: `保存的是另一个分支，或修改过之前的消息。${savedZh}`,
  too_short: "一切正常：较长的对话会从快照恢复。",
  unqualified: "在“设置 › 硬件”中重新测试此模型，或使用其他设备。在此之前会读取文本。",
  unsupported: "这里无法处理，每次都会读取文本。其他模型可能支持。",
};

const remedies: Record<Locale, Remedies> = { en, "zh-CN": zh };

/** What to do about a reason; `null` where nothing is known of it. */
export function remedyFor(reason: { code: string; field: string | null }, locale: Locale): string | null {
  const known = remedies[locale];
  const exact = reason.field === null ? undefined : known[`${reason.code}.${reason.field}`];
  return exact ?? known[reason.code] ?? null;
}

/** All of a language, for the tests of words. */
export const remediesIn = (locale: Locale): Remedies => remedies[locale];
