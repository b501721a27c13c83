"""What the pitch network and the content window lose by seeing a window instead of the whole, as Markdown tables.

The networks have their full size and seeded random weights, so the figures are indicative: they tell how lengths
compare, not how much is heard with published weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ....kernels.salience import coarse_pitch
from ....kernels.types import FloatArray
from ....models.checkpoint import VoiceCheckpoint
from ....models.pitch.mel import HOP, SAMPLE_RATE
from ....models.pitch.rmvpe import RMVPE
from ....models.rvc.content import Hubert, TransformerLayer
from ....models.rvc.prior import HEADS, HIDDEN, PriorEncoder, RelativeAttention
from ....models.rvc.synthesizer import Synthesizer
from ....models.rvc.voice import RvcVoice
from ....models.voice import VoiceParams
from ....realtime.config import StreamConfig
from ....realtime.stages.features import CONTENT_WAIT_FRAMES
from ....realtime.stages.pitch import StreamingRMVPE
from ....realtime.stages.rvc import RvcStage
from ..synthetic import RVC_KINDS, config_of
from .world_f0 import world_f0

LEAST_SECONDS = 3.0
MOST_SECONDS = 20.0  # attention over the whole recording takes memory by the square of its length
RIGHT_FRAMES = (0, 2, 4, 8)
WINDOW_FRAMES = (64, 128)  # 64 is the least for blocks of 100 ms
CONTEXTS_MS = (200, 500, 1000, 2000)
FLOP_BLOCKS_MS = (20, 100)
BLOCK = 10  # frames of 10 ms
LOOKAHEAD = 6
_EDGE_FRAMES = 32  # kept from the ends of the recording, beyond the longest window
_KIND = "rvc-v2-40k"


@dataclass(frozen=True, slots=True)
class PitchRow:
    """Streaming RMVPE against the one-shot network, for one length of window and of lookahead.

    Attributes:
        window_frames: Frames of 10 ms that the U-Net sees.
        lookahead_ms: Lookahead of F0 in ms.
        carried: Relative RMS error and mean absolute error of salience, the GRU's state being carried.
        zeroed: Error with the state zeroed before each step.
    """

    window_frames: int
    lookahead_ms: int
    carried: tuple[float, float]
    zeroed: tuple[float, float]


@dataclass(frozen=True, slots=True)
class ContentRow:
    """What a content window loses and costs.

    Attributes:
        context_ms: Past that the window holds.
        convolutions: Relative RMS error of what HuBERT's convolutions give, normalised. They see no more than the
            window holds, so all of it comes from GroupNorm, whose statistics are the window's.
        features: Relative RMS error of HuBERT's features.
        prior: Relative RMS error of the prior mean, given the features of the whole.
        gflop_per_second: GFLOP of the whole stage per second of audio, by block size in ms.
    """

    context_ms: int
    convolutions: float
    features: float
    prior: float
    gflop_per_second: dict[int, float]


def random_rmvpe(audio: FloatArray) -> RMVPE:
    """RMVPE with random weights whose layers keep the level that this audio (16 kHz, [N]) gives them."""
    torch.manual_seed(0)
    model = RMVPE()
    with torch.no_grad():
        _to_unit_gain(model.unet)
        mel = model.mel(torch.from_numpy(audio)[None])
        mel = mel[..., : mel.shape[-1] // 32 * 32]
        norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0  # the statistics of this audio become the running ones, as training would have it
        model.train()
        model.features(mel)
        model.eval()
        model.cnn.weight.div_(model.features(mel).std())
        _to_unit_gain(model.gru)
        out = model.fc[1]
        assert isinstance(out, nn.Linear)
        out.weight.mul_(4.0 * 3.0**0.5)  # few bins rise, most stay near zero, as in a trained network
        out.bias.fill_(-7.2)
    return model


def random_hubert() -> Hubert:
    """HuBERT with random weights of unit gain, less in what a layer adds to its input."""
    torch.manual_seed(0)
    model = Hubert()
    with torch.no_grad():
        _to_unit_gain(model)
        # At unit gain throughout, each layer would replace half of its input and a small difference would only grow.
        for layer in model.encoder.layers:
            assert isinstance(layer, TransformerLayer)
            for branch, gain in ((layer.self_attn.v_proj, 0.6), (layer.self_attn.out_proj, 0.6), (layer.fc2, 0.4)):
                branch.weight.mul_(gain)
    return model


def random_voice() -> RvcVoice:
    """A full-size v2 voice at 40 kHz with random weights, its prior encoder of unit gain, on the CPU."""
    width, shape = RVC_KINDS[_KIND]
    torch.manual_seed(0)
    net = Synthesizer(shape, width, speakers=109, has_f0=True)
    with torch.no_grad():
        _to_unit_gain(net.enc_p)
        assert net.enc_p.emb_pitch is not None
        for embedding in (net.enc_p.emb_phone, net.enc_p.emb_pitch):
            embedding.weight.div_(math.sqrt(HIDDEN))  # what is embedded is multiplied by this
        for layer in net.enc_p.modules():
            if isinstance(layer, RelativeAttention):
                for relative in (layer.emb_rel_k, layer.emb_rel_v):
                    relative.normal_(0.0, (HIDDEN // HEADS) ** -0.5)
    checkpoint = VoiceCheckpoint(net.state_dict(), config_of(shape), "v2", True, shape.sample_rate, 109, "")
    return RvcVoice(_KIND, checkpoint, None, torch.device("cpu"), Path(_KIND))


def _to_unit_gain(net: nn.Module) -> None:
    """Bring linear, convolutional and recurrent layers to about the gain that keeps the level of white noise."""
    for layer in net.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.GRU):
            for weight in layer.parameters():
                if weight.ndim > 1:
                    weight.mul_(3.0**0.5)  # PyTorch draws them with a deviation of 1 / sqrt(3 inputs)


def pitch_table(
    audio: FloatArray,
    model: RMVPE,
    windows: Sequence[int] = WINDOW_FRAMES,
    rights: Sequence[int] = RIGHT_FRAMES,
) -> list[PitchRow]:
    """Print and return the errors of streaming RMVPE.

    Args:
        audio: 16 kHz mono [N], at least `LEAST_SECONDS`.
        model: The network.
        windows: Frames that the U-Net sees.
        rights: Frames of right context.
    """
    with torch.inference_mode():
        whole = model.salience(model.mel(torch.from_numpy(audio)[None]))[0].numpy()
    measured = slice(max(windows) + _EDGE_FRAMES, len(whole) - 2 * _EDGE_FRAMES)
    mean, greatest = whole[measured].mean(), whole[measured].max(axis=1).mean()
    click.echo(
        "Pitch network, full size, RANDOM weights (indicative only): streaming RMVPE against one pass over the whole, "
        f"blocks of {10 * BLOCK} ms, frames {measured.start} to {measured.stop} of {len(whole)}; "
        f"salience is {mean:.3f} on average, its greatest bin {greatest:.2f}\n"
    )
    click.echo(
        "| window frames | lookahead ms | salience, carried state: relative RMS error | mean absolute error "
        "| state zeroed before each step: relative RMS error | mean absolute error |"
    )
    click.echo("| --- | --- | --- | --- | --- | --- |")
    rows = []
    for window in windows:
        for right in rights:
            stream = StreamingRMVPE(model, BLOCK, right, window)
            errors = [_pitch_error(stream, audio, whole, measured, carried) for carried in (True, False)]
            rows.append(PitchRow(window, 10 * stream.latency_frames, *errors))
            cells = " | ".join(f"{relative:.1e} | {absolute:.1e}" for relative, absolute in errors)
            click.echo(f"| {window} | {rows[-1].lookahead_ms} | {cells} |")
    click.echo()
    return rows


def _pitch_error(
    stream: StreamingRMVPE, audio: FloatArray, whole: FloatArray, measured: slice, carried: bool
) -> tuple[float, float]:
    """Relative RMS error and mean absolute error of salience."""
    stream.reset()
    parts = []
    for start in range(0, len(audio) - BLOCK * HOP + 1, BLOCK * HOP):
        if not carried:
            stream.state.h_mem.zero_()
        parts.append(stream.push_salience(audio[start : start + BLOCK * HOP]))
    got, want = np.concatenate(parts)[measured], whole[measured]
    return _relative(got, want), float(np.mean(np.abs(got - want)))


def content_table(
    audio: FloatArray,
    voice: RvcVoice,
    content: Hubert,
    rmvpe: RMVPE,
    contexts_ms: Sequence[int] = CONTEXTS_MS,
) -> list[ContentRow]:
    """Print and return what the content window loses and costs.

    Args:
        audio: 16 kHz mono [N], at least `LEAST_SECONDS`.
        voice: A v2 voice with F0.
        content: Content encoder.
        rmvpe: Pitch network, for the cost of the whole.
        contexts_ms: Past that the window holds.
    """
    with torch.inference_mode():
        features = content.features(torch.from_numpy(audio)[None], "v2")[0]
    first, last = max(contexts_ms) // 10, 2 * len(features) + CONTENT_WAIT_FRAMES - LOOKAHEAD - BLOCK
    starts = range(first, last + 1, BLOCK)
    click.echo(
        "Content window, full size, RANDOM weights (indicative only): features and prior mean of the frames that a "
        f"block of {10 * BLOCK} ms commits, from a window of context, block and {10 * LOOKAHEAD} ms of lookahead, "
        f"against one pass over the whole, frames {first} to {starts[-1] + BLOCK}; GFLOP of the whole RVC stage "
        f"({voice.name}) per second of audio, without the GRU\n"
    )
    costs = " | ".join(f"GFLOP/s, {block_ms} ms blocks" for block_ms in FLOP_BLOCKS_MS)
    click.echo(
        "| context ms | HuBERT's convolutions (GroupNorm over the window): relative RMS error "
        f"| HuBERT features: relative RMS error | prior mean: relative RMS error | {costs} |"
    )
    click.echo("| --- | --- | --- | --- |" + " --- |" * len(FLOP_BLOCKS_MS))
    f0 = world_f0(audio, SAMPLE_RATE, "dio", 10.0, 60.0, 800.0)[: 2 * len(features)]
    pitch = torch.from_numpy(coarse_pitch(f0.astype(np.float32)))
    rows = []
    for context_ms in contexts_ms:
        context = context_ms // 10
        row = ContentRow(
            context_ms,
            *content_errors(content, audio, context, starts),
            prior_error(voice.synthesizer.enc_p, features, pitch, context, starts),
            {ms: stage_gflop(voice, content, rmvpe, audio, context_ms, ms) for ms in FLOP_BLOCKS_MS},
        )
        rows.append(row)
        cost = " | ".join(f"{gflop:.0f}" for gflop in row.gflop_per_second.values())
        click.echo(f"| {context_ms} | {row.convolutions:.1e} | {row.features:.1e} | {row.prior:.1e} | {cost} |")
    click.echo()
    return rows


@torch.inference_mode()
def content_errors(content: Hubert, audio: FloatArray, context: int, starts: range) -> tuple[float, float]:
    """Relative RMS errors of convolutions and features of what is committed by blocks from frames `starts` on."""
    wholes = _content_stages(content, audio)
    kept = slice(starts[0] // 2, (starts[-1] + BLOCK) // 2)  # slots of 20 ms
    parts: tuple[list[FloatArray], list[FloatArray]] = ([], [])
    for start in starts:
        window = audio[(start - context) * HOP : (start + BLOCK + LOOKAHEAD) * HOP]
        for part, found in zip(parts, _content_stages(content, window), strict=True):
            part.append(found[context // 2 : (context + BLOCK) // 2])
    convolutions, features = (
        _relative(np.concatenate(part), whole[kept]) for part, whole in zip(parts, wholes, strict=True)
    )
    return convolutions, features


def _content_stages(content: Hubert, audio: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Normalised output of the convolutions [slots, 512] and the features [slots, 768]."""
    conv, x = content.stages(torch.from_numpy(audio)[None])
    for layer in content.encoder.layers:
        x = layer(x)
    return content.layer_norm(conv)[0].numpy(), x[0].numpy()


@torch.inference_mode()
def prior_error(enc_p: PriorEncoder, features: Tensor, pitch: Tensor, context: int, starts: range) -> float:
    """Relative RMS error of the prior mean [192, frames] that is committed by blocks from frames `starts` on."""
    phone = features.repeat_interleave(2, dim=0)
    whole = enc_p(phone[None], pitch[None])[0][0]
    got = []
    for start in starts:
        seen = slice(start - context, start + BLOCK + LOOKAHEAD - CONTENT_WAIT_FRAMES)
        m = enc_p(phone[None, seen], pitch[None, seen], context)[0][0]
        got.append(m[:, :BLOCK])
    return _relative(torch.cat(got, dim=1).numpy(), whole[:, starts[0] : starts[-1] + BLOCK].numpy())


def stage_gflop(
    voice: RvcVoice, content: Hubert, rmvpe: RMVPE, audio: FloatArray, context_ms: int, block_ms: int
) -> float:
    """GFLOP of an RVC stage per second of audio: convolutions and matrix products of one block, without the GRU."""
    config = StreamConfig(block_ms=block_ms, context_ms=context_ms, lookahead_ms=10 * LOOKAHEAD)
    stage = RvcStage(voice, content, rmvpe, config)
    size = stage.block * HOP
    out = np.zeros(stage.block * voice.synthesizer.shape.samples_per_frame, dtype=np.float32)
    # The pitch network has nothing to compute until its lookahead is in; what else is computed is always the same.
    waiting = -(-stage.lookahead // stage.block)
    for i in range(waiting):
        stage.advance(audio[i * size : (i + 1) * size], VoiceParams())
    with FlopCounterMode(display=False) as counter:
        stage.process(audio[waiting * size : (waiting + 1) * size], VoiceParams(), out)
    return float(counter.get_total_flops() / 1e9 * 1000 / block_ms)


def _relative(got: FloatArray, want: FloatArray) -> float:
    """RMS of the error over RMS of what is wanted."""
    return float(np.sqrt(np.sum((got - want) ** 2) / np.sum(want**2)))
