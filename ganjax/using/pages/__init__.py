"""Pages for a browser: of one file that needs no other, or as files that a server gives out one by one.

Each is HTML, CSS and JavaScript as they stand in this folder: nothing is built, and nothing is fetched from elsewhere.
What a page is to show is data in it, which its script makes nodes of, and never markup: a name with tags in it is a
text with tags in it.
"""

import base64
import hashlib
import html
import json
import re
from importlib import resources
from typing import Any

__all__ = ["page_file", "self_contained"]


def page_file(name: str) -> str:
    """A file of this folder, such as ``page.css``."""
    return (resources.files(__name__) / name).read_text(encoding="utf-8")


def self_contained(name: str, data: dict[str, Any], *, title: str) -> str:
    """A page with all that it needs in it; it may load nothing and run nothing else.

    Args:
        name: ``report`` of ``report.html``, whose script is ``report.js`` after ``page.js``.
        data: what it shows: finite numbers, texts, lists and dictionaries of these.
        title: of the browser's tab.
    """
    script = f"{page_file('page.js')}\n{page_file(f'{name}.js')}"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    values = {
        "title": html.escape(title.encode("utf-8", "replace").decode()),
        "policy": f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
        "style": page_file("page.css"),
        "script": script,
        # No text in it can end the element it is in, and numbers that are none are refused.
        "data": json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], page_file(f"{name}.html"))
