"""A dataset's images as an autoencoder's latents, in shards: each whole or not there, so that encoding can go on."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import Mesh
from jaxtyping import PyTree

from ganjax.algorithms.draws import as_float
from ganjax.data import Dataset, Latents, Source
from ganjax.data.latents import INDEX, PREFIX, DataType, Index
from ganjax.data.parallel import parallel_map
from ganjax.data.shards import Arrays
from ganjax.ground.errors import Fault, UserError
from ganjax.ground.files import write_whole
from ganjax.models import autoencoder
from ganjax.platform.distributed import decided_by_first
from ganjax.platform.sharding import batch_sharding, replicated
from ganjax.runs.config import Config, load_config
from ganjax.runs.identity import identify
from ganjax.runs.latents import DecoderOf, OpenedAutoencoder, open_autoencoder
from ganjax.runs.shards import Job, Plan, jobs_of, write_shards
from ganjax.runs.workdir import load_workdir

__all__ = ["Encoding", "dataset_of", "encode", "encode_missing"]

_SETTINGS = ("dtype", "flips", "records")
_PLAN = Plan(
    "encoding.json", INDEX, compared=("autoencoder", *_SETTINGS, "images"), told=("config", "flags"), what="encoded"
)
_SHARD = 4_096
_BATCH_OF_A_DEVICE = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encoding:
    """What is made of a dataset.

    Attributes:
        dtype: of the latents on disk.
        flips: whether those of mirror images are made, too.
        records: latents a file.
        batch_size: images that are encoded at once, on each device.
        config: of the dataset, where it is not the autoencoder's own; kept, so that the images are found again.
        flags: of that config, or of the autoencoder's.
    """

    dtype: DataType = "float16"
    flips: bool = True
    records: int = _SHARD
    batch_size: int = _BATCH_OF_A_DEVICE
    config: str | None = None
    flags: tuple[str, ...] = ()


def encode_missing(config: Config) -> None:
    """Makes the latents of a GAN's config, where there are none yet, or goes on where that was stopped.

    Where none were begun, they are of the autoencoder's own images.
    """
    decoder = getattr(config.gan, "decoder", None)
    if not isinstance(config.data, Latents) or not isinstance(decoder, DecoderOf):
        return
    folder = epath.Path(config.data.path)
    if not decided_by_first(lambda: (folder / INDEX).exists()):
        theirs = open_autoencoder(decoder.path, decoder.step)
        before = decided_by_first(lambda: _begun(folder)) or {"flips": config.data.flips}
        settings: dict[str, Any] = {name: tuple(it) if isinstance(it, list) else it for name, it in before.items()}
        how = Encoding(**settings)
        encode(theirs, dataset_of(theirs, str(decoder.path), how).open(), folder, how)


def encode(theirs: OpenedAutoencoder, source: Source, folder: epath.Path, encoding: Encoding) -> Index:
    """Writes a folder of latents, or what a run of this that was stopped has left undone.

    With several processes each makes every so-manieth file on its own devices.

    Args:
        theirs: the autoencoder.
        source: the images.
        folder: a new one, or one to go on with.
        encoding: how.

    Raises:
        UserError: the autoencoder does not take the images, or the folder holds something else.
        Fault: it cannot be written, or latents are no finite numbers of the type that they are kept in.
    """
    network = theirs.network
    _check(network, source)
    decided_by_first(lambda: _PLAN.claim(folder, _plan(theirs, source, encoding)))
    compute = _Encoder(theirs, source.image_shape, encoding)

    def make(job: Job, progress: Any) -> Arrays:
        return _joined(compute(source, job.records, progress))

    jobs = jobs_of(PREFIX, len(source) * (2 if encoding.flips else 1), encoding.records)
    shards = write_shards(folder, jobs, make, title=f"encoding {source.name}")
    index = Index(
        autoencoder=theirs.sha256,
        latent_shape=compute.latent_shape,
        image_shape=source.image_shape,
        dtype=encoding.dtype,
        num_records=len(source),
        flips=encoding.flips,
        class_names=tuple(source.class_names),
        attribute_names=tuple(source.attribute_names),
        num_attributes=source.num_attributes,
        dataset=source.name,
        config=encoding.config,
        flags=tuple(encoding.flags),
        shards=shards,
    )
    decided_by_first(lambda: write_whole(folder / INDEX, index.text()))
    return index


class _Encoder:
    """The compiled program, and the weights on this process's devices."""

    def __init__(self, theirs: OpenedAutoencoder, image_shape: tuple[int, int, int], encoding: Encoding) -> None:
        devices = np.array(jax.local_devices())
        mesh = Mesh(devices, ("data",), axis_types=(jax.sharding.AxisType.Auto,))
        self._rows, self._split = encoding.batch_size * mesh.size, batch_sharding(mesh)
        self._weights = jax.device_put(theirs.variables, replicated(mesh))
        height, width, _ = image_shape
        network, kind = theirs.network, jnp.dtype(encoding.dtype)
        self.latent_shape = (height // network.factor, width // network.factor, network.latent_channels)

        def encode(weights: PyTree, images: jax.Array, flipped: jax.Array) -> dict[str, jax.Array]:
            images = jnp.where(flipped[:, None, None, None], images[:, :, ::-1], images)
            found: Any = network.apply(weights, as_float(images), method="to_latents")
            return {name: it.astype(kind) for name, it in zip(("images", "deviations"), found, strict=True)}

        self._encode = jax.jit(encode, out_shardings=self._split)

    def __call__(self, source: Source, rows: range, progress: Any) -> Iterator[Arrays]:
        """The latents of some rows, of which those from the dataset's length on are of flipped images, in batches."""
        for first in range(rows.start, rows.stop, self._rows):
            part = range(first, min(first + self._rows, rows.stop))
            numbers = np.array(part)
            records = parallel_map(
                lambda place, of=numbers: source[int(of[place]) % len(source)], range(len(part)), title="reading"
            )
            images, flipped = np.stack([record["images"] for record in records]), numbers >= len(source)
            padding = self._rows - len(part)
            given = np.pad(images, [(0, padding)] + [(0, 0)] * 3), np.pad(flipped, (0, padding))
            found = self._encode(self._weights, *jax.device_put(given, self._split))
            latents = {name: np.asarray(array)[: len(part)] for name, array in found.items()}
            for array in latents.values():
                if not np.isfinite(array.astype(np.float32)).all():
                    raise Fault(
                        f"latents of records {part.start % len(source)} and on are not finite; give --dtype bfloat16 "
                        "if they are too large for float16, or look at the autoencoder's reconstructions"
                    )
            others = [name for name in ("labels", "attributes") if name in records[0]]
            yield latents | {name: np.stack([record[name] for record in records]) for name in others}
            progress.update(len(part))


def _check(network: autoencoder.Generator, source: Source) -> None:
    height, width, channels = source.image_shape
    if channels != network.image_shape[2]:
        raise UserError(
            f"{source.name} has images of {channels} channels, and the autoencoder takes {network.image_shape[2]}; "
            "give such, as by --data.channels"
        )
    if height % network.factor or width % network.factor:
        raise UserError(
            f"{source.name} has images of {height} x {width} pixels, and the autoencoder takes multiples of "
            f"{network.factor}; give others, such as by --data.size"
        )
    if len(source.parts) > 1:
        raise UserError(f"{source.name} has images in several orders; give a dataset of images alone")


def _plan(theirs: OpenedAutoencoder, source: Source, encoding: Encoding) -> dict[str, Any]:
    """See ``Plan``."""
    settings = {name: getattr(encoding, name) for name in (*_SETTINGS, "config")} | {"flags": list(encoding.flags)}
    images = json.loads(json.dumps(dataclasses.asdict(identify(source))))
    return {"autoencoder": theirs.sha256, **settings, "images": images}


def _begun(folder: epath.Path) -> dict[str, Any] | None:
    """The settings with which a folder was begun."""
    plan = _PLAN.read(folder)
    return None if plan is None else {name: plan[name] for name in (*_SETTINGS, "config", "flags")}


def _joined(batches: Iterator[Arrays]) -> Arrays:
    parts = list(batches)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def dataset_of(theirs: OpenedAutoencoder, path: str, encoding: Encoding) -> Dataset:
    """What is encoded: the autoencoder's own dataset, where flags say that it is now, or that of another config.

    Args:
        theirs: the autoencoder.
        path: its workdir.
        encoding: says of which config, with which flags.

    Raises:
        UserError: the config cannot be loaded, or a flag would change more.
    """
    if encoding.config is not None:
        return load_config(encoding.config, encoding.flags).data
    return load_workdir(epath.Path(path), encoding.flags).data if encoding.flags else theirs.config.data
