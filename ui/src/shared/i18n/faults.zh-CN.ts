/** 已知错误代码的中文说明：发生了什么，以及接下来做什么。 */
export const faults: Record<string, { message: string; remedy: string }> = {
  bad_request: { message: "这个操作无法完成，没有改动任何内容。", remedy: "检查后再试一次。" },
  bundle_damaged: {
    message: "这个对话包不完整或被改动过，没有导入任何内容。",
    remedy: "重新复制该文件，或重新导出对话。",
  },
  bundle_newer: {
    message: "这个对话包由更新版本的 Reprise 写入，没有导入任何内容。",
    remedy: "安装更新版本的 Reprise，再导入。",
  },
  cancelled: { message: "已取消。", remedy: "无需处理。" },
  conflict: { message: "这项更改无法进行，没有改动任何内容。", remedy: "重新打开对话后再试。" },
  context_failed: {
    message: "无法建立这么大的上下文。",
    remedy: "选择较小的上下文，或关闭其他程序以释放内存。",
  },
  data_damaged: {
    message: "数据文件已损坏，已原样保留。",
    remedy: "先将数据文件夹复制到安全的地方，再从其中的 backups 文件夹或您自己的备份恢复。",
  },
  data_dir_busy: {
    message: "另一个程序正在使用数据文件夹。同一时间只能有一个程序更改它。您的对话是安全的，仍可读取。",
    remedy: "关闭另一个程序，或选择其他数据文件夹。",
  },
  data_dir_readonly: {
    message: "数据文件夹无法写入，没有改动任何内容。",
    remedy: "允许写入该文件夹，或选择其他文件夹。",
  },
  data_dir_unusable: {
    message: "无法使用数据文件夹。",
    remedy: "选择其他数据文件夹，或让您对它拥有读写权限。",
  },
  data_newer: {
    message: "数据由更新版本的 Reprise 写入，已原样保留。",
    remedy: "安装更新版本的 Reprise，或选择其他数据文件夹。",
  },
  data_older: {
    message: "数据是较早的格式，已原样保留。",
    remedy: "用这个版本的 Reprise 在可写的文件夹中打开一次，之前会先备份。",
  },
  database_locked: {
    message: "对话记录被另一个程序锁定，这项更改没有保存。之前保存的内容都是安全的。",
    remedy: "关闭打开了数据文件夹的其他程序，然后再试。",
  },
  decode_failed: {
    message: "llama.cpp 无法继续计算。您的消息已保存。",
    remedy: "再发送一次；如果再次发生，请选择较小的上下文。",
  },
  disk_error: {
    message: "读写对话记录时磁盘出错，这项更改没有保存。",
    remedy: "检查磁盘及其连接，并将数据文件夹复制到另一个磁盘。",
  },
  disk_full: {
    message: "磁盘已满，这项更改没有保存。之前保存的内容都是安全的。",
    remedy: "释放一些磁盘空间后再试。",
  },
  engine_closed: { message: "引擎已关闭。", remedy: "重新启动 Reprise。" },
  engine_died: {
    message: "引擎已停止。您的上一条消息已保存。",
    remedy: "再发送一次；如果再次发生，请选择较小的上下文或模型。",
  },
  engine_missing: { message: "无法启动引擎。", remedy: "重新安装 Reprise。" },
  engine_version: { message: "引擎的版本与 Reprise 不符。", remedy: "重新安装 Reprise。" },
  export_failed: {
    message: "无法写入文件，没有导出任何内容。",
    remedy: "选择其他位置，或释放一些磁盘空间。",
  },
  file_exists: {
    message: "已有同名文件，已原样保留，没有导出任何内容。",
    remedy: "使用其他名称，或选择覆盖。",
  },
  file_unreadable: {
    message: "无法读取该文件，没有导入任何内容。",
    remedy: "检查路径、权限及其所在磁盘。",
  },
  folder_not_shown: {
    message: "无法显示该文件夹。",
    remedy: "请在您的文件管理器中打开它。",
  },
  internal: {
    message: "Reprise 自身出现故障。之前保存的内容都是安全的。",
    remedy: "再试一次；如果再次发生，请重新启动 Reprise。",
  },
  invalid_id: { message: "找不到这个对话或消息。", remedy: "从对话列表中选择。" },
  model_damaged: { message: "模型文件不完整或已损坏。", remedy: "重新下载该文件，它可能没有下载完整。" },
  model_is_directory: { message: "这是文件夹，不是模型文件。", remedy: "选择其中的 .gguf 文件。" },
  model_load_failed: { message: "无法加载模型。", remedy: "尝试此模型的另一个文件，详情见日志。" },
  model_missing: { message: "模型文件不在原处。", remedy: "检查路径，或选择其他模型文件。" },
  model_not_gguf: { message: "这不是 GGUF 模型文件。", remedy: "选择 GGUF 格式的文件，其他格式需要先转换。" },
  model_unreadable: { message: "无法读取模型文件。", remedy: "检查文件权限及其所在磁盘。" },
  model_unsupported: {
    message: "这个版本的 Reprise 无法运行此架构的模型。",
    remedy: "选择其他模型，或更新版本的 Reprise。",
  },
  no_backend: { message: "无法从引擎文件夹加载任何计算模块。", remedy: "重新安装 Reprise：引擎缺少文件。" },
  no_such_device: {
    message: "这里没有引擎可以使用的这个设备。",
    remedy: "选择列出的设备，或让 Reprise 自动选择。",
  },
  not_a_bundle: {
    message: "这不是 Reprise 的对话包，没有导入任何内容。",
    remedy: "将对话导出为对话包，再导入该文件。",
  },
  not_found: { message: "找不到这个对话或消息，它可能已被删除。", remedy: "重新打开对话列表。" },
  not_loaded: { message: "没有加载模型。", remedy: "请先选择模型。" },
  qualification_failed: {
    message: "此模型的状态在这台机器上无法完好地保存和恢复，因此不保存快照。消息不受影响。",
    remedy: "对话会从文字重新读取。可以换一个模型，或换一个计算设备。",
  },
  prompt_empty: { message: "消息是空的。", remedy: "先写点什么。" },
  prompt_too_long: {
    message: "对话超出了上下文。没有截掉任何内容。",
    remedy: "缩短消息，开始新对话，或选择更大的上下文。",
  },
  request_too_large: { message: "对话太长，引擎无法接收。", remedy: "缩短消息，或开始新对话。" },
  state_damaged: {
    message: "对话包中的模型状态不完整或被改动过。将改为从文本读取对话。",
    remedy: "可以继续，没有丢失任何内容；要省去读取的时间，请重新导出对话。",
  },
  storage: {
    message: "无法读写对话记录。之前保存的内容都是安全的。",
    remedy: "再试一次；如果再次发生，请重新启动 Reprise。",
  },
  template_failed: {
    message: "无法使用模型的对话模板。",
    remedy: "选择此模型的另一个文件，问题在这个文件的模板中。",
  },
  upgrade_failed: {
    message: "升级对话记录失败，已保留原来的格式，没有丢失任何内容。",
    remedy: "释放一些磁盘空间后再试，或继续使用较早版本的 Reprise。",
  },
  turn_open: { message: "这个对话的回答还在生成，所以没有发送任何内容。", remedy: "等它完成，或先停止它。" },
  closing: { message: "Reprise 正在关闭，所以没有发送任何内容。", remedy: "重新启动 Reprise。" },
  no_model: {
    message: "没有选择模型，没有谁能回答。没有发送任何内容。",
    remedy: "请先选择一个模型文件（GGUF）。",
  },
  many_files: {
    message: "拖入了多个文件，而模型只能是其中一个。没有任何更改。",
    remedy: "只拖入一个 .gguf 文件；分成多个部分的模型，拖入第一个。",
  },
  link_refused: { message: "没有打开这个链接。", remedy: "复制地址，看清楚之后再打开。" },
  state_unavailable: {
    message: "现在没有可以保存的状态。没有消息受影响。",
    remedy: "继续对话即可：下次回答之后会保存。",
  },
  image_gone: { message: "更新的状态取代了这一个。没有消息受影响。", remedy: "无需操作。" },
  bad_pieces: {
    message: "引擎收到的状态不完整，没有使用。没有消息受影响。",
    remedy: "无需操作：对话会从文字重放。",
  },
  snapshots_damaged: {
    message: "快照文件已损坏。没有消息受影响，对话会从文字重放。",
    remedy: "重新启动 Reprise；如果再次发生，请在关闭 Reprise 后删除数据文件夹中的 snapshots.db。",
  },
  snapshots_unusable: {
    message: "无法读写快照。没有消息受影响，对话会从文字重放。",
    remedy: "重新启动 Reprise；如果再次发生，请在关闭 Reprise 后删除数据文件夹中的 snapshots.db。",
  },
  disk_low: {
    message: "磁盘剩余空间太少，所以没有保存状态。没有消息受影响。",
    remedy: "释放一些磁盘空间，或为快照选择较小的空间上限。",
  },
  export_given_up: {
    message: "引擎在交出此模型的对话状态时两次停止，不会再向它索取状态。没有消息受影响。",
    remedy: "继续对话即可：下次会从文字重放。",
  },
  state_changed: {
    message: "保存改变了模型记住的内容，该状态已丢弃。消息不受影响。",
    remedy: "继续即可，下次会从文字重新读取对话。",
  },
  state_too_large: {
    message: "这个对话的状态超过快照空间上限的一半，没有保存。没有消息受影响。",
    remedy: "释放一些磁盘空间，或选择较大的空间上限；将 KV 缓存设为 q8_0 可使状态减半。",
  },
  snapshots_full: {
    message: "磁盘已满，状态既不能保存也不能删除。没有消息受影响。",
    remedy: "释放一些磁盘空间，或为快照选择较小的空间上限。",
  },
  budget_full: {
    message: "固定的快照占满了空间上限，没有保存状态。没有消息受影响。",
    remedy: "取消固定某个快照，或选择较大的空间上限。",
  },
  chunk_missing: {
    message: "没有保存状态：缺少一部分数据。没有消息受影响。",
    remedy: "继续对话即可：下次回答之后会再次保存。",
  },
  snapshot_refused: {
    message: "没有保存状态：它的数据前后不一致。没有消息受影响。",
    remedy: "继续对话即可：下次回答之后会再次保存。",
  },
};

/** 重放原因的中文说明。 */
export const reasons: Record<string, string> = {
  always_replay: "此对话已设为每次重放",
  asked: "您要求重放",
  cancelled: "已取消恢复",
  challenge: "快照未通过质询，已停用",
  disabled: "快照已关闭",
  engine_died: "引擎在写回快照时停止",
  evicted: "快照已因空间上限而移除",
  identity: "此快照属于另一个模型文件、引擎版本或设置",
  "identity.context": "上下文大小越过了模型训练的长度，位置的计算随之改变",
  "identity.engine": "此快照之后 Reprise 及其引擎已更新",
  "identity.flash_attention": "注意力的计算方式已更改",
  "identity.kv_type": "KV 缓存的类型已更改",
  "identity.model": "此快照之后模型文件已更改",
  "identity.rope": "RoPE 基频已更改",
  "identity.shape": "状态的结构已更改",
  "identity.template": "模型的词表或对话模板已更改",
  integrity: "快照已损坏，已丢弃",
  live: "当前上下文包含更多内容",
  model_changed: "模型文件在加载后已更改",
  model_missing: "无法再读取模型文件",
  no_snapshot: "没有快照",
  not_loaded: "没有加载模型",
  other_model: "加载的是另一个模型，或其他设置",
  replay_cheaper: "在这台机器上重放更快",
  restore: "快照无法写回，已停用",
  snapshots_unusable: "无法打开快照文件",
  tokens: "此处之前的对话与快照不同",
  too_short: "对话很短，重放更快",
  unqualified: "快照在此设备或设置上无法验证",
  unsupported: "还不能保存此模型的状态",
};
