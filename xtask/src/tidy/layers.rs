//! The layers inside `verona-proto`: which module may use which.
//! Rust lets siblings use each other as they like; a core that is to be read bottom-up needs this said.

use super::Finding;
use super::source::{Kind, Source};
use super::tree::{Tree, in_src};

/// The name, the layer, and the modules of the *same* layer that it may use. Any lower layer is open.
/// A new row, or a new name in a third column, is argued in an ADR.
const MODULES: &[(&str, u8, &[&str])] = &[
    // L1: data.
    ("ns", 1, &[]),
    ("limits", 1, &[]),
    ("addr", 1, &[]),
    // Tables for what a connection has (ADR 0018).
    ("few", 1, &[]),
    // L2: what travels, and why it may.
    ("grounds", 2, &[]),
    ("dane", 2, &[]),
    ("stanza", 2, &[]),
    // L3: one thing each.
    ("outbox", 3, &[]),
    ("turns", 3, &[]),
    // It drains outboxes, for one connection (ADR 0017).
    ("carriage", 3, &["outbox"]),
    // It settles what dialback's verdicts say, as strictly as the policy asks.
    ("authorizations", 3, &["dialback", "policy"]),
    ("dialback", 3, &[]),
    ("certificate", 3, &[]),
    ("policy", 3, &[]),
    // The one place where evidence meets policy.
    ("trust", 3, &["certificate", "policy"]),
    ("discovery", 3, &[]),
    ("learned", 3, &[]),
    ("proxy_header", 3, &[]),
    // L4: one connection, and what is reached from there.
    ("switchboard", 4, &[]),
    ("stream", 4, &[]),
    ("component", 4, &[]),
    ("local", 4, &[]),
    // L5: all connections.
    ("federation", 5, &[]),
];

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for source in &tree.sources {
        let Some(("verona-proto", inside)) = in_src(&source.path) else {
            continue;
        };
        let modules = module_path(inside);
        let Some(own) = modules.first() else {
            // `lib.rs` only declares and re-exports.
            continue;
        };
        let Some(row) = row(own) else {
            let say = format!(
                "the module `{own}` has no layer: give it a row in xtask/src/tidy/layers.rs"
            );
            findings.push(Finding::new(&source.path, 1, say));
            continue;
        };
        for used in uses(source, modules.len()) {
            if let Some(say) = crossing(row, &used.module) {
                findings.push(Finding::new(&source.path, used.line, say));
            }
        }
    }
}

type Row = (&'static str, u8, &'static [&'static str]);

fn row(module: &str) -> Option<Row> {
    MODULES.iter().copied().find(|(name, _, _)| *name == module)
}

fn crossing((own, layer, listed): Row, used: &str) -> Option<String> {
    if used == own {
        return None;
    }
    let Some((_, other, _)) = row(used) else {
        return Some(format!(
            "`crate::{used}` is no module of the layer table: name the module where it lives"
        ));
    };
    if other > layer {
        return Some(format!(
            "`{own}` (L{layer}) uses `{used}` (L{other}), a higher layer: move what they share down, \
             or hand it in as an argument"
        ));
    }
    (other == layer && !listed.contains(&used)).then(|| {
        format!(
            "`{own}` uses `{used}` of its own layer L{layer}, which is not listed: move what they \
             share down, or argue the row of xtask/src/tidy/layers.rs in an ADR"
        )
    })
}

/// The modules that lead to a file: `stream/open.rs` is in `stream`, `open`.
fn module_path(inside: &str) -> Vec<&str> {
    let path = inside.trim_end_matches(".rs");
    path.split('/')
        .filter(|part| !matches!(*part, "lib" | "mod" | "main"))
        .collect()
}

struct Use {
    module: String,
    line: usize,
}

/// The top modules named by `crate::…` or by enough `super::` in code that ships.
fn uses(source: &Source, depth: usize) -> Vec<Use> {
    let mut uses = Vec::new();
    for (index, token) in source.tokens.iter().enumerate() {
        if token.kind != Kind::Word || !source.ships(index) {
            continue;
        }
        let continues_path = index >= 2 && source.follows(index - 2, &[":", ":"]);
        if token.text == "crate" && source.follows(index + 1, &[":", ":"]) {
            named_after(source, index + 3, &mut uses);
        } else if token.text == "super" && !continues_path {
            let mut end = index;
            let mut climbed = 1;
            while source.follows(end + 1, &[":", ":", "super"]) {
                end += 3;
                climbed += 1;
            }
            if climbed >= depth && source.follows(end + 1, &[":", ":"]) {
                named_after(source, end + 3, &mut uses);
            }
        }
    }
    uses
}

/// The names at `index`: one, or each first name of a `{…}` list.
fn named_after(source: &Source, index: usize, uses: &mut Vec<Use>) {
    let mut push = |at: usize| {
        if let Some(token) = source
            .tokens
            .get(at)
            .filter(|token| token.kind == Kind::Word)
        {
            uses.push(Use {
                module: token.text.clone(),
                line: token.line,
            });
        }
    };
    if !source.at(index, "{") {
        push(index);
        return;
    }
    let mut depth = 0_usize;
    for (at, token) in source.tokens.iter().enumerate().skip(index) {
        match token.text.as_str() {
            "{" => {
                depth += 1;
                if depth == 1 {
                    push(at + 1);
                }
            }
            "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return;
                }
            }
            "," if depth == 1 => push(at + 1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(path: &str, text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check(&Tree::default().with(path, text), &mut findings);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_lower_layer_is_open_and_a_higher_one_is_not() {
        let down = "use crate::addr::{Domain, Hosts}; use crate::{ns, stanza::Stanza};";
        assert_eq!(say("crates/verona-proto/src/outbox.rs", down), [""; 0]);
        let up = "use crate::addr::Domain;\nuse crate::stream::Stream;";
        let found = say("crates/verona-proto/src/outbox.rs", up);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with(
                "crates/verona-proto/src/outbox.rs:2: `outbox` (L3) uses `stream` (L4)"
            )
        );
    }

    #[test]
    fn every_way_to_name_a_module_is_seen() {
        let path = "crates/verona-proto/src/stream/open.rs";
        for text in [
            "fn a(f: &crate::federation::Federation) {}",
            "use crate::{addr::Domain, federation};",
            "use super::super::federation::Route;",
            "pub(in crate::federation) fn a() {}",
        ] {
            assert_eq!(say(path, text).len(), 1, "{text}");
        }
        for text in [
            "use super::closing::Closing; use crate::stream::header;",
            "// use crate::federation;",
            "#[cfg(test)] mod tests { use crate::federation::Route; }",
        ] {
            assert_eq!(say(path, text), [""; 0], "{text}");
        }
    }

    #[test]
    fn one_s_own_layer_is_open_only_where_listed() {
        assert_eq!(
            say(
                "crates/verona-proto/src/dialback/key.rs",
                "use crate::policy::Policy;"
            )
            .len(),
            1
        );
        assert_eq!(
            say(
                "crates/verona-proto/src/authorizations/mod.rs",
                "use crate::policy::Strictness;"
            ),
            [""; 0]
        );
    }

    #[test]
    fn the_table_has_no_circle() {
        // A module may only be listed by those that are reached before it, so the longest chain ends.
        fn depth(name: &str, left: usize) -> bool {
            let listed = row(name).map_or(&[][..], |(_, _, listed)| listed);
            left > 0 && listed.iter().all(|next| depth(next, left - 1))
        }
        for (name, layer, listed) in MODULES {
            assert!(depth(name, MODULES.len()), "{name} can reach itself");
            for other in *listed {
                assert_eq!(
                    row(other).map(|(_, layer, _)| layer),
                    Some(*layer),
                    "{name}, {other}"
                );
            }
        }
    }

    #[test]
    fn an_unknown_module_needs_a_row() {
        assert_eq!(say("crates/verona-proto/src/extra.rs", "").len(), 1);
        assert_eq!(
            say(
                "crates/verona-proto/src/stream/mod.rs",
                "use crate::Shortcut;"
            )
            .len(),
            1
        );
    }
}
