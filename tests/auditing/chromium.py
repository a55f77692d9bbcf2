"""A headless Chromium, driven over the DevTools protocol's pipe with the standard library alone."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import selectors
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-pipe", "about:blank",
)  # fmt: skip
WAIT_S = 30


class Browser:
    """One page of a browser at a time, its tab; commands go to it one by one.

    log: what its pages were refused or threw.
    """

    def __init__(self, folder: Path, program: str) -> None:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        data = f"--user-data-dir={folder / 'profile'}"
        # The browser reads commands from descriptor 3 and answers on 4.
        line = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self.process = subprocess.Popen(
            ["bash", "-c", line, "bash", program, data, *OPTIONS],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.ours_in, self.ours_out = ours_in, ours_out
        self.waiting = selectors.DefaultSelector()
        self.waiting.register(ours_in, selectors.EVENT_READ)
        self.rest, self.number, self.session = b"", 0, ""
        self.log: list[str] = []
        self.loads = 0
        self.downloads = folder / "downloads"
        pages = self.send("Target.getTargets")["targetInfos"]
        self._attach(next(p["targetId"] for p in pages if p["type"] == "page"))

    def new_tab(self) -> str:
        """Go to a new tab; gives the one before, for `session`."""
        before, self.session = self.session, ""
        self._attach(self.send("Target.createTarget", url="about:blank")["targetId"])
        return before

    def _attach(self, page: str) -> None:
        attached = self.send("Target.attachToTarget", targetId=page, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        where = {"behavior": "allow", "downloadPath": str(self.downloads)}
        self.send("Page.setDownloadBehavior", **where)

    def send(self, method: str, **params: Any) -> Any:
        """One command; its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.ours_out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def _read(self) -> dict[str, Any]:
        """The next message; events are noted."""
        while b"\0" not in self.rest:
            assert self.waiting.select(timeout=WAIT_S), "the browser does not answer"
            got = os.read(self.ours_in, 1 << 16)
            assert got, "the browser is gone"
            self.rest += got
        text, _, self.rest = self.rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        params = message.get("params", {})
        match message.get("method"):
            case "Page.loadEventFired":
                self.loads += 1
            case "Log.entryAdded":
                self.log.append(params["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.log.append(json.dumps(params["exceptionDetails"]))
            case "Page.javascriptDialogOpening":
                self.log.append(f"dialog: {params['message']}")
        return message

    def open(self, url: str) -> None:
        """Load a page, whole."""
        loads = self.loads
        self.send("Page.navigate", url=url)
        while self.loads == loads:
            self._read()

    def run(self, code: str) -> Any:
        """The value of an expression in the page."""
        params = {"expression": code, "returnByValue": True, "awaitPromise": True}
        result = self.send("Runtime.evaluate", **params)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def text(self, selector: str) -> str:
        """The text that a person sees in an element."""
        shown: str = self.run(f"document.querySelector({json.dumps(selector)}).innerText")
        return shown

    def wait_for(self, selector: str, text: str) -> None:
        """Wait until an element shows a text."""
        end = time.monotonic() + WAIT_S
        while self.text(selector) != text:
            assert time.monotonic() < end, (selector, self.text(selector))
            time.sleep(0.02)

    def press(self, *keys: str) -> None:
        """Press keys, one after another."""
        for key in keys:
            event = {"key": key, **({"text": key} if len(key) == 1 else {})}
            self.send("Input.dispatchKeyEvent", type="keyDown", **event)
            self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    def saved(self) -> dict[str, Any]:
        """The file of verdicts that the page has just saved; it is removed."""
        path = self.downloads / "verdicts.json"
        end = time.monotonic() + WAIT_S
        while not path.is_file():
            assert time.monotonic() < end, "nothing was saved"
            time.sleep(0.02)
        data: dict[str, Any] = json.loads(path.read_text())
        path.unlink()
        return data

    def look(self, path: Path, *, width: int, height: int, dark: bool = False) -> None:
        """A picture of the page at a size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self.session = ""
            self.number += 1
            message = {"id": self.number, "method": "Browser.close"}
            os.write(self.ours_out, json.dumps(message).encode() + b"\0")
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.waiting.close()
        os.close(self.ours_in)
        os.close(self.ours_out)
