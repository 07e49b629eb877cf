//! The streaming editor takes any bytes; how they were cut makes no difference, and nothing but the edited value changes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::json::{Rules, Step, StreamEditor, Syntax};

fuzz_target!(|input: (Vec<u8>, u8)| {
    let (text, cut) = input;
    let rules = Rules::builder()
        .path(&[Step::Key("id")], 0)
        .path(
            &[
                Step::Key("result"),
                Step::Key("contents"),
                Step::Each,
                Step::Key("uri"),
            ],
            1,
        )
        .build();
    let whole = edited(&rules, text.chunks(text.len().max(1)), None);
    assert_eq!(
        whole,
        edited(&rules, text.chunks(usize::from(cut).max(1)), None),
        "cut every {cut} bytes"
    );
    if let Ok(whole) = whole {
        assert_eq!(whole, text, "without an edit every byte stays");
    }
    // A message is an object; a lone number, which could always go on, is none.
    let object = text.trim_ascii_start().first() == Some(&b'{');
    // A reader that keeps everything also minds bytes that are no UTF-8 and escapes that are no character.
    let json = serde_json::from_slice::<serde_json::Value>(&text).is_ok();
    if !object || !json {
        return;
    }
    match edited(
        &rules,
        text.chunks(usize::from(cut).max(1)),
        Some(b"\"new\""),
    ) {
        Ok(changed) => {
            serde_json::from_slice::<serde::de::IgnoredAny>(&changed)
                .expect("an edited text is still JSON");
        }
        Err(Syntax::TooDeep | Syntax::TooLong) => {}
        Err(error) => panic!("valid JSON was refused: {error}"),
    }
});

fn edited<'a>(
    rules: &Rules,
    pieces: impl Iterator<Item = &'a [u8]>,
    with: Option<&[u8]>,
) -> Result<Vec<u8>, Syntax> {
    let mut editor = StreamEditor::new(rules);
    let mut out = Vec::new();
    for piece in pieces {
        let mut at = 0;
        for (span, new) in editor.feed(piece, |_, old| Some(with.unwrap_or(old).to_vec()))? {
            out.extend_from_slice(&piece[at..span.start]);
            out.extend_from_slice(&new);
            at = span.end;
        }
        out.extend_from_slice(&piece[at..]);
    }
    editor.finish()?;
    Ok(out)
}
