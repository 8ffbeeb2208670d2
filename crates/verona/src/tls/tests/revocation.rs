//! What lists of revoked certificates change, and what they do not.

use std::fs;

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use tempfile::TempDir;
use verona_proto::certificate::Chain;

use super::*;

/// A list of `authority` with these serial numbers, made in `year`.
fn list(authority: &Authority, revoked: &[u8], year: i32) -> rcgen::CertificateRevocationList {
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(year, 1, 1),
        next_update: date_time_ymd(year, 2, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked
            .iter()
            .map(|number| RevokedCertParams {
                serial_number: SerialNumber::from(vec![*number]),
                revocation_time: date_time_ymd(year, 1, 1),
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&authority.0).unwrap()
}

fn pems(lists: &[rcgen::CertificateRevocationList]) -> RevocationLists {
    let texts: Vec<String> = lists.iter().map(|list| list.pem().unwrap()).collect();
    load(texts.concat().as_bytes()).unwrap()
}

fn load(bytes: &[u8]) -> Result<RevocationLists, String> {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("a.crl");
    fs::write(&file, bytes).unwrap();
    RevocationLists::load(std::slice::from_ref(&file)).map_err(|error| {
        let prefix = format!("revoked certificates in {}: ", file.display());
        error.to_string().strip_prefix(&prefix).unwrap().to_owned()
    })
}

fn numbered(authority: &Authority, number: u8) -> Issued {
    authority.issue(&["a.lit"], |params| {
        params.serial_number = Some(SerialNumber::from(vec![number]))
    })
}

fn judge(issued: &Issued, trust: &TrustRoots) -> Result<(), String> {
    let now = std::time::Instant::now();
    match evidence(Some(&issued.chain), trust, SystemTime::now(), now).chain {
        Chain::Valid => Ok(()),
        Chain::Invalid(reason) => Err(reason),
        Chain::Absent => panic!("there was a certificate"),
    }
}

const REVOKED: &str = "revoked, says a list of revoked certificates (CRL)";
const ABOVE: &str =
    "issued by an authority that was revoked, says a list of revoked certificates (CRL)";

#[test]
fn whom_a_list_names_is_not_trusted() {
    //= TLS-24
    let root = Authority::new("A Root");
    let middle =
        root.intermediate(|params| params.serial_number = Some(SerialNumber::from(vec![7])));
    let (direct, below) = (numbered(&root, 3), numbered(&middle, 3).with(&middle));
    let by = |lists: &[rcgen::CertificateRevocationList]| root.trust().revoking(pems(lists));
    assert_eq!(
        judge(&direct, &by(&[list(&root, &[3], 2026)])),
        Err(REVOKED.to_owned())
    );
    // Numbers are each authority's own.
    assert_eq!(judge(&below, &by(&[list(&root, &[3], 2026)])), Ok(()));
    assert_eq!(
        judge(&below, &by(&[list(&middle, &[3], 2026)])),
        Err(REVOKED.to_owned())
    );
    assert_eq!(
        judge(&below, &by(&[list(&root, &[7], 2026)])),
        Err(ABOVE.to_owned())
    );
    assert_eq!(
        judge(
            &below,
            &by(&[list(&root, &[1], 2026), list(&middle, &[1], 2026)])
        ),
        Ok(())
    );
    // What is loaded again is known again.
    let (one, two) = (list(&root, &[3], 2026), list(&root, &[4], 2026));
    let (one, two) = (by(&[one]), by(&[two]));
    assert!(one.are_same_as(&one.clone()) && !one.are_same_as(&two));
    assert!(!one.are_same_as(&root.trust()) && !root.trust().are_same_as(&middle.trust()));
    // In both encodings.
    let der = load(list(&root, &[3], 2026).der()).unwrap();
    assert_eq!(
        judge(&direct, &root.trust().revoking(der)),
        Err(REVOKED.to_owned())
    );
}

#[test]
fn of_whom_no_list_speaks_is_trusted() {
    let (root, stranger) = (Authority::new("A Root"), Authority::new("A Stranger"));
    let issued = numbered(&root, 3);
    assert_eq!(
        judge(&issued, &root.trust().revoking(RevocationLists::default())),
        Ok(())
    );
    assert_eq!(
        judge(
            &issued,
            &root.trust().revoking(pems(&[list(&stranger, &[3], 2026)]))
        ),
        Ok(())
    );
}

#[test]
fn the_latest_list_counts_even_if_it_is_out_of_date() {
    let root = Authority::new("A Root");
    let issued = numbered(&root, 3);
    let (old, new) = (list(&root, &[], 2020), list(&root, &[3], 2021));
    let lists = pems(&[old, new]);
    assert_eq!(
        judge(&issued, &root.trust().revoking(lists.clone())),
        Err(REVOKED.to_owned())
    );
    let overdue: Vec<String> = lists
        .overdue(SystemTime::now())
        .map(|(_, day)| day)
        .collect();
    assert_eq!(overdue, ["2021-02-01", "2020-02-01"]);
    assert_eq!(
        pems(&[list(&root, &[], 2999)])
            .overdue(SystemTime::now())
            .count(),
        0
    );
    // A certificate that was revoked by mistake comes back.
    let lists = pems(&[list(&root, &[3], 2020), list(&root, &[], 2021)]);
    assert_eq!(judge(&issued, &root.trust().revoking(lists)), Ok(()));
}

/// Two authorities of one name, as after a change of keys: each list is good for one of them.
#[test]
fn a_list_with_a_wrong_signature_says_nothing_and_silences_no_other() {
    let (root, namesake) = (Authority::new("A Root"), Authority::new("A Root"));
    let issued = numbered(&root, 3);
    let by = |lists: &[rcgen::CertificateRevocationList]| root.trust().revoking(pems(lists));
    assert_eq!(judge(&issued, &by(&[list(&namesake, &[3], 2026)])), Ok(()));
    let both = [list(&namesake, &[], 2026), list(&root, &[3], 2025)];
    assert_eq!(judge(&issued, &by(&both)), Err(REVOKED.to_owned()));
    // One whose authority may not sign lists.
    let mute = root.intermediate(|params| {
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    });
    let issued = numbered(&mute, 3).with(&mute);
    let mut bold = Authority::params("An Intermediate");
    bold.distinguished_name = common_name("An Intermediate");
    let key = KeyPair::from_pem(&mute.0.key().serialize_pem()).unwrap();
    let bold = Authority(CertifiedIssuer::self_signed(bold, key).unwrap());
    assert_eq!(judge(&issued, &by(&[list(&bold, &[3], 2026)])), Ok(()));
    let both = [list(&bold, &[3], 2026), list(&root, &[], 2026)];
    assert_eq!(judge(&issued, &by(&both)), Ok(()));
}

#[test]
fn what_is_no_list_is_told() {
    let root = Authority::new("A Root");
    let good = list(&root, &[3], 2026).pem().unwrap();
    for (text, expected) in [
        (String::new(), "there is no list in it"),
        (root.0.pem(), "there is no list in it"),
        (
            good.replace("-----END", "----END"),
            "list 1 is damaged: the line \"-----END X509 CRL-----\" is missing",
        ),
        (
            format!("{good}{}", pem("X509 CRL", b"\x30\x03abc")),
            "list 2: it is no list of revoked certificates",
        ),
        (
            "0 is how DER begins".to_owned(),
            "it is no list of revoked certificates that can be used",
        ),
    ] {
        let said = load(text.as_bytes()).unwrap_err();
        assert!(said.starts_with(expected), "{said}\nexpected {expected}");
    }
    let missing = RevocationLists::load(&["/no/such/file".into()]).unwrap_err();
    assert!(
        missing
            .to_string()
            .starts_with("revoked certificates in /no/such/file: it cannot be read"),
        "{missing}"
    );
}
