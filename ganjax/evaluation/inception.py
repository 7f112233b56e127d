"""Inception-v3 as FID uses it: the TensorFlow graph of 2015-12-05, with what is peculiar about its pooling.

The architecture is that of Szegedy et al., arXiv 1512.00567. In this graph, and in no other Inception-v3, an average
over a window at the border divides by the pixels that are there, and the last block takes a maximum where the others
take an average. Batch normalisation is folded into the convolutions when the weights are converted.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ganjax.evaluation.convolution import convolution, pool
from ganjax.evaluation.features import Features, Pixels
from ganjax.evaluation.resize import Resize, resize
from ganjax.evaluation.weights import PublishedWeights, load_weights
from ganjax.ground.errors import UserError

__all__ = ["InceptionFeatures", "load_inception"]

SIZE = 299
PUBLISHED = PublishedWeights(
    name="pt_inception-2015-12-05-6726825d.pth",
    url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)
_EPSILON = 1e-3  # of the batch normalisation


class InceptionOutputs(NamedTuple):
    """Feature maps before each change of scale, the pooled features, and the logits of the 1,008 classes."""

    maps_64: Float[Array, "batch 73 73 64"]
    maps_192: Float[Array, "batch 35 35 192"]
    maps_768: Float[Array, "batch 17 17 768"]
    features: Float[Array, "batch 2048"]
    logits: Float[Array, "batch 1008"]
    unbiased_logits: Float[Array, "batch 1008"]


class Convolution(nn.Module):
    """A convolution with a bias and a relu."""

    features: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padded: bool = True

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch rows columns features"]:
        shape = (*self.kernel, maps.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return nn.relu(convolution(maps, kernel, stride=self.stride, padded=self.padded) + bias[None, None, None])


class PooledConvolution(nn.Module):
    """A pooling over 3 x 3 pixels followed by a convolution of size one, a bias and a relu."""

    features: int
    pooling: str

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width features"]:
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (1, 1, maps.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        if self.pooling == "maximum":
            return nn.relu(convolution(pool(maps, "maximum", padded=True), kernel) + bias[None, None, None])
        # Both are linear, and the product leaves fewer channels to average.
        return nn.relu(pool(convolution(maps, kernel), "average", padded=True) + bias[None, None, None])


class BlockA(nn.Module):
    """35 x 35: sizes one, five, and twice three."""

    pool_features: int

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width features"]:
        five = Convolution(48, name="branch5x5_1")(maps)
        three = Convolution(64, name="branch3x3dbl_1")(maps)
        three = Convolution(96, (3, 3), name="branch3x3dbl_2")(three)
        branches = [
            Convolution(64, name="branch1x1")(maps),
            Convolution(64, (5, 5), name="branch5x5_2")(five),
            Convolution(96, (3, 3), name="branch3x3dbl_3")(three),
            PooledConvolution(self.pool_features, "average", name="branch_pool")(maps),
        ]
        return jnp.concatenate(branches, axis=-1)


class BlockB(nn.Module):
    """From 35 x 35 to 17 x 17."""

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch rows columns features"]:
        twice = Convolution(64, name="branch3x3dbl_1")(maps)
        twice = Convolution(96, (3, 3), name="branch3x3dbl_2")(twice)
        branches = [
            Convolution(384, (3, 3), stride=2, padded=False, name="branch3x3")(maps),
            Convolution(96, (3, 3), stride=2, padded=False, name="branch3x3dbl_3")(twice),
            pool(maps, "maximum", stride=2),
        ]
        return jnp.concatenate(branches, axis=-1)


class BlockC(nn.Module):
    """17 x 17: size seven as one by seven and seven by one."""

    features: int

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width features"]:
        once = Convolution(self.features, name="branch7x7_1")(maps)
        once = Convolution(self.features, (1, 7), name="branch7x7_2")(once)
        twice = Convolution(self.features, name="branch7x7dbl_1")(maps)
        twice = Convolution(self.features, (7, 1), name="branch7x7dbl_2")(twice)
        twice = Convolution(self.features, (1, 7), name="branch7x7dbl_3")(twice)
        twice = Convolution(self.features, (7, 1), name="branch7x7dbl_4")(twice)
        branches = [
            Convolution(192, name="branch1x1")(maps),
            Convolution(192, (7, 1), name="branch7x7_3")(once),
            Convolution(192, (1, 7), name="branch7x7dbl_5")(twice),
            PooledConvolution(192, "average", name="branch_pool")(maps),
        ]
        return jnp.concatenate(branches, axis=-1)


class BlockD(nn.Module):
    """From 17 x 17 to 8 x 8."""

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch rows columns features"]:
        three = Convolution(192, name="branch3x3_1")(maps)
        seven = Convolution(192, name="branch7x7x3_1")(maps)
        seven = Convolution(192, (1, 7), name="branch7x7x3_2")(seven)
        seven = Convolution(192, (7, 1), name="branch7x7x3_3")(seven)
        branches = [
            Convolution(320, (3, 3), stride=2, padded=False, name="branch3x3_2")(three),
            Convolution(192, (3, 3), stride=2, padded=False, name="branch7x7x3_4")(seven),
            pool(maps, "maximum", stride=2),
        ]
        return jnp.concatenate(branches, axis=-1)


class BlockE(nn.Module):
    """8 x 8: size three as one by three beside three by one."""

    pooling: str

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width features"]:
        once = Convolution(384, name="branch3x3_1")(maps)
        twice = Convolution(448, name="branch3x3dbl_1")(maps)
        twice = Convolution(384, (3, 3), name="branch3x3dbl_2")(twice)
        branches = [
            Convolution(320, name="branch1x1")(maps),
            Convolution(384, (1, 3), name="branch3x3_2a")(once),
            Convolution(384, (3, 1), name="branch3x3_2b")(once),
            Convolution(384, (1, 3), name="branch3x3dbl_3a")(twice),
            Convolution(384, (3, 1), name="branch3x3dbl_3b")(twice),
            PooledConvolution(192, self.pooling, name="branch_pool")(maps),
        ]
        return jnp.concatenate(branches, axis=-1)


class InceptionV3(nn.Module):
    """The network. Its modules have the names that the published file gives them."""

    @nn.compact
    def __call__(self, images: Float[Array, "batch 299 299 3"]) -> InceptionOutputs:
        """All outputs for images of about [-1, 1]; under ``jit`` those that are not used are not computed."""
        maps = Convolution(32, (3, 3), stride=2, padded=False, name="Conv2d_1a_3x3")(images)
        maps = Convolution(32, (3, 3), padded=False, name="Conv2d_2a_3x3")(maps)
        maps = Convolution(64, (3, 3), name="Conv2d_2b_3x3")(maps)
        maps_64 = pool(maps, "maximum", stride=2)
        maps = Convolution(80, name="Conv2d_3b_1x1")(maps_64)
        maps = Convolution(192, (3, 3), padded=False, name="Conv2d_4a_3x3")(maps)
        maps_192 = maps = pool(maps, "maximum", stride=2)
        for name, pool_features in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
            maps = BlockA(pool_features, name=name)(maps)
        maps = BlockB(name="Mixed_6a")(maps)
        for name, features in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
            maps = BlockC(features, name=name)(maps)
        maps_768 = maps
        maps = BlockD(name="Mixed_7a")(maps)
        for name, pooling in (("Mixed_7b", "average"), ("Mixed_7c", "maximum")):
            maps = BlockE(pooling, name=name)(maps)
        features = jnp.mean(maps, axis=(1, 2))
        kernel = self.param("fc_kernel", nn.initializers.lecun_normal(), (2048, 1008))
        bias = self.param("fc_bias", nn.initializers.zeros, (1008,))
        unbiased = jnp.einsum("bi,io->bo", features, kernel, precision="highest")
        return InceptionOutputs(maps_64, maps_192, maps_768, features, unbiased + bias[None], unbiased)


@flax.struct.dataclass
class InceptionFeatures:
    """The feature network behind FID and the Inception score: see ``FeatureNetwork``.

    Its probabilities leave the logits' bias out, as the first Inception score's program did, and all that compare with
    it.
    """

    params: dict[str, object]
    fingerprint: str = flax.struct.field(pytree_node=False)
    resize: Resize = flax.struct.field(pytree_node=False, default="legacy")
    name: str = flax.struct.field(pytree_node=False, default="inception-v3-fid")
    num_features: int = flax.struct.field(pytree_node=False, default=2048)
    resizes: tuple[str, ...] = flax.struct.field(pytree_node=False, default=("legacy", "pytorch", "clean"))

    def __call__(self, images: Pixels) -> Features:
        """Features and probabilities of images of 0 to 255, grey or RGB."""
        outputs = self.outputs(images)
        return Features(outputs.features, jax.nn.softmax(outputs.unbiased_logits))

    def outputs(self, images: Pixels) -> InceptionOutputs:
        """All outputs of images of 0 to 255, grey or RGB."""
        if images.shape[-1] not in (1, 3):
            raise UserError(f"images of {images.shape[-1]} channels: Inception-v3 sees 1 (grey) or 3 (RGB)")
        resized = resize(images, SIZE, way=self.resize)
        scaled = resized / 127.5 - 1 if self.resize == "pytorch" else (resized - 128) / 128
        colours = jnp.broadcast_to(scaled, (*scaled.shape[:-1], 3))
        outputs = InceptionV3().apply({"params": self.params}, colours)
        assert isinstance(outputs, InceptionOutputs)
        return outputs


def load_inception(
    resize: Resize = "legacy", weights: Path | None = None, *, download: bool = False
) -> InceptionFeatures:
    """The network with its weights.

    Args:
        resize: how images come to 299 x 299 pixels; see ``resize.py``.
        weights: a file in the format of the published one, which is taken as it is and whose hash is the fingerprint;
            by default the published file in the cache folder, whose hash is checked.
        download: fetches the published file when it is not there.

    Raises:
        UserError: the file is not there, is not what it should be, or cannot be fetched.
    """
    loaded = load_weights(PUBLISHED, path=weights, download=download)
    return InceptionFeatures(convert(loaded.arrays), fingerprint=loaded.sha256, resize=resize)


def convert(arrays: Mapping[str, Float[np.ndarray, "..."]]) -> dict[str, object]:
    """The parameters of ``InceptionV3`` from the arrays of the published file, batch normalisation folded in.

    Raises:
        UserError: an array is missing or has another shape.
    """
    expected = jax.eval_shape(InceptionV3().init, jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 3)))["params"]

    def convert_module(module: Mapping, path: str) -> dict[str, object]:
        if "kernel" not in module:
            return {name: convert_module(child, f"{path}{name}.") for name, child in module.items()}
        weight, scale, shift, mean, variance = (
            _array(arrays, path + name)
            for name in ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
        )
        factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + _EPSILON)
        kernel = (weight.transpose(2, 3, 1, 0) * factor).astype(np.float32)
        if kernel.shape != module["kernel"].shape:
            raise UserError(
                f"{path}conv.weight has the shape {weight.shape}, which is not Inception-v3's: use its file"
            )
        return {"kernel": kernel, "bias": (shift - mean * factor).astype(np.float32)}

    blocks = {name: child for name, child in expected.items() if isinstance(child, Mapping)}
    params = convert_module(blocks, "")
    return params | {"fc_kernel": _array(arrays, "fc.weight").T, "fc_bias": _array(arrays, "fc.bias")}


def _array(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in arrays:
        raise UserError(f"the weights have no {name!r}: use {PUBLISHED.name}, which pytorch-fid publishes")
    return arrays[name]
