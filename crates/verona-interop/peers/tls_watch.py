"""Makes TLS connections to servers again and again, checks each chain and name, and says which certificate is shown.

Usage: tls_watch.py CA SOURCE DOMAIN=HOST:PORT…
Prints a line for each certificate that is new: {"seen": DOMAIN, "serial": N}, one for each failure: {"fault": TEXT},
and, when a line comes on its standard input, {"handshakes": N}.
"""

import json
import socket
import ssl
import sys
import threading
import time

ca, source, *targets = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
# Ours are small certificates: they lack what only the strict reading of RFC 5280 asks for.
context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
context.set_alpn_protocols(["xmpp-server"])
done = threading.Event()


def say(**line):
    print(json.dumps(line), flush=True)


def wait_for_a_line():
    sys.stdin.readline()
    done.set()


def look(domain, host, port):
    with socket.create_connection((host, port), timeout=10, source_address=(source, 0)) as tcp:
        with context.wrap_socket(tcp, server_hostname=domain) as tls:
            # An answer inside TLS: the handshake is over on both sides.
            header = (
                "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'"
                f" from='watch.lit' to='{domain}' version='1.0'>"
            )
            tls.sendall(header.encode())
            if not tls.recv(4096):
                raise OSError("no answer inside TLS")
            return int(tls.getpeercert()["serialNumber"], 16)


threading.Thread(target=wait_for_a_line, daemon=True).start()
shown = {}
handshakes = 0
while not done.is_set():
    for target in targets:
        domain, _, address = target.partition("=")
        host, _, port = address.rpartition(":")
        try:
            serial = look(domain, host, int(port))
        except (OSError, ValueError) as error:
            say(fault=f"{domain}: {error}")
            continue
        handshakes += 1
        if shown.get(domain) != serial:
            shown[domain] = serial
            say(seen=domain, serial=serial)
    time.sleep(0.05)
say(handshakes=handshakes)
