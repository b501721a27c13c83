"""RMVPE in windows with a carried state against RMVPE over the whole signal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from altervox.kernels.salience import VOICING_THRESHOLD, decode_salience
from altervox.models.pitch.rmvpe import RMVPE
from altervox.models.pitch.tracker import PitchState, window_f0, window_salience
from altervox.models.windows import overlapping_windows

HOP = 160
DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="module")
def model() -> RMVPE:
    """RMVPE's architecture at a fraction of its width, with random weights: the longest reach, at little cost."""
    torch.manual_seed(0)
    net = RMVPE(base_channels=4, blocks=1, intermediate_layers=1, gru_size=32)
    with torch.no_grad():
        state = net.state_dict()  # its tensors are the network's own
        state["unet.encoder.bn.running_mean"].fill_(-5.0)
        state["unet.encoder.bn.running_var"].fill_(5.0)
        state["fc.1.weight"].mul_(4.0)
    return net


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    audio, rate = soundfile.read(DATA / "librivox_male.wav", dtype="float32")
    assert rate == 16000
    return np.asarray(np.tile(audio, 8)[: 40 * 16000 + 77])


def windowed(model: RMVPE, audio: np.ndarray, core: int, context: int) -> np.ndarray:
    state = PitchState.allocate(model)
    parts = []
    for window in overlapping_windows([audio], core * HOP, context * HOP):
        kept = (window.core_end - window.core_start) // HOP + (1 if window.is_last else 0)
        parts.append(window_salience(model, window, state)[:kept].numpy())
    return np.concatenate(parts)


def test_windows_equal_one_shot_given_enough_context(model: RMVPE, speech: np.ndarray) -> None:
    """480 frames on both sides: 1e-3. The U-Net reaches farther still, so it is not exact."""
    with torch.inference_mode():
        expected = model.salience(model.mel(torch.from_numpy(speech)[None]))[0].numpy()
    got = windowed(model, speech, 1024, 512)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_the_carried_state_matters(model: RMVPE, speech: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the frames after a seam are off, so the equality above shows that it is carried."""
    with torch.inference_mode():
        expected = model.salience(model.mel(torch.from_numpy(speech)[None]))[0].numpy()
    carried = np.abs(windowed(model, speech, 1024, 512) - expected)[1024:1030].max()
    state = PitchState.allocate(model)
    windows = overlapping_windows([speech], 1024 * HOP, 512 * HOP)
    window_salience(model, next(windows), state)
    state.reset()
    forgotten = np.abs(window_salience(model, next(windows), state)[:6].numpy() - expected[1024:1030]).max()
    assert forgotten > 10 * carried


def test_state_is_one_buffer_updated_in_place(model: RMVPE, speech: np.ndarray) -> None:
    state = PitchState.allocate(model)
    address = state.h_mem.data_ptr()
    for window in overlapping_windows([speech], 1024 * HOP, 512 * HOP):
        window_salience(model, window, state)
        assert state.h_mem.data_ptr() == address
        assert state.h_mem.is_contiguous()
    assert state.h_mem.abs().sum() > 0
    state.reset()
    assert state.h_mem.abs().sum() == 0
    assert state.h_mem.data_ptr() == address


@pytest.mark.parametrize("samples", [1, 159, 160, 161, 512, 513, 5119, 5120, 5121, 16000])
def test_short_input_has_a_frame_per_hop(model: RMVPE, samples: int) -> None:
    (window,) = overlapping_windows([np.full(samples, 0.1, dtype=np.float32)], 1024 * HOP, 512 * HOP)
    f0 = window_f0(model, window, PitchState.allocate(model))
    assert f0.shape == (samples // HOP + 1,)
    assert np.isfinite(f0).all()


def test_a_whole_file_beyond_the_cudnn_limit_is_bounded(model: RMVPE) -> None:
    """11 minutes are more than 65,535 frames; no call sees more than a window of them."""
    minutes = 11
    one_minute = np.sin(np.arange(60 * 16000, dtype=np.float32) * 0.1)
    longest = 0
    model.gru.gru.register_forward_pre_hook(lambda _, inputs: note(inputs[0].shape[1]))

    def note(steps: int) -> None:
        nonlocal longest
        longest = max(longest, steps)

    state, frames = PitchState.allocate(model), 0
    for window in overlapping_windows((one_minute for _ in range(minutes)), 2048 * HOP, 512 * HOP):
        window_salience(model, window, state)
        frames += (window.core_end - window.core_start) // HOP
    assert frames == minutes * 6000 > 65_535
    assert longest <= 1.5 * 2048 + 512 + 32


def test_decoding_keeps_silence_unvoiced() -> None:
    quiet = np.full((3, 360), VOICING_THRESHOLD, dtype=np.float32)
    assert (decode_salience(quiet) == 0).all()
