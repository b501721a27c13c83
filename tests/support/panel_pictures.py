"""Takes the pictures of the web panel for the docs: a live session with speech between virtual devices, in Chromium.

    .venv/bin/python tests/support/panel_pictures.py [FOLDER]

writes panel_dark.png, panel_light.png, panel_microphone.png, panel_phone.png and panel_dock.png to docs/figures, or to
the folder. Needs what the rig needs (see pulse.py) and Chromium with its driver; Debian's fonts-inter makes the text
look as on most systems.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import soundfile
import soxr
from browser import Browser, chromium
from PIL import Image
from pulse import RATE, PulseServer, pulse_server

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "docs" / "figures"
SPEECH = ROOT / "tests" / "data" / "librivox_male.wav"
DESK = (
    "module-null-sink sink_name=mic rate=48000 channels=1 format=float32le",
    "module-remap-source master=mic.monitor source_name=mic_source channels=1 remix=no"
    " source_properties=\"device.description='USB Microphone'\"",
    "module-null-sink sink_name=altervox_cable rate=48000 channels=2 format=float32le"
    " sink_properties=\"device.description='altervox cable'\"",
    "module-remap-source master=altervox_cable.monitor source_name=altervox_microphone"
    " source_properties=\"device.description='altervox microphone'\"",
    "module-null-sink sink_name=headphones rate=48000 channels=2 format=float32le"
    " sink_properties=\"device.description='Headphones'\"",
)
DEVICES = ["--input", "USB Microphone", "--output", "altervox cable", "--monitor", "Headphones"]
HEALTHY = """
const text = id => document.querySelector(id).textContent;
const isWell = text("#trouble-text").startsWith("Nothing was lost");
return isWell && Number(text("#latency")) < 125 && text("#clock") > "0:00:14";
"""
SPEAKING = """(() => {
const number = id => Number(document.querySelector(id).textContent);
const level = id => new DOMMatrix(getComputedStyle(document.querySelector(id)).transform).a;
return number("#mic-ms") > 0 && number("#mic-ms") < 220 && level("#mic-in") > 0.5 && level("#mic-out") > 0.5;
})()"""
LOUD = "return Number(document.querySelector('#meter-out').getAttribute('aria-valuenow')) > -18"
TAKEN_WITHIN_S = 90.0


@contextmanager
def speaking(rig: PulseServer) -> Iterator[None]:
    """Somebody speaks into the microphone."""
    said, rate = soundfile.read(SPEECH, dtype="float32")
    audio = soxr.resample(said, rate, RATE)
    over = threading.Event()

    def speak() -> None:
        while not over.is_set():
            rig.play(np.concatenate([audio, np.zeros(RATE // 3, np.float32)]), "mic")

    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)


@contextmanager
def serving(environment: dict[str, str]) -> Iterator[str]:
    """`altervox serve` with a running session; gives the panel's address with a token that opens it once."""
    command = [sys.executable, "-m", "altervox.tools", "serve", "--start", "--port", "0", "--voice", "woman", *DEVICES]
    with subprocess.Popen(
        [*command, "--gate-db", "-50"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            found = (re.search(r"https?://\S+#\S+", line) for line in process.stdout)
            yield next(match[0] for match in found if match)
        finally:
            process.terminate()


def take(page: Browser, file: Path, width: int, scale: float, height: int = 0) -> None:
    """A picture while the session is healthy and somebody speaks loudly enough; of the whole page without a height."""
    page.resize(width, height or 100, scale)
    if not height:
        page.resize(width, page.page_height, scale)
    end = time.monotonic() + TAKEN_WITHIN_S
    while not (page.run(HEALTHY) and page.run(LOUD)):
        if time.monotonic() > end:
            sys.exit(f"{file.name}: the session is not healthy: {page.run('return document.body.innerText')}")
        time.sleep(0.05)
    save(Image.open(io.BytesIO(page.picture())), file)


def take_microphone(page: Browser, file: Path) -> None:
    """A picture of the section where a browser is microphone and headphones, while it is."""
    page.run("document.querySelector('#browser-audio').open = true")
    page.run(
        "const voice = document.querySelector('#mic-voice'); voice.value = 'robot'; voice.onchange({target: voice})"
    )
    page.run("document.querySelector('#mic-power').click()")
    page.until(SPEAKING, timeout=TAKEN_WITHIN_S)
    page.resize(1000, 100, 1.2)
    page.resize(1000, page.page_height, 1.2)
    page.until(SPEAKING, timeout=TAKEN_WITHIN_S)
    box = page.run("const box = document.querySelector('#browser-audio').getBoundingClientRect(); return box.toJSON()")
    left, top, right, bottom = (round(1.2 * box[name]) for name in ("left", "top", "right", "bottom"))
    save(Image.open(io.BytesIO(page.picture())).crop((left, top, right, bottom)), file)
    page.run("document.querySelector('#mic-power').click(); document.querySelector('#browser-audio').open = false")


def save(picture: Image.Image, file: Path) -> None:
    picture = picture.convert("RGB")
    # Colours of a palette are enough, and gradients need dithering then; a third of the size.
    picture.quantize(palette=picture.quantize(256, kmeans=1)).save(file, optimize=True)
    print(file, picture.size, file.stat().st_size)


def main(folder: Path) -> None:
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        rig = stack.enter_context(pulse_server(scratch / "pulse", DESK))
        environment = {**rig.environment, "ALTERVOX_HOME": str(scratch / "home"), "OMP_NUM_THREADS": "1"}
        stack.enter_context(speaking(rig))
        address = stack.enter_context(serving(environment))
        devices = {"PULSE_SOURCE": "mic_source", "PULSE_SINK": "headphones"}  # of the browser
        page = stack.enter_context(chromium({**os.environ, **rig.variables, **devices}, scratch))
        page.prefer("dark")
        page.call("url", url=address)
        page.until("document.querySelector('#tone .range')")
        page.run(f"localStorage.setItem('altervox.favourites', JSON.stringify({json.dumps(['woman', 'robot'])}))")
        page.call("refresh")
        page.until("document.querySelector('#tone .range')")
        page.until("document.querySelector('#phase').textContent == 'Live'")
        page.run("document.querySelector('#tone button[aria-label^=\"Pitch +1 \"]').click()")
        take(page, folder / "panel_dark.png", 1180, 1.0)
        page.prefer("light")
        page.run("document.querySelector('#details').open = true")
        take(page, folder / "panel_light.png", 1180, 0.85)
        page.run("document.querySelector('#details').open = false")
        take_microphone(page, folder / "panel_microphone.png")
        page.prefer("dark")
        take(page, folder / "panel_phone.png", 390, 1.5, 844)
        page.call("url", url=f"{address.split('#')[0]}?view=dock")
        page.until("document.querySelector('#tone .range')")
        take(page, folder / "panel_dock.png", 300, 2.0)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FIGURES)
