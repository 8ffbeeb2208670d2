//! Ports on which other services listen: a stranger's SRV record must not make us talk to them.
//!
//! A stream header is nonsense to nearly all of them, but some act on any line that they understand, and their owners
//! see a scan that comes from us.

/// What is served at the port, if it is known for something else than XMPP. Whatever is not listed may be dialled: the
/// ports of XMPP, 443 where servers hide behind HTTPS, and the high ports that people make up.
pub(super) fn other_service(port: u16) -> Option<&'static str> {
    OTHER_SERVICES
        .iter()
        .find(|(first, last, _)| (*first..=*last).contains(&port))
        .map(|(_, _, service)| *service)
}

/// First port, last port, service: of IANA's registry what answers to text or is often left open.
const OTHER_SERVICES: &[(u16, u16, &str)] = &[
    (0, 0, "nothing (it cannot be dialled)"),
    (1, 1, "tcpmux"),
    (7, 7, "echo, which says back what it hears"),
    (9, 9, "discard"),
    (11, 11, "systat"),
    (13, 13, "daytime"),
    (15, 15, "netstat"),
    (17, 17, "qotd"),
    (19, 19, "chargen, which never stops talking"),
    (20, 21, "FTP"),
    (22, 22, "SSH"),
    (23, 23, "telnet"),
    (25, 25, "SMTP, which acts on lines of text"),
    (37, 37, "time"),
    (43, 43, "whois"),
    (53, 53, "DNS"),
    (70, 70, "gopher"),
    (79, 79, "finger"),
    (80, 80, "HTTP"),
    (88, 88, "Kerberos"),
    (110, 110, "POP3"),
    (111, 111, "rpcbind"),
    (113, 113, "ident"),
    (119, 119, "NNTP"),
    (135, 135, "Microsoft RPC"),
    (137, 139, "NetBIOS"),
    (143, 143, "IMAP"),
    (161, 162, "SNMP"),
    (179, 179, "BGP"),
    (389, 389, "LDAP"),
    (427, 427, "SLP"),
    (445, 445, "SMB"),
    (465, 465, "mail submission"),
    (512, 515, "rexec, rlogin, rsh and printing"),
    (540, 540, "UUCP"),
    (543, 544, "klogin and kshell"),
    (548, 548, "AFP"),
    (554, 554, "RTSP"),
    (563, 563, "NNTP"),
    (587, 587, "mail submission"),
    (601, 601, "syslog"),
    (623, 623, "IPMI"),
    (631, 631, "IPP"),
    (636, 636, "LDAP"),
    (873, 873, "rsync"),
    (989, 990, "FTP"),
    (992, 992, "telnet"),
    (993, 993, "IMAP"),
    (995, 995, "POP3"),
    (1080, 1080, "SOCKS"),
    (1433, 1434, "Microsoft SQL Server"),
    (1521, 1521, "Oracle"),
    (1720, 1720, "H.323"),
    (1723, 1723, "PPTP"),
    (1883, 1883, "MQTT"),
    (2049, 2049, "NFS"),
    (2181, 2181, "ZooKeeper"),
    (2375, 2377, "Docker, which runs what it is told"),
    (2379, 2380, "etcd"),
    (3128, 3128, "HTTP proxies"),
    (3306, 3306, "MySQL"),
    (3389, 3389, "RDP"),
    (4190, 4190, "ManageSieve"),
    (4369, 4369, "Erlang's port mapper"),
    (5060, 5061, "SIP"),
    (5432, 5432, "PostgreSQL"),
    (5671, 5672, "AMQP"),
    (5900, 5903, "VNC"),
    (5984, 5984, "CouchDB"),
    (6000, 6007, "X11"),
    (6379, 6380, "Redis, which acts on lines of text"),
    (6443, 6443, "Kubernetes"),
    (6514, 6514, "syslog"),
    (6660, 6669, "IRC, which acts on lines of text"),
    (6697, 6697, "IRC, which acts on lines of text"),
    (8086, 8086, "InfluxDB"),
    (8500, 8500, "Consul"),
    (9042, 9042, "Cassandra"),
    (9092, 9092, "Kafka"),
    (9100, 9100, "printers, which print what they are sent"),
    (9200, 9200, "Elasticsearch"),
    (9300, 9300, "Elasticsearch"),
    (10_250, 10_250, "Kubernetes"),
    (11_211, 11_211, "memcached, which acts on lines of text"),
    (27_017, 27_019, "MongoDB"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_other_services_are_known_and_those_of_xmpp_are_free() {
        for port in [0, 22, 25, 53, 80, 138, 6379, 6667, 11_211, 27_018] {
            assert!(other_service(port).is_some(), "{port}");
        }
        for port in [443, 5222, 5223, 5269, 5270, 8443, 15_269, 49_152, 65_535] {
            assert_eq!(other_service(port), None, "{port}");
        }
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(OTHER_SERVICES.is_sorted_by(|a, b| a.1 < b.0));
        assert!(OTHER_SERVICES.iter().all(|(first, last, _)| first <= last));
    }
}
