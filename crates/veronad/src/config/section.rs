//! One table of the file, asked for its keys by name; what nobody asked for is unknown.
//!
//! The list of known keys is thus the list of keys that are read: the two cannot disagree.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Report};
use super::suggest;
use crate::output::printable;

/// A table with its name and the keys that were asked for.
pub(crate) struct Section<'a> {
    /// Its path, such as `s2s` or `peer[0]`; empty for the file itself.
    name: String,
    place: Place,
    table: Option<&'a DeTable<'a>>,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The file itself.
    pub(crate) fn root(root: &'a Spanned<DeTable<'a>>) -> Self {
        Self {
            name: String::new(),
            place: Place {
                key: String::new(),
                span: Some(root.span()),
            },
            table: Some(root.get_ref()),
            asked: Vec::new(),
        }
    }

    /// A table that is not there: every key has its default.
    pub(crate) fn absent(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            place: Place {
                key: name.to_owned(),
                span: None,
            },
            table: None,
            asked: Vec::new(),
        }
    }

    /// Where the table begins.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether a key is set, to whatever.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// The value of a key, if it is set.
    pub(crate) fn get(&mut self, key: &'static str) -> Option<Node<'a>> {
        self.asked.push(key);
        let (name, value) = self.table?.get_key_value(key)?;
        Some(Node {
            name: key,
            key: join(&self.name, key),
            key_span: name.span(),
            value: value.get_ref(),
            span: value.span(),
        })
    }

    /// The table under a key.
    pub(crate) fn section(&mut self, key: &'static str, report: &mut Report) -> Section<'a> {
        match self.get(key) {
            Some(node) => node.table(report).unwrap_or_else(|| Section::absent(key)),
            None => Section::absent(&join(&self.name, key)),
        }
    }

    /// The tables of an array of tables, `[[key]]`.
    pub(crate) fn sections(&mut self, key: &'static str, report: &mut Report) -> Vec<Section<'a>> {
        let Some(node) = self.get(key) else {
            return Vec::new();
        };
        let Some(array) = node.value.as_array() else {
            report
                .error(
                    &node.key_place(),
                    format!("`{key}` may stand several times, so it is an array of tables"),
                )
                .suggest(format!("write `[[{key}]]`"));
            return Vec::new();
        };
        node.items(array)
            .into_iter()
            .filter_map(|item| item.table(report))
            .collect()
    }

    /// Reports every key that was not asked for.
    pub(crate) fn finish(self, report: &mut Report) {
        let name = self.name.clone();
        let asked = self.asked.clone();
        self.finish_with(report, |text| suggest::key(&name, text, &asked));
    }

    /// The same with other suggestions.
    pub(crate) fn finish_with(self, report: &mut Report, suggest: impl Fn(&str) -> Option<String>) {
        let Some(table) = self.table else { return };
        for (key, _) in table {
            let text: &str = key.get_ref();
            if self.asked.contains(&text) {
                continue;
            }
            let place = Place {
                key: join(&self.name, text),
                span: Some(key.span()),
            };
            let suggestion = suggest(text);
            let problem = report.error(&place, format!("unknown key `{}`", printable(text)));
            if let Some(suggestion) = suggestion {
                problem.suggest(suggestion);
            }
        }
    }
}

/// The value of a key, or an item of an array, with its place.
#[derive(Clone)]
pub(crate) struct Node<'a> {
    /// The key itself, without its path.
    pub(crate) name: &'static str,
    key: String,
    key_span: Range<usize>,
    pub(crate) value: &'a DeValue<'a>,
    span: Range<usize>,
}

impl<'a> Node<'a> {
    /// Where the value stands.
    pub(crate) fn place(&self) -> Place {
        Place {
            key: self.key.clone(),
            span: Some(self.span.clone()),
        }
    }

    /// Where the key stands.
    pub(crate) fn key_place(&self) -> Place {
        Place {
            key: self.key.clone(),
            span: Some(self.key_span.clone()),
        }
    }

    /// The value as a table.
    pub(crate) fn table(&self, report: &mut Report) -> Option<Section<'a>> {
        let Some(table) = self.value.as_table() else {
            wrong_type(self, "a table", report);
            return None;
        };
        Some(Section {
            name: self.key.clone(),
            place: self.place(),
            table: Some(table),
            asked: Vec::new(),
        })
    }

    /// The value as a string.
    pub(crate) fn text(&self, report: &mut Report) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            wrong_type(self, "a string", report);
        }
        text
    }

    /// The value as an array of strings, each with its place.
    pub(crate) fn texts(&self, report: &mut Report) -> Vec<(Node<'a>, &'a str)> {
        self.items_or_report(report)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|item| {
                let text = item.text(report)?;
                Some((item, text))
            })
            .collect()
    }

    /// The value as a string, or as an array of them, each with its place.
    pub(crate) fn text_or_texts(&self, report: &mut Report) -> Vec<(Node<'a>, &'a str)> {
        if self.value.as_array().is_some() {
            return self.texts(report);
        }
        let Some(text) = self.value.as_str() else {
            wrong_type(self, "a string or an array of strings", report);
            return Vec::new();
        };
        vec![(self.clone(), text)]
    }

    /// The items of an array of strings, whatever they are.
    pub(crate) fn items_or_report(&self, report: &mut Report) -> Option<Vec<Node<'a>>> {
        if let Some(array) = self.value.as_array() {
            return Some(self.items(array));
        }
        wrong_type(self, "an array of strings", report);
        if self.value.is_str()
            && let Some(last) = report.last()
        {
            last.suggest(format!("put it into brackets: `{} = [\"…\"]`", self.name));
        }
        None
    }

    /// The value as a number that is not negative.
    pub(crate) fn number(&self, report: &mut Report) -> Option<u64> {
        let Some(integer) = self.value.as_integer() else {
            wrong_type(self, "an integer", report);
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        if number.is_none() {
            report.error(
                &self.place(),
                format!("`{}` must be a positive integer", self.name),
            );
        }
        number
    }

    /// The value as yes or no.
    pub(crate) fn boolean(&self, report: &mut Report) -> Option<bool> {
        let value = self.value.as_bool();
        if value.is_none() {
            wrong_type(self, "true or false", report);
        }
        value
    }

    /// The value as one of the words of `choices`.
    pub(crate) fn choice<T: Copy>(&self, choices: &[(&str, T)], report: &mut Report) -> Option<T> {
        let text = self.text(report)?;
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*choice);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let suggestion =
            suggest::nearest(text, &words).map(|word| format!("did you mean \"{word}\"?"));
        let problem = report.error(
            &self.place(),
            format!(
                "`{}` must be {}, not \"{}\"",
                self.name,
                alternatives(&words),
                printable(text)
            ),
        );
        if let Some(suggestion) = suggestion {
            problem.suggest(suggestion);
        }
        None
    }

    fn items(&self, array: &'a [Spanned<DeValue<'a>>]) -> Vec<Node<'a>> {
        array
            .iter()
            .enumerate()
            .map(|(index, item)| Node {
                name: self.name,
                key: format!("{}[{index}]", self.key),
                key_span: item.span(),
                value: item.get_ref(),
                span: item.span(),
            })
            .collect()
    }
}

fn wrong_type(node: &Node<'_>, wanted: &str, report: &mut Report) {
    let found = with_article(node.value.type_str());
    report.error(
        &node.place(),
        format!("`{}` must be {wanted}, not {found}", node.name),
    );
}

fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {noun}")
}

/// `"a"`, `"a" or "b"`, `"a", "b" or "c"`.
fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

fn join(name: &str, key: &str) -> String {
    if name.is_empty() {
        key.to_owned()
    } else {
        format!("{name}.{key}")
    }
}
