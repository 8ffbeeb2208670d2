"""An XMPP client that drives one test case and writes what it saw as JSON lines.

Why a client: the promise is about what people on another server see, so a real one does the asking.
"""

import argparse
import asyncio
import json
import sys
import time

import slixmpp
from slixmpp.exceptions import IqError, IqTimeout


def body_of(number):
    """A numbered text with everything in it that needs care in XML: markup, quotes, other scripts, an emoji."""
    return f"{number}: Ρωμαῖος & Ιουλιέτα <3 \"'\" ]]> \U0001F339"


class Client(slixmpp.ClientXMPP):
    def __init__(self, options):
        super().__init__(options.jid, options.password)
        self.options = options
        self.ready = asyncio.Event()
        self.greeted = asyncio.Event()
        self.answers = []
        self.errors = []
        self.all_answered = asyncio.Event()
        self.expected = 0
        for plugin in ("xep_0030", "xep_0092", "xep_0199"):
            self.register_plugin(plugin)
        # The client's own connection stays on loopback and is not what is looked at.
        self["feature_mechanisms"].unencrypted_plain = True
        self.add_event_handler("session_start", self.on_start)
        self.add_event_handler("message", self.on_message)
        self.add_event_handler("message_error", self.on_message_error)
        self.add_event_handler("failed_all_auth", lambda _: self.fail("authentication failed"))
        self.add_event_handler("connection_failed", lambda why: self.fail(f"connection failed: {why}"))

    def fail(self, why):
        tell(failed=why)
        sys.exit(1)

    async def on_start(self, _):
        self.send_presence()
        self.ready.set()

    def on_message(self, message):
        if message["type"] == "error":
            return
        if message["body"] == "hello":
            tell(hello=str(message["from"]))
            self.greeted.set()
            return
        self.answers.append(message["body"])
        self.count()

    def on_message_error(self, message):
        self.errors.append(
            {
                "from": str(message["from"]),
                "type": message["error"]["type"],
                "condition": message["error"]["condition"],
                "text": message["error"]["text"],
            }
        )
        self.count()

    def count(self):
        if len(self.answers) + len(self.errors) >= self.expected > 0:
            self.all_answered.set()

    async def run(self):
        options = self.options
        await self.ready.wait()
        tell(ready=str(self.boundjid.full))
        if options.await_hello:
            await self.greeted.wait()
        for target in options.ping:
            await self.ask("ping", target, self.plugin["xep_0199"].send_ping(target, timeout=20))
        for target in options.disco:
            answer = await self.ask("disco", target, self.plugin["xep_0030"].get_info(jid=target, timeout=20), quiet=True)
            if answer is not None:
                info = answer["disco_info"]
                tell(
                    disco=target,
                    ok=True,
                    features=sorted(info["features"]),
                    identities=[list(identity[:2]) for identity in info["identities"]],
                )
        for target in options.version:
            answer = await self.ask("version", target, self.plugin["xep_0092"].get_version(target, timeout=20), quiet=True)
            if answer is not None:
                version = answer["software_version"]
                tell(version=target, ok=True, name=version["name"], number=version["version"])
        if options.pings:
            await self.many_pings(options.pings[0], int(options.pings[1]))
        if options.messages:
            await self.many_messages(options.messages[0], int(options.messages[1]))
        tell(done=True)

    async def ask(self, what, target, question, quiet=False):
        began = time.monotonic()
        try:
            answer = await question
        except IqError as error:
            tell(**{what: target}, ok=False, condition=error.condition, text=error.text)
            return None
        except IqTimeout:
            tell(**{what: target}, ok=False, condition="no answer")
            return None
        if not quiet:
            tell(**{what: target}, ok=True, ms=round((time.monotonic() - began) * 1000, 1))
        return answer

    async def many_pings(self, target, number):
        """Sends all at once; the order of the answers is the order in which the futures get done."""
        order, errors = [], []

        async def one(index):
            iq = self.make_iq_get(ito=target)
            iq["id"] = f"ping-{index}"
            iq.enable("ping")
            try:
                await iq.send(timeout=self.options.deadline)
                order.append(index)
            except IqError as error:
                errors.append(error.condition)
            except IqTimeout:
                errors.append("no answer")

        began = time.monotonic()
        await asyncio.gather(*[one(index) for index in range(number)])
        tell(
            pings=target,
            sent=number,
            answered=len(order),
            in_order=order == list(range(number)),
            errors=sorted(set(errors)),
            ms=round((time.monotonic() - began) * 1000, 1),
        )

    async def many_messages(self, target, number):
        self.answers, self.errors, self.expected = [], [], number
        self.all_answered.clear()
        wanted = [body_of(index) for index in range(number)]
        began = time.monotonic()
        for body in wanted:
            self.send_message(mto=target, mbody=body, mtype="chat")
        try:
            await asyncio.wait_for(self.all_answered.wait(), self.options.deadline)
            # One answer too many would come right behind the last one.
            await asyncio.sleep(0.3)
        except asyncio.TimeoutError:
            pass
        tell(
            messages=target,
            sent=number,
            echoed=len(self.answers),
            distinct=len(set(self.answers)),
            in_order=self.answers == wanted,
            errors=len(self.errors),
            first_error=self.errors[0] if self.errors else None,
            ms=round((time.monotonic() - began) * 1000, 1),
        )


def tell(**line):
    print(json.dumps(line), flush=True)


async def until_told_to_leave():
    """The connection stays up until standard input ends, so that the sockets can be looked at."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--jid", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--await-hello", action="store_true")
    parser.add_argument("--ping", action="append", default=[])
    parser.add_argument("--disco", action="append", default=[])
    parser.add_argument("--version", action="append", default=[])
    parser.add_argument("--pings", nargs=2, metavar=("JID", "NUMBER"))
    parser.add_argument("--messages", nargs=2, metavar=("JID", "NUMBER"))
    parser.add_argument("--deadline", type=float, default=45)
    options = parser.parse_args()

    client = Client(options)
    client.connect(address=(options.host, options.port), disable_starttls=True)

    async def everything():
        try:
            await asyncio.wait_for(client.run(), options.deadline + 10)
        except asyncio.TimeoutError:
            tell(failed="deadline passed")
        await until_told_to_leave()
        client.disconnect()

    client.loop.run_until_complete(everything())


main()
