"""GANs of latents: the trained autoencoder that makes pictures of theirs, and which pictures their reals are."""

import dataclasses
import functools
import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Array, Float, Int, PyTree, UInt8

from ganjax.algorithms.frozen import Decoder, given_weights
from ganjax.algorithms.model import Model
from ganjax.algorithms.samples import decoded, decoder_of, weights_of
from ganjax.data import Dataset, Latents, Source
from ganjax.data.files import any_path
from ganjax.data.latents import LatentSource, read_index
from ganjax.ground.errors import UserError
from ganjax.models import autoencoder
from ganjax.platform.sharding import data_mesh, replicated
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.config import Config, load_config
from ganjax.runs.outputs import given_path
from ganjax.runs.preparing import dataset_of
from ganjax.runs.sampling import restore_state
from ganjax.runs.workdir import load_workdir

__all__ = ["DecoderOf"]

_OF_ENCODING, _OF_DECODING = ("encoder", "to_moments"), ("decoder", "of_maps")


@dataclasses.dataclass(frozen=True)
class DecoderOf:
    """Makes pictures of latents: the decoder of a trained autoencoder, with its averaged weights.

    Attributes:
        path: the autoencoder's workdir. Nothing is read before pictures are made.
        step: of a checkpoint; None: the newest.
    """

    path: str | os.PathLike
    step: int | None = None

    @property
    def opened(self) -> "OpenedAutoencoder":
        """The autoencoder with its weights, read once.

        Raises:
            UserError: there is no trained autoencoder.
        """
        return open_autoencoder(self.path, self.step)

    def picture_shape(self, latent_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """See ``ganjax.algorithms.frozen.Decoder``."""
        network = network_of(self.path)
        height, width, channels = latent_shape
        if channels != network.latent_channels:
            raise UserError(
                f"the GAN makes latents of {channels} channels, and the autoencoder {self.path} has "
                f"{network.latent_channels}; make them equal, or name another autoencoder"
            )
        return height * network.factor, width * network.factor, network.image_shape[2]

    def load(self) -> PyTree:
        """The weights of the decoder, as arrays of the host."""
        variables = self.opened.variables
        params = {name: tree for name, tree in variables["params"].items() if name not in _OF_ENCODING}
        return variables | {"params": params}

    def decode(
        self, weights: PyTree, latents: Float[Array, "batch rows columns latent_channels"]
    ) -> Float[Array, "batch height width channels"]:
        """See ``ganjax.algorithms.frozen.Decoder``."""
        images: Any = network_of(self.path).apply(weights, latents, method="from_latents")
        return images


@dataclasses.dataclass(frozen=True)
class EncoderOf:
    """Makes latents of pictures: the other half of what ``DecoderOf`` is, with the same attributes."""

    path: str | os.PathLike
    step: int | None = None

    def load(self) -> PyTree:
        """The weights of the encoder, as arrays of the host."""
        variables = open_autoencoder(self.path, self.step).variables
        params = {name: tree for name, tree in variables["params"].items() if name not in _OF_DECODING}
        return variables | {"params": params}

    def encode(
        self, weights: PyTree, pictures: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch rows columns latent_channels"]:
        """The means of the latents of pictures in [-1, 1]."""
        found: Any = network_of(self.path).apply(weights, pictures, method="to_latents")
        return found[0]


class OpenedAutoencoder(NamedTuple):
    """A trained autoencoder.

    Attributes:
        config: of its run.
        network: what it is.
        variables: its averaged weights and what goes with them, arrays of the host.
        sha256: of all of these.
    """

    config: Config
    network: autoencoder.Generator
    variables: dict[str, Any]
    sha256: str


def network_of(path: str | os.PathLike) -> autoencoder.Generator:
    """What an autoencoder is, without its weights.

    Raises:
        UserError: there is no run, or it trains something else.
    """
    return _network(os.path.abspath(path) if "://" not in str(path) else str(path), str(path))[1]


def open_autoencoder(path: str | os.PathLike, step: int | None = None) -> OpenedAutoencoder:
    """A trained autoencoder.

    Args:
        path: its workdir.
        step: of a checkpoint; None: the newest.

    Raises:
        UserError: there is none, or it is not trained yet.
    """
    network_of(path)
    workdir = epath.Path(os.path.abspath(path) if "://" not in str(path) else str(path))
    newest = Checkpoints(workdir / "checkpoints").latest_step if step is None else step
    if newest is None:
        raise UserError(f"{path} has no checkpoint yet; train the autoencoder first, or name another")
    return _opened(str(workdir), str(path), newest)


@functools.lru_cache(maxsize=8)
def _network(workdir: str, called: str) -> tuple[Config, autoencoder.Generator]:
    if not epath.Path(workdir).is_dir():
        here = "" if "://" in workdir or os.path.isabs(called) else f" in {os.getcwd()}"
        raise UserError(f"the autoencoder {called} is not there{here}; train it first, or name where it is")
    config = load_workdir(epath.Path(workdir))
    network = config.gan.generator
    if not isinstance(network, autoencoder.Generator):
        raise UserError(
            f"{called} is a run of {type(config.gan).__name__}, not of an Autoencoder; name the workdir of one"
        )
    return config, network


@functools.lru_cache(maxsize=4)
def _opened(workdir: str, called: str, step: int) -> OpenedAutoencoder:
    config, network = _network(workdir, called)
    state = restore_state(config, epath.Path(workdir), step=step, sharding=replicated(data_mesh()))
    variables: Any = jax.tree.map(lambda leaf: np.asarray(leaf.addressable_data(0)), weights_of(state, "ema"))
    digest = hashlib.sha256()
    for place, leaf in jax.tree_util.tree_leaves_with_path(variables):
        digest.update(f"{jax.tree_util.keystr(place)} {leaf.dtype} {leaf.shape}\n".encode())
        digest.update(np.ascontiguousarray(leaf).data)
    return OpenedAutoencoder(config, network, variables, digest.hexdigest())


def check_latents(gan: Model, source: Source) -> None:
    """Raises ``UserError`` unless a GAN of latents has latents of its own autoencoder, and one of pictures pictures."""
    decoder, latents = decoder_of(gan), isinstance(source, LatentSource)
    if decoder is None and latents:
        raise UserError(
            f"{source.name} holds latents, and the models take pictures; name pictures, or give the GAN a decoder "
            "(DecoderOf the autoencoder)"
        )
    if decoder is not None and not latents:
        raise UserError(
            f"{source.name} holds pictures, and the models take an autoencoder's latents; name what `ganjax data "
            "encode --workdir AUTOENCODER` has written, or leave the decoder out"
        )
    if isinstance(decoder, DecoderOf) and isinstance(source, LatentSource):
        check_autoencoder(decoder, source)


def check_autoencoder(decoder: DecoderOf, source: LatentSource) -> None:
    """Raises ``UserError`` unless the latents are of the autoencoder that decodes."""
    theirs, ours = source.index.autoencoder, decoder.opened.sha256
    if theirs != ours:
        raise UserError(
            f"{source.name} holds latents of another autoencoder (sha256 {theirs[:16]}…) than {decoder.path} at its "
            f"newest checkpoint (sha256 {ours[:16]}…); encode the images with this one, or name the other"
        )
    decoder.picture_shape(source.image_shape)


def pictures_behind(config: Config) -> Dataset:
    """The dataset of the pictures that a model is to make: of a GAN of latents, what these were made of.

    Raises:
        UserError: it is not to be found any more.
    """
    decoder = decoder_of(config.gan)
    if not isinstance(decoder, DecoderOf) or not isinstance(config.data, Latents):
        return dataset_of(config)
    index = read_index(any_path(config.data.path))
    if index.config is None:
        return load_workdir(given_path("the autoencoder's workdir", str(decoder.path)), index.flags).data
    if not Path(index.config).is_file():
        raise UserError(
            f"{config.data.path} was made of the images of {index.config}, which is not there; name them by --real"
        )
    return load_config(index.config, index.flags).data


def real_pictures(
    gan: Model, source: Source, indices: Int[np.ndarray, " num"]
) -> UInt8[np.ndarray, "num height width channels"]:
    """Records as pictures: those of latents are what the decoder makes of their means."""
    images = np.stack([source[int(index)]["images"] for index in indices])
    decoder: Decoder | None = decoder_of(gan)
    if decoder is None:
        return images

    @jax.jit
    def make(weights: PyTree, latents: Array) -> Array:
        with given_weights({decoder: weights}):
            pictures = decoded(gan, latents)
        return jnp.clip(jnp.round((pictures + 1) * 127.5), 0, 255).astype(jnp.uint8)

    weights = decoder.load()
    return np.concatenate([np.asarray(make(weights, latents[None].astype(np.float32))) for latents in images])
