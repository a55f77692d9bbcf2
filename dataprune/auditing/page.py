"""audit.html: one page that holds everything, asks nothing of a network, runs nothing foreign.

Data are JSON in an inert script element, and reach the document as text only (`page.js`).
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import Any

_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def render_page(data: dict[str, Any]) -> str:
    """The page of an audit.

    data: id, flags_sha256, draw, command, unproven and items, as `page.js` reads them.
    """
    style, script, body = (_part(f"page.{kind}") for kind in ("css", "js", "html"))
    policy = (
        f"default-src 'none'; img-src data:; script-src '{_hash_of(script)}'; "
        f"style-src '{_hash_of(style)}'; base-uri 'none'; form-action 'none'"
    )
    parts = {"policy": policy, "style": style, "script": script, "data": escaped_json(data)}
    for name, text in parts.items():
        before, mark, after = body.partition(f"@@{name}@@")
        assert mark, f"page.html has no place for {name}"
        body = before + text + after
    return body


def escaped_json(value: Any) -> str:
    """JSON that can end no element and begin none, wherever in a document it stands."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False).translate(_ESCAPES)


def _part(name: str) -> str:
    return files("dataprune.auditing").joinpath(name).read_text(encoding="utf-8")


def _hash_of(text: str) -> str:
    """A content security policy's name for an inline script or style."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
