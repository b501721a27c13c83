"""The web panel in a real Chromium, as tests press and read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from altervox.realtime.serve.server import RemoteServer
from altervox.realtime.serve.settings import ServerSettings
from altervox.realtime.session.commands import Set
from altervox.realtime.session.status import Latency
from browser import Browser
from remote_session import MemorySession

# Chromium reports these on the console while a test has its server down; anything else there is a fault.
LOST = ("ERR_CONNECTION_REFUSED", "WebSocket connection to", "ERR_CONNECTION_RESET")
# Elements with text on a plain background: their contrast, where it is below WCAG's AA.
CONTRAST = """
const channel = x => (x /= 255) <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const colour = text => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
const over = (top, under) => top.slice(0, 3).map((x, i) => x * top[3] + under[i] * (1 - top[3]));
const found = [];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
  if (!own || element.closest(".art, .hidden, svg, :disabled") || !element.checkVisibility()) continue;
  let back = [0, 0, 0, 0];
  for (let up = element; up && back[3] < 1; up = up.parentElement) {
    const layer = colour(getComputedStyle(up).backgroundColor);
    if (layer[3]) back = [...over(back, layer), Math.max(layer[3], back[3])];
  }
  const text = over(colour(getComputedStyle(element).color), back);
  const [low, high] = [luminance(text), luminance(back)].sort((a, b) => a - b);
  const ratio = (high + 0.05) / (low + 0.05);
  if (ratio < 4.5) found.push(`${element.tagName}#${element.id} "${element.textContent.slice(0, 30)}" ${ratio}`);
}
return found;
"""
NAMELESS = """
return [...document.querySelectorAll("button, input, select, canvas")].filter(element =>
  !(element.getAttribute("aria-label") || element.labels?.length || element.textContent.trim()))
  .map(element => element.outerHTML.slice(0, 80));
"""
OVERLAPS = """
const all = [...document.querySelectorAll("button:not(.star), input, select, canvas, output")];
const shown = all.filter(e => e.checkVisibility());
const boxes = shown.map(e => [e, e.getBoundingClientRect()]);
const found = [];
for (const [a, p] of boxes) for (const [b, q] of boxes) {
  if (a === b || a.contains(b) || b.contains(a) || a.closest(".grid") || b.closest(".grid")) continue;
  const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left);
  const high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
  if (wide > 1 && high > 1) found.push(`${a.id || a.textContent} over ${b.id || b.textContent}`);
}
return found;
"""
CUT_OFF = """
const all = [...document.querySelectorAll("button, label, h2, .phase, .caption, output")];
return all.filter(e => e.checkVisibility() && !e.closest(".tile, .hidden") && e.clientWidth > 0
  && e.scrollWidth > e.clientWidth + 1).map(e => e.id || e.textContent);
"""
LATENCY = Latency(5.0, 40.0, 8.0, 1.0, 4.0, 10.0, 15.0, 68.0)


def pitch(semitones: float) -> Set:
    """The command that sets the pitch."""
    return Set({"pitch_semitones": semitones})


class PanelPage:
    """A panel that is open.

    Args:
        browser: Browser with one page.
        address: Address of the panel, with its one-time token.
    """

    def __init__(self, browser: Browser, address: str) -> None:
        self.browser = browser
        self.address = address
        self.open(address)

    def open(self, address: str) -> None:
        """Go to an address, also to one that differs from the present one behind its # only."""
        self.browser.call("url", url="about:blank")
        self.browser.log()
        self.browser.call("url", url=address)

    def until(self, condition: str, *arguments: Any) -> Any:
        """The value of an expression as soon as it is true; `$` is short for `document.querySelector`."""
        return self.browser.until(
            f"(() => {{const $ = q => document.querySelector(q); return {condition}}})()", *arguments
        )

    def until_open(self) -> None:
        """Until it is connected and shows the session."""
        self.until("$('#link').dataset.state == 'open' && $('#tone .range') && $('.tile')")

    def until_text(self, selector: str, text: str) -> None:
        """Until an element's text holds that."""
        self.until(f"($({selector!r})?.textContent ?? '').includes(" + json.dumps(text) + ")")

    def text(self, selector: str) -> str:
        """The text of an element."""
        return str(self.browser.run(f"return document.querySelector({selector!r}).textContent.trim()"))

    def click(self, selector: str) -> None:
        """Press an element as a mouse does: it must be visible, enabled and not covered."""
        found = self.browser.call("element", using="css selector", value=selector)
        self.browser.call(f"element/{next(iter(found.values()))}/click")

    def type(self, selector: str, text: str) -> None:
        """Type into an element."""
        found = self.browser.call("element", using="css selector", value=selector)
        self.browser.call(f"element/{next(iter(found.values()))}/value", text=text)

    def press(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.browser.call("actions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])

    def pointer(self, *actions: dict[str, Any]) -> None:
        """Move and press the mouse."""
        self.browser.call("actions", actions=[{"type": "pointer", "id": "mouse", "actions": list(actions)}])

    def faults(self) -> list[str]:
        """Errors on the console, and requests to anything but this server."""
        names = self.browser.run("return performance.getEntriesByType('resource').map(entry => entry.name)")
        own = (self.browser.run("return location.origin"), "blob:")
        foreign = [name for name in names if not name.startswith(own)]
        return [line for line in self.browser.log() if not any(part in line for part in LOST)] + foreign


@contextmanager
def opened(
    browser: Browser, session: MemorySession, query: str = "", **settings: Any
) -> Iterator[tuple[PanelPage, RemoteServer]]:
    """A panel that is open; at the end there must have been no error, refused request or request to elsewhere."""
    with RemoteServer(session, ServerSettings(port=0, **settings)) as server:
        page = PanelPage(browser, server.panel_link().replace("#", f"{query}#"))
        page.until_open()
        yield page, server
        faults = page.faults()
        assert faults == [], faults
