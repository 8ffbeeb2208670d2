//! One Rust file as tokens with their lines, test code marked.
//! A check over tokens cannot trip over a comment or a string, and cannot be fooled by a line break.

/// What a token is, as far as tidy cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier or keyword.
    Word,
    /// One punctuation character.
    Mark,
    /// A string, character or number; its text is not kept.
    Literal,
}

/// One token.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// Counted from 1.
    pub(crate) line: usize,
    /// Inside an item that is compiled for tests only.
    pub(crate) in_test: bool,
}

impl Token {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.kind != Kind::Literal && self.text == text
    }
}

/// A Rust source file.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Relative to the workspace, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) tokens: Vec<Token>,
    /// Modules declared as `#[cfg(test)] mod name;`: their files are test code.
    pub(crate) test_modules: Vec<String>,
    /// The whole file is compiled for tests only.
    pub(crate) is_test: bool,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let mut tokens = tokenize(text);
        let marks = mark_tests(&mut tokens);
        Source {
            path: path.to_owned(),
            text: text.to_owned(),
            tokens,
            test_modules: marks.modules,
            is_test: marks.whole_file || path.contains("/tests/") || path.contains("/benches/"),
        }
    }

    /// Whether the token at `index` exists and is `text`.
    pub(crate) fn at(&self, index: usize, text: &str) -> bool {
        self.tokens.get(index).is_some_and(|token| token.is(text))
    }

    /// Whether the tokens from `index` on are `texts`.
    pub(crate) fn follows(&self, index: usize, texts: &[&str]) -> bool {
        texts
            .iter()
            .enumerate()
            .all(|(offset, text)| self.at(index + offset, text))
    }

    /// Whether the token at `index` ships, that is: is no test code.
    pub(crate) fn ships(&self, index: usize) -> bool {
        !self.is_test && self.tokens.get(index).is_some_and(|token| !token.in_test)
    }
}

/// Splits a text into tokens; comments vanish, literals keep their place only.
fn tokenize(text: &str) -> Vec<Token> {
    let mut reader = Reader {
        characters: text.chars().collect(),
        position: 0,
        line: 1,
    };
    let mut tokens = Vec::new();
    while let Some(token) = reader.token() {
        tokens.push(token);
    }
    tokens
}

struct Reader {
    characters: Vec<char>,
    position: usize,
    line: usize,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.position + ahead).copied()
    }

    fn advance(&mut self) -> Option<char> {
        let character = self.peek(0)?;
        self.position += 1;
        if character == '\n' {
            self.line += 1;
        }
        Some(character)
    }

    fn token(&mut self) -> Option<Token> {
        self.skip_blank();
        let line = self.line;
        let first = self.peek(0)?;
        let (kind, text) = if is_word_start(first) {
            self.word()
        } else if first.is_ascii_digit() {
            self.number();
            (Kind::Literal, String::new())
        } else if first == '"' {
            self.quoted('"');
            (Kind::Literal, String::new())
        } else if first == '\'' {
            self.tick();
            (Kind::Literal, String::new())
        } else {
            self.advance();
            (Kind::Mark, first.to_string())
        };
        Some(Token {
            kind,
            text,
            line,
            in_test: false,
        })
    }

    fn skip_blank(&mut self) {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(blank), _) if blank.is_whitespace() => {
                    self.advance();
                }
                (Some('/'), Some('/')) => {
                    while self.peek(0).is_some_and(|c| c != '\n') {
                        self.advance();
                    }
                }
                (Some('/'), Some('*')) => self.skip_block_comment(),
                _ => return,
            }
        }
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => {
                    depth += 1;
                    self.advance();
                }
                (Some('*'), Some('/')) => {
                    depth = depth.saturating_sub(1);
                    self.advance();
                }
                (None, _) => return,
                _ => {}
            }
            self.advance();
            if depth == 0 {
                return;
            }
        }
    }

    /// A word, or the literal of which it is only the prefix: `r"…"`, `b'…'`, `br#"…"#`, `c"…"`.
    fn word(&mut self) -> (Kind, String) {
        let mut word = String::new();
        while let Some(character) = self.peek(0).filter(|c| is_word(*c)) {
            word.push(character);
            self.advance();
        }
        let is_raw = matches!(word.as_str(), "r" | "br" | "cr");
        let is_prefix = matches!(word.as_str(), "b" | "c");
        match self.peek(0) {
            Some('"') if is_raw => self.raw(0),
            Some('"') if is_prefix => self.quoted('"'),
            Some('\'') if word == "b" => self.tick(),
            Some('#') if is_raw => {
                let mut hashes = 0;
                while self.peek(hashes) == Some('#') {
                    hashes += 1;
                }
                if self.peek(hashes) != Some('"') {
                    // A raw identifier: `r#type` is the word `type`.
                    self.advance();
                    return self.word();
                }
                self.raw(hashes);
            }
            _ => return (Kind::Word, word),
        }
        (Kind::Literal, String::new())
    }

    fn raw(&mut self, hashes: usize) {
        for _ in 0..=hashes {
            self.advance();
        }
        while let Some(character) = self.advance() {
            if character == '"' && (0..hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                for _ in 0..hashes {
                    self.advance();
                }
                return;
            }
        }
    }

    fn quoted(&mut self, end: char) {
        self.advance();
        while let Some(character) = self.advance() {
            if character == '\\' {
                self.advance();
            } else if character == end {
                return;
            }
        }
    }

    /// A character literal, or a lifetime.
    fn tick(&mut self) {
        if self.peek(1) == Some('\\') || self.peek(2) == Some('\'') {
            self.quoted('\'');
            return;
        }
        self.advance();
        while self.peek(0).is_some_and(is_word) {
            self.advance();
        }
    }

    fn number(&mut self) {
        while let Some(character) = self.peek(0) {
            let is_point = character == '.' && self.peek(1).is_some_and(|c| c.is_ascii_digit());
            if !is_word(character) && !is_point {
                return;
            }
            self.advance();
        }
    }
}

fn is_word_start(character: char) -> bool {
    character == '_' || character.is_alphabetic()
}

fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

struct TestMarks {
    modules: Vec<String>,
    whole_file: bool,
}

/// Marks each item under `#[test]` or `#[cfg(test)]`.
fn mark_tests(tokens: &mut [Token]) -> TestMarks {
    let mut marks = TestMarks {
        modules: Vec::new(),
        whole_file: false,
    };
    let mut index = 0;
    while index < tokens.len() {
        let Some(attribute) = attribute_at(tokens, index) else {
            index += 1;
            continue;
        };
        if !attribute.is_for_tests {
            index = attribute.end;
            continue;
        }
        if attribute.is_inner {
            marks.whole_file = true;
            index = attribute.end;
            continue;
        }
        let mut start = attribute.end;
        while let Some(next) = attribute_at(tokens, start) {
            start = next.end;
        }
        let end = item_end(tokens, start);
        if let Some(name) = module_without_body(tokens.get(start..end).unwrap_or_default()) {
            marks.modules.push(name);
        }
        for token in tokens.iter_mut().take(end).skip(index) {
            token.in_test = true;
        }
        index = end;
    }
    marks
}

struct Attribute {
    /// The index after its `]`.
    end: usize,
    is_inner: bool,
    is_for_tests: bool,
}

fn attribute_at(tokens: &[Token], index: usize) -> Option<Attribute> {
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.is(text));
    if !is(index, "#") {
        return None;
    }
    let is_inner = is(index + 1, "!");
    let open = index + 1 + usize::from(is_inner);
    if !is(open, "[") {
        return None;
    }
    let end = group_end(tokens, open);
    let words: Vec<&str> = tokens
        .get(open..end)
        .unwrap_or_default()
        .iter()
        .filter(|token| token.kind == Kind::Word)
        .map(|token| token.text.as_str())
        .collect();
    let is_for_tests = match words.as_slice() {
        ["cfg", rest @ ..] => rest.contains(&"test") && !rest.contains(&"not"),
        ["test"] | ["tokio", "test", ..] => true,
        _ => false,
    };
    Some(Attribute {
        end,
        is_inner,
        is_for_tests,
    })
}

/// The index after the bracket that closes the one at `open`.
fn group_end(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        if token.kind != Kind::Mark {
            continue;
        }
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return index + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// The index after the item, statement, field or variant that starts at `start`.
fn item_end(tokens: &[Token], start: usize) -> usize {
    let is_item = tokens.get(start).is_some_and(|token| {
        matches!(
            token.text.as_str(),
            "pub"
                | "fn"
                | "mod"
                | "impl"
                | "struct"
                | "use"
                | "const"
                | "static"
                | "enum"
                | "trait"
                | "async"
                | "type"
                | "unsafe"
                | "extern"
                | "macro_rules"
                | "let"
        )
    });
    let mut index = start;
    while let Some(token) = tokens.get(index) {
        if token.kind == Kind::Mark {
            match token.text.as_str() {
                "{" => {
                    let end = group_end(tokens, index);
                    // `use a::{b, c};` goes on to its semicolon.
                    let goes_on = tokens.get(end).is_some_and(|next| next.is(";"));
                    return end + usize::from(goes_on);
                }
                "(" | "[" => {
                    index = group_end(tokens, index);
                    continue;
                }
                ";" => return index + 1,
                "," if !is_item => return index + 1,
                "}" | ")" | "]" => return index,
                _ => {}
            }
        }
        index += 1;
    }
    tokens.len()
}

fn module_without_body(item: &[Token]) -> Option<String> {
    match item {
        [.., keyword, name, end] if keyword.is("mod") && end.is(";") => Some(name.text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        tokenize(text)
            .into_iter()
            .filter(|token| token.kind == Kind::Word)
            .map(|token| token.text)
            .collect()
    }

    #[test]
    fn comments_and_literals_hide_their_words() {
        let text = r##"
            // unwrap
            /* a /* nested */ unwrap */
            let a = "unwrap \" unwrap"; let b = r#"un"wrap"#; let c = b'"'; let d = '\'';
            let e: &'static str = br"\"; let r#type = 1.5e3;
        "##;
        let seen = words(text);
        assert!(!seen.iter().any(|word| word.contains("wrap")), "{seen:?}");
        assert_eq!(seen.last().map(String::as_str), Some("type"));
        assert!(seen.iter().any(|word| word == "e"));
    }

    #[test]
    fn lines_are_counted_through_literals() {
        let tokens = tokenize("\"a\nb\"\n/*\n*/ here");
        assert_eq!(tokens.last().map(|token| token.line), Some(4));
    }

    #[test]
    fn test_items_are_marked_and_only_they() {
        let source = Source::new(
            "a.rs",
            "fn ships() {} #[cfg(test)] use a::{b, c}; #[cfg(not(test))] fn also() {}
             #[test] #[ignore] fn tested() { inside() } #[cfg(test)] mod tests; fn last() {}",
        );
        let marked = |word: &str| {
            source
                .tokens
                .iter()
                .find(|token| token.is(word))
                .map(|token| token.in_test)
        };
        for ships in ["ships", "also", "last"] {
            assert_eq!(marked(ships), Some(false), "{ships}");
        }
        for tested in ["b", "tested", "inside"] {
            assert_eq!(marked(tested), Some(true), "{tested}");
        }
        assert_eq!(source.test_modules, ["tests"]);
    }

    #[test]
    fn a_field_for_tests_ends_at_its_comma() {
        let source = Source::new("a.rs", "struct A { #[cfg(test)] seen: u8, ships: u8 }");
        let ships = source.tokens.iter().find(|token| token.is("ships"));
        assert_eq!(ships.map(|token| token.in_test), Some(false));
    }
}
