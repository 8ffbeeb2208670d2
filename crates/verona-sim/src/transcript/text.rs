//! Placeholders: constants and captured values, keys, repetition; and matching what was found against a pattern. Ids
//! and keys differ from run to run of real servers, and a transcript must not.

use std::collections::BTreeMap;

use verona_proto::addr::Domain;
use verona_proto::dialback::Secret;
use verona_proto::ns;

/// What `{name}` stands for.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    pub(super) fn bind(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// Replaces every placeholder that has a value; the others stay as they are.
    pub(super) fn expand(&self, text: &str) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '…']) {
            let (before, from) = rest.split_at(at);
            out.extend_from_slice(before.as_bytes());
            if let Some(behind) = from.strip_prefix('…') {
                out.extend_from_slice(NAMESPACES.as_bytes());
                rest = behind;
                continue;
            }
            let end = closing(from).ok_or_else(|| format!("`{from}` has no closing brace"))?;
            let inner = from.get(1..end).unwrap_or_default();
            out.extend(self.value(inner)?);
            rest = from.get(end + 1..).unwrap_or_default();
        }
        out.extend_from_slice(rest.as_bytes());
        Ok(out)
    }

    /// As [`Names::expand`], for what must be text.
    pub(super) fn expand_text(&self, text: &str) -> Result<String, String> {
        String::from_utf8(self.expand(text)?).map_err(|_| "bytes that are not UTF-8".to_owned())
    }

    /// Whether the text asks for a name that has no value yet.
    pub(super) fn lacks(&self, text: &str) -> bool {
        self.expand(text)
            .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains('{'))
    }

    /// Whether `found` is what `pattern` wants; a name without a value takes what it meets.
    pub(super) fn matches(&mut self, pattern: &str, found: &str) -> bool {
        let Some((before, name, behind)) = placeholder(pattern) else {
            return pattern == found;
        };
        let Some(middle) = found
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(behind))
        else {
            return false;
        };
        match self.0.get(name) {
            _ if name == "any" => true,
            Some(value) => value == middle,
            None => {
                self.bind(name, middle);
                true
            }
        }
    }

    fn value(&self, inner: &str) -> Result<Vec<u8>, String> {
        let (name, argument) = match inner.split_once(':') {
            Some((name, argument)) => (name, self.expand_text(argument)?),
            None => {
                return Ok(match self.0.get(inner) {
                    Some(value) => value.clone().into_bytes(),
                    None => format!("{{{inner}}}").into_bytes(),
                });
            }
        };
        match name {
            "key" => key(&argument),
            "repeat" => {
                let (count, text) = argument
                    .split_once(',')
                    .ok_or("`repeat` wants a number, a comma and a text")?;
                let count: usize = count
                    .parse()
                    .map_err(|_| format!("`{count}` is no number"))?;
                Ok(text.repeat(count).into_bytes())
            }
            "hex" => argument
                .as_bytes()
                .chunks(2)
                .map(|pair| {
                    std::str::from_utf8(pair)
                        .ok()
                        .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                        .ok_or_else(|| format!("`{argument}` is not hexadecimal"))
                })
                .collect(),
            "stream-error" => {
                let (condition, detail) = match argument.split_once(',') {
                    Some((condition, detail)) => {
                        (condition, format!("<{detail} xmlns='{}'/>", ns::ERRORS))
                    }
                    None => (argument.as_str(), String::new()),
                };
                Ok(format!(
                    "<stream:error><{condition} xmlns='{STREAM_CONDITIONS}'/>\
                     <text xmlns='{STREAM_CONDITIONS}' xml:lang='en'>{{any}}</text>{detail}</stream:error></stream:stream>"
                )
                .into_bytes())
            }
            "dialback-error" => {
                let (kind, condition) = argument
                    .split_once(',')
                    .ok_or("`dialback-error` wants a type and a condition")?;
                Ok(format!(
                    "<error type='{kind}'><{condition} xmlns='{STANZA_CONDITIONS}'/></error>"
                )
                .into_bytes())
            }
            _ => Err(format!("there is no placeholder `{name}`")),
        }
    }
}

fn key(arguments: &str) -> Result<Vec<u8>, String> {
    let mut parts = arguments.splitn(4, ',');
    let mut part = || {
        parts
            .next()
            .ok_or("`key` wants a secret, two domains and an id")
    };
    let (secret, receiving, originating, id) = (part()?, part()?, part()?, part()?);
    let domain = |text: &str| Domain::parse(text).map_err(|_| format!("`{text}` is no domain"));
    let key = Secret::new(secret).key(&domain(receiving)?, &domain(originating)?, id);
    Ok(key.into_bytes())
}

/// Where the brace that `text` begins with is closed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

fn placeholder(pattern: &str) -> Option<(&str, &str, &str)> {
    let (before, from) = pattern.split_once('{')?;
    let (name, behind) = from.split_once('}')?;
    Some((before, name, behind))
}

const NAMESPACES: &str = "xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
                          xmlns:stream='http://etherx.jabber.org/streams'";
const STREAM_CONDITIONS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
const STANZA_CONDITIONS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn placeholders_are_replaced_inside_one_another() {
        let mut names = Names::default();
        names.bind("M2", "b5cd769b1dc292c6f6557fe76cabc4d112333f9a");
        let text = names
            .expand_text("<a>{key:s3cr3tf0rd14lb4ck,montague.lit,capulet.lit,{M2}}</a>{repeat:3,xy}{any}{new}")
            .unwrap();
        assert_eq!(
            text,
            "<a>3388d61d1e7d79749d56c31dfadbb2d9dca69cb0ebc8d88748a83c18f27ae915</a>xyxyxy{any}{new}"
        );
        assert_eq!(names.expand("{hex:C080}").unwrap(), [0xc0, 0x80]);
        assert!(names.expand("{hex:zz}").is_err());
        assert!(names.expand("{open").is_err());
        assert!(names.expand("{nothing:a}").is_err());
        assert!(names.lacks("id={new}"));
        assert!(!names.lacks("id={M2}"));
    }

    #[test]
    fn a_name_takes_what_it_meets_and_keeps_it() {
        let mut names = Names::default();
        assert!(names.matches("id={id}", "id=abc"));
        assert!(names.matches("{id}", "abc"));
        assert!(!names.matches("{id}", "abd"));
        assert!(names.matches("{any}", "whatever"));
        assert!(!names.matches("abc", "abd"));
    }
}
