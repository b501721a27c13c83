"""What is exported in tests: a voice with random weights and an index, and the pitch network that ships."""

from __future__ import annotations

import made_up_voice
import torch
from altervox.models.base_models import small_pitch_network
from altervox.models.retrieval import FeatureIndex
from altervox.realtime.config import StreamConfig
from altervox.tools.export.sources import Source, pitch_source, voice_source
from cli_runner import speech

CPU = torch.device("cpu")
CONFIG = StreamConfig(block_ms=40, context_ms=200)


def index() -> FeatureIndex:
    features = made_up_voice.content().features(torch.from_numpy(speech(3.0)).float()[None], "v2")[0]
    return FeatureIndex(features[:100].clone())


def indexed_voice(loudness: float = 1.0) -> Source:
    voice = made_up_voice.voice()
    with torch.no_grad():
        voice.synthesizer.dec.conv_post.weight.mul_(loudness)
    voice.index = index()
    return voice_source(voice, made_up_voice.content(), small_pitch_network(CPU), CONFIG, unrolled=False)


def pitch(unrolled: bool, config: StreamConfig = CONFIG) -> Source:
    return pitch_source("rmvpe-small", small_pitch_network(CPU), config, unrolled)
