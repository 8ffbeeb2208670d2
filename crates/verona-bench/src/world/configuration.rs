//! verona's configuration for a measurement: no logs, and limits that do not bind where a load is meant to.
//! Why the limits are named: whoever reads a figure shall see what it was measured with.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::servers::{SECRET, Tuning};

/// Where one verona is, and what it has.
pub(super) struct Place<'a> {
    pub(super) name: &'a str,
    pub(super) domain: &'a str,
    pub(super) s2s: SocketAddr,
    pub(super) s2s_tls: SocketAddr,
    pub(super) components: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) certificates: &'a Path,
    pub(super) authority: &'a Path,
    pub(super) is_managed: bool,
}

/// The file.
pub(super) fn verona(place: &Place<'_>, tuning: &Tuning) -> String {
    let mut text = format!(
        r#"[s2s]
listen = ["{s2s}"]
listen_tls = ["{s2s_tls}"]
allow_networks = ["127.0.0.0/8"]

[tls]
certificates = "{certificates}"
trust = ["{authority}"]

[dns]
servers = ["127.0.0.1:53"]

[components]
listen = ["{components}"]

[admin]
listen = "{admin}"

[state]
directory = "{name}-state"

[log]
level = "error"

[defaults]
stream_management = "{management}"
learned = "ignore"

[defaults.limits]
{LIMITS}
[[domain]]
name = "{domain}"
component = {{ secret = "{SECRET}" }}
"#,
        s2s = place.s2s,
        s2s_tls = place.s2s_tls,
        components = place.components,
        admin = place.admin,
        certificates = place.certificates.display(),
        authority = place.authority.display(),
        name = place.name,
        domain = place.domain,
        management = match place.is_managed {
            true => "auto",
            false => "off",
        },
    );
    for number in 0..tuning.hosted {
        let _ = write!(text, "\n[[domain]]\nname = \"d{number}.hosted.lit\"\n");
    }
    text.push_str(&tuning.more);
    text
}

/// All peers come from one address here, and as fast as they can; strangers stay as long as they are looked at.
const LIMITS: &str = "\
bytes_per_second_max = 100000000000
streams_per_address_max = 20000
negotiations_max = 20000
negotiation_seconds = 600
";
