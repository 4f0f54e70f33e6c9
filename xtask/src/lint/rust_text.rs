//! Rust source without its comments and literals, so that a word search finds code only.

/// The same text, line for line and column for column, with comments, strings and characters blanked.
/// Lifetimes stay. Good enough for searching words; it does not parse.
pub(super) fn code_only(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => line_end(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => block_comment_end(&chars, at),
            '"' => string_end(&chars, at),
            'r' if !in_word(&chars, at) => raw_string_end(&chars, at).unwrap_or(at),
            '\'' => char_end(&chars, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

fn line_end(chars: &[char], at: usize) -> usize {
    (at..chars.len())
        .find(|&i| chars[i] == '\n')
        .unwrap_or(chars.len())
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_u32);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// End of `r"…"` or `r#"…"#`, if this `r` begins one.
fn raw_string_end(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars[start + 1..].iter().take_while(|&&c| c == '#').count();
    let open = start + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let closing = |at: usize| {
        chars[at] == '"' && chars[at + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes
    };
    Some(
        (open + 1..chars.len())
            .find(|&at| closing(at))
            .map_or(chars.len(), |at| at + 1 + hashes),
    )
}

/// End of a character literal, or none for a lifetime.
fn char_end(chars: &[char], start: usize) -> Option<usize> {
    if chars.get(start + 1) == Some(&'\\') {
        return (start + 3..chars.len())
            .find(|&at| chars[at] == '\'')
            .map(|at| at + 1);
    }
    (chars.get(start + 2) == Some(&'\'')).then_some(start + 3)
}

/// Is the character before `at` part of a word, so that `at` does not begin one? `br"…"` begins one.
fn in_word(chars: &[char], at: usize) -> bool {
    let word = |i: usize| chars[i].is_alphanumeric() || chars[i] == '_';
    at > 0 && word(at - 1) && !(chars[at - 1] == 'b' && (at == 1 || !word(at - 2)))
}

/// Does `line` contain `word` as a whole identifier?
pub(super) fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_code_stays_in_place() {
        let source = "let a = \"unsafe \\\" x\"; // unsafe\nlet r = r#\"un\"safe\"#; /* /* a */ unsafe */ b('\"', '\\'', &'a ())";
        let code = code_only(source);
        assert!(!code.contains("unsafe") && !code.contains("safe"), "{code}");
        assert_eq!(code.chars().count(), source.chars().count());
        assert_eq!(code.lines().count(), 2);
        assert!(code.contains("&'a ())"), "{code}");
    }

    #[test]
    fn words_are_whole_identifiers() {
        assert!(has_word("unsafe { x }", "unsafe"));
        assert!(has_word("pub unsafe fn", "unsafe"));
        assert!(!has_word("#![forbid(unsafe_code)]", "unsafe"));
        assert!(!has_word("unsafe_op_in_unsafe_fn", "unsafe"));
    }

    #[test]
    fn an_r_inside_a_word_begins_no_raw_string() {
        assert_eq!(code_only("for\"x\"y"), "for   y");
        assert_eq!(code_only("br\"x\"y"), "b    y");
    }
}
