"""A headless Chromium, driven over the pipe of its DevTools protocol."""

import itertools
import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

BINARY = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
_TO, _FROM = 3, 4  # the descriptors that --remote-debugging-pipe reads from and writes to


class Page:
    """An open page: `events` are all that the browser told of it so far."""

    def __init__(self, write, read):
        self._write, self._read = write, read
        self._numbers, self._session = itertools.count(1), None
        self.events = []

    def send(self, method, **params):
        """Call a method of the protocol, return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        self._write.flush()
        while (answer := self._next()).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def attach(self):
        """Open a tab and have everything of it told."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.send(f"{domain}.enable")

    def show(self, path: Path, *, width: int, dark: bool):
        """Load a file in a window of so many CSS pixels."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=features)
        self.events.clear()
        self.send("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def evaluate(self, expression):
        """Return the value of a JavaScript expression."""
        return self.send("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]

    def _next(self):
        content = b""
        while not content.endswith(b"\0"):
            byte = self._read.read(1)
            assert byte, "the browser has gone"
            content += byte
        return json.loads(content[:-1])


@contextmanager
def browser(folder: Path):
    """Give a Page of a browser that keeps its profile in `folder`."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()

    def connect():
        high = [os.dup(fd) for fd in (theirs_in, theirs_out)]  # neither is overwritten by the other
        while min(high) <= _FROM:
            high = [os.dup(fd) for fd in high]
        os.dup2(high[0], _TO)
        os.dup2(high[1], _FROM)

    switches = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe")
    process = subprocess.Popen(
        [BINARY, *switches, f"--user-data-dir={folder}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        close_fds=False,
        preexec_fn=connect,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        with os.fdopen(ours_out, "wb") as write, os.fdopen(ours_in, "rb") as read:
            page = Page(write, read)
            page.attach()
            yield page
            page._session = None
            page.send("Browser.close")
    finally:
        process.kill()
        process.wait()
