"""The voice that training begins with: a mean of many speakers, which ships."""

from __future__ import annotations

from ...kernels.errors import CheckpointError, VoiceError
from ...models.neural.card import BASE, SHIPPED, SUFFIX, VoiceCard
from ...models.neural.network import Encoder
from ...models.neural.step import Speaking
from ...models.neural.voice_file import encoder_of, read_voice_file

PATH = SHIPPED / f"{BASE}{SUFFIX}"


def base_voice() -> tuple[Encoder, VoiceCard, Speaking]:
    """The encoder that voices share, the card of what they begin with, and its decoder.

    Raises:
        VoiceError: this copy of altervox lacks them.
    """
    try:
        file = read_voice_file(PATH)
        return encoder_of(file, PATH).eval(), file.card, file.speaking
    except CheckpointError as error:
        raise VoiceError(f"no voice can be trained, for what training begins with is missing: {error}") from error
