"""Streaming RMVPE: pieces, state, equality with the one-shot network, and length."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from altervox.kernels.errors import ParameterError
from altervox.models.pitch.rmvpe import RMVPE
from altervox.realtime.stages.pitch import StreamingRMVPE
from altervox.realtime.state import restore, snapshot
from torch import nn

DATA = Path(__file__).parents[2] / "data"
HOP = 160


@pytest.fixture(scope="module")
def model() -> RMVPE:
    """RMVPE's architecture at a fraction of its width, with random weights."""
    torch.manual_seed(0)
    net = RMVPE(base_channels=4, blocks=1, intermediate_layers=1, gru_size=32)
    state = net.state_dict()  # its tensors are the network's own
    state["unet.encoder.bn.running_mean"].fill_(-5.0)
    state["unet.encoder.bn.running_var"].fill_(5.0)
    state["fc.1.weight"].mul_(4.0)
    return net


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    audio = soundfile.read(DATA / "librivox_male.wav", dtype="float32")[0]
    return np.asarray(np.tile(audio, 5)[: 22 * 16000 + 91])


def stream(tracker: StreamingRMVPE, audio: np.ndarray, pieces: list[int] | int) -> np.ndarray:
    sizes = [pieces] if isinstance(pieces, int) else pieces
    parts, start, i = [], 0, 0
    while start < len(audio):
        size = sizes[i % len(sizes)]
        parts.append(tracker.push(audio[start : start + size]))
        start, i = start + size, i + 1
    return np.concatenate(parts)


@pytest.mark.parametrize(("block", "right"), [(1, 0), (2, 0), (2, 2), (10, 4), (40, 8)])
def test_pieces_make_no_difference(model: RMVPE, speech: np.ndarray, block: int, right: int) -> None:
    audio = speech[: (16000 if block == 1 else 24000) + 7]
    tracker = StreamingRMVPE(model, block, right)
    expected = stream(tracker, audio, len(audio))
    assert len(expected) == len(audio) // HOP // block * block - 3 - right
    for pieces in (160, [1, 3000, 7, 159, 161, 500]):
        tracker.reset()
        np.testing.assert_array_equal(stream(tracker, audio, pieces), expected)


def test_single_samples_make_no_difference(model: RMVPE, speech: np.ndarray) -> None:
    tracker = StreamingRMVPE(model, 2, 2)
    expected = tracker.push(speech[:9000])
    tracker.reset()
    np.testing.assert_array_equal(stream(tracker, speech[:9000], 1), expected)


@pytest.mark.parametrize(("block", "right"), [(2, 2), (10, 0)])
def test_a_restored_state_replays_exactly(model: RMVPE, speech: np.ndarray, block: int, right: int) -> None:
    tracker = StreamingRMVPE(model, block, right)
    stream(tracker, speech[:20000], 777)
    saved = snapshot(tracker.state)
    address = tracker.state.h_mem.data_ptr()
    first = stream(tracker, speech[20000:40000], 777)
    restore(tracker.state, saved)
    np.testing.assert_array_equal(stream(tracker, speech[20000:40000], 500), first)
    assert tracker.state.h_mem.data_ptr() == address == tracker.runner.inputs["h_in"].data_ptr()
    assert tracker.state.h_mem.is_contiguous()


def test_with_480_frames_on_both_sides_it_is_the_one_shot_network(model: RMVPE, speech: np.ndarray) -> None:
    with torch.inference_mode():
        expected = model.salience(model.mel(torch.from_numpy(speech)[None]))[0].numpy()
    tracker = StreamingRMVPE(model, block_frames=64, right_frames=480, window_frames=1088)
    got = tracker.push_salience(speech)
    inside = slice(600, len(got) - 100)
    np.testing.assert_allclose(got[inside], expected[: len(got)][inside], atol=1e-3)


def test_the_carried_state_brings_it_nearer_to_one_shot(model: RMVPE, speech: np.ndarray) -> None:
    with torch.inference_mode():
        expected = model.salience(model.mel(torch.from_numpy(speech)[None]))[0].numpy()
    errors = {}
    for carried in (True, False):
        tracker, parts = StreamingRMVPE(model, 2, 4), []
        for start in range(0, 4 * 16000, 2 * HOP):
            parts.append(tracker.push_salience(speech[start : start + 2 * HOP]))
            if not carried:
                tracker.state.h_mem.zero_()
        got = np.concatenate(parts)
        errors[carried] = np.abs(got[100:] - expected[100 : len(got)]).mean()
    assert errors[True] < 0.5 * errors[False]


def test_strided_audio_makes_no_difference(model: RMVPE, speech: np.ndarray) -> None:
    tracker = StreamingRMVPE(model, 2, 2)
    expected = tracker.push_salience(speech[:8000])
    tracker.reset()
    stereo = np.stack((speech[:8000], np.zeros(8000, dtype=np.float32)), axis=1)
    np.testing.assert_array_equal(tracker.push_salience(stereo[:, 0]), expected)


def test_a_refusal_by_cudnn_leaves_the_stream_the_same(
    model: RMVPE, speech: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stands in for the driver, as in the test of the layer itself."""
    tracker = StreamingRMVPE(model, 2, 2)
    expected = tracker.push_salience(speech[:8000])
    tracker.reset()
    before = model.gru.cudnn_refusals

    def refusing(self: nn.GRU, *args: Any) -> Any:
        raise RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED")

    monkeypatch.setattr(nn.GRU, "forward", refusing)
    np.testing.assert_allclose(tracker.push_salience(speech[:8000]), expected, atol=1e-5)
    assert model.gru.cudnn_refusals - before == -(-len(expected) // 2), "once a step"


@pytest.mark.gpu
@pytest.mark.parametrize(("block", "right"), [(2, 2), (10, 0)])
def test_one_captured_graph_serves_all_steps(model: RMVPE, speech: np.ndarray, block: int, right: int) -> None:
    on_gpu = copy.deepcopy(model).cuda()
    eager, graph = (StreamingRMVPE(on_gpu, block, right, backend=name) for name in ("eager", "cuda-graph"))
    expected = eager.push_salience(speech[:48000])
    for _ in range(2):
        graph.reset()
        np.testing.assert_allclose(
            graph.push_salience(speech[:20000]), expected[: 125 // block * block - 3 - right], atol=1e-5
        )
        saved = snapshot(graph.state)
        rest = graph.push_salience(speech[20000:48000])
        restore(graph.state, saved)
        np.testing.assert_array_equal(graph.push_salience(speech[20000:48000]), rest)
        np.testing.assert_allclose(rest, expected[-len(rest) :], atol=1e-5)


def test_a_backend_that_cannot_run_here_is_refused(model: RMVPE) -> None:
    with pytest.raises(ParameterError, match="backend eager"):
        StreamingRMVPE(model, backend="cuda-graph")


def test_more_than_65535_frames_pass(model: RMVPE) -> None:
    longest = 0

    def note(_: object, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal longest
        longest = max(longest, inputs[0].shape[1])

    handle = model.gru.gru.register_forward_pre_hook(note)
    tracker = StreamingRMVPE(model, block_frames=200, right_frames=2)
    minute = np.sin(np.arange(60 * 16000, dtype=np.float32) * 0.1)
    frames = sum(len(tracker.push(minute)) for _ in range(11))
    handle.remove()
    assert frames == 66_000 - 5
    assert longest <= 202 + 3


def test_lengths_that_do_not_fit_are_refused(model: RMVPE) -> None:
    for block, right, window in ((0, 2, None), (2, -1, None), (2, 2, 48), (2, 2, 32)):
        with pytest.raises(ParameterError):
            StreamingRMVPE(model, block, right, window)
