"""XMP packets: the standard way to say in a picture's or a film's file where it is from (ISO 16684-1).

Pillow puts a packet into most kinds of files; this file puts it where Pillow does not: into GIFs and into the boxes of
MP4 and JPEG 2000. No compressor touches it in any of them, so that it is also found by looking through the bytes, as
the standard says a reader may.
"""

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's word for what a trained model made."""

File = Any
"""An opened binary file: ``IO[bytes]``, of which a ``BytesIO`` is none to those who check types at run time."""

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_OURS = "http://ns.ganjax/marks/1.0/"
_SPACES = {
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "ganjax": _OURS,
}
_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_OPENS, _CLOSES, _MOST_BYTES, _MOST_TRIES = b"<x:xmpmeta", b"</x:xmpmeta>", 2**18, 64
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


def packet(fields: Mapping[str, str], *, tool: str, version: str) -> bytes:
    """A packet that says that a trained model made the file, by which program, and what else is known.

    Args:
        fields: what else is known: properties of a namespace of ganjax's.
        tool: the program.
        version: of it.
    """
    properties = {
        "xmp:CreatorTool": f"{tool} {version}",
        "Iptc4xmpExt:DigitalSourceType": TRAINED,
        "Iptc4xmpExt:AISystemUsed": tool,
        "Iptc4xmpExt:AISystemVersionUsed": version,
        **{f"ganjax:{name}": value for name, value in fields.items()},
    }
    spaces = "".join(f'\n    xmlns:{prefix}="{uri}"' for prefix, uri in _SPACES.items())
    said = "".join(f"\n    {name}={quoteattr(_NOT_XML.sub('?', value))}" for name, value in properties.items())
    text = (
        f'{_BEGIN}\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n <rdf:RDF xmlns:rdf="{_RDF}">\n'
        f'  <rdf:Description rdf:about=""{spaces}{said}/>\n </rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>'
    )
    return text.encode()


def parse_packet(data: bytes) -> dict[str, str] | None:
    """The properties of a packet, by prefix and name; those of unknown namespaces are left out. None: it is no packet.

    Attributes and elements count alike, for programs that store a file anew may write one as the other.
    """
    found = find_packet(data)
    if found is None or b"<!" in found:  # no entities: they can grow without bounds
        return None
    try:
        root = ElementTree.fromstring(found)
    except ElementTree.ParseError:
        return None
    properties = {}
    for description in root.iter(f"{{{_RDF}}}Description"):
        pairs = [*description.attrib.items()]
        pairs += [(child.tag, child.text or child.get(f"{{{_RDF}}}resource", "")) for child in description]
        for name, value in pairs:
            uri, _, local = name.removeprefix("{").partition("}")
            prefix = next((prefix for prefix, known in _SPACES.items() if known == uri), None)
            if prefix:
                properties[f"{prefix}:{local}"] = value
    return properties


def in_gif(data: bytes, xmp: bytes) -> bytes:
    """A GIF with a packet in the application extension that is meant for it, before the first picture."""
    table = 3 * 2 ** ((data[10] & 7) + 1) if data[10] & 0x80 else 0
    start = 13 + table
    # Readers that know no XMP go from block to block by the bytes of the packet, and land in this row of lengths.
    trailer = bytes([1, *range(255, -1, -1), 0])
    # What tells of the times that an animation is shown, other readers expect first.
    while data[start : start + 2] == b"\x21\xff":
        start += 14
        while data[start]:
            start += 1 + data[start]
        start += 1
    extension = b"\x21\xff\x0bXMP DataXMP" + xmp + trailer
    return data[:start] + extension + data[start:]


def box(xmp: bytes) -> bytes:
    """A box with a packet, which may follow the last one of an MP4, a QuickTime or a JPEG 2000 file."""
    return (24 + len(xmp)).to_bytes(4, "big") + b"uuid" + _UUID + xmp


def find_packet(data: bytes) -> bytes | None:
    """The first packet in the bytes of a file of any kind."""
    start = 0
    for _ in range(_MOST_TRIES):
        start = data.find(_OPENS, start)
        if start < 0:
            return None
        end = data.find(_CLOSES, start, start + _MOST_BYTES)
        if end >= 0:
            return data[start : end + len(_CLOSES)]
        start += 1
    return None
