"""A headless Chromium that records a microphone as a web page does, driven by Debian's chromedriver over WebDriver."""

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

    def record(self, label: str) -> None:
        """Begin to record the microphone of that label; samples have come when this returns."""
        error = self.call("execute/async", script=RECORD, args=[label])
        assert error == "", error

    def wait_for(self, seconds: float, timeout: float = 30.0) -> None:
        """Until that much more has been recorded."""
        length = "return 128 * window.heard.length"
        goal = self.call("execute/sync", script=length, args=[]) + seconds * RATE
        end = time.monotonic() + timeout
        while self.call("execute/sync", script=length, args=[]) < goal:
            assert time.monotonic() < end, "the browser hears nothing more"
            time.sleep(0.1)

    def heard(self) -> NDArray[np.float32]:
        """All of it so far: mono, 48 kHz."""
        return np.frombuffer(base64.b64decode(self.call("execute/sync", script=HEARD, args=[])), np.float32)


def _post(address: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)["value"]


@contextmanager
def chromium(environment: dict[str, str], folder: Path) -> Iterator[Browser]:
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
            options = {"binary": CHROMIUM, "args": [*SWITCHES, f"user-data-dir={folder / 'profile'}"]}
            wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
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
