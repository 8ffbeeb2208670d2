"""Tells how expat and libxml2 understand documents: what other servers read our stanzas with.

Documents come in on stdin, each with its length as four bytes in front, and for each two answers go out on stdout, of
expat and of libxml2, with lengths likewise: "refused: …", or the document's meaning, in characters that XML has not:

    \\x01 namespace \\x02 name { \\x03 namespace \\x02 name \\x02 value } \\x04 content \\x05
"""

import struct
import sys
from xml.parsers import expat

from lxml import etree

SEPARATOR = "\x02"


def start(namespace, name, attributes):
    said = "".join("\x03%s\x02%s\x02%s" % attribute for attribute in sorted(attributes))
    return "\x01%s\x02%s%s\x04" % (namespace, name, said)


def split(name):
    namespace, _, local = name.rpartition(SEPARATOR)
    return namespace, local


def by_expat(document):
    parser = expat.ParserCreate(namespace_separator=SEPARATOR)
    parser.ordered_attributes = True
    said = []

    def on_start(name, attributes):
        pairs = zip(attributes[::2], attributes[1::2])
        said.append(start(*split(name), [(*split(key), value) for key, value in pairs]))

    parser.StartElementHandler = on_start
    parser.EndElementHandler = lambda _: said.append("\x05")
    parser.CharacterDataHandler = said.append
    try:
        parser.Parse(document, True)
    except expat.ExpatError as error:
        return "refused: %s" % error
    return "".join(said)


def pair(name):
    namespace, _, local = name.rpartition("}")
    return namespace[1:], local


def is_tolerated(error):
    """Namespace names need not be URIs: libxml2 says so, and goes on unless it was told not to."""
    return error.message.endswith(" is not a valid URI")


def by_libxml2(document):
    options = {"resolve_entities": False, "huge_tree": True, "no_network": True}
    parser = etree.XMLParser(**options)
    try:
        root = etree.fromstring(document, parser)
    except etree.XMLSyntaxError as refusal:
        if not all(map(is_tolerated, parser.error_log)):
            return "refused: %s" % refusal
        root = etree.fromstring(document, etree.XMLParser(recover=True, **options))
    said = []
    # Events and not recursion: a document may be deep.
    for event, element in etree.iterwalk(root, events=("start", "end")):
        if event == "start":
            attributes = [(*pair(key), value) for key, value in element.attrib.items()]
            said.append(start(*pair(element.tag), attributes))
            said.append(element.text or "")
        else:
            said.append("\x05")
            said.append(element.tail or "")
    return "".join(said)


def main():
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while len(length := source.read(4)) == 4:
        document = source.read(struct.unpack(">I", length)[0])
        for answer in by_expat(document), by_libxml2(document):
            answer = answer.encode("utf-8", "surrogatepass")
            sink.write(struct.pack(">I", len(answer)) + answer)
        sink.flush()


main()
