"""DINOv2 ViT-B/14: a second opinion on images, from a network that never saw a class label.

Oquab et al., arXiv 2304.07193; the vision transformer is that of Dosovitskiy et al., arXiv 2010.11929, with a learned
factor on each branch. Stein et al., arXiv 2306.04675, find distances of its features closer to human judgement than
those of Inception-v3. Its features are the normalised class token of the last layer.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ganjax.algorithms.distillation import TEACHER_LAYERS, cubic_matrix
from ganjax.evaluation.features import Features, Pixels
from ganjax.evaluation.resize import Resize, resize
from ganjax.evaluation.weights import PublishedWeights, load_weights
from ganjax.ground.errors import UserError

__all__ = ["DinoFeatures", "DinoTokens", "load_dinov2"]

SIZE, PATCH, WIDTH, HEADS, DEPTH = 224, 14, 768, 12, 12
PUBLISHED = PublishedWeights(
    name="dinov2_vitb14_pretrain.pth",
    url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth",
    sha256="0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
)
_MEAN, _DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet's colours, of 255
_OFFSET = 0.1  # added to the number of patches when the authors' program resamples the position embedding


class Block(nn.Module):
    """Attention and a perceptron, each after a normalisation, scaled, and added."""

    @nn.compact
    def __call__(self, tokens: Float[Array, "batch tokens width"]) -> Float[Array, "batch tokens width"]:
        batch, length, width = tokens.shape
        joined = _dense(3 * width, "attn_qkv")(_norm("norm1")(tokens))
        queries, keys, values = jnp.moveaxis(joined.reshape(batch, length, 3, HEADS, width // HEADS), 2, 0)
        scores = jnp.einsum("bqhc,bkhc->bhqk", queries, keys, precision="highest") / np.sqrt(width // HEADS, dtype="f4")
        attended = jnp.einsum("bhqk,bkhc->bqhc", jax.nn.softmax(scores), values, precision="highest")
        attended = _dense(width, "attn_proj")(attended.reshape(batch, length, width))
        tokens = tokens + attended * self.param("ls1", nn.initializers.ones, (width,))[None, None]
        hidden = nn.gelu(_dense(4 * width, "mlp_fc1")(_norm("norm2")(tokens)), approximate=False)
        hidden = _dense(width, "mlp_fc2")(hidden)
        return tokens + hidden * self.param("ls2", nn.initializers.ones, (width,))[None, None]


class VisionTransformer(nn.Module):
    """From images of 224 x 224 pixels, normalised, to the class token and those of the patches, row by row."""

    @nn.compact
    def __call__(self, images: Float[Array, "batch 224 224 3"]) -> Float[Array, "batch tokens width"]:
        """The tokens, the class token first."""
        batch, side = len(images), SIZE // PATCH
        patches = images.reshape(batch, side, PATCH, side, PATCH, 3).transpose(0, 1, 3, 2, 4, 5)
        tokens = _dense(WIDTH, "patch_embed")(patches.reshape(batch, side * side, PATCH * PATCH * 3))
        class_token = self.param("cls_token", nn.initializers.zeros, (1, 1, WIDTH))
        tokens = jnp.concatenate([jnp.broadcast_to(class_token, (batch, 1, WIDTH)), tokens], axis=1)
        tokens = tokens + self.param("pos_embed", nn.initializers.zeros, (1, side * side + 1, WIDTH))
        for index in range(DEPTH):
            tokens = Block(name=f"blocks_{index}")(tokens)
        return _norm("norm")(tokens)


def _dense(features: int, name: str) -> nn.Dense:
    return nn.Dense(features, precision="highest", name=name)


def _norm(name: str) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=1e-6, name=name)


@flax.struct.dataclass
class DinoFeatures:
    """The feature network: see ``FeatureNetwork``. It has no classes."""

    params: dict[str, object]
    fingerprint: str = flax.struct.field(pytree_node=False)
    resize: Resize = flax.struct.field(pytree_node=False, default="clean")
    name: str = flax.struct.field(pytree_node=False, default="dinov2-vit-b14")
    num_features: int = flax.struct.field(pytree_node=False, default=WIDTH)
    resizes: tuple[str, ...] = flax.struct.field(pytree_node=False, default=("legacy", "pytorch", "clean"))

    def __call__(self, images: Pixels) -> Features:
        """Features of images of 0 to 255, grey or RGB."""
        if images.shape[-1] not in (1, 3):
            raise UserError(f"images of {images.shape[-1]} channels: DINOv2 sees 1 (grey) or 3 (RGB)")
        resized = resize(images, SIZE, way=self.resize)
        colours = jnp.broadcast_to(resized, (*resized.shape[:-1], 3))
        return Features(_tokens(self.params, colours)[:, 0])


def _tokens(params: Any, colours: Float[Array, "batch 224 224 3"]) -> Float[Array, "batch tokens width"]:
    """Of images of 0 to 255."""
    mean, deviation = (jnp.array(values).reshape(1, 1, 1, 3) for values in (_MEAN, _DEVIATION))
    tokens: Any = VisionTransformer().apply({"params": params}, (colours - mean) / deviation)
    return tokens


@dataclasses.dataclass(frozen=True)
class DinoTokens:
    """The network as a teacher: see ``ganjax.Distillation``. Images come to its size by PyTorch's bicubic.

    Attributes:
        weights: a file in the format of the published one; None: that, in the cache folder.
        download: fetches it where it is not there.
    """

    weights: Path | None = None
    download: bool = False

    @property
    def layers(self) -> tuple[str, ...]:
        """The class token, and those of the patches."""
        return TEACHER_LAYERS

    def load(self) -> dict[str, object]:
        """The weights.

        Raises:
            UserError: they are not there, or not what they should be.
        """
        return _loaded(self)

    def maps(
        self, weights: Any, images: Float[Array, "batch height width channels"], layers: tuple[str, ...]
    ) -> dict[str, Array]:
        """Tokens of images in [-1, 1], grey or RGB."""
        rows, columns = (jnp.asarray(cubic_matrix(SIZE, length)) for length in images.shape[1:3])
        resized = jnp.einsum("yh,xw,bhwc->byxc", rows, columns, (images + 1) * 127.5, precision="highest")
        tokens = _tokens(weights, jnp.broadcast_to(resized, (*resized.shape[:-1], 3)))
        side = SIZE // PATCH
        found = {"class_token": tokens[:, 0], "patch_tokens": tokens[:, 1:].reshape(-1, side, side, WIDTH)}
        return {layer: found[layer] for layer in layers}


@functools.cache
def _loaded(tokens: DinoTokens) -> dict[str, object]:
    return convert(load_weights(PUBLISHED, path=tokens.weights, download=tokens.download).arrays)


def load_dinov2(resize: Resize = "clean", weights: Path | None = None, *, download: bool = False) -> DinoFeatures:
    """The network with its weights.

    Args:
        resize: how images come to 224 x 224 pixels; see ``resize.py``.
        weights: a file in the format of the published one, which is taken as it is and whose hash is the fingerprint;
            by default the published file in the cache folder, whose hash is checked.
        download: fetches the published file when it is not there.

    Raises:
        UserError: the file is not there, is not what it should be, or cannot be fetched.
    """
    loaded = load_weights(PUBLISHED, path=weights, download=download)
    return DinoFeatures(convert(loaded.arrays), fingerprint=loaded.sha256, resize=resize)


def convert(arrays: Mapping[str, Float[np.ndarray, "..."]]) -> dict[str, object]:
    """The parameters of ``VisionTransformer`` from the arrays of the published file.

    Raises:
        UserError: an array is missing or has another shape.
    """
    expected = jax.eval_shape(VisionTransformer().init, jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 3)))["params"]

    def parameter(path: tuple[str, ...]) -> np.ndarray:
        name = ".".join(path).replace("blocks_", "blocks.").replace("attn_", "attn.").replace("mlp_", "mlp.")
        name = name.replace("patch_embed", "patch_embed.proj")
        if path[-1] in ("kernel", "scale"):
            name = name.removesuffix(path[-1]) + "weight"
        if path[-1] in ("ls1", "ls2"):
            name += ".gamma"
        if name not in arrays:
            raise UserError(f"the weights have no {name!r}: use {PUBLISHED.name}, which Meta publishes for DINOv2")
        array = arrays[name]
        if name == "pos_embed":
            return _resample_positions(array, SIZE // PATCH)
        if name == "patch_embed.proj.weight":
            return array.transpose(2, 3, 1, 0).reshape(-1, array.shape[0])
        return array.T if path[-1] == "kernel" else array

    def convert_module(module: Mapping, path: tuple[str, ...]) -> dict[str, object]:
        converted: dict[str, object] = {}
        for name, child in module.items():
            if isinstance(child, Mapping):
                converted[name] = convert_module(child, (*path, name))
                continue
            array = parameter((*path, name))
            if array.shape != child.shape:
                where = ".".join((*path, name))
                raise UserError(f"{where} has the shape {array.shape}, expected {child.shape} as in ViT-B/14")
            converted[name] = array
        return converted

    return convert_module(expected, ())


def _resample_positions(positions: np.ndarray, side: int) -> np.ndarray:
    """The position embedding for ``side`` x ``side`` patches, by cubic convolution with a = -3/4 as in PyTorch."""
    original = round((positions.shape[1] - 1) ** 0.5)
    if original == side:
        return positions
    points = (np.arange(side) + 0.5) * original / (side + _OFFSET) - 0.5
    matrix = np.zeros((side, original))
    for tap in range(-1, 3):
        index = np.floor(points).astype(int) + tap
        distance = np.abs(points - index)
        near = 1.25 * distance**3 - 2.25 * distance**2 + 1
        far = -0.75 * distance**3 + 3.75 * distance**2 - 6 * distance + 3
        np.add.at(matrix, (np.arange(side), index.clip(0, original - 1)), np.where(distance <= 1, near, far))
    grid = positions[0, 1:].reshape(original, original, -1)
    resampled = np.einsum("yh,xw,hwc->yxc", matrix, matrix, grid).reshape(1, side * side, -1)
    return np.concatenate([positions[:, :1], resampled.astype(positions.dtype)], axis=1)
