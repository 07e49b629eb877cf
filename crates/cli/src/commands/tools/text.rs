//! Text of a server on the user's terminal: harmless, and as wide as there is room.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Takes out what could steer the terminal or disguise what is shown: control characters other than
/// line feed and tab, and marks that turn the direction of writing.
pub(super) fn plain(text: &str) -> String {
    let harmless = |character: &char| match character {
        '\n' | '\t' => true,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        character => !character.is_control(),
    };
    text.chars().filter(harmless).collect()
}

/// Puts text on one line.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    plain(&words.join(" "))
}

/// Cuts text to at most this many columns, between words where that is not far.
pub(super) fn shorten(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut used = 0;
    let mut end = 0;
    for (at, character) in text.char_indices() {
        used += character.width().unwrap_or(0);
        if used >= columns {
            break;
        }
        end = at + character.len_utf8();
    }
    let cut = &text[..end];
    let word = cut.rfind(' ').filter(|space| *space * 4 >= end * 3);
    format!(
        "{}…",
        cut[..word.unwrap_or(end)].trim_end_matches([' ', ',', '.'])
    )
}

/// Says a number of bytes.
pub(super) fn bytes(count: usize) -> String {
    const UNIT: usize = 1024;
    let tenths = |unit: usize| (count * 10 / unit / 10, count * 10 / unit % 10);
    match count {
        0..UNIT => format!("{count} bytes"),
        count if count < UNIT * UNIT => {
            let (whole, tenth) = tenths(UNIT);
            format!("{whole}.{tenth} KiB")
        }
        _ => {
            let (whole, tenth) = tenths(UNIT * UNIT);
            format!("{whole}.{tenth} MiB")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_cannot_steer_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\r\u{202e}c\n\td\u{9b}1m"), "a[2Jbc\n\td1m");
    }

    #[test]
    fn text_is_cut_between_words_and_never_too_wide() {
        let text = "Finds the lines that contain a text, upper and lower case alike.";
        assert_eq!(shorten(text, 30), "Finds the lines that contain…");
        assert_eq!(shorten(text, 200), text);
        let wide = "日本語の長い説明文です";
        for columns in 1..30 {
            assert!(shorten(wide, columns).width() <= columns, "{columns}");
            assert!(shorten(text, columns).width() <= columns, "{columns}");
        }
    }

    #[test]
    fn sizes_are_said_in_units() {
        assert_eq!(bytes(1023), "1023 bytes");
        assert_eq!(bytes(12_595), "12.2 KiB");
        assert_eq!(bytes(3 * 1024 * 1024), "3.0 MiB");
    }
}
