// An echo component with @xmpp/component that tells, in JSON lines, what happens to it.
// Why JavaScript: its library frames, reconnects and answers queries in its own way.
"use strict";

const { component, xml } = require("@xmpp/component");

const [domain, secret, host, port] = process.argv.slice(2);
const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n");

const echo = component({ service: `xmpp://${host}:${port}`, domain, password: secret });

echo.on("online", (address) => tell({ event: "online", address: address.toString() }));
echo.on("offline", () => tell({ event: "offline" }));
echo.on("disconnect", () => tell({ event: "disconnect" }));
echo.on("error", (error) => tell({ event: "error", name: error.name, text: error.message }));
echo.reconnect.delay = 300;

echo.on("stanza", async (stanza) => {
  if (!stanza.is("message")) return;
  const { from, to, type, id } = stanza.attrs;
  const body = stanza.getChildText("body");
  tell({ event: "message", from, to, type, id, body });
  if (type === "error" || body === null) return;
  await echo.send(xml("message", { from: to, to: from, type, id }, xml("body", {}, body)));
});

// What it is asked; anything else the library refuses with service-unavailable.
echo.iqCallee.get("urn:xmpp:ping", "ping", (context) => {
  tell({ event: "asked", from: context.stanza.attrs.from });
  return true;
});

process.stdin.on("end", () => echo.stop().finally(() => process.exit(0)));
process.stdin.resume();
echo.start().catch((error) => tell({ event: "start failed", text: error.message }));
