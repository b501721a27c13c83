"""The content encoder: its positional convolution in the form that suits a GPU, and sizes other than the usual."""

from __future__ import annotations

from collections.abc import Callable

import made_up_voice
import pytest
import torch
import weights
from altervox.kernels.errors import CheckpointError
from altervox.models.rvc.content import WIDTH, Hubert, TransformerEncoder

State = dict[str, torch.Tensor]


@torch.inference_mode()
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("frames", [1, 2, 49, 63, 64, 200])
def test_the_positional_convolution_at_once_equals_the_plain_one(frames: int, batch: int) -> None:
    encoder = TransformerEncoder(layers=1, ffn_width=64)
    encoder.load_state_dict(weights.fill_network(encoder))
    x = torch.randn(frames, batch, WIDTH, generator=torch.Generator().manual_seed(frames)).transpose(0, 1)
    expected = encoder.convolved(x)
    assert expected.shape == (batch, frames, WIDTH)
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(encoder.convolved_at_once(x), expected, rtol=1e-4, atol=1e-5)


def test_a_narrow_encoder_is_known_by_its_weights_and_gives_features_of_full_width() -> None:
    state = made_up_voice.content().state_dict()
    net = Hubert.from_state(state)
    assert len(net.encoder.layers) == 2
    features = net.features(torch.zeros(1, 4000), "v2")
    assert features.shape == (1, 12, WIDTH)


def test_the_names_of_a_whole_model_of_transformers_lead_to_the_same_network() -> None:
    state = made_up_voice.content().state_dict()
    prefixed = {f"hubert.{name}": value for name, value in state.items()} | {"hubert.masked_spec_embed": torch.zeros(1)}
    found = Hubert.from_state(prefixed).state_dict()
    assert all(torch.equal(found[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state | {f"encoder.layers.{i}.fc1.weight": torch.zeros(1, 1) for i in range(2, 200)},
        lambda state: state | {"layer_norm.weight": torch.zeros(1).expand(10**9)},
        lambda state: state | {"encoder.layers.0.fc1.weight": torch.zeros(1, 1).expand(10**9, 1)},
        lambda state: state | {"layer_norm.weight": torch.zeros(())},
        lambda state: {name: value for name, value in state.items() if "encoder.layers" not in name},
    ],
    ids=["layers", "channels", "width", "scalar", "none"],
)
def test_sizes_beyond_hubert_base_are_refused_in_bounded_memory(damage: Callable[[State], State]) -> None:
    with pytest.raises(CheckpointError, match="these weights are not HuBERT base's"):
        Hubert.from_state(damage(made_up_voice.content().state_dict()))
