//! The configuration file: any text gives settings, or errors with their places, and shows no secret.

use std::path::Path;

use serde_json::Value;

/// A text; certificates and secrets that it names are looked for where there are none.
pub fn run(input: &[u8]) {
    let text = without_system(&String::from_utf8_lossy(input));
    let path = Path::new("/nonexistent/verona.toml");
    let (starts, shown, json) = veronad::check_configuration(&text, path);
    let document: Value = serde_json::from_str(&json).expect("a JSON document");
    let problems = document["problems"].as_array().expect("a list");
    let errors = problems.iter().filter(|it| it["severity"] == "error");
    assert_eq!(starts, errors.count() == 0, "settings, or errors: {text:?}");
    let lines: Vec<&str> = text.split('\n').collect();
    for problem in problems {
        has_its_place(problem, &lines);
    }
    let shown = shown + &json;
    assert!(
        !shown.contains(|c: char| c.is_control() && c != '\n'),
        "a control character of the file is shown: {shown:?}"
    );
    for secret in secrets(&text) {
        assert!(!shown.contains(&secret), "{secret:?} is shown: {shown}");
    }
}

/// A problem stands at a character of the file, or just behind a line. What is missing altogether stands nowhere.
fn has_its_place(problem: &Value, lines: &[&str]) {
    let number = |name: &str| {
        problem[name]
            .as_u64()
            .and_then(|it| usize::try_from(it).ok())
    };
    match (number("line"), number("column")) {
        (Some(line), Some(column)) => {
            let line = line.checked_sub(1).and_then(|at| lines.get(at));
            let length = line.map(|it| it.chars().count());
            assert!(
                length.is_some_and(|length| (1..=length + 1).contains(&column)),
                "{problem} has no place"
            );
        }
        (None, None) => {
            let table = problem["key"].as_str().map(|key| format!("[{key}"));
            let stands = |table: &String| lines.iter().any(|line| line.trim().starts_with(table));
            assert!(
                !table.as_ref().is_some_and(stands),
                "{problem} has a table and no place"
            );
        }
        (Some(_), None) | (None, Some(_)) => panic!("half a place: {problem}"),
    }
}

/// The system's certificates take long to load and say nothing about the file.
fn without_system(text: &str) -> String {
    let text = text
        .replace("\"system\"", "\"no.pem\"")
        .replace("'system'", "'no.pem'");
    let names = |line: &str| {
        let rest = line.trim_start().strip_prefix("trust");
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    if text.lines().any(names) {
        return text;
    }
    match text.contains("[tls]") {
        true => text.replacen("[tls]", "[tls]\ntrust = []", 1),
        false => format!("{text}\n[tls]\ntrust = []\n"),
    }
}

/// The secrets that stand in the file and could not be taken for anything else in it.
fn secrets(text: &str) -> Vec<String> {
    fn collect(value: &toml::Value, found: &mut Vec<String>) {
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    match value.as_str().filter(|_| key == "secret") {
                        Some(secret) => found.push(secret.to_owned()),
                        None => collect(value, found),
                    }
                }
            }
            toml::Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
            toml::Value::String(_)
            | toml::Value::Integer(_)
            | toml::Value::Float(_)
            | toml::Value::Boolean(_)
            | toml::Value::Datetime(_) => {}
        }
    }
    let mut found = Vec::new();
    if let Ok(table) = text.parse::<toml::Table>() {
        collect(&toml::Value::Table(table), &mut found);
    }
    found.retain(|secret| secret.len() >= 6 && text.matches(secret.as_str()).count() == 1);
    found
}
