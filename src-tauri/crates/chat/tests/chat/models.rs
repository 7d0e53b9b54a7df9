//! Model files that are picked or dropped.

use std::path::PathBuf;

use reprise_chat::SystemWorld;

use crate::bench_desk::Desk;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

async fn chosen(desk: &Desk) -> Option<String> {
    desk.chat.library().chosen_model().await.ok().map(|model| model.name)
}

#[tokio::test]
async fn a_gguf_file_is_chosen_by_its_content() {
    let (desk, files) = (Desk::new(), Files::new());
    let library = desk.chat.library();
    assert_eq!(library.chosen_model().await.unwrap_err().code(), "no_model");
    let good = files.file("Tiny-1B.Q4_K_M.gguf", b"GGUF and more");
    library.choose_model_file(vec![good], &SystemWorld).await.unwrap();
    assert_eq!(chosen(&desk).await.as_deref(), Some("Tiny-1B.Q4_K_M"));
    let listed = library.models().await.unwrap();
    assert_eq!(listed.iter().map(|row| row.bytes).collect::<Vec<_>>(), [Some(13)]);
}

#[tokio::test]
async fn what_is_no_model_is_refused_and_changes_nothing() {
    let (desk, files) = (Desk::new(), Files::new());
    let library = desk.chat.library();
    let good = files.file("good.gguf", b"GGUF");
    library.choose_model_file(vec![good.clone()], &SystemWorld).await.unwrap();
    let cases = [
        (vec![files.file("text.gguf", b"hello there")], "model_not_gguf"),
        (vec![files.file("empty.gguf", b"")], "model_not_gguf"),
        (vec![files.0.path().to_owned()], "model_is_directory"),
        (vec![files.0.path().join("missing.gguf")], "model_missing"),
        (vec![good; 10], "many_files"),
        (Vec::new(), "many_files"),
    ];
    for (paths, code) in cases {
        let error = library.choose_model_file(paths, &SystemWorld).await.unwrap_err();
        assert_eq!(error.code(), code);
        assert_eq!(chosen(&desk).await.as_deref(), Some("good"));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_pipe_is_refused_and_not_read() {
    let (desk, files) = (Desk::new(), Files::new());
    let pipe = files.0.path().join("pipe.gguf");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let error = desk.chat.library().choose_model_file(vec![pipe], &SystemWorld).await.unwrap_err();
    assert_eq!(error.code(), "model_not_gguf");
}

#[tokio::test]
async fn the_starter_is_offered_only_where_nothing_is_known() {
    let (desk, files) = (Desk::new(), Files::new());
    let library = desk.chat.library();
    library.offer_starter(None, &SystemWorld).await.unwrap();
    library.offer_starter(Some(files.0.path().join("missing.gguf")), &SystemWorld).await.unwrap();
    assert_eq!(chosen(&desk).await, None);
    let starter = files.file("starter.gguf", b"GGUF");
    library.offer_starter(Some(starter.clone()), &SystemWorld).await.unwrap();
    assert_eq!(chosen(&desk).await.as_deref(), Some("starter"));
    let own = files.file("own.gguf", b"GGUF");
    library.choose_model_file(vec![own], &SystemWorld).await.unwrap();
    library.offer_starter(Some(starter), &SystemWorld).await.unwrap();
    assert_eq!(chosen(&desk).await.as_deref(), Some("own"));
}

#[tokio::test]
async fn a_known_model_whose_file_is_gone_cannot_be_chosen() {
    let (desk, files) = (Desk::new(), Files::new());
    let library = desk.chat.library();
    for name in ["a.gguf", "b.gguf"] {
        library.choose_model_file(vec![files.file(name, b"GGUF")], &SystemWorld).await.unwrap();
    }
    let a = library.models().await.unwrap().into_iter().find(|row| row.model.name == "a").unwrap().model;
    std::fs::remove_file(&a.path).unwrap();
    assert_eq!(library.choose_model(a.id, &SystemWorld).await.unwrap_err().code(), "model_missing");
    assert_eq!(chosen(&desk).await.as_deref(), Some("b"));
    library.forget_model(a.id).await.unwrap();
    assert_eq!(library.models().await.unwrap().len(), 1);
}
