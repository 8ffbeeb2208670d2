//! The cases: proof by proof, who dials first, and who answers behind verona; then what has to go wrong.
//! Why a table apart from what runs it: this is the list to look at when somebody asks what is known to work.

use crate::cases::{Behind, Case, Kind, Wanted};
use crate::certs::Purposes;
use crate::components;
use crate::scene::{Auth, Implementation, Names, Plan, Transport};
use crate::wire::Side;

/// The cases, in the order in which they run.
#[must_use]
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    let auths = [(Auth::External, CAPULETS), (Auth::Dialback, TYBALTS)];
    for (auth, names) in auths {
        for first in [Side::Near, Side::Far] {
            for behind in [Behind::Component, Behind::LocalServices, Behind::Both] {
                let Some((name, about)) = described(auth, first, behind) else {
                    continue;
                };
                cases.push(Case {
                    name,
                    about,
                    plan: plan(Implementation::Verona, auth, names),
                    kind: Kind::Talk {
                        first,
                        behind,
                        wanted: Wanted::OneConnection,
                    },
                });
            }
        }
    }
    let talk = |first| Kind::Talk {
        first,
        behind: Behind::Component,
        wanted: Wanted::OneConnection,
    };
    let server_only = Plan {
        purposes: Purposes::ServerOnly,
        ..plan(Implementation::Verona, Auth::External, VERONESE)
    };
    cases.extend([
        Case {
            name: "external-server-purpose-verona-first",
            about: "certificates without the client purpose, as public authorities issue them since 2026",
            plan: server_only,
            kind: talk(Side::Near),
        },
        Case {
            name: "external-server-purpose-prosody-first",
            about: "the same, Prosody dials: verona takes such a client certificate",
            plan: server_only,
            kind: talk(Side::Far),
        },
        Case {
            name: "direct-external-verona-first",
            about: "direct TLS, SASL EXTERNAL, the component behind verona greets first",
            plan: direct(Auth::External),
            kind: talk(Side::Near),
        },
        Case {
            name: "direct-external-prosody-first",
            about: "direct TLS, SASL EXTERNAL, the client on Prosody speaks first",
            plan: direct(Auth::External),
            kind: talk(Side::Far),
        },
        Case {
            name: "direct-dialback-verona-first",
            about: "direct TLS, dialback, the component behind verona greets first; keys are checked over direct TLS as well",
            plan: direct(Auth::Dialback),
            kind: talk(Side::Near),
        },
        Case {
            name: "direct-dialback-prosody-first",
            about: "direct TLS, dialback, the client on Prosody speaks first; keys are checked over direct TLS as well",
            plan: direct(Auth::Dialback),
            kind: talk(Side::Far),
        },
        Case {
            name: "direct-external-ejabberd",
            about: "direct TLS with ejabberd in both directions, SASL EXTERNAL",
            plan: Plan {
                names: VALENTINE,
                ..direct(Auth::External)
            },
            kind: Kind::EjabberdDirect,
        },
        Case {
            name: "direct-dialback-ejabberd",
            about: "direct TLS with ejabberd in both directions, dialback; keys are checked over direct TLS as well",
            plan: Plan {
                names: VALENTINE,
                ..direct(Auth::Dialback)
            },
            kind: Kind::EjabberdDirect,
        },
        Case {
            name: "proxied-external-prosody-first",
            about: "haproxy before verona: the peer's address is Prosody's, and nobody minds the health checks",
            plan: Plan {
                transport: Transport::Proxied,
                ..plan(Implementation::Verona, Auth::External, CESARIO)
            },
            kind: talk(Side::Far),
        },
        Case {
            name: "wrong-component-secret",
            about: "a component with a wrong secret gets not-authorized and is cut off",
            plan: plan(Implementation::Verona, Auth::External, CAPULETS),
            kind: Kind::WrongSecret,
        },
        Case {
            name: "wrong-certificate",
            about: "Prosody's certificate is for another name and only a certificate may prove it: the message bounces and says so",
            plan: Plan {
                far_certificate: "mantua.lit",
                peers: "\n[[peer]]\ndomain = \"montague.lit\"\nidentity = [\"certificate\"]\n",
                ..plan(Implementation::Verona, Auth::External, CAPULETS)
            },
            kind: Kind::Bounce {
                to: "romeo@montague.lit",
                condition: "remote-server-timeout",
                words: &["certificate"],
            },
        },
        Case {
            name: "unknown-domain",
            about: "a message to a domain that does not exist bounces with remote-server-not-found",
            plan: plan(Implementation::Verona, Auth::External, CAPULETS),
            kind: Kind::Bounce {
                to: "nobody@nowhere.lit",
                condition: "remote-server-not-found",
                words: &[],
            },
        },
        Case {
            name: "dane",
            about: "two veronas with self-signed certificates and TLSA records below a private root: EXTERNAL both ways, and what is wrong, forged or unsigned is refused",
            plan: plan(Implementation::Verona, Auth::External, CAPULETS),
            kind: Kind::Dane,
        },
        Case {
            name: "control-external",
            about: "two Prosodys with certificates share one connection: the claims hold for somebody else's server too",
            plan: plan(Implementation::Prosody, Auth::External, VERONESE),
            kind: talk(Side::Near),
        },
        Case {
            name: "control-dialback",
            about: "two Prosodys with dialback are known to use two connections: the claim of one has to fail",
            plan: plan(Implementation::Prosody, Auth::Dialback, VERONESE),
            kind: Kind::Talk {
                first: Side::Far,
                behind: Behind::Component,
                wanted: Wanted::SeveralConnections,
            },
        },
    ]);
    cases.extend(components::cases());
    cases
}

/// Name and description of a case of the matrix; `None` for the combination that is left out: with both kinds of
/// domain at once, who dials first makes no difference that the others have not shown.
const fn described(
    auth: Auth,
    first: Side,
    behind: Behind,
) -> Option<(&'static str, &'static str)> {
    match (auth, first, behind) {
        (Auth::External, Side::Near, Behind::Component) => Some((
            "external-verona-first-component",
            "SASL EXTERNAL, the component behind verona greets first, 1,000 messages there and back",
        )),
        (Auth::External, Side::Near, Behind::LocalServices) => Some((
            "external-verona-first-local",
            "SASL EXTERNAL, `verona ping` speaks first, 1,000 pings to the local services",
        )),
        (Auth::External, Side::Far, Behind::Component) => Some((
            "external-prosody-first-component",
            "SASL EXTERNAL, the client on Prosody speaks first, 1,000 messages there and back",
        )),
        (Auth::External, Side::Far, Behind::LocalServices) => Some((
            "external-prosody-first-local",
            "SASL EXTERNAL, the client on Prosody speaks first, 1,000 pings to the local services",
        )),
        (Auth::External, Side::Far, Behind::Both) => Some((
            "external-prosody-first-both",
            "SASL EXTERNAL, component and local services at once: one connection for each pair",
        )),
        (Auth::Dialback, Side::Near, Behind::Component) => Some((
            "dialback-verona-first-component",
            "dialback, the component behind verona greets first; Prosody makes its verifying connection the one that is used",
        )),
        (Auth::Dialback, Side::Near, Behind::LocalServices) => Some((
            "dialback-verona-first-local",
            "dialback, `verona ping` speaks first, 1,000 pings to the local services",
        )),
        (Auth::Dialback, Side::Far, Behind::Component) => Some((
            "dialback-prosody-first-component",
            "dialback, the client on Prosody speaks first; verona's verifying connection carries nothing else",
        )),
        (Auth::Dialback, Side::Far, Behind::LocalServices) => Some((
            "dialback-prosody-first-local",
            "dialback, the client on Prosody speaks first, 1,000 pings to the local services",
        )),
        (Auth::Dialback, Side::Far, Behind::Both) => Some((
            "dialback-prosody-first-both",
            "dialback, component and local services at once: one connection for each pair",
        )),
        (Auth::External | Auth::Dialback, Side::Near, Behind::Both) => None,
    }
}

const fn plan(near: Implementation, auth: Auth, names: Names) -> Plan {
    Plan {
        near,
        transport: Transport::StartTls,
        auth,
        purposes: Purposes::ServerAndClient,
        names,
        far_certificate: names.far,
        peers: "",
    }
}

const fn direct(auth: Auth) -> Plan {
    Plan {
        transport: Transport::DirectTls,
        ..plan(Implementation::Verona, auth, SEBASTIAN)
    }
}

const CAPULETS: Names = Names {
    near: "capulet.lit",
    echo: "nurse.capulet.lit",
    far: "montague.lit",
};
const TYBALTS: Names = Names {
    near: "tybalt.lit",
    echo: "echo.tybalt.lit",
    far: "benvolio.lit",
};
const SEBASTIAN: Names = Names {
    near: "sebastian.lit",
    echo: "echo.sebastian.lit",
    far: "antonio.lit",
};
const VALENTINE: Names = Names {
    near: "curio.lit",
    echo: "echo.curio.lit",
    far: "valentine.lit",
};
const CESARIO: Names = Names {
    near: "cesario.lit",
    echo: "echo.cesario.lit",
    far: "olivia.lit",
};
const VERONESE: Names = Names {
    near: "paris.lit",
    echo: "page.paris.lit",
    far: "mercutio.lit",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_every_case() {
        let document = include_str!("../../../docs/interop.md");
        for case in all() {
            assert!(
                document.contains(&format!("| `{}` |", case.name)),
                "docs/interop.md says nothing of {}",
                case.name
            );
        }
    }
}
