//! What crossed a connection inside TLS, by the names of its elements.
//! Why by hand: a side that does not wait begins a new stream in the middle of a read, which no parser of one document takes.

/// One direction of one connection.
#[derive(Debug, Default)]
pub(super) struct Elements {
    /// Read, and not yet a whole tag.
    rest: String,
    /// The element that is open.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    name: String,
    children: Vec<String>,
    /// How many of its descendants are open.
    depth: usize,
}

impl Elements {
    /// Takes what was read or written, and says what is complete now.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        self.rest.push_str(&String::from_utf8_lossy(bytes));
        let mut whole = Vec::new();
        while let Some(begin) = self.rest.find('<') {
            let Some(end) = self.rest.get(begin..).and_then(|rest| rest.find('>')) else {
                break;
            };
            let tag = self
                .rest
                .get(begin + 1..begin + end)
                .unwrap_or_default()
                .to_owned();
            self.rest.drain(..=begin + end);
            whole.extend(self.tag(&tag));
        }
        whole
    }

    fn tag(&mut self, tag: &str) -> Option<String> {
        if tag.starts_with(['?', '!']) {
            return None;
        }
        let is_empty = tag.ends_with('/');
        if let Some(name) = tag.strip_prefix('/') {
            return match &mut self.open {
                Some(open) if open.depth > 0 => {
                    open.depth -= 1;
                    None
                }
                Some(_) => self.open.take().map(Open::said),
                None => Some(format!("</{name}>")),
            };
        }
        let name = local(tag);
        match &mut self.open {
            None if name == "stream" => Some("<stream>".to_owned()),
            None => {
                let open = Open {
                    name: [name, worth_saying(tag)].concat(),
                    children: Vec::new(),
                    depth: 0,
                };
                match is_empty {
                    true => Some(open.said()),
                    false => {
                        self.open = Some(open);
                        None
                    }
                }
            }
            Some(open) => {
                if open.depth == 0 {
                    open.children.push(name);
                }
                open.depth += usize::from(!is_empty);
                None
            }
        }
    }
}

impl Open {
    fn said(self) -> String {
        match (self.name.as_str(), self.children.as_slice()) {
            // What is offered decides what comes next.
            ("features", [_, ..]) => format!("<{}: {}>", self.name, self.children.join(", ")),
            _ => format!("<{}>", self.name),
        }
    }
}

fn local(tag: &str) -> String {
    let name = tag.split([' ', '\n', '\t', '/']).next().unwrap_or_default();
    let local = name.rsplit(':').next().unwrap_or_default();
    // Two elements of dialback are told by their prefix, which all use.
    match name.starts_with("db:") {
        true => name.to_owned(),
        false => local.to_owned(),
    }
}

/// The attribute that makes a difference.
fn worth_saying(tag: &str) -> String {
    for name in ["mechanism", "type"] {
        for quote in ['\'', '"'] {
            if let Some((_, rest)) = tag.split_once(&format!(" {name}={quote}")) {
                let value = rest.split(quote).next().unwrap_or_default();
                return format!(" {value}");
            }
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' to='a.lit'>\
        <stream:features><mechanisms xmlns='urn:x'><mechanism>EXTERNAL</mechanism></mechanisms>\
        <bidi xmlns='urn:y'/></stream:features><auth mechanism='EXTERNAL'>=</auth><success/>\
        <stream:stream to='a.lit'><stream:features/><db:result type='valid' from='a.lit'/>\
        <message type=\"chat\"><body>1</body></message></stream:stream>";
    const NAMES: [&str; 9] = [
        "<stream>",
        "<features: mechanisms, bidi>",
        "<auth EXTERNAL>",
        "<success>",
        "<stream>",
        "<features>",
        "<db:result valid>",
        "<message chat>",
        "</stream:stream>",
    ];

    #[test]
    fn elements_are_told_wherever_they_are_cut() {
        for cut in 0..=TEXT.len() {
            let mut elements = Elements::default();
            let mut names = elements.take(&TEXT.as_bytes()[..cut]);
            names.extend(elements.take(&TEXT.as_bytes()[cut..]));
            assert_eq!(names, NAMES, "cut at {cut}");
        }
    }
}
