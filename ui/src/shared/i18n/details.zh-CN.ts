// 检查的测量值以英文送达，这里按已知的形式译成中文。未知的保持原样。

type Said = (...parts: string[]) => string;

const n = (value: string | undefined) => value ?? "";

/** 属性名的中文说明。 */
const names: Record<string, string> = {
  threads: "线程数",
  device: "设备",
  device_description: "设备型号",
  offloaded_layers: "设备上的层数",
  kv_place: "KV 缓存的位置",
  modules: "计算模块",
  engine: "引擎版本",
  format: "格式",
  model: "模型文件",
  kv_type: "KV 缓存类型",
  flash_attention: "注意力的计算方式",
  rope_freq_base: "RoPE 基频",
  vocabulary_and_template: "词表或对话模板",
  beyond_trained_context: "上下文大小",
};

const named = (name: string | undefined) => names[n(name)] ?? n(name);

/** 顺序重要：先匹配更具体的形式。 */
const patterns: readonly (readonly [RegExp, Said])[] = [
  [/^the seal is whole$/u, () => "封印完整"],
  [/^all the same$/u, () => "全部相同"],
  [/^([\d,]+) of ([\d,]+) equal$/u, (a, b) => `${n(b)} 项中 ${n(a)} 项相同`],
  [
    /^([\d,]+) of ([\d,]+) pieces, read while the model was loaded$/u,
    (a, b) => `${n(a)} / ${n(b)} 块，加载模型时已读取`,
  ],
  [/^([\d,]+) of ([\d,]+) pieces$/u, (a, b) => `${n(a)} / ${n(b)} 块`],
  [/^([\d,]+) of ([\d,]+) tokens$/u, (a, b) => `${n(a)} / ${n(b)} 个词元`],
  [/^([\d,]+) cells$/u, (a) => `${n(a)} 个单元`],
  [/^(\S+) differs$/u, (name) => `${named(name)}不同`],
  [
    /^([\d,]+) bytes, positions (-?\d[\d,]*) to (-?\d[\d,]*)$/u,
    (bytes, a, b) => `${n(bytes)} 字节，位置 ${n(a)} 至 ${n(b)}`,
  ],
  [/^every bit of every logit is equal$/u, () => "每个 logit 的每一位都相同"],
  [
    /^every bit of every logit is equal \(computed with other (.+) than at saving\)$/u,
    (name) => `每个 logit 的每一位都相同（与保存时的${named(name)}不同）`,
  ],
  [
    /^the logits differ \(distance ([\d.]+); equality is demanded here\)$/u,
    (distance) => `logits 不同（距离 ${n(distance)}，此处要求完全相同）`,
  ],
  [
    /^it was computed with other (.+), and the logits differ \(distance ([\d.]+)\): .*$/u,
    (name, distance) => `${named(name)}与保存时不同，且 logits 不同（距离 ${n(distance)}），无法与故障区分`,
  ],
  [
    /^its answers are too close to those of a model that remembers nothing \(([\d.]+)\) to prove anything$/u,
    (apart) => `其回答与没有记忆的模型过于接近（${n(apart)}），无法证明`,
  ],
  [/^it was asked other questions when it was saved$/u, () => "保存时提的是其他问题"],
  [/^the answers at saving were not numbers$/u, () => "保存时的回答不是数值"],
  [/^what it makes the model answer are not numbers$/u, () => "恢复后的回答不是数值"],
  [
    /^piece ([\d,]+) of ([\d,]+) is not what was saved$/u,
    (a, b) => `共 ${n(b)} 块，第 ${n(a)} 块与保存时不同`,
  ],
  [/^piece ([\d,]+) of ([\d,]+) is missing$/u, (a, b) => `共 ${n(b)} 块，缺少第 ${n(a)} 块`],
  [
    /^piece ([\d,]+) of ([\d,]+) has ([\d,]+) bytes instead of ([\d,]+)$/u,
    (a, b, found, expected) => `共 ${n(b)} 块，第 ${n(a)} 块为 ${n(found)} 字节，应为 ${n(expected)} 字节`,
  ],
  [/^the snapshot is gone$/u, () => "快照已不存在"],
  [/^the key is gone$/u, () => "密钥已不存在"],
  [/^the snapshot is not what was saved$/u, () => "快照与保存时不同"],
  [/^the snapshot's description cannot be read: .*$/u, () => "无法读取快照的描述"],
  [/^the snapshot cannot be read from the disk: .*$/u, () => "无法从磁盘读取快照"],
  [/^llama\.cpp refused the state$/u, () => "llama.cpp 拒绝了该状态"],
  [/^its tokens do not fit this model and context$/u, () => "词元不符合此模型和上下文"],
  [/^the image is not laid out as it was when it was saved$/u, () => "状态的布局与保存时不同"],
  [
    /^the image is not of the shape that this model and its settings give$/u,
    () => "状态的结构不符合此模型及其设置",
  ],
  [/^its cells are not those of the conversation$/u, () => "其单元不属于此对话"],
  [
    /^it holds positions (-?[\d,]+) to (-?[\d,]+), not 0 to (-?[\d,]+)$/u,
    (a, b, end) => `位置为 ${n(a)} 至 ${n(b)}，应为 0 至 ${n(end)}`,
  ],
  [
    /^it would be exported in ([\d,]+) bytes and was imported in ([\d,]+)$/u,
    (out, into) => `导出为 ${n(out)} 字节，导入时为 ${n(into)} 字节`,
  ],
];

/** 测量值的中文说明；`null`：没有已知的形式。 */
export function detailInChinese(detail: string): string | null {
  for (const [pattern, said] of patterns) {
    const found = pattern.exec(detail);
    if (found !== null) return said(...found.slice(1));
  }
  return null;
}
