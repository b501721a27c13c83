"""A headless Chromium, driven by Debian's chromedriver over WebDriver: opens pages, records microphones."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE = 48_000
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PACKAGES = "chromium chromium-driver"
SWITCHES = ["headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking"]
# A name that leads here and, other than localhost, makes no secure context.
SWITCHES += ["host-resolver-rules=MAP studio.test 127.0.0.1"]
SWITCHES += ["disable-component-update", "disable-sync", "disable-dev-shm-usage", "use-fake-ui-for-media-stream"]
# A device has a label only for a page that may use one already: hence the first getUserMedia.
RECORD = """
const [label, done] = arguments;
(async () => {
  const first = await navigator.mediaDevices.getUserMedia({audio: true});
  first.getTracks().forEach(track => track.stop());
  const inputs = (await navigator.mediaDevices.enumerateDevices()).filter(d => d.kind == "audioinput");
  const device = inputs.find(d => d.label == label);
  if (!device) throw Error(`no ${label} among ${inputs.map(d => d.label).join(", ")}`);
  const plain = {echoCancellation: false, noiseSuppression: false, autoGainControl: false};
  const audio = {deviceId: {exact: device.deviceId}, ...plain};
  const stream = await navigator.mediaDevices.getUserMedia({audio});
  const context = new AudioContext({sampleRate: 48000});
  const code = `registerProcessor("tap", class extends AudioWorkletProcessor {
    process(inputs) { if (inputs[0][0]) this.port.postMessage(inputs[0][0].slice()); return true; }
  })`;
  await context.audioWorklet.addModule("data:text/javascript," + encodeURIComponent(code));
  const tap = new AudioWorkletNode(context, "tap");
  window.heard = [];
  tap.port.onmessage = message => { if (window.heard.push(message.data) == 50) done(""); };
  context.createMediaStreamSource(stream).connect(tap);
})().catch(error => done(String(error)));
"""
HEARD = """
const all = new Uint8Array(await new Blob(window.heard).arrayBuffer());
let text = "";
for (let i = 0; i < all.length; i += 32768) text += String.fromCharCode(...all.subarray(i, i + 32768));
return btoa(text);
"""


def missing() -> str:
    """What is not installed, empty if nothing."""
    there = {"chromium": CHROMIUM, "chromedriver": shutil.which("chromedriver")}
    return ", ".join(name for name, path in there.items() if path is None)


class Browser:
    """A page of its own in a running Chromium.

    Args:
        session: Address of the WebDriver session.
    """

    def __init__(self, session: str) -> None:
        self._session = session

    def call(self, command: str, **arguments: Any) -> Any:
        return _post(f"{self._session}/{command}", arguments)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function body returns within the page."""
        return self.call("execute/sync", script=script, args=list(arguments))

    def until(self, condition: str, *arguments: Any, timeout: float = 20.0) -> Any:
        """The value of an expression as soon as it is true."""
        end = time.monotonic() + timeout
        while not (found := self.run(f"return {condition}", *arguments)):
            assert time.monotonic() < end, f"not within {timeout:g} s: {condition} {arguments}; {self.log()}"
            time.sleep(0.03)
        return found

    def devtools(self, command: str, **parameters: Any) -> Any:
        """Carry out a command of the DevTools protocol."""
        return self.call("goog/cdp/execute", cmd=command, params=parameters)

    def resize(self, width: int, height: int, scale: float = 1.0) -> None:
        """Give the page another size in CSS pixels, with so many of the screen's in each."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 500}
        self.devtools("Emulation.setDeviceMetricsOverride", **size)

    def prefer(self, scheme: str) -> None:
        """Have the system prefer "dark" or "light", and no motion: what changes has changed at once."""
        wanted = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wanted.items()]
        self.devtools("Emulation.setEmulatedMedia", features=features)

    def picture(self) -> bytes:
        """The visible part of the page as PNG."""
        return base64.b64decode(self.devtools("Page.captureScreenshot")["data"])

    @property
    def page_height(self) -> int:
        """Height of the whole page in CSS pixels."""
        return int(self.run("return document.documentElement.scrollHeight"))

    def log(self) -> list[str]:
        """Warnings and errors on the console since the last call, with requests that were refused among them."""
        entries = self.call("se/log", type="browser")
        return [entry["message"] for entry in entries if entry["level"] in ("WARNING", "SEVERE")]

    def record(self, label: str) -> None:
        """Begin to record the microphone of that label; samples have come when this returns."""
        error = self.call("execute/async", script=RECORD, args=[label])
        assert error == "", error

    def wait_for(self, seconds: float, timeout: float = 30.0) -> None:
        """Until that much more has been recorded."""
        goal = self.run("return 128 * window.heard.length") + seconds * RATE
        self.until("128 * window.heard.length >= arguments[0]", goal, timeout=timeout)

    def heard(self) -> NDArray[np.float32]:
        """All of it so far: mono, 48 kHz."""
        return np.frombuffer(base64.b64decode(self.run(HEARD)), np.float32)


def _post(address: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)["value"]


@contextmanager
def chromium(environment: dict[str, str], folder: Path, *switches: str) -> Iterator[Browser]:
    """A browser on the sound server of that environment, its profile in that folder; ended at the end."""
    page = folder / "page.html"
    page.write_text("<!doctype html><title>listener</title>", encoding="utf-8")
    with subprocess.Popen(
        ["chromedriver", "--port=0"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as driver:
        try:
            assert driver.stdout is not None
            started = (re.search(r"started successfully on port (\d+)", line) for line in driver.stdout)
            port = next(int(match[1]) for match in started if match)
            options = {"binary": CHROMIUM, "args": [*SWITCHES, *switches, f"user-data-dir={folder / 'profile'}"]}
            always = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            wanted = {"capabilities": {"alwaysMatch": always}}
            address = f"http://127.0.0.1:{port}/session"
            session = f"{address}/{_post(address, wanted)['sessionId']}"
            try:
                browser = Browser(session)
                browser.call("timeouts", script=60_000)
                browser.call("url", url=page.as_uri())
                yield browser
            finally:
                urllib.request.urlopen(urllib.request.Request(session, method="DELETE"), timeout=30).close()
        finally:
            driver.terminate()
