"""One input as the page shows it: image bytes as a data: URI, text, or names and numbers."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

from dataprune.core.errors import DatapruneError
from dataprune.core.extras import require

Shown = dict[str, Any]  # "kind" and what goes with it; JSON
MAX_NUMBERS = 200
# What Pillow may open of what a browser does not show: none that starts another program.
_CONVERTED = ("BMP", "DIB", "TIFF", "PPM", "JPEG2000", "ICO", "TGA")
_PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}


def media_type(data: bytes) -> str | None:
    """What a browser shows these bytes as, by what they are and never by a name; else None."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def shown_image(data: bytes | None) -> Shown:
    """An image: its own bytes where a browser takes them, else encoded as PNG."""
    if not data:
        return _unreadable("this row has no image bytes")
    media = media_type(data)
    if media is None:
        try:
            data, media = _as_png(data), "image/png"
        except DatapruneError:
            raise
        except Exception as exc:  # noqa: BLE001 - hostile bytes make decoders fail in many ways
            return _unreadable(f"these bytes are no readable image ({type(exc).__name__})")
    return {"kind": "image", "src": f"data:{media};base64,{base64.b64encode(data).decode()}"}


def shown_text(text: str | None) -> Shown:
    """A text, whole."""
    return _unreadable("this row has no text") if text is None else {"kind": "text", "text": text}


def shown_numbers(names: Sequence[str], values: Sequence[Any]) -> Shown:
    """Numeric columns by name, or the numbers of one list column by position."""
    if len(values) == 1 and isinstance(values[0], list):
        names, values = [str(i) for i in range(len(values[0]))], values[0]
    pairs = [[name, _number(value)] for name, value in zip(names, values, strict=True)]
    return {"kind": "numbers", "values": pairs[:MAX_NUMBERS], "more": len(pairs[MAX_NUMBERS:])}


def _number(value: Any) -> str:
    if value is None:
        return "missing"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _as_png(data: bytes) -> bytes:
    pillow = require("PIL.Image", extra="probe", why="showing images other than PNG and JPEG")
    image = pillow.open(io.BytesIO(data), formats=_CONVERTED)
    if image.mode not in _PNG_MODES:
        image = image.convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _unreadable(why: str) -> Shown:
    return {"kind": "unreadable", "why": why}
