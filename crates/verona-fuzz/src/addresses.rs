//! Addresses: prepared once is prepared for good, and what is equal is written alike. Routes and authorisations stand
//! on that: two spellings of one domain that differed would be two peers, two domains of one spelling would be one.

use verona_proto::addr::{BadJid, Direction, Domain, Hosts, Jid};
use verona_proto::certificate::CertificateName;

use crate::choices::Choices;

/// Two texts, separated by the first line feed; the first alone is what matters mostly.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(Choices::new(input).rest());
    let (one, other) = text.split_once('\n').unwrap_or((&text, ""));
    let one_domain = domain(one);
    let other_domain = domain(other);
    address(one);
    if let (Some(one), Some(other)) = (&one_domain, &other_domain) {
        compare(one, other);
    }
    if let Some(domain) = &one_domain {
        names(domain, other);
    }
}

/// The forms of a domain are forms of the same domain, and fit for where they are used.
fn domain(text: &str) -> Option<Domain> {
    let Ok(domain) = Domain::parse(text) else {
        let upper = text.to_ascii_uppercase();
        assert!(
            Domain::parse(&upper).is_err(),
            "case makes {text:?} a domain"
        );
        return None;
    };
    let (ascii, wire) = (domain.ascii(), domain.as_str());
    for form in [
        ascii,
        wire,
        &domain.to_string(),
        &text.to_ascii_uppercase(),
        &format!("{ascii}."),
    ] {
        let again = Domain::parse(form);
        let again = again.unwrap_or_else(|_| panic!("{form:?}, made of {text:?}, is no domain"));
        assert_eq!(again, domain, "{form:?} made of {text:?}");
        assert_eq!(again.ascii(), ascii, "{form:?} made of {text:?}");
        assert_eq!(again.as_str(), wire, "{form:?} made of {text:?}");
        assert_eq!(again.is_address(), domain.is_address());
    }
    assert!(
        ascii.is_ascii() && !ascii.bytes().any(|byte| byte.is_ascii_uppercase()),
        "{ascii:?}"
    );
    assert!(
        !ascii.ends_with('.') && !ascii.is_empty() && ascii.len() <= 253,
        "{ascii:?}"
    );
    assert!(wire.len() <= 1023, "{wire:?}");
    // What stands in attributes, log lines and file names.
    let bad = |c: char| c.is_whitespace() || c.is_control() || "<>&'\"@/\\:".contains(c);
    let inner = |form: &'_ str| match form
        .strip_prefix('[')
        .and_then(|form| form.strip_suffix(']'))
    {
        Some(address) => assert!(address.parse::<std::net::Ipv6Addr>().is_ok(), "{form:?}"),
        None => assert!(!form.contains(bad), "{form:?} made of {text:?}"),
    };
    inner(ascii);
    inner(wire);
    Some(domain)
}

/// An address is what its written form says; its parts are kept as they are.
fn address(text: &str) {
    let jid = match Jid::parse(text) {
        Ok(jid) => jid,
        Err(BadJid::Domain) => return,
        Err(BadJid::Part(domain)) => {
            assert_eq!(Domain::parse(domain.as_str()).as_ref(), Ok(&domain));
            return;
        }
    };
    let written = jid.to_string();
    assert_eq!(
        Jid::parse(&written).as_ref(),
        Ok(&jid),
        "{written:?} made of {text:?}"
    );
    assert_eq!(
        jid.is_domain(),
        written == jid.domain().as_str(),
        "{written:?}"
    );
    if let Some(local) = jid.local() {
        assert!(text.starts_with(&format!("{local}@")), "{text:?}");
        assert!((1..=1023).contains(&local.len()), "{text:?}");
    }
    if let Some(resource) = jid.resource() {
        assert!(text.ends_with(&format!("/{resource}")), "{text:?}");
        assert!((1..=1023).contains(&resource.len()), "{text:?}");
    }
}

/// Equal domains are written alike in both forms, and the order agrees.
fn compare(one: &Domain, other: &Domain) {
    assert_eq!(one == other, one.ascii() == other.ascii(), "{one} {other}");
    assert_eq!(
        one == other,
        one.as_str() == other.as_str(),
        "{one} {other}"
    );
    assert_eq!(one.cmp(other), one.ascii().cmp(other.ascii()));
    let hosts = Hosts::new([one.clone()]);
    for (direction, sender, target) in [
        (Direction::Outbound, one, other),
        (Direction::Inbound, other, one),
    ] {
        let pair = hosts.pair(direction, sender, target);
        assert_eq!(pair.is_ok(), one != other, "{one} {other}");
        if let Ok(pair) = pair {
            assert_eq!(
                (pair.local().domain(), pair.remote().domain()),
                (one, other)
            );
        }
    }
}

/// A name of a certificate covers its own domain, and a wildcard covers no other depth.
fn names(domain: &Domain, name: &str) {
    let own = CertificateName::Dns(domain.ascii().to_owned());
    assert_eq!(own.covers(domain), !domain.is_address(), "{domain}");
    assert!(
        CertificateName::XmppAddr(domain.as_str().to_owned()).covers(domain),
        "{domain}"
    );
    let dns = CertificateName::Dns(name.to_owned()).covers(domain);
    let service = |service: &str| {
        CertificateName::Srv {
            service: service.to_owned(),
            domain: name.to_owned(),
        }
        .covers(domain)
    };
    assert_eq!(service("_xmpp-server"), dns, "{name:?} {domain}");
    assert!(!service("_xmpp-client"), "{name:?} {domain}");
    if !dns {
        return;
    }
    match name.strip_prefix("*.") {
        None => assert_eq!(Domain::parse(name).as_ref(), Ok(domain), "{name:?}"),
        Some(parent) => {
            let labels = |text: &str| text.split('.').count();
            let parent = Domain::parse(parent).expect("a wildcard that covers has a parent");
            assert_eq!(
                labels(domain.ascii()),
                labels(parent.ascii()) + 1,
                "{name:?} {domain}"
            );
            assert!(
                domain.ascii().ends_with(&format!(".{}", parent.ascii())),
                "{name:?} {domain}"
            );
        }
    }
}
