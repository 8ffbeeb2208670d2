//! Each fault, on loopback, as the two ends see it.
//! Why from both ends: a proxy that reports what it meant to do would hide what it did.

#![allow(clippy::unwrap_used)] // A test may fail loudly.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::{Direction, FaultProxy, Marks, Shape};

/// A proxy between two ends, both in the test's hands.
struct Ends {
    proxy: FaultProxy,
    listener: TcpListener,
}

impl Ends {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = listener.local_addr().unwrap();
        let own = SocketAddr::from(([127, 0, 0, 1], 0));
        let proxy = FaultProxy::start(own, upstream, 1).unwrap();
        Self { proxy, listener }
    }

    fn connect(&self) -> (TcpStream, TcpStream) {
        let dialer = TcpStream::connect(self.proxy.address()).unwrap();
        let (server, _) = self.listener.accept().unwrap();
        for stream in [&dialer, &server] {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_nodelay(true).unwrap();
        }
        (dialer, server)
    }
}

fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut buffer = vec![0; length];
    stream.read_exact(&mut buffer).unwrap();
    buffer
}

/// Nothing comes for a while.
fn is_silent(stream: &mut TcpStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_millis(150)))
        .unwrap();
    let read = stream.read(&mut [0; 1]);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    read.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

fn end(stream: &mut TcpStream) -> (Vec<u8>, std::io::Result<()>) {
    let mut all = Vec::new();
    let ended = stream.read_to_end(&mut all).map(|_| ());
    (all, ended)
}

#[test]
fn bytes_pass_both_ways_and_an_end_passes_too() {
    let ends = Ends::new();
    let (mut dialer, mut server) = ends.connect();
    dialer.write_all(b"hello").unwrap();
    assert_eq!(read(&mut server, 5), b"hello");
    server.write_all(b"good-bye").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    let (all, ended) = end(&mut dialer);
    assert_eq!(all, b"good-bye");
    ended.unwrap();
    // The other direction is as it was.
    dialer.write_all(b"still").unwrap();
    assert_eq!(read(&mut server, 5), b"still");
    let passed = ends.proxy.connections();
    assert_eq!((passed[0].to_server, passed[0].to_dialer), (10, 8));
}

#[test]
fn a_delay_counts_each_way_and_for_the_handshake() {
    let ends = Ends::new();
    ends.proxy.delay(Duration::from_millis(50));
    let began = Instant::now();
    let (mut dialer, mut server) = ends.connect();
    dialer.write_all(b"1").unwrap();
    read(&mut server, 1);
    let first = began.elapsed();
    server.write_all(b"2").unwrap();
    read(&mut dialer, 1);
    let both = began.elapsed();
    // A round trip to connect, half of one there, half of one back.
    assert!((150..400).contains(&first.as_millis()), "{first:?}");
    assert!((200..500).contains(&both.as_millis()), "{both:?}");
    // Bytes follow each other without waiting for each other.
    let began = Instant::now();
    for _ in 0..20 {
        dialer.write_all(b"x").unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    read(&mut server, 20);
    assert!(began.elapsed() < Duration::from_millis(600));
}

#[test]
fn jitter_keeps_the_order() {
    let ends = Ends::new();
    let shape = Shape {
        jitter: Duration::from_millis(30),
        ..Shape::default()
    };
    ends.proxy.shape(Direction::ToServer, shape);
    let (mut dialer, mut server) = ends.connect();
    let sent: Vec<u8> = (0..100).collect();
    for byte in &sent {
        dialer.write_all(&[*byte]).unwrap();
    }
    assert_eq!(read(&mut server, sent.len()), sent);
}

#[test]
fn a_narrow_line_is_slow_and_pieces_are_small() {
    let ends = Ends::new();
    let shape = Shape {
        bytes_per_second: Some(10_000),
        slice_bytes: Some(7),
        ..Shape::default()
    };
    ends.proxy.shape(Direction::ToServer, shape);
    let (mut dialer, mut server) = ends.connect();
    let began = Instant::now();
    dialer.write_all(&[7; 3_000]).unwrap();
    let mut buffer = [0; 4_096];
    let first = server.read(&mut buffer).unwrap();
    assert!(first <= 14, "{first} bytes at once");
    read(&mut server, 3_000 - first);
    let took = began.elapsed();
    assert!((250..3_000).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn a_stall_is_one_way_and_ends_without_loss() {
    let ends = Ends::new();
    let (mut dialer, mut server) = ends.connect();
    ends.proxy.stall(Direction::ToServer);
    dialer.write_all(b"waits").unwrap();
    assert!(is_silent(&mut server));
    server.write_all(b"passes").unwrap();
    assert_eq!(read(&mut dialer, 6), b"passes");
    ends.proxy.heal();
    assert_eq!(read(&mut server, 5), b"waits");
}

#[test]
fn in_a_black_hole_nobody_connects_until_it_is_healed() {
    let ends = Ends::new();
    let (mut dialer, mut server) = ends.connect();
    ends.proxy.black_hole();
    dialer.write_all(b"lost?").unwrap();
    server.write_all(b"lost?").unwrap();
    assert!(is_silent(&mut server) && is_silent(&mut dialer));
    std::thread::sleep(Duration::from_millis(300));
    let address = ends.proxy.address();
    let hung = TcpStream::connect_timeout(&address, Duration::from_millis(300)).unwrap_err();
    assert_eq!(hung.kind(), ErrorKind::TimedOut);
    ends.proxy.heal();
    assert_eq!(read(&mut server, 5), b"lost?");
    assert_eq!(read(&mut dialer, 5), b"lost?");
    let (mut dialer, mut server) = ends.connect();
    dialer.write_all(b"new").unwrap();
    assert_eq!(read(&mut server, 3), b"new");
}

#[test]
fn a_stranded_connection_stays_so_and_others_do_not() {
    let ends = Ends::new();
    let (mut dialer, mut server) = ends.connect();
    ends.proxy.strand();
    dialer.write_all(b"lost").unwrap();
    drop(dialer);
    let (mut dialer, mut other) = ends.connect();
    dialer.write_all(b"new").unwrap();
    assert_eq!(read(&mut other, 3), b"new");
    ends.proxy.heal();
    assert!(is_silent(&mut server));
    assert_eq!(ends.proxy.cut(), 2);
    assert!(end(&mut server).1.is_err());
}

#[test]
fn who_is_refused_knows_it_at_once_and_open_connections_stay() {
    let ends = Ends::new();
    let (mut dialer, mut server) = ends.connect();
    ends.proxy.refuse();
    let address = ends.proxy.address();
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < until, "still open");
    }
    dialer.write_all(b"stays").unwrap();
    assert_eq!(read(&mut server, 5), b"stays");
    ends.proxy.heal();
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < until, "still closed");
    }
}

#[test]
fn a_cut_is_an_rst_to_both_ends() {
    let ends = Ends::new();
    let (mut dialer, mut server) = ends.connect();
    dialer.write_all(b"1").unwrap();
    read(&mut server, 1);
    assert_eq!(ends.proxy.cut(), 1);
    for stream in [&mut dialer, &mut server] {
        let error = end(stream).1.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    let until = Instant::now() + PATIENCE;
    while !ends.proxy.connections().is_empty() {
        assert!(Instant::now() < until, "it is still counted");
    }
}

#[test]
fn a_cut_at_a_byte_passes_what_is_before_it_and_nothing_else() {
    for at in [1, 5, 6, 9] {
        let ends = Ends::new();
        let (mut dialer, mut server) = ends.connect();
        ends.proxy.cut_after(Direction::ToServer, at);
        dialer.write_all(b"012345").unwrap();
        dialer.write_all(b"678901").unwrap();
        let mut seen = Vec::new();
        let error = loop {
            let mut byte = [0];
            match server.read(&mut byte) {
                Ok(1) => seen.push(byte[0]),
                Ok(_) => break ErrorKind::UnexpectedEof,
                Err(error) => break error.kind(),
            }
        };
        assert_eq!(error, ErrorKind::ConnectionReset, "cut at {at}");
        assert_eq!(u64::try_from(seen.len()).unwrap(), at);
    }
}

#[test]
fn a_half_close_ends_one_direction_only() {
    let ends = Ends::new();
    let (mut dialer, mut server) = ends.connect();
    ends.proxy.half_close_after(Direction::ToServer, 4);
    dialer.write_all(b"012345").unwrap();
    let (all, ended) = end(&mut server);
    assert_eq!(all, b"0123");
    ended.unwrap();
    dialer.write_all(b"into nothing").unwrap();
    server.write_all(b"heard").unwrap();
    assert_eq!(read(&mut dialer, 5), b"heard");
}

#[test]
fn one_bit_of_one_byte_changes() {
    let ends = Ends::new();
    ends.proxy.arm(
        Marks {
            corrupt_at: Some(2),
            ..Marks::default()
        },
        Marks::default(),
    );
    let (mut dialer, mut server) = ends.connect();
    dialer.write_all(b"aaaaa").unwrap();
    assert_eq!(read(&mut server, 5), b"aa`aa");
    let (mut dialer, mut server) = ends.connect();
    dialer.write_all(b"aaaaa").unwrap();
    assert_eq!(read(&mut server, 5), b"aaaaa");
}

#[test]
fn an_end_that_breaks_breaks_the_other() {
    let ends = Ends::new();
    let (dialer, mut server) = ends.connect();
    server.write_all(b"unread").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    // Closed with something unread: an RST.
    drop(dialer);
    let error = end(&mut server).1.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn connections_to_come_can_lead_elsewhere() {
    let ends = Ends::new();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    ends.proxy.redirect(other.local_addr().unwrap());
    let mut dialer = TcpStream::connect(ends.proxy.address()).unwrap();
    dialer.write_all(b"who?").unwrap();
    let (mut server, _) = other.accept().unwrap();
    assert_eq!(read(&mut server, 4), b"who?");
}

const PATIENCE: Duration = Duration::from_secs(10);
