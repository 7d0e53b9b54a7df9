//! Search as a whole: what is found, what is marked, what is never an error.

use tempfile::TempDir;

use super::*;
use crate::{
    DataDir, FinishedAnswer, Holder, MessageState, NewAnswer, NewConversation, NewMessage, Role, Timestamp,
    TitleSource,
};

struct Library {
    writer: HistoryWriter,
    clock: u64,
    _dir: TempDir,
}

impl Library {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::create(dir.path().join("data")).unwrap();
        let holder = Holder::this_process("test", Timestamp::from_millis(1));
        Self { writer: History::open_writer(&data, &holder).unwrap(), clock: 1, _dir: dir }
    }

    fn tick(&mut self) -> Timestamp {
        self.clock += 1;
        Timestamp::from_millis(self.clock)
    }

    fn conversation(&mut self, title: &str) -> ConversationId {
        let id = ConversationId::new(self.tick(), 0);
        let new = NewConversation {
            id,
            title: title.to_owned(),
            title_source: TitleSource::Derived,
            model: None,
            seed: 0,
        };
        self.writer.create_conversation(&new).unwrap();
        id
    }

    fn say(&mut self, conversation: ConversationId, text: &str) -> NodeId {
        let id = NodeId::new(self.tick(), 0);
        let new = NewMessage {
            id,
            conversation,
            parent: self.writer.conversation(conversation).unwrap().active_leaf,
            role: Role::User,
            text: text.to_owned(),
        };
        self.writer.append_message(&new).unwrap();
        id
    }

    /// One conversation without a title that holds `text`.
    fn holding(text: &str) -> Self {
        let mut library = Self::new();
        let id = library.conversation("");
        library.say(id, text);
        library
    }

    /// The marked parts of the first hit's snippet.
    fn marked(&self, query: &str) -> Option<Vec<String>> {
        let hit = self.writer.search(query, 10).unwrap().into_iter().next()?;
        let marks = hit.matches.iter().map(|range| hit.snippet[range.clone()].to_owned());
        Some(marks.collect())
    }
}

/// `query` finds `text` and marks exactly `marks` in it.
#[track_caller]
fn finds(text: &str, query: &str, marks: &[&str]) {
    let marked = Library::holding(text).marked(query);
    let expected: Vec<String> = marks.iter().map(ToString::to_string).collect();
    assert_eq!(marked, Some(expected), "{query:?} in {text:?}");
}

#[track_caller]
fn misses(text: &str, query: &str) {
    assert_eq!(Library::holding(text).marked(query), None, "{query:?} in {text:?}");
}

#[test]
fn chinese_of_any_length() {
    let text = "我们今天讨论显卡驱动的更新问题。";
    finds(text, "卡", &["卡"]);
    finds(text, "显卡", &["显卡"]);
    finds(text, "显卡驱动", &["显卡驱动"]);
    finds(text, "更新 今天", &["今天", "更新"]);
    misses(text, "卡显");
    misses(text, "显驱");
    misses(text, "今天 明天");
}

#[test]
fn characters_of_the_extension_planes() {
    // U+20BB7 (plane 2), U+30EDE (plane 3), as names and place names use them.
    finds("在\u{20BB7}野家吃饭", "\u{20BB7}野家", &["\u{20BB7}野家"]);
    finds("他姓\u{30EDE}名安", "\u{30EDE}", &["\u{30EDE}"]);
    misses("在\u{20BB7}野家吃饭", "\u{20BB8}野家");
    finds("㐀㐁𠀀", "㐁𠀀", &["㐁𠀀"]);
}

#[test]
fn japanese_and_korean() {
    let text = "東京タワーの高さを教えてください";
    finds(text, "タワー", &["タワー"]);
    finds(text, "高さ", &["高さ"]);
    finds(text, "東京 ください", &["東京", "ください"]);
    misses(text, "タワ一");
    // Half-width katakana, and kana with its sound mark apart.
    finds("ﾀﾜｰとｶﾞｽ", "タワー", &["タワー"]);
    finds("ガス代", "\u{30AB}\u{3099}ス", &["ガス"]);
    let text = "대화를 다시 이어서 계속합니다";
    finds(text, "다시", &["다시"]);
    finds(text, "대화", &["대화"]);
    finds(text, "계속합니다", &["계속합니다"]);
    misses(text, "화대");
    // Decomposed, as macOS writes file names.
    finds("\u{1112}\u{1161}\u{11AB}국어", "한국", &["한국"]);
}

#[test]
fn mixed_scripts() {
    let text = "请使用CUDA恢复会话";
    finds(text, "使用CUDA恢复", &["使用CUDA恢复"]);
    finds(text, "cuda", &["CUDA"]);
    finds(text, "cud", &["CUDA"]);
    finds(text, "恢复 cuda ", &["CUDA", "恢复"]);
    finds(text, "使用cu", &["使用CUDA"]);
    misses(text, "使用cu ");
    finds("请使用 CUDA 恢复", "使用CUDA恢复", &["使用 CUDA 恢复"]);
    finds("ＣＵＤＡを使う", "cuda", &["CUDA"]);
    finds("the CUDA backend", "ＣＵＤＡ　backend", &["CUDA", "backend"]);
}

#[test]
fn words_accents_and_phrases() {
    let text = "My r\u{e9}sum\u{e9} says: na\u{ef}ve caf\u{e9}s in \u{17d}ilina";
    finds(text, "resume ", &["r\u{e9}sum\u{e9}"]);
    finds("my resume", "r\u{e9}sum\u{e9}", &["resume"]);
    finds("my resume", "re\u{301}sume\u{301} ", &["resume"]);
    finds(text, "zilina", &["\u{17d}ilina"]);
    finds(text, "caf", &["caf\u{e9}s"]);
    misses(text, "caf ");
    finds(text, "\"naive cafes\"", &["na\u{ef}ve caf\u{e9}s"]);
    finds(text, "\"naive caf", &["na\u{ef}ve caf\u{e9}s"]);
    misses(text, "\"cafes naive\"");
    misses(text, "\"naive caf\"");
    finds(text, "\u{201c}in zilina\u{201d}", &["in \u{17d}ilina"]);
    finds("state-of-the-art", "of-the", &["of-the"]);
    finds("fn main() { println!(); }", "println!", &["println"]);
    finds("seed_value = 42", "42", &["42"]);
}

#[test]
fn operators_are_words() {
    let text = "cats NOT dogs AND birds NEAR body";
    finds(text, "cats NOT dogs", &["cats", "NOT", "dogs"]);
    finds(text, "NOT dogs", &["NOT", "dogs"]);
    misses(text, "body:cats");
    misses(text, "cats OR fish");
    misses(text, "fish*");
    misses("an apple", "{body} : apple");
}

#[test]
fn nothing_to_search_for_finds_nothing() {
    let library = Library::holding("Hello, world! \u{1F600} ... 你好");
    for query in [
        "",
        " ",
        "\t\n",
        "\"",
        "\"\"",
        "\" \"",
        "...",
        "!?",
        "*",
        "-",
        "(",
        "()",
        "\0",
        "\u{1F600}",
        "。，",
        "\u{200B}",
        "\u{301}",
        "--",
        ";",
    ] {
        assert_eq!(library.writer.search(query, 10).unwrap(), [], "{query:?}");
    }
}

#[test]
fn emoji_do_not_hide_the_words_beside_them() {
    finds("party\u{1F389}time", "time", &["time"]);
    finds("生日\u{1F382}快乐", "快乐", &["快乐"]);
    // Of 2015 and 2020, later than the tokenizer's tables.
    finds("well done\u{1F44D}\u{1F3FD}Ann", "ann", &["Ann"]);
    finds("well done\u{1F917}Ann", "ann", &["Ann"]);
    finds("中文\u{1FAE0}", "中文", &["中文"]);
    finds("100\u{20BD} each", "100 ", &["100"]);
    finds("well\u{1FAE0}done", "done", &["done"]);
}

/// A small generator with a fixed seed (`SplitMix64`), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }
}

const SCRAPS: &[&str] = &[
    "AND",
    "OR",
    "NOT",
    "NEAR",
    "NEAR(a b, 3)",
    "\"",
    "\"\"",
    "'",
    "*",
    "^",
    "+",
    "-",
    ":",
    "body:",
    "{",
    "}",
    "(",
    ")",
    ",",
    "\0",
    "\\",
    "%",
    "_",
    ";",
    "--",
    "/*",
    " ",
    "\u{3000}",
    "\t",
    "\n",
    "a",
    "cuda",
    "é",
    "e\u{301}",
    "使用",
    "恢",
    "ー",
    "한글",
    "\u{1F600}",
    "\u{1F468}\u{200D}\u{1F469}",
    "\u{200B}",
    "\u{FEFF}",
    "\u{20BB7}",
    "\u{10FFFF}",
    "\u{FFFD}",
    "\u{2}",
    "\u{3}",
    "…",
    "“",
    "”",
    "ﬁ",
    "①",
    "½",
    "\u{202E}",
    "0",
];

#[test]
fn no_input_is_an_error() {
    let mut library = Library::holding("使用CUDA恢复 and a résumé, NEAR the body \u{2}\u{3}\0 end");
    let id = library.conversation("\u{3}title\u{2} \"quoted\" 恢复");
    library.say(id, "0 a AND b");
    let mut random = Random(20_260_131);
    for round in 0..4_000 {
        let length = 1 + random.below(12);
        let query: String = (0..length).map(|_| SCRAPS[random.below(SCRAPS.len())]).collect();
        let hits = library
            .writer
            .search(&query, 5)
            .unwrap_or_else(|error| panic!("round {round}: {query:?}: {error}"));
        for hit in hits {
            for range in hit.matches {
                assert!(hit.snippet.get(range).is_some(), "{query:?}: {:?}", hit.snippet);
            }
        }
    }
    for query in ["a", "\"", "使", "a ", "\"a\" ", "*", "(", "恢a", "NOT "] {
        library.writer.search(&query.repeat(10_000), 5).unwrap();
    }
    let any: String =
        (0..10_000).filter_map(|_| char::from_u32(u32::try_from(random.below(0x11_0000)).unwrap())).collect();
    library.writer.search(&any, 5).unwrap();
}

/// What is searched with its own text is found: the index and the query cut alike.
#[test]
fn every_word_finds_its_text() {
    let mut library = Library::new();
    let id = library.conversation("");
    let mut random = Random(7);
    let letters: Vec<char> = "aéßñждλ使恢東ター한글\u{20BB7}\u{30EDE}Ａｶ9".chars().collect();
    for _ in 0..300 {
        let word: String = (0..=random.below(8)).map(|_| letters[random.below(letters.len())]).collect();
        let node = library.say(id, &format!("before, {word} after."));
        for query in [word.clone(), format!("{word} "), format!("\"{word}\"")] {
            let hits = library.writer.search(&query, 1_000).unwrap();
            assert!(hits.iter().any(|hit| hit.message == Some(node)), "{query:?}");
        }
    }
}

#[test]
fn titles_are_found_and_follow_renaming() {
    let mut library = Library::new();
    let id = library.conversation("Gardening in spring");
    let hits = library.writer.search("garden", 10).unwrap();
    assert_eq!(hits.len(), 1);
    assert_eq!((hits[0].conversation, hits[0].message), (id, None));
    assert_eq!(hits[0].snippet, "Gardening in spring");
    library.writer.rename(id, "论文修改", TitleSource::Custom).unwrap();
    assert_eq!(library.writer.search("garden", 10).unwrap(), []);
    assert_eq!(library.writer.search("修改", 10).unwrap()[0].title, "论文修改");
    assert!(library.writer.check_index().unwrap().is_ok());
}

#[test]
fn the_trash_is_not_searched() {
    let mut library = Library::new();
    let id = library.conversation("kumquat");
    let node = library.say(id, "a kumquat tree");
    let now = library.tick();
    library.writer.trash(id, now).unwrap();
    assert_eq!(library.writer.search("kumquat", 10).unwrap(), []);
    library.writer.restore(id).unwrap();
    let found: Vec<_> =
        library.writer.search("kumquat", 10).unwrap().into_iter().map(|hit| hit.message).collect();
    assert!(found.contains(&None) && found.contains(&Some(node)) && found.len() == 2);
}

#[test]
fn answers_are_found_when_they_are_finished() {
    let mut library = Library::new();
    let id = library.conversation("");
    let parent = library.say(id, "question");
    let answer = NodeId::new(library.tick(), 1);
    library.writer.begin_answer(&NewAnswer { id: answer, parent, model_name: None }).unwrap();
    library.writer.update_answer(answer, "persimmon", None).unwrap();
    assert_eq!(library.writer.search("persimmon", 10).unwrap(), []);
    assert!(library.writer.check_index().unwrap().is_ok());
    let finished = FinishedAnswer {
        text: "persimmons".to_owned(),
        tokens: None,
        state: MessageState::Complete,
        stop: None,
        stats: None,
        receipt: None,
        notice: None,
        finished: library.tick(),
    };
    library.writer.finish_answer(answer, &finished).unwrap();
    assert_eq!(library.writer.search("persimmon", 10).unwrap()[0].message, Some(answer));
}

#[test]
fn the_better_fit_comes_first_and_the_limit_holds() {
    let mut library = Library::new();
    let id = library.conversation("");
    library.say(id, &format!("zebra {}", "and other words ".repeat(50)));
    let best = library.say(id, "zebra zebra");
    let hits = library.writer.search("zebra", 10).unwrap();
    assert_eq!(hits[0].message, Some(best));
    assert!(hits[0].rank < hits[1].rank && hits[1].rank < 0.0);
    assert_eq!(library.writer.search("zebra", 1).unwrap().len(), 1);
    assert_eq!(library.writer.search("zebra", 0).unwrap().len(), 0);
}

#[test]
fn long_texts_are_shown_in_part() {
    let text = format!("{}关键词{}", "前面的话".repeat(200), "后面的话".repeat(200));
    let library = Library::holding(&text);
    let hit = library.writer.search("关键词", 1).unwrap().remove(0);
    assert!(hit.snippet.starts_with('…') && hit.snippet.ends_with('…'));
    assert!(hit.snippet.chars().count() < 80 && !hit.snippet.contains('\u{200B}'));
    assert_eq!(&hit.snippet[hit.matches[0].clone()], "关键词");
}

#[test]
fn an_index_that_differs_is_seen_and_rebuilt() {
    let mut library = Library::new();
    let id = library.conversation("first title");
    let a = library.say(id, "alpha");
    library.say(id, "beta");
    library.say(id, "gamma");
    assert_eq!(library.writer.check_index().unwrap(), IndexCheck { good: 4, ..IndexCheck::default() });
    let seq = |conn: &rusqlite::Connection, node: NodeId| -> i64 {
        conn.query_row("SELECT seq FROM messages WHERE id = ?1", [node], |row| row.get(0)).unwrap()
    };
    let first = seq(&library.writer.conn, a);
    library.writer.conn.execute("UPDATE search_index SET body = 'other' WHERE rowid = ?1", [first]).unwrap();
    library.writer.conn.execute("DELETE FROM search_index WHERE rowid = ?1", [first + 1]).unwrap();
    library.writer.conn.execute("INSERT INTO search_index (rowid, body) VALUES (999, 'ghost')", []).unwrap();
    let expected = IndexCheck { good: 2, missing: 1, stale: 1, orphaned: 1 };
    assert_eq!(library.writer.check_index().unwrap(), expected);
    assert!(!library.writer.integrity_check().unwrap().is_ok());
    assert_eq!(library.writer.rebuild_index().unwrap(), 4);
    assert!(library.writer.check_index().unwrap().is_ok());
    assert_eq!(library.writer.search("beta", 10).unwrap().len(), 1);
    assert_eq!(library.writer.search("ghost", 10).unwrap().len(), 0);
}
/// Of many matches only the newest are ranked, but titles always are.
#[test]
fn of_many_matches_the_newest_compete() {
    let mut library = Library::new();
    let id = library.conversation("quince");
    let nodes: Vec<NodeId> = (0..10).map(|_| library.say(id, "quince tree")).collect();
    let found = |ranked| -> Vec<Option<NodeId>> {
        let hits = library.writer.search_among("quince", 100, ranked).unwrap();
        hits.into_iter().map(|hit| hit.message).collect()
    };
    assert_eq!(found(RANKED_MESSAGES).len(), 11);
    let newest = found(3);
    assert_eq!(newest.len(), 4);
    assert!(newest.contains(&None));
    assert!(nodes[7..].iter().all(|node| newest.contains(&Some(*node))));
    assert_eq!(found(10).len(), 11);
}
