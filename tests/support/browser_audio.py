"""A panel whose browser is microphone and headphones: it hears a WAV, and a sound server hears what it plays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from browser import RATE, Browser, chromium
from numpy.typing import NDArray
from panel_page import PanelPage
from pulse import PulseServer

SILENCE_S = 1.0  # before what is said
VIEW = 'const done = [...arguments].pop(); import("/microphone_view.js").then(async ({microphone}) => {'
# A fake microphone plays its file from the moment when it is opened.
SPEAK = VIEW + "await microphone.useInput({input: '', isProcessed: false}); done(); })"
REPORT = VIEW + "const {link, terminal, deviceMs} = microphone; done({...link, terminal, deviceMs}); })"


@contextmanager
def speaking_browser(rig: PulseServer, folder: Path, said: NDArray[Any], sink: str) -> Iterator[Browser]:
    """A browser that plays into that sink, and whose microphone hears samples of 48 kHz once, after some silence."""
    folder.mkdir(exist_ok=True)
    file = folder / "said.wav"
    soundfile.write(file, np.concatenate([np.zeros(round(SILENCE_S * RATE)), said, np.zeros(RATE)]), RATE)
    fake = ("use-fake-device-for-media-stream", f"use-file-for-fake-audio-capture={file}%noloop")
    with chromium(
        {**rig.environment, "PULSE_SINK": sink}, folder, *fake, "autoplay-policy=no-user-gesture-required"
    ) as browser:
        browser.resize(1180, 1000)
        yield browser


class BrowserAudio:
    """The section *Microphone of this browser* of an open panel.

    Args:
        page: The panel.
    """

    def __init__(self, page: PanelPage) -> None:
        self._page, self._browser = page, page.browser
        self._browser.run("document.querySelector('#browser-audio').open = true")

    def start(self, voice: str) -> None:
        """Begin a session with a voice."""
        self._page.until("[...$('#mic-voice').options].some(option => option.value == arguments[0])", voice)
        self._page.click(f"#mic-voice option[value='{voice}']")
        self._page.click("#mic-power")
        self._browser.until(
            "document.querySelector('#mic-text').textContent.endsWith('is heard.')", timeout=90.0
        )  # a worker that starts beside busy programs takes its time

    def speak(self) -> None:
        """Have the microphone hear the file, from its beginning."""
        self._browser.call("execute/async", script=SPEAK, args=[])

    def report(self) -> dict[str, Any]:
        """What worker and audio thread have reported last."""
        return dict(self._browser.call("execute/async", script=REPORT, args=[]))

    def stop(self) -> None:
        """End the session."""
        self._page.click("#mic-power")
        self._page.until("$('#mic-power').textContent == 'Start' && $('#mic-text').textContent == ''")
