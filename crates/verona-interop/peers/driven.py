"""An XMPP client or component that does what it is told, line by line, and tells of every stanza that reaches it.

Why told from outside: what has to happen, and in which order, stands in the case; this is only somebody's real library.
Lines in: {"do": "message" | "presence" | "ping" | ..., ...}. Lines out: {"event": "message" | "presence" | ..., ...}.
"""

import argparse
import asyncio
import json
import sys

import slixmpp
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.xmlstream import ET

MUC = "http://jabber.org/protocol/muc"
OWNER = MUC + "#owner"
USER = MUC + "#user"
STANZA_ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"


class Driven:
    """What a client and a component have in common."""

    def set_up(self):
        for plugin in ("xep_0030", "xep_0092", "xep_0199"):
            self.register_plugin(plugin)
        self.add_filter("in", self.on_stanza)
        self.add_event_handler("session_start", lambda _: tell(event="ready", jid=str(self.boundjid.full)))
        self.add_event_handler("stream_error", lambda e: tell(event="stream error", condition=e["condition"]))
        self.add_event_handler("disconnected", lambda _: tell(event="disconnected"))
        self.add_event_handler("failed_all_auth", lambda _: tell(failed="authentication failed"))

    def on_stanza(self, stanza):
        """Before slixmpp answers it, so that nothing is answered that was not told of."""
        xml = stanza.xml
        kind = local(xml.tag)
        if kind in ("message", "presence"):
            tell(event=kind, **described(xml))
        elif kind == "iq" and xml.get("type") in ("get", "set"):
            payload = list(xml)
            tell(
                event="asked",
                type=xml.get("type"),
                **{"from": xml.get("from", "")},
                query=payload[0].tag[1:].split("}")[0] if payload else "",
                roster=[
                    {"jid": item.get("jid"), "subscription": item.get("subscription"), "ask": item.get("ask", "")}
                    for item in xml.iter("{jabber:iq:roster}item")
                ],
            )
        return stanza

    async def obey(self, line):
        await getattr(self, "do_" + line.pop("do"))(**line)

    async def do_message(self, to, body, type="chat", sender=None, subject=None, id=None):
        message = self.make_message(mto=to, mbody=body, mtype=type, mfrom=sender, msubject=subject)
        if id:
            message["id"] = id
        message.send()

    async def do_presence(self, to=None, type=None, sender=None, show=None, status=None, priority=None):
        if type == "subscribed" and self.is_component:
            # What the library remembers of it decides how it answers probes.
            self.roster[sender][to]["from"] = True
        self.send_presence(
            pto=to, ptype=type, pfrom=sender, pshow=show, pstatus=status, ppriority=priority
        )

    async def do_enter(self, room, nick):
        """Joins without history. Not through the plugin: old rooms never send what it waits for."""
        presence = self.make_presence(pto=f"{room}/{nick}")
        x = ET.SubElement(presence.xml, "{%s}x" % MUC)
        ET.SubElement(x, "{%s}history" % MUC, {"maxstanzas": "0"})
        presence.send()

    async def do_open_room(self, to):
        """Accepts the room as it is (XEP-0045 §10.1.2)."""
        iq = self.make_iq_set(ito=to)
        query = ET.SubElement(iq.xml, "{%s}query" % OWNER)
        ET.SubElement(query, "{jabber:x:data}x", {"type": "submit"})
        await self.answer("open_room", to, iq.send(timeout=30))

    async def do_ping(self, to, sender=None):
        await self.answer("ping", to, self["xep_0199"].send_ping(to, ifrom=sender, timeout=30))

    async def do_version(self, to, sender=None):
        got = await self.answer("version", to, self["xep_0092"].get_version(to, ifrom=sender, timeout=30), quiet=True)
        if got is not None:
            version = got["software_version"]
            tell(event="answer", ask="version", to=to, ok=True, name=version["name"])

    async def do_disco(self, to, sender=None):
        question = self["xep_0030"].get_info(jid=to, ifrom=sender, local=False, timeout=30)
        got = await self.answer("disco", to, question, quiet=True)
        if got is not None:
            info = got["disco_info"]
            tell(
                event="answer",
                ask="disco",
                to=to,
                ok=True,
                identities=sorted("/".join(identity[:2]) for identity in info["identities"]),
                features=sorted(info["features"]),
            )

    async def do_items(self, to):
        got = await self.answer("items", to, self["xep_0030"].get_items(jid=to, local=False, timeout=30), quiet=True)
        if got is not None:
            items = sorted(str(item[0]) for item in got["disco_items"]["items"])
            tell(event="answer", ask="items", to=to, ok=True, items=items)

    async def do_unknown(self, to, sender=None):
        """An iq that nobody understands, and everybody has to answer (RFC 6120 §8.2.3)."""
        iq = self.make_iq_get(ito=to, ifrom=sender)
        ET.SubElement(iq.xml, "{urn:verona.invalid:tomorrow}query")
        await self.answer("unknown", to, iq.send(timeout=30))

    async def answer(self, ask, to, question, quiet=False):
        try:
            got = await question
        except IqError as error:
            tell(event="answer", ask=ask, to=to, ok=False, **{"from": str(error.iq["from"])}, **error_of(error.iq.xml))
            return None
        except IqTimeout:
            tell(event="answer", ask=ask, to=to, ok=False, condition="no answer")
            return None
        if not quiet:
            tell(event="answer", ask=ask, to=to, ok=True, **{"from": str(got["from"])})
        return got


class Client(Driven, slixmpp.ClientXMPP):
    def __init__(self, options):
        slixmpp.ClientXMPP.__init__(self, options.jid, options.secret)
        self.set_up()
        # The client's own connection stays on loopback and is not what is looked at.
        self["feature_mechanisms"].unencrypted_plain = True
        self.add_event_handler("session_start", self.on_start)

    async def on_start(self, _):
        await self.get_roster()
        self.send_presence()


class Component(Driven, slixmpp.ComponentXMPP):
    def __init__(self, options):
        slixmpp.ComponentXMPP.__init__(self, options.jid, options.secret, options.host, options.port)
        self.set_up()
        self["xep_0030"].add_identity(category="client", itype="bot", name="echo")


def described(xml):
    """The stanza as the case compares it; what is absent is left out."""
    found = {name: xml.get(name) for name in ("from", "to", "type", "id") if xml.get(name)}
    for child in xml:
        name = local(child.tag)
        if name in ("body", "subject", "thread", "show", "status", "priority"):
            found[name] = child.text or ""
        elif name == "delay":
            found["delayed"] = True
        elif child.tag == "{%s}x" % USER:
            found["codes"] = sorted(status.get("code", "") for status in child.iter("{%s}status" % USER))
            for item in child.iter("{%s}item" % USER):
                found["affiliation"], found["role"] = item.get("affiliation", ""), item.get("role", "")
                if item.get("nick"):
                    found["nick"] = item.get("nick")
    if xml.get("type") == "error":
        found["error"] = error_of(xml)
    return found


def error_of(xml):
    """Read from the XML, the first one: slixmpp 1.8.3 looks for the error of a component's stanza in another namespace,
    and adds one of its own when it finds none."""
    found = {"error_type": "", "condition": "", "text": ""}
    for error in xml:
        if local(error.tag) != "error":
            continue
        found["error_type"] = error.get("type", "")
        for part in error:
            if part.tag == "{%s}text" % STANZA_ERRORS:
                found["text"] = part.text or ""
            elif part.tag.startswith("{%s}" % STANZA_ERRORS):
                found["condition"] = local(part.tag)
        break
    return found


def local(tag):
    return tag.rsplit("}", 1)[-1]


def tell(**line):
    print(json.dumps(line), flush=True)


async def obey_until_told_to_leave(driven):
    """One line after the other; a question does not hold up the lines behind it."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    asked = []
    async for line in reader:
        asked.append(asyncio.ensure_future(driven.obey(json.loads(line))))
        asked[-1].add_done_callback(lambda task: task.exception() and tell(failed=repr(task.exception())))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["client", "component"])
    parser.add_argument("--jid", required=True)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int)
    options = parser.parse_args()

    if options.role == "client":
        driven = Client(options)
        driven.connect(address=(options.host, options.port), disable_starttls=True)
    else:
        driven = Component(options)
        driven.connect()

    async def everything():
        await obey_until_told_to_leave(driven)
        await driven.disconnect(wait=1)

    driven.loop.run_until_complete(everything())


main()
