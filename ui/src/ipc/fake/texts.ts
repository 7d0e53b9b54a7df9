// What is said in the fake's conversations.

export const titles = [
  "Guitar tuner: pitch detection",
  "Why does the CSV import drop rows?",
  "Letter to the landlord",
  "Sourdough, 78% hydration",
  "SQLite WAL and network drives",
  "三月京都行程",
  "Regex for ISO 8601 durations",
  "Reading notes: The Craftsman",
  "Refactor the audio thread",
  "Explain eigenvectors to my son",
  "Release checklist 2.4",
  "House style and glossary",
  "Employment contract, clause 14",
  "租房合同的解约条款",
  "Field recorder firmware notes",
  "Podcast batch script",
];

/** Titles that try to be something else than text. */
export const oddTitles = [
  '<img src=x onerror="document.title=1"><b>not bold</b>',
  "\u202Eright to left override \u2066and isolate",
  "A title of ten thousand characters ".repeat(300),
  "",
];

export const questions = [
  "Which of these find the pitch in the time domain?",
  "Show me YIN’s difference function, then how to pick the lag in Rust.",
  "Which of the three would you ship on a phone?",
  "Write the test for the lowest string first.",
  "How would you explain this to somebody who has never seen a spectrogram?",
];

export const answers = [
  "Both find the period in the time domain, so neither needs a long FFT window. Autocorrelation is the shorter program; YIN is the one that does not jump an octave.",
  `<think>The person wants the formula first, then code. Keep it short.</think>For each lag \`τ\`, sum the squared difference between the frame and its shifted copy:

$$d_t(\\tau) = \\sum_{j=1}^{W} (x_j - x_{j+\\tau})^2$$

Normalise it, take the **first** dip under a threshold, then interpolate:

\`\`\`rust
// first dip below the threshold wins, not the deepest one
let tau = (tau_min..tau_max)
    .find(|&t| cmnd[t] < 0.12 && cmnd[t] < cmnd[t + 1])?;
let hz = sample_rate / parabolic(&cmnd, tau);
\`\`\``,
  `YIN. It costs more per frame, but a wrong octave is the one error players notice.

| Method | Per frame | Octave errors | Low E, 82 Hz |
| --- | ---: | ---: | ---: |
| Autocorrelation | 0.4 ms | 4.1 % | ± 6 cents |
| YIN | 0.9 ms | 0.2 % | ± 2 cents |
| FFT peak, 4,096 | 0.3 ms | 1.8 % | ± 31 cents |`,
  `Start from the sample that is hardest:

1. Render 82.41 Hz at 44.1 kHz for one second.
2. Add noise at −30 dB.
3. Expect the estimate to stay within two cents.

A test that only plays a clean sine passes with *any* method. See [the paper](https://example.org/yin).`,
  "A pitch is how often the air repeats itself. Slide the recording along itself: where it lies on its own shape again, you have counted one repeat.",
];

export const chineseQuestions = [
  "三天两晚，帮我排一个不赶路的京都行程。",
  "第二天如果下雨怎么办？",
  "从关西机场到京都站怎么走最省事？",
];

export const chineseAnswers = [
  `可以这样安排，每天只去一个方向：

- **第一天**：东山。清水寺、二年坂、八坂神社，傍晚走到鸭川。
- **第二天**：岚山。上午竹林，中午在渡月桥边吃荞麦面。
- **第三天**：伏见稻荷，早上 8 点前到，人最少。`,
  "下雨就把岚山换成室内：京都国立博物馆、锦市场，再去一家茶馆。雨天的东福寺也很好看，带一双不怕湿的鞋。",
  "坐 `HARUKA` 特急，约 75 分钟直达京都站，不用换车。外国护照买优惠票，大约 1,800 日元。",
];
