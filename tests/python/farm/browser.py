"""A headless Chromium for tests of the status page, told what to do over a pair of pipes: messages of the
DevTools protocol, each with a zero byte behind it.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from programs import DEADLINE_S


class PageError(AssertionError):
    """Something went wrong in the page itself."""


class Browser:
    """One process. `problems` has what its pages threw, were refused by their policy, or logged as errors."""

    def __init__(self, profile: Path) -> None:
        program = shutil.which("chromium")
        assert program, "chromium is missing; scripts/packages installs it"
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        # The protocol's descriptors are 3 and 4.
        script = 'exec "$0" "$@" 3<&"$IN" 4>&"$OUT"'
        self.process = subprocess.Popen(
            [
                *(
                    "bash",
                    "-c",
                    script,
                    program,
                    "--headless=new",
                    "--remote-debugging-pipe",
                    "--no-first-run",
                ),
                # Tests run as root in containers, which have little shared memory.
                *("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-extensions"),
                *("--disable-background-networking", f"--user-data-dir={profile}", "about:blank"),
            ],
            env={**os.environ, "IN": str(to_browser), "OUT": str(from_browser), "HOME": str(profile)},
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._unread = b""
        self._last = 0
        self.problems: list[str] = []

    def call(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        self._last += 1
        asked = {"id": self._last, "method": method, "params": params}
        if session:
            asked["sessionId"] = session
        os.write(self._out, json.dumps(asked).encode() + b"\0")
        while True:
            message = self._next(f"{method} is answered")
            if message.get("id") == self._last:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _next(self, what: str) -> dict[str, Any]:
        end = time.monotonic() + DEADLINE_S
        while b"\0" not in self._unread:
            left = end - time.monotonic()
            assert left > 0 and select.select([self._in], [], [], left)[0], f"it did not happen: {what}"
            piece = os.read(self._in, 1 << 20)
            assert piece, "the browser has ended"
            self._unread += piece
        line, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(params["exceptionDetails"]))
        if method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(json.dumps(params["entry"]))
        if method == "Page.javascriptDialogOpening":
            self.problems.append(f"dialog: {params['message']}")

    def close(self) -> None:
        try:
            self.call("Browser.close")
            self.process.wait(DEADLINE_S)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            os.close(self._out)
            os.close(self._in)


class Tab:
    """One page, wide like a desk's or narrow like a phone's."""

    def __init__(self, browser: Browser, address: str) -> None:
        self.browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._target = target
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.look_like()
        self.call("Page.navigate", url=address)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.call(method, self._session, **params)

    def look_like(self, width: int = 1200, height: int = 1000, scheme: str = "light") -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def run(self, script: str) -> Any:
        """The value of an expression; a promise's, once it is there."""
        told = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in told:
            raise PageError(json.dumps(told["exceptionDetails"]))
        return told["result"].get("value")

    def until(self, what: str, script: str) -> Any:
        """Waits in the page, without asking it again and again from here, until the expression is true."""
        limit_ms = int(DEADLINE_S * 500)
        return self.run(
            f"""new Promise((found, give_up) => {{
              const end = Date.now() + {limit_ms};
              const look = () => {{
                let value = null;
                try {{ value = ({script}); }} catch {{ value = null; }}
                if (value) found(value);
                else if (Date.now() > end) give_up(new Error({json.dumps("it did not happen: " + what)}));
                else setTimeout(look, 20);
              }};
              look();
            }})"""
        )

    def type(self, element: str, text: str) -> None:
        """Has somebody type that into an input, or choose it."""
        self.run(
            f"""(() => {{ const at = document.getElementById({json.dumps(element)});
              at.value = {json.dumps(text)};
              at.dispatchEvent(new Event("input", {{ bubbles: true }})); }})()"""
        )

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def screenshot(self, file: Path) -> None:
        whole = self.call("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        file.write_bytes(base64.b64decode(whole["data"]))

    def close(self) -> None:
        self.browser.call("Target.closeTarget", targetId=self._target)


@contextmanager
def browser_in(profile: Path) -> Iterator[Browser]:
    browser = Browser(profile)
    try:
        yield browser
    finally:
        browser.close()
