//! `cargo deny`: licences, banned crates and sources, as `deny.toml` says.
//! A dependency comes in by one line of a manifest; this is where somebody looks at what came with it.

use super::Place;
use super::stage::{Ending, Outcome};

/// The version that `deny.toml` is written for.
const VERSION: &str = "0.20.2";

/// Checks the tree; in CI the tool is installed first when it is missing.
pub(super) fn run(place: &Place) -> Outcome {
    if !is_installed(place) {
        if !place.is_ci {
            return Outcome::not_run(format!(
                "cargo-deny is missing (cargo install cargo-deny --version {VERSION} --locked)"
            ));
        }
        // Unoptimised: two minutes of work where its own release profile takes many, for one check of a second.
        let install = place
            .cargo()
            .args([
                "install",
                "cargo-deny",
                "--version",
                VERSION,
                "--locked",
                "--debug",
            ])
            .env("CARGO_PROFILE_DEV_DEBUG", "0");
        let installed = super::gate(install);
        if installed.result != Ending::Passed {
            return installed;
        }
    }
    super::gate(place.cargo().args([
        "deny",
        "--workspace",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))
}

fn is_installed(place: &Place) -> bool {
    let asked = place.cargo().args(["deny", "--version"]).quiet().go();
    asked.is_ok_and(|done| done.is_success())
}
