"""Where blocks were joined the sound is as it is elsewhere: no step, no bend, no change of colour, no dip in level.

The frames of 10 ms leave a pattern of their own in what a random network makes, so joints are compared with the
frames that are none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boundaries
import numpy as np
import pytest
import soundfile
import torch
import weights
from altervox.kernels.crossfade import CrossfadeState, crossfade_into
from altervox.models import load_voice
from altervox.models.resample import resampled
from altervox.models.rvc.decoder import DecoderShape
from altervox.models.rvc.synthesizer import Synthesizer
from altervox.realtime import Engine, StreamConfig
from altervox.realtime.stages.waveform import StreamingGenerator

DATA = Path(__file__).parents[2] / "data"
PER_FRAME, FRAMES, LOOKAHEAD = 400, 700, 4


@pytest.fixture(scope="module")
def net() -> Synthesizer:
    """A network in which the source is heard, as it is in a trained one."""
    net = Synthesizer(DecoderShape(40000, (10, 10, 2, 2), (16, 16, 4, 4), 32), 768, 1, has_f0=True)
    net.load_state_dict(weights.fill_network(net))
    with torch.no_grad():
        for conv in net.dec.noise_convs or ():
            assert isinstance(conv, torch.nn.Conv1d)
            conv.weight.mul_(30.0)
    return net


def melody(kind: str) -> np.ndarray:
    """F0 of a sustained vowel, a glide, speech, a whisper."""
    t = np.arange(FRAMES)
    speech = np.where(t // 37 % 4 == 3, 0.0, 150 + 40 * np.sin(t / 9))
    kinds = {"vowel": np.full(FRAMES, 143.7), "glide": 110 * 2 ** (t / FRAMES * 1.5), "speech": speech}
    return kinds.get(kind, np.zeros(FRAMES)).astype(np.float32)


@torch.inference_mode()
def rendered(net: Synthesizer, kind: str, block: int, first: int, frames: int = FRAMES) -> np.ndarray:
    """A stream whose joints lie at frames `first + n * block`, from frame `first` on."""
    generator = torch.Generator().manual_seed(1)
    m = 0.5 * torch.randn(1, 192, FRAMES if kind == "speech" else 1, generator=generator).expand(-1, -1, FRAMES)
    logs, f0 = torch.full((1, 192, FRAMES), -1.5), melody(kind)
    stream, fade = StreamingGenerator(net, block, LOOKAHEAD, tail_frames=1), CrossfadeState.allocate(PER_FRAME)
    parts = []
    wav = np.zeros(stream.samples, dtype=np.float32)
    for start in range(first, frames - block - LOOKAHEAD, block):
        seen = slice(start, start + block + LOOKAHEAD)
        out = np.zeros(block * PER_FRAME, dtype=np.float32)
        stream.step(m[..., seen], logs[..., seen], f0[seen], 0, start, 0.0, 0, wav)
        crossfade_into(wav, fade, out)
        parts.append(out)
    return np.concatenate(parts)


def joints_and_others(x: np.ndarray, block: int, per_frame: int, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the joints after `first` frames, and of the frames between."""
    frames = np.arange(first, len(x) // per_frame)
    return frames[frames % block == 0] * per_frame, frames[frames % block != 0] * per_frame


@pytest.mark.parametrize("block", [2, 10])
@pytest.mark.parametrize("kind", ["vowel", "glide", "speech", "whisper"])
def test_joints_are_as_other_frames(kind: str, block: int, net: Synthesizer) -> None:
    first = block // 2 if kind in ("glide", "whisper") else 0  # two phases of the blocks against the sound
    out = rendered(net, kind, block, first, 500 if block == 2 else FRAMES)
    joints, others = joints_and_others(out, block, PER_FRAME, 20)
    found = boundaries.ratios(out, joints, others)
    assert all(ratio <= limit for ratio, limit in found.values()), found
    assert abs(boundaries.level_db(out, joints, others, 140, 260)) < 0.6


@pytest.mark.parametrize(("broken", "kind"), [("phase", "glide"), ("phase", "speech"), ("noise", "whisper")])
def test_a_phase_or_noise_of_the_blocks_own_shows(
    broken: str, kind: str, net: Synthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renderings that do not agree lose level where one fades into the other."""
    draws, draw, render_source = iter(range(10_000)), StreamingGenerator._draw_latent, StreamingGenerator._render_source

    def source(self: StreamingGenerator, part: Any, f0: np.ndarray, start: int, seed: int) -> None:
        if broken == "phase":
            self.state.phase.zero_()
        render_source(self, part, f0, start, seed if broken == "phase" else next(draws))

    def prior(self: StreamingGenerator, m: torch.Tensor, logs: torch.Tensor, start: int, seed: int) -> None:
        draw(self, m, logs, start, seed if broken == "phase" else next(draws))

    monkeypatch.setattr(StreamingGenerator, "_render_source", source)
    monkeypatch.setattr(StreamingGenerator, "_draw_latent", prior)
    for block in (2, 10):
        out = rendered(net, kind, block, 0, FRAMES // 2)
        assert boundaries.level_db(out, *joints_and_others(out, block, PER_FRAME, 20), 140, 260) < -1.2


@pytest.mark.parametrize(
    ("name", "block_ms", "recording"),
    [
        ("woman", 20, "librivox_male.wav"),
        ("woman", 100, "alsa_female.wav"),
        ("robot", 20, "alsa_female.wav"),
        ("robot", 100, "librivox_male.wav"),
    ],
)
def test_speech_of_dsp_voices_has_no_joints(name: str, block_ms: int, recording: str) -> None:
    """Four phases of the blocks against the sound, together; joints against all other positions in the blocks."""
    audio, rate = soundfile.read(DATA / recording, dtype="float32")
    audio = np.concatenate(list(resampled([audio[: 3 * rate]], rate, 24000)))
    parts, block = [], 24 * block_ms
    for quarter in range(4):
        engine = Engine(load_voice(name), StreamConfig(sample_rate=24000, block_ms=block_ms))
        x = np.concatenate((np.zeros(block * quarter // 4, dtype=np.float32), audio))
        x = x[: len(x) // block * block]
        out = np.empty_like(x)
        for start in range(0, len(x), block):
            engine.process(x[start : start + block], out[start : start + block])
        # In the engine's output the stage's joints stand later by the delay of synthesis and resamplers.
        out = out[engine.latency_samples - 30 * 24 :]
        parts.append(out[: len(out) // block * block])
    out = np.concatenate(parts)
    joints = np.arange(0, len(out), block)
    others = np.concatenate([joints + block * part // 16 for part in range(1, 16)])
    found = boundaries.ratios(out, joints, others)
    assert all(ratio <= limit for ratio, limit in found.values()), found
