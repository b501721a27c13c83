"""The parts of the panel's microphone that need no sound: frames, ring and jitter buffer, in a real Chromium."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser
import pytest
from panel_page import opened
from remote_session import MemorySession

pytestmark = pytest.mark.linux

FRAMES = """
const {encode, decode} = await import("/frames.js");
const hex = buffer => [...new Uint8Array(buffer)].map(byte => byte.toString(16).padStart(2, "0")).join("");
const header = {session: 513, seq: 4294967295, position: 2 ** 40 + 5, flags: 1};
const sent = encode(header, new Float32Array([0, 0.5, -1, 2, NaN, 1 / 32768]));
const frame = Uint8Array.from(arguments[0]).buffer;
const {samples, ...got} = decode(frame);
const refused = [];
for (const [at, byte] of [[0, 1], [1, 2], [2, 1], [3, 1]]) {
  const other = new Uint8Array(frame.slice(0));
  other[at] = byte;
  try { decode(other.buffer) } catch (error) { refused.push(error.name) }
}
for (const short of [frame.slice(0, 23), frame.slice(0, 27), new ArrayBuffer(0)]) {
  try { decode(short) } catch (error) { refused.push(error.name) }
}
return {sent: hex(sent), got, samples: [...samples], refused};
"""
RING = """
const {Ring} = await import("/ring.js");
const memory = Ring.memory(arguments[0]);
const [writer, reader] = [new Ring(memory), new Ring(memory)];
const counters = new Int32Array(memory, 0, 2);
counters.fill(-100);  // the counters run over soon
let next = 0, expected = 0, lost = 0;
const wrong = [];
const target = new Float32Array(300);
for (const [written, read] of arguments[1]) {
  writer.write(Float32Array.from({length: written}, () => next++ % 4096));
  if (!reader.read(target, read)) continue;
  expected += reader.lost - lost;
  lost = reader.lost;
  for (let i = 0; i < read; i += 1) if (target[i] !== expected++ % 4096) wrong.push([expected, target[i]]);
}
return {shared: memory instanceof SharedArrayBuffer, capacity: reader.capacity, next, expected, lost, fill: reader.fill,
  wrong: wrong.slice(0, 5)};
"""
# Plays a tone through a jitter buffer, quantum by quantum; `late` says by how many seconds a delivery is.
PLAY = """
const {Ring} = await import("/ring.js");
const {JitterBuffer} = await import("/jitter.js");
const [seconds, delivery, kind] = arguments;
const [rate, quantum] = [48000, 128];
let seed = 1;
const random = () => (seed = (16807 * seed) % 2147483647) / 2147483647;
const late = {
  even: () => 0,
  uneven: () => 0.03 * random(),
  slower: k => (k * delivery > 20 * rate ? 0.05 * random() : 0),
  gap: k => Math.max(0, k * delivery < 5 * rate ? 0 : 5.6 - (k * delivery) / rate),
  often: k => (k * delivery) / rate % 2 < 0.3 ? 0.3 - (k * delivery) / rate % 2 : 0,
}[kind];
const memory = Ring.memory(rate);
const [writer, reader] = [new Ring(memory), new Ring(memory)];
const buffer = new JitterBuffer(reader, rate, delivery);
const out = new Float32Array(quantum);
const tone = (at) => (arguments[3] ? 0 : 0.5 * Math.sin(2 * Math.PI * 100 * at / rate));
let [given, due, last, steepest] = [0, 0, 0, 0];
const found = [];
for (let now = 0; now < seconds * rate; now += quantum) {
  while (now >= due) {  // no delivery overtakes the one before it
    writer.write(Float32Array.from({length: delivery}, (_, i) => tone(given + i)));
    given += delivery;
    due = Math.max(due, given + delivery + rate * late(given / delivery));
  }
  buffer.pull(out);
  for (const sample of out) {
    steepest = Math.max(steepest, Math.abs(sample - last));
    last = sample;
  }
  const line = () => [buffer.underruns, buffer.dropped, Math.round(buffer.depthMs), 1000 * reader.fill / rate];
  if ((now + quantum) % rate < quantum) found.push(line());
}
return {found, steepest};
"""


@pytest.fixture
def page(chromium: browser.Browser, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[browser.Browser]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path))
    with opened(chromium, MemorySession()):
        yield chromium


def run(page: browser.Browser, script: str, *arguments: Any) -> Any:
    """What the body of an asynchronous function returns within the page."""
    end = "(...arguments).then(done, error => done(String(error)))"
    body = f"const done = [...arguments].pop(); (async function() {{{script}}}){end}"
    return page.call("execute/async", script=body, args=list(arguments))


def test_frames_have_the_documented_header(page: browser.Browser) -> None:
    header = struct.pack("<BBBBHHIIQ", 0xA7, 1, 2, 0, 4 | 16, 513, 7, 0, 2**40 + 9)
    found = run(page, FRAMES, list(header + struct.pack("<3h", -32768, 0, 16384)))
    words = (0, 16384, -32768, 32767, 0, 1)
    sent = struct.pack("<BBBBHHIIQ6h", 0xA7, 1, 1, 0, 1, 513, 2**32 - 1, 0, 2**40 + 5, *words)
    assert found["sent"] == sent.hex()
    assert found["got"] == {"flags": 20, "session": 513, "seq": 7, "position": 2**40 + 9}
    assert found["samples"] == [-1.0, 0.0, 0.5]
    assert found["refused"] == ["TypeError"] * 7


def test_a_ring_loses_the_oldest_and_counts_them(page: browser.Browser) -> None:
    found = run(page, RING, 1000, [[128, 100]] * 30)
    assert (found["shared"], found["capacity"], found["wrong"], found["lost"]) == (True, 1024, [], 0)
    assert (found["fill"], found["expected"]) == (30 * 28, 3000)
    found = run(page, RING, 1000, [[128, 300], *[[300, 100]] * 10, [0, 300], [0, 300], [0, 300], [0, 300]])
    assert found["wrong"] == []
    assert found["lost"] > 0
    assert found["expected"] + found["fill"] == found["next"]


@pytest.mark.parametrize(
    ("kind", "underruns", "depth_ms"),
    [("even", 0, 20), ("uneven", 2, 45), ("slower", 2, 60), ("often", 31, 200)],
)
def test_a_jitter_buffer_is_as_deep_as_it_must_be(
    page: browser.Browser, kind: str, underruns: int, depth_ms: int
) -> None:
    """Delivered on time; up to 30 ms late; up to 50 ms late after 20 s; and 0.3 s late every other second."""
    found = run(page, PLAY, 60, 960, kind)
    seconds = found["found"]
    assert seconds[-1][0] <= underruns, seconds
    assert max(line[2] for line in seconds[-15:]) <= depth_ms, seconds
    assert found["steepest"] < 0.02, "it clicks: the tone itself is no steeper than 0.007"
    if kind != "often":  # it has adapted, and loses nothing any more
        assert seconds[-1][:2] == [seconds[-30][0], 0], seconds


def test_a_jitter_buffer_is_back_after_a_gap(page: browser.Browser) -> None:
    found = run(page, PLAY, 30, 960, "gap")["found"]
    assert found[-1][0] == 1
    assert found[-1][2] <= 45, found
    assert max(line[3] for line in found) <= 200, found  # what has come late is not played late


def test_silence_becomes_shorter_first(page: browser.Browser) -> None:
    found = [run(page, PLAY, 11, 960, "even", is_silent)["found"][-1] for is_silent in (False, True)]
    assert found[0][2] > found[1][2], found


def test_long_blocks_are_waited_for(page: browser.Browser) -> None:
    found = run(page, PLAY, 20, 4800, "even")["found"]
    assert (found[-1][0], found[-1][1]) == (0, 0)
    assert 50 <= found[-1][2] <= 125, found
