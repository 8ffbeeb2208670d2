//! Other servers read what we forward with expat or libxml2: whatever we accept they must accept, and understand the
//! same way. Asked of their command line programs, `xmlwf` and `xmllint`, where these are installed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step is a failed test
#![allow(clippy::print_stdout)] // a test that could not run has to say so

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::stanzas::{PREFIXES, Style, stanza};
use support::{FOOTER, Numbers, nasty, read};
use verona_xml::{Edit, Element, Limits, Scan, Scanner, rewrite};

#[test]
fn expat_differs_where_it_is_known_to() {
    let Some(xmlwf) = program("xmlwf") else {
        return;
    };
    check_collection(&EXPAT, |files| refused_by_expat(&xmlwf, files));
}

#[test]
fn libxml2_differs_where_it_is_known_to() {
    let Some(xmllint) = program("xmllint") else {
        return;
    };
    check_collection(&LIBXML2, |files| refused_by_libxml2(&xmllint, files));
}

/// What we accept and forward, both accept. The converse is not asked: they read more of XML than XMPP allows.
///
//= ROUTE-30
#[test]
fn both_accept_what_we_accept() {
    let (Some(xmlwf), Some(xmllint)) = (program("xmlwf"), program("xmllint")) else {
        return;
    };
    let directory = directory("accepted");
    let mut numbers = Numbers(7);
    let mut files = Vec::new();
    let mut documents = Vec::new();
    while files.len() < 1500 {
        let mut document = format!(
            "{}{}{FOOTER}",
            header(),
            stanza(&mut numbers, Style::Anything, true)
        );
        if numbers.below(3) > 0 {
            mutate(&mut numbers, &mut document);
        }
        let reading = read(document.as_bytes(), Limits::default(), || 100);
        // Names of the fifth edition are not expat's, so ROUTE-30 keeps them at home.
        let stays = format!("{reading:?}").contains("has_non_ascii_name: true");
        if !reading.is_accepted() || stays {
            continue;
        }
        let file = directory.join(format!("{}.xml", files.len()));
        std::fs::write(&file, &document).unwrap();
        files.push(file);
        documents.push(document);
    }
    for refused in [
        refused_by_expat(&xmlwf, &files),
        refused_by_libxml2(&xmllint, &files),
    ] {
        let first = refused.first().map(|index| &documents[*index]);
        assert_eq!(first, None, "refused");
    }
}

/// An element read into a tree and written again, and a stanza rewritten for another stream, mean the same to libxml2.
///
//= ROUTE-11
#[test]
fn libxml2_sees_no_change() {
    let Some(xmllint) = program("xmllint") else {
        return;
    };
    let directory = directory("canonical");
    let (mut originals, mut written, mut rewritten) = (header(), header(), header());
    let mut numbers = Numbers(11);
    for _ in 0..1000 {
        let stanza = stanza(&mut numbers, Style::Usual, true);
        originals.push_str(&stanza);
        let mut scanner = Scanner::new(Limits::default());
        assert!(matches!(
            scanner.scan(header().as_bytes()),
            Ok(Scan::Header { .. })
        ));
        let Ok(Scan::Element { head, .. }) = scanner.scan(stanza.as_bytes()) else {
            panic!("{stanza}");
        };
        let tree = Element::parse(stanza.as_bytes(), scanner.scope()).unwrap();
        tree.write("jabber:server", &mut written);
        let bytes = rewrite(stanza.as_bytes(), &head, scanner.scope(), &Edit::default());
        rewritten.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    let canonical = |name: &str, document: &str| {
        let file = directory.join(name);
        std::fs::write(&file, format!("{document}{FOOTER}")).unwrap();
        let output = run(&xmllint, &["--exc-c14n"], &[file]);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let expected = canonical("originals.xml", &originals);
    assert!(expected.len() > 50_000);
    same(&canonical("written.xml", &written), &expected);
    same(&canonical("rewritten.xml", &rewritten), &expected);
}

fn header() -> String {
    format!("<stream:stream xmlns='jabber:server' {PREFIXES}>")
}

/// Compares long texts and shows the place where they part.
fn same(one: &str, other: &str) {
    let differs = one
        .bytes()
        .zip(other.bytes())
        .position(|(one, other)| one != other);
    if let Some(at) = differs {
        let around = |text: &str| {
            let bytes = &text.as_bytes()[at.saturating_sub(300)..text.len().min(at + 100)];
            String::from_utf8_lossy(bytes).into_owned()
        };
        panic!("{}\n\nis not\n\n{}", around(one), around(other));
    }
    assert_eq!(one.len(), other.len());
}

/// Puts, removes or doubles a few bytes where it may leave the document good.
fn mutate(numbers: &mut Numbers, document: &mut String) {
    const PIECES: [&str; 14] = [
        " ",
        "\r",
        "\n",
        "\t",
        "&#9;",
        "]",
        "]]",
        ">",
        "'",
        "\"",
        "\u{7F}",
        "\u{FFFD}",
        "\u{85}",
        "<![CDATA[&]]>",
    ];
    let start = header().len();
    for _ in 0..=numbers.below(2) {
        let at = start + numbers.below(document.len() - start);
        if document.is_char_boundary(at) {
            document.insert_str(at, PIECES[numbers.below(PIECES.len())]);
        }
    }
}

/// Asks a parser about the collection, and compares with what is known of it.
fn check_collection(known: &[(u64, &str)], refused: impl Fn(&[PathBuf]) -> BTreeSet<usize>) {
    let directory = directory(&format!("collection-{}", known.len()));
    let documents = nasty();
    let mut files = Vec::new();
    for nasty in &documents {
        let file = directory.join(format!("{}.xml", nasty.number));
        std::fs::write(&file, &nasty.document).unwrap();
        files.push(file);
    }
    let refused = refused(&files);
    for (index, nasty) in documents.iter().enumerate() {
        let differs = refused.contains(&index) == nasty.accept;
        let is_known = known.iter().any(|(number, _)| *number == nasty.number);
        assert_eq!(differs, is_known, "{} {}", nasty.number, nasty.name);
    }
}

/// Which of the files expat refuses: its program names one with the place and the reason, and stops there.
fn refused_by_expat(xmlwf: &Path, files: &[PathBuf]) -> BTreeSet<usize> {
    let mut refused = BTreeSet::new();
    let mut start = 0;
    while start < files.len() {
        let output = run(xmlwf, &["-n"], &files[start..]);
        let Some(first) = named(&output.stdout, &files[start..], |_| true)
            .first()
            .copied()
        else {
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stdout)
            );
            break;
        };
        refused.insert(start + first);
        start += first + 1;
    }
    refused
}

/// Which of the files libxml2 refuses; namespace names need not be absolute URIs, nor URIs at all, and it goes on then.
fn refused_by_libxml2(xmllint: &Path, files: &[PathBuf]) -> BTreeSet<usize> {
    let output = run(xmllint, &["--noout"], files);
    named(&output.stderr, files, |line| {
        line.contains(" error :") && !line.ends_with("is not a valid URI")
    })
}

/// The files that a line of the output begins with.
fn named(output: &[u8], files: &[PathBuf], counts: impl Fn(&str) -> bool) -> BTreeSet<usize> {
    let output = String::from_utf8_lossy(output);
    let lines = output.lines().filter(|line| counts(line));
    let names = lines.filter_map(|line| line.split(':').next());
    names
        .filter_map(|name| {
            files
                .iter()
                .position(|file| file.as_path() == Path::new(name))
        })
        .collect()
}

fn run(program: &Path, options: &[&str], files: &[PathBuf]) -> Output {
    Command::new(program)
        .args(options)
        .args(files)
        .output()
        .unwrap()
}

/// Finds a program, or says that the test does not run. Where everything has to run, that is a failure.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|it| it.is_file());
    if found.is_none() {
        let everything_must_run = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!everything_must_run, "{name} is missing, and CI=true");
        println!("not run: {name} is missing");
    }
    found
}

/// An empty place for files, of this test alone.
fn directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("oracles")
        .join(name);
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

const RESTRICTED: &str = "legal XML that XMPP leaves out";
const BETWEEN: &str =
    "text may stand in the root element; that XMPP forbids it there is for its user to notice";
const LIMIT: &str = "a limit of ours";
const ENCODING: &str = "it reads other encodings and marks than UTF-8";
const FOURTH: &str =
    "names are those of the fourth edition of XML 1.0, which is why ROUTE-30 exists";

const EXPAT: [(u64, &str); 22] = [
    (46, RESTRICTED),
    (47, RESTRICTED),
    (48, RESTRICTED),
    (52, BETWEEN),
    (97, BETWEEN),
    (98, BETWEEN),
    (99, BETWEEN),
    (103, FOURTH),
    (108, FOURTH),
    (112, LIMIT),
    (113, LIMIT),
    (114, LIMIT),
    (115, LIMIT),
    (116, LIMIT),
    (117, ENCODING),
    (118, ENCODING),
    (120, ENCODING),
    (122, "it does not look at the version"),
    (123, RESTRICTED),
    (124, RESTRICTED),
    (125, RESTRICTED),
    (126, RESTRICTED),
];

const LIBXML2: [(u64, &str); 18] = [
    (46, RESTRICTED),
    (47, RESTRICTED),
    (48, RESTRICTED),
    (52, BETWEEN),
    (97, BETWEEN),
    (98, BETWEEN),
    (99, BETWEEN),
    (113, LIMIT),
    (114, LIMIT),
    (115, LIMIT),
    (117, ENCODING),
    (118, ENCODING),
    (120, ENCODING),
    (122, "it only warns of the version"),
    (123, RESTRICTED),
    (124, RESTRICTED),
    (125, RESTRICTED),
    (126, RESTRICTED),
];
