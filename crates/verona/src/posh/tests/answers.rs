//! What web servers answer: documents, errors, redirects, and things that are none of these.

use super::web::{Step, redirect, status};
use super::*;

#[tokio::test]
async fn other_answers_are_no_documents() {
    for (line, said) in [
        ("404 Not Found", "answered 404 Not Found"),
        ("410 Gone", "answered 410 Gone"),
        ("401 Unauthorized", "answered 401"),
        ("500 Internal Server Error", "answered 500"),
        ("503 Service Unavailable", "answered 503"),
        ("304 Not Modified", "answered 304"),
        ("204 No Content", "it is no POSH document: EOF"),
        ("200 OK", "it is no POSH document: EOF"),
    ] {
        let why = World::refusal(status(line)).await;
        assert!(
            why.contains(&format!("{PATH} ")) && why.contains(said),
            "{why}"
        );
    }
    let why = World::refusal(ok("<html>It works!</html>")).await;
    assert!(
        why.contains("cannot be used: it is no POSH document"),
        "{why}"
    );
}

#[tokio::test]
async fn what_may_pass_is_asked_again_sooner() {
    for (line, cause) in [
        ("404 Not Found", Cause::Definite),
        ("403 Forbidden", Cause::Definite),
        ("429 Too Many Requests", Cause::Passing),
        ("500 Internal Server Error", Cause::Passing),
        ("502 Bad Gateway", Cause::Passing),
    ] {
        let world = World::new().await;
        world.web.serve(DOMAIN, PATH, status(line));
        assert_eq!(world.look_up().await.unwrap_err().cause, cause, "{line}");
        // Neither is asked again at once.
        assert!(world.look_up().await.is_err());
        assert_eq!(world.web.heads().len(), 1);
    }
}

#[tokio::test]
async fn a_body_may_come_in_chunks_or_until_the_end_and_of_any_type() {
    //= DNS-20
    let text = document(&LEAF, 600);
    let (begin, end) = text.split_at(50);
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n\
         {:x}\r\n{begin}\r\n{:x};ext=1\r\n{end}\r\n0\r\nTrailer: x\r\n\r\n",
        begin.len(),
        end.len()
    );
    let until_end = format!("HTTP/1.1 200 OK\r\n\r\n{text}");
    let old = format!("HTTP/1.0 200 Fine\r\nContent-Encoding: identity\r\n\r\n{text}");
    let informed = format!("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{text}");
    for answer in [chunked, until_end, old, informed] {
        let world = World::new().await;
        world.web.serve(DOMAIN, PATH, answer.clone());
        let found = world.look_up().await;
        assert!(found.is_ok_and(|found| found.matches(&LEAF)), "{answer}");
    }
}

#[tokio::test]
async fn a_document_in_pieces_is_put_together() {
    let world = World::new().await;
    let steps = ok(&document(&LEAF, 600))
        .chunks(7)
        .flat_map(|piece| {
            [
                Step::Say(piece.to_vec()),
                Step::Wait(Duration::from_millis(1)),
            ]
        })
        .collect();
    world.web.script(DOMAIN, PATH, steps);
    assert!(world.look_up().await.unwrap().matches(&LEAF));
}

#[tokio::test]
async fn a_document_that_breaks_off_is_no_document() {
    let whole = ok(&document(&LEAF, 600));
    let world = World::new().await;
    let steps = vec![Step::Say(whole[..whole.len() - 1].to_vec()), Step::Cut];
    world.web.script(DOMAIN, PATH, steps);
    let why = world.look_up().await.unwrap_err().to_string();
    assert!(why.contains("broke off"), "{why}");
    // Without a length only TLS can tell that it is whole.
    let world = World::new().await;
    let text = format!("HTTP/1.1 200 OK\r\n\r\n{}", document(&LEAF, 600));
    world
        .web
        .script(DOMAIN, PATH, vec![Step::Say(text.into()), Step::Cut]);
    let why = world.look_up().await.unwrap_err().to_string();
    assert!(why.contains("broke off"), "{why}");
}

#[tokio::test]
async fn what_is_not_http_is_said_so() {
    for answer in [
        &b"SSH-2.0-OpenSSH_9.2p1\r\n"[..],
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n{}",
        b"HTTP/1.1 2000 OK\r\n\r\n{}",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n{}",
    ] {
        let why = World::refusal(answer).await;
        assert!(why.contains(PATH), "{why}");
    }
}

#[tokio::test]
async fn nobody_asked_for_compression() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx";
    let why = World::refusal(answer).await;
    assert!(why.contains("came encoded (\"gzip\")"), "{why}");
}

#[tokio::test]
async fn redirects_lead_to_https_and_nowhere_else() {
    //= DNS-21
    for line in [
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let world = World::new().await;
        let place = world.url(HOSTING, "/a");
        world.web.serve(DOMAIN, PATH, redirect(line, &place));
        world.web.serve(HOSTING, "/a", ok(&document(&LEAF, 600)));
        let found = world.look_up().await;
        assert!(found.is_ok_and(|found| found.matches(&LEAF)), "{line}");
        let plain = format!("http://{HOSTING}:{}/a", world.web.port());
        let why = World::refusal(redirect(line, &plain)).await;
        assert!(why.contains("which is no https URI"), "{line}: {why}");
    }
    for (answer, said) in [
        (status("302 Found"), "does not say where to"),
        (
            redirect("302 Found", "file:///etc/passwd"),
            "is no URI that can be followed",
        ),
        (
            redirect("302 Found", "ftp://hosting.lit/"),
            "which is no https URI",
        ),
        (
            redirect("302 Found", "https://127.0.0.1/"),
            "is an address and no name",
        ),
        (
            redirect("302 Found", "https://a@hosting.lit/"),
            "has a user name in it",
        ),
        (
            redirect("302 Found", "%%"),
            "is no URI that can be followed",
        ),
        (
            redirect("300 Multiple Choices", "https://hosting.lit/"),
            "answered 300",
        ),
    ] {
        let why = World::refusal(answer).await;
        assert!(why.contains(said), "{why}");
    }
    // On the same host a path is enough.
    let world = World::new().await;
    world
        .web
        .serve(DOMAIN, PATH, redirect("302 Found", "/posh"));
    world.web.serve(DOMAIN, "/posh", ok(&document(&LEAF, 600)));
    assert!(world.look_up().await.unwrap().matches(&LEAF));
}

#[tokio::test]
async fn three_redirects_are_followed_and_no_fourth() {
    //= DNS-21
    for (redirects, by_reference) in [(3, false), (4, false), (3, true), (4, true), (1000, false)] {
        let world = World::new().await;
        let mut path = PATH.to_owned();
        for n in 0..redirects.min(10) {
            let next = format!("/{n}");
            let place = world.url(DOMAIN, &next);
            // A reference in the middle is no redirect, and gives no others.
            let answer = match by_reference && n == 1 {
                true => {
                    let through = world.url(DOMAIN, "/through");
                    world
                        .web
                        .serve(DOMAIN, "/through", redirect("302 Found", &place));
                    ok(&reference(&through, 600))
                }
                false => redirect("302 Found", &place),
            };
            world.web.serve(DOMAIN, &path, answer);
            path = next;
        }
        if redirects > 10 {
            world.web.serve(DOMAIN, &path, redirect("302 Found", PATH));
        } else {
            world.web.serve(DOMAIN, &path, ok(&document(&LEAF, 600)));
        }
        let found = world.look_up().await;
        if redirects == 3 {
            assert!(found.unwrap().matches(&LEAF));
        } else {
            let why = found.unwrap_err().to_string();
            assert!(
                why.contains("redirects once more, which is too often"),
                "{why}"
            );
            assert_eq!(world.web.heads().len(), 4 + usize::from(by_reference));
        }
    }
}

#[tokio::test]
async fn the_words_of_strangers_stay_on_one_short_line() {
    let long = format!("https://{}.lit/", "a".repeat(900));
    for answer in [
        redirect("302 Found", &long),
        redirect("302 Found", "https://hosting.lit/\u{1b}[31m\t\u{7f}"),
        b"HTTP/1.1 599 \x1b[31m\tred\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ok("{\"url\":\"http://a\\r\\nb\\u001b\",\"expires\":9}"),
    ] {
        let why = World::refusal(answer).await;
        assert!(why.len() < 1700 && !why.contains(char::is_control), "{why}");
    }
}
