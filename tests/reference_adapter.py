"""Adapter between the reference vectors and altervox: NumPy arrays in, NumPy arrays out, nothing of its own.

`tests/reference_vectors.py` runs it over a folder of vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from altervox.kernels.level import gate_block
from altervox.kernels.level import rms_mix as _rms_mix
from altervox.kernels.level import rms_mix_offline as _rms_mix_offline
from altervox.kernels.salience import coarse_pitch as _coarse_pitch
from altervox.kernels.salience import decode_salience
from altervox.kernels.sola import SolaState, sola_join
from altervox.models.pitch.rmvpe import RMVPE
from altervox.models.retrieval import FeatureIndex
from altervox.models.retrieval import protect as _protect
from altervox.models.rvc.content import Hubert
from altervox.models.rvc.synthesizer import Slice, Synthesizer
from altervox.tools.bench.reference.step import ReferenceGeometry, ReferenceState, reference_step
from numpy.typing import NDArray

Array = NDArray[Any]


def _tensors(state: dict[str, Array]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(value)) for name, value in state.items()}


def _row(audio: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(audio, dtype=np.float32))[None]


def load_generator(state: dict[str, Array], config: list[Any], version: str, f0: int) -> Synthesizer:
    return Synthesizer.from_state(_tensors(state), config, bool(f0))


def generator_infer(
    model: Synthesizer,
    phone: Array,
    pitch: Array | None,
    pitchf: Array | None,
    sid: int,
    noise_z: Array,
    noise_src: Array | None,
    skip_head: int | None,
    return_length: int | None,
    return_length2: int | None,
) -> dict[str, Array]:
    part = None
    if skip_head is not None and return_length is not None:
        part = Slice(skip_head, return_length, return_length if return_length2 is None else return_length2)
    out = model.infer(
        torch.from_numpy(phone),
        None if pitch is None else torch.from_numpy(pitch),
        None if pitchf is None else torch.from_numpy(pitchf).float(),
        torch.tensor([sid]),
        torch.from_numpy(noise_z),
        None if noise_src is None else torch.from_numpy(noise_src),
        part,
    )
    arrays = {"wav": out.wav.numpy(), "m": out.m.numpy(), "logs": out.logs.numpy(), "z": out.z.numpy()}
    if out.source is not None:
        arrays["har_source"] = out.source.numpy()
    return arrays


def load_content_encoder(state: dict[str, Array], layout: str) -> Hubert:
    return Hubert.from_state(_tensors(state))


@torch.inference_mode()
def content_features(model: Hubert, wav: Array, layer: int, project: bool) -> Array:
    hidden = model(_row(wav), layer)
    return np.asarray(model.final_proj(hidden) if project else hidden)


@torch.inference_mode()
def content_stages(model: Hubert, wav: Array) -> dict[str, Array]:
    conv, layer0 = model.stages(_row(wav))
    return {"conv": conv.numpy(), "layer0": layer0.numpy(), "layer9": model(_row(wav), 9).numpy()}


def load_rmvpe(state: dict[str, Array]) -> RMVPE:
    return RMVPE.from_state(_tensors(state))


@torch.inference_mode()
def rmvpe_mel(model: RMVPE, wav: Array) -> Array:
    return np.asarray(model.mel(_row(wav))[0])


def rmvpe_salience(model: RMVPE, mel: Array) -> Array:
    return np.asarray(model.salience(torch.from_numpy(mel)[None])[0])


def rmvpe_decode(salience: Array, threshold: float) -> Array:
    return decode_salience(salience, threshold)


def coarse_pitch(f0: Array) -> Array:
    return _coarse_pitch(f0)


def gate(blocks: list[Array], zc: int, threshold_db: float) -> list[Array]:
    recent, rewritten = np.zeros(4 * zc, dtype=np.float32), []
    for block in blocks:
        gated, recent = gate_block(recent, block, zc, threshold_db)
        rewritten.append(gated)
    return rewritten


def rms_mix(x_in: Array, x_out: Array, zc: int, rate: float) -> Array:
    return _rms_mix(x_in, x_out, zc, rate)


def rms_mix_offline(x_in: Array, sr_in: int, x_out: Array, sr_out: int, rate: float) -> Array:
    return _rms_mix_offline(x_in, sr_in, x_out, sr_out, rate)


def sola(blocks: list[Array], block: int, buffer: int, search: int) -> tuple[list[int], list[Array], list[Array]]:
    state = SolaState.allocate(buffer)
    offsets, outputs, tails = [], [], []
    for x in blocks:
        joined, offset = sola_join(x, block, search, state)
        offsets.append(offset)
        outputs.append(joined)
        tails.append(state.tail.copy())
    return offsets, outputs, tails


def retrieval(bank: Array, query: Array, k: int, rate: float) -> Array:
    index = FeatureIndex(torch.from_numpy(bank))
    return np.asarray(index.blend(torch.from_numpy(query), rate, k))


def protect(feats: Array, feats_raw: Array, pitchf: Array, protect: float) -> Array:
    tensors = [torch.from_numpy(np.array(x)) for x in (feats, feats_raw, pitchf)]
    flat = [x.reshape(-1, x.shape[-1]) for x in tensors[:2]]
    return _protect(flat[0], flat[1], tensors[2].flatten(), protect).numpy().reshape(feats.shape)


def realtime_steps(
    generator: Synthesizer,
    content: Hubert,
    rmvpe: RMVPE,
    case: dict[str, Any],
    pcm: Array,
    noise_z: Array,
    noise_src: Array,
) -> dict[str, Array]:
    geometry = ReferenceGeometry(
        case["extra_frames"], case["crossfade_frames"], case["search_frames"], case["block_frames"]
    )
    state = ReferenceState.allocate()
    wav, coarse, f0 = [], [], []
    for k in range(case["steps"]):
        start = k * geometry.block * 160
        out = reference_step(
            torch.from_numpy(pcm[start : start + geometry.window * 160]),
            geometry,
            state,
            content,
            rmvpe,
            generator,
            torch.from_numpy(noise_z[k]).reshape(1, 192, -1),
            torch.from_numpy(noise_src[k]).reshape(1, -1, 1),
            case["sid"],
            case["key"],
            case["formant"],
        )
        wav.append(out.numpy())
        coarse.append(state.coarse_cache[-geometry.window :].copy())
        f0.append(state.f0_cache[-geometry.window :].copy())
    return {"wav": np.stack(wav), "cache_pitch": np.stack(coarse), "cache_pitchf": np.stack(f0)}
