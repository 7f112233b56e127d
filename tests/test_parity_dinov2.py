"""DINOv2's network against a statement of the vision transformer in PyTorch, with the same random weights."""

import jax.numpy as jnp
import numpy as np
import pytest

from ganjax import UserError
from ganjax.evaluation import dinov2
from ganjax.evaluation.dinov2 import load_dinov2

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")
functional = torch.nn.functional


def random_state(depth, seed=0):
    """The names and shapes of the published file, with fewer blocks."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape, scale=0.03, mean=0.0):
        return mean + scale * torch.randn(shape, generator=generator)

    state = {
        "cls_token": draw(1, 1, 768, scale=1),
        "pos_embed": draw(1, 37 * 37 + 1, 768, scale=1),
        "mask_token": draw(1, 768),
        "patch_embed.proj.weight": draw(768, 3, 14, 14),
        "patch_embed.proj.bias": draw(768),
        "norm.weight": draw(768, mean=1),
        "norm.bias": draw(768),
    }
    for block in (f"blocks.{index}." for index in range(depth)):
        for name, outputs, inputs in (
            ("attn.qkv", 2304, 768),
            ("attn.proj", 768, 768),
            ("mlp.fc1", 3072, 768),
            ("mlp.fc2", 768, 3072),
        ):
            state |= {f"{block}{name}.weight": draw(outputs, inputs), f"{block}{name}.bias": draw(outputs)}
        for name in ("norm1", "norm2"):
            state |= {f"{block}{name}.weight": draw(768, mean=1), f"{block}{name}.bias": draw(768)}
        state |= {f"{block}ls1.gamma": draw(768, mean=0.5), f"{block}ls2.gamma": draw(768, mean=0.5)}
    return state


def reference(state, images, depth):
    """The class token of the last layer for images of 224 x 224 pixels."""

    def linear(values, name):
        return functional.linear(values, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(values, name):
        return functional.layer_norm(values, (768,), state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-6)

    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    scaled = ((images / 255 - mean) / deviation).permute(0, 3, 1, 2)
    maps = functional.conv2d(scaled, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=14)
    tokens = torch.cat([state["cls_token"].expand(len(images), -1, -1), maps.flatten(2).transpose(1, 2)], dim=1)
    grid = state["pos_embed"][:, 1:].reshape(1, 37, 37, 768).permute(0, 3, 1, 2)
    grid = functional.interpolate(grid, scale_factor=(16.1 / 37, 16.1 / 37), mode="bicubic")
    tokens = tokens + torch.cat([state["pos_embed"][:, :1], grid.flatten(2).transpose(1, 2)], dim=1)
    for block in (f"blocks.{index}." for index in range(depth)):
        parts = linear(norm(tokens, f"{block}norm1"), f"{block}attn.qkv").chunk(3, dim=-1)
        heads = [part.unflatten(-1, (12, 64)).transpose(1, 2) for part in parts]
        attended = functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        tokens = tokens + linear(attended, f"{block}attn.proj") * state[f"{block}ls1.gamma"]
        hidden = functional.gelu(linear(norm(tokens, f"{block}norm2"), f"{block}mlp.fc1"))
        tokens = tokens + linear(hidden, f"{block}mlp.fc2") * state[f"{block}ls2.gamma"]
    return norm(tokens[:, 0], "norm")


def test_features_equal_a_vision_transformer_in_pytorch(tmp_path, monkeypatch):
    depth = 3  # of twelve equal ones
    monkeypatch.setattr(dinov2, "DEPTH", depth)
    state = random_state(depth)
    torch.save(state, tmp_path / "random.pth")
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = reference(state, torch.tensor(images), depth).numpy()
    found = load_dinov2(weights=tmp_path / "random.pth")(jnp.asarray(images))
    assert found.probabilities is None
    assert found.features.shape == (2, 768)
    assert np.abs(np.asarray(found.features) - expected).max() < 1e-4 * np.abs(expected).max()


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"cls_token": torch.zeros(1, 1, 384)}, tmp_path / "small.pth")
    with pytest.raises(UserError, match=r"has the shape .*, expected .* as in ViT-B/14|the weights have no"):
        load_dinov2(weights=tmp_path / "small.pth")
