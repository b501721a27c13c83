"""Feature retrieval in a stream: searched for are the features that the block takes, and no others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import made_up_voice
import numpy as np
import pytest
import soundfile
import torch
from altervox.models.retrieval import FeatureIndex
from altervox.models.rvc.content import Hubert
from altervox.models.voice import VoiceParams
from altervox.realtime.config import StreamConfig
from altervox.realtime.stages.features import RvcLengths
from altervox.realtime.stages.rvc import RvcStage
from altervox.realtime.stages.waveform import StreamingGenerator
from altervox.realtime.state import restore, snapshot
from torch import Tensor

PARAMS = VoiceParams(rms_mix=1.0, index_rate=0.75)
CONFIGS = [
    StreamConfig(block_ms=20, context_ms=200),
    StreamConfig(block_ms=100, context_ms=400, lookahead_ms=70),
    StreamConfig(block_ms=500, context_ms=400, lookahead_ms=200),
]


class CountedIndex(FeatureIndex):
    """Knows how many features were searched for in each call."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__(vectors)
        self.searched: list[int] = []

    def neighbours(self, features: Tensor, most: int = 8) -> Tensor:
        self.searched.append(len(features))
        return super().neighbours(features, most)


@pytest.fixture(autouse=True)
def no_waveform(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is rendered from the prior is not looked at, and takes longer than all before it."""
    monkeypatch.setattr(StreamingGenerator, "step", lambda *_: None)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return np.asarray(soundfile.read(Path(__file__).parents[2] / "data" / "librivox_male.wav", dtype="float32")[0])


@pytest.fixture(scope="module")
def content() -> Hubert:
    return made_up_voice.content()


@pytest.fixture(scope="module")
def vectors(content: Hubert, speech: np.ndarray) -> Tensor:
    return content.features(torch.from_numpy(speech)[None], "v2")[0, ::2].clone()


def stage_of(content: Hubert, vectors: Tensor, config: StreamConfig) -> tuple[RvcStage, CountedIndex]:
    voice = made_up_voice.voice()
    voice.index = index = CountedIndex(vectors)
    return RvcStage(voice, content, None, config), index


def priors(stage: RvcStage, speech: np.ndarray, params: VoiceParams = PARAMS, late: tuple[int, ...] = ()) -> np.ndarray:
    """Prior means of all blocks but the late ones."""
    size, found = stage.block * 160, []
    for i in range(len(speech) // size):
        block = speech[i * size : (i + 1) * size]
        if i in late:
            stage.advance(block, params)
            continue
        stage.process(block, params, np.zeros(stage.block * stage.per_frame, dtype=np.float32))
        found.append(stage.prior.outputs["m"].numpy().copy())
    return np.stack(found)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.block_ms}+{c.lookahead_ms}")
def test_a_block_searches_for_what_it_renders(
    config: StreamConfig, content: Hubert, vectors: Tensor, speech: np.ndarray
) -> None:
    """Also after late blocks and changes of the rate: no block may cost more than the others."""
    stage, index = stage_of(content, vectors, config)
    part = speech[: 8 * stage.block * 160]
    priors(stage, part, late=(3, 4))
    priors(stage, part, replace(PARAMS, index_rate=0.0))
    priors(stage, part)
    rendered = config.block_ms + config.lookahead_ms - 20
    assert set(index.searched) == {-(-rendered // 20)}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.block_ms}+{c.lookahead_ms}")
def test_it_sounds_as_if_the_whole_window_were_searched_for(
    config: StreamConfig, content: Hubert, vectors: Tensor, speech: np.ndarray
) -> None:
    (stage, _), (whole, index) = (stage_of(content, vectors, config) for _ in range(2))
    assert whole.state.found is not None
    whole._searched = len(whole.state.found.neighbours_mem)
    part = speech[: 24000 if config.block_ms == 20 else 32000]
    found, expected, without = (
        priors(stage, part),
        priors(whole, part),
        priors(stage_of(content, vectors, config)[0], part, replace(PARAMS, index_rate=0.0)),
    )
    assert set(index.searched) == {whole._searched}
    rendered = stage.prior.inputs["phone"][:, -RvcLengths.of(config).rendered :]
    torch.testing.assert_close(rendered, whole.prior.inputs["phone"][:, -rendered.shape[1] :])
    # The context keeps what was found when it was rendered, from features that saw less of what follows.
    settled = config.context_ms // config.block_ms + 1  # the window before the stream is not searched for
    error, effect = (
        np.sqrt(np.mean((x - expected)[settled:] ** 2) / np.mean(expected[settled:] ** 2)) for x in (found, without)
    )
    assert error < 0.15, "the features of random weights change far more from window to window than trained ones"
    assert error < 0.45 * effect


def test_state_replays_exactly(content: Hubert, vectors: Tensor, speech: np.ndarray) -> None:
    stage, _ = stage_of(content, vectors, CONFIGS[1])
    first = priors(stage, speech[:16000])
    saved = snapshot(stage.state)
    second = priors(stage, speech[16000:32000])
    restore(stage.state, saved)
    np.testing.assert_array_equal(priors(stage, speech[16000:32000]), second)
    stage.reset()
    assert stage.state.found is not None
    assert not stage.state.found.searched_mem.any()
    np.testing.assert_array_equal(priors(stage, speech[:16000]), first)
