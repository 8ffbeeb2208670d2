//! The command `verona-interop`: runs the cases and prints what each saw on the wire.
//! Why a program: it is run by hand against one server as often as by `cargo xtask test` against all.
#![forbid(unsafe_code)]
// The report is the product of this program; everything else it does is in the library.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::{Value, json};
use verona_interop::cases::{Case, Outcome};
use verona_interop::catalogue;
use verona_interop::scene;

/// Runs real XMPP servers against verona and judges them by the wire.
#[derive(Parser)]
struct Arguments {
    /// The verona binary [default: beside this program].
    #[arg(long, value_name = "PATH")]
    verona: Option<PathBuf>,
    /// Keep each case's folder with configurations and logs.
    #[arg(long)]
    keep: bool,
    /// Print one JSON document at the end, in place of the lines.
    #[arg(long)]
    json: bool,
    /// List the cases and what they show.
    #[arg(long)]
    list: bool,
    /// Run these only; a part of a name selects all that have it.
    #[arg(value_name = "CASE")]
    cases: Vec<String>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.split_first() {
        Some((first, rest)) if first == "matrix" => {
            return verona_interop::matrix::command::run(rest);
        }
        Some((first, rest)) if first == "crossing" => return verona_interop::crossing::run(rest),
        Some((first, rest)) if first == "rotation" => return verona_interop::rotation::run(rest),
        Some((first, rest)) if first == "journal" => return verona_interop::journal::run(rest),
        Some((first, rest)) if first == "eyeballs" => return verona_interop::eyeballs::run(rest),
        Some((first, rest)) if first == "chaos" => return verona_interop::chaos::run(rest),
        Some((first, rest)) if first == "power-loss" => {
            return verona_interop::power_loss::run(rest);
        }
        Some((first, rest)) if first == "slow-peer" => return verona_interop::slow_peer::run(rest),
        Some((first, rest)) if first == "proxy" => {
            return verona_interop::fault_proxy::command::run(rest);
        }
        _ => {}
    }
    let arguments = Arguments::parse();
    let chosen: Vec<Case> = catalogue::all()
        .into_iter()
        .filter(|case| chosen(case, &arguments.cases))
        .collect();
    if arguments.list {
        for case in &chosen {
            println!("{:<40} {}", case.name, case.about);
        }
        return ExitCode::SUCCESS;
    }
    if chosen.is_empty() {
        println!("no case is named so; --list shows them");
        return ExitCode::from(2);
    }
    run(&chosen, &arguments)
}

fn chosen(case: &Case, names: &[String]) -> bool {
    if names.is_empty() {
        return true;
    }
    let exact = catalogue::all()
        .iter()
        .any(|case| names.iter().any(|name| name == case.name));
    names
        .iter()
        .any(|name| case.name == name || (!exact && case.name.contains(name.as_str())))
}

fn run(chosen: &[Case], arguments: &Arguments) -> ExitCode {
    // Contract §1: where everything has to be there, what is missing is a failure and not an excuse.
    let strict = std::env::var("CI").is_ok_and(|value| value == "true");
    let missing = scene::missing();
    let program = arguments.verona.clone().or_else(beside_us);
    let program = program
        .filter(|path| path.exists())
        .and_then(|path| path.canonicalize().ok());
    let (mut passed, mut failed, mut skipped) = (0_usize, 0_usize, 0_usize);
    let mut documents = Vec::new();
    for case in chosen {
        let own = case.missing();
        let lack = if !missing.is_empty() || !own.is_empty() {
            Some([missing.as_slice(), own.as_slice()].concat().join(", "))
        } else if case.needs_verona() && program.is_none() {
            Some("no verona binary; --verona PATH names one".to_owned())
        } else {
            None
        };
        let document = if let Some(lack) = lack {
            if strict {
                failed += 1;
            } else {
                skipped += 1;
            }
            say(arguments, &format!("not run: {}: {lack}", case.name));
            json!({"name": case.name, "result": "not run", "why": lack})
        } else {
            let outcome = case.run(program.as_deref(), arguments.keep);
            match outcome.result {
                Ok(()) => passed += 1,
                Err(_) => failed += 1,
            }
            say(arguments, &lines(case, &outcome));
            document(case, &outcome)
        };
        documents.push(document);
    }
    if arguments.json {
        println!("{:#}", json!({"version": 1, "cases": documents}));
    } else if skipped > 0 {
        println!("{passed} passed, {failed} failed, {skipped} skipped");
    } else {
        println!("{passed} passed, {failed} failed");
    }
    ExitCode::from(u8::from(failed > 0))
}

fn say(arguments: &Arguments, text: &str) {
    if !arguments.json {
        println!("{text}");
    }
}

/// One line for a case that passed; cause, evidence and logs for one that did not.
fn lines(case: &Case, outcome: &Outcome) -> String {
    let seconds = outcome.took.as_secs_f32();
    let kept = outcome.folder.as_ref().map_or(String::new(), |folder| {
        format!(" (kept in {})", folder.display())
    });
    match &outcome.result {
        Ok(()) => format!(
            "ok: {} ({seconds:.1} s): {}{kept}",
            case.name,
            outcome.evidence.join(" | ")
        ),
        Err(error) => format!(
            "FAILED: {} ({seconds:.1} s): {error:#}{kept}\n    {}\n{}",
            case.name,
            outcome.evidence.join("\n    "),
            outcome.logs
        ),
    }
}

fn document(case: &Case, outcome: &Outcome) -> Value {
    let (result, why) = match &outcome.result {
        Ok(()) => ("passed", Value::Null),
        Err(error) => ("failed", json!(format!("{error:#}"))),
    };
    json!({
        "name": case.name,
        "about": case.about,
        "result": result,
        "why": why,
        "evidence": outcome.evidence,
        "seconds": outcome.took.as_secs_f32(),
        "folder": outcome.folder,
    })
}

/// `target/debug/verona` for `target/debug/verona-interop`.
fn beside_us() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.with_file_name("verona"))
}
