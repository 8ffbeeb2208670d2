"""An XEP-0114 component that sends every message back, and writes what happens as JSON lines.

Why slixmpp and not our own code: the component port has to be right for the libraries that people use.
"""

import argparse
import asyncio
import json
import sys

import slixmpp


class Echo(slixmpp.ComponentXMPP):
    def __init__(self, options):
        super().__init__(options.jid, options.secret, options.host, options.port)
        self.options = options
        self.echoed = 0
        for plugin in ("xep_0030", "xep_0092", "xep_0199"):
            self.register_plugin(plugin)
        self["xep_0030"].add_identity(category="client", itype="bot", name="echo")
        self.add_event_handler("session_start", self.on_start)
        self.add_event_handler("message", self.on_message)
        self.add_event_handler("message_error", self.on_message_error)
        self.add_event_handler("stream_error", self.on_stream_error)
        self.add_event_handler("disconnected", lambda _: tell(disconnected=True))

    def on_start(self, _):
        tell(ready=self.options.jid)
        for target in self.options.hello:
            self.send_message(mto=target, mbody="hello", mfrom=f"echo@{self.options.jid}", mtype="chat")

    def on_message(self, message):
        if message["type"] in ("chat", "normal") and message["body"]:
            self.echoed += 1
            self.send_message(
                mto=message["from"], mfrom=message["to"], mbody=message["body"], mtype=message["type"]
            )

    def on_message_error(self, message):
        tell(bounce=str(message["from"]), **error_of(message.xml))

    def on_stream_error(self, error):
        tell(refused=error["condition"], text=error["text"])


def error_of(stanza):
    """Read from the XML: slixmpp 1.8.3 looks for the error of a component's stanza in another namespace, finds none
    and answers with a default condition."""
    found = {"type": "", "condition": "", "text": ""}
    for error in stanza:
        if not error.tag.endswith("}error"):
            continue
        found["type"] = error.get("type", "")
        for part in error:
            namespace, name = part.tag[1:].split("}")
            if namespace == "urn:ietf:params:xml:ns:xmpp-stanzas":
                if name == "text":
                    found["text"] = part.text or ""
                else:
                    found["condition"] = name
    return found


def tell(**line):
    print(json.dumps(line), flush=True)


async def until_told_to_leave():
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--jid", required=True)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--hello", action="append", default=[])
    options = parser.parse_args()

    echo = Echo(options)
    echo.connect()

    async def everything():
        await until_told_to_leave()
        tell(echoed=echo.echoed)
        echo.disconnect()

    echo.loop.run_until_complete(everything())


main()
