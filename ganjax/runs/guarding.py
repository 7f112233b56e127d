"""A run's guard, made ready: what its checks need of the training set is kept in the run's folder and goes with it.

The folder ``guard`` of a workdir holds arrays, each in a file of the name of what they are and of what they depend on.
So a run that is copied without its training set is guarded as it was.
"""

import dataclasses
import functools
import hashlib
import io
import json
import logging
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict

from ganjax.algorithms.samples import picture_shape
from ganjax.data import Dataset, Source
from ganjax.evaluation.classifier import Classifier, Network, StackedClassifier
from ganjax.evaluation.content import read_content
from ganjax.evaluation.features import FeatureNetwork
from ganjax.evaluation.reference import Reals
from ganjax.evaluation.spaces import NetworkName, Space, network_space, pixel_space
from ganjax.ground.errors import UserError
from ganjax.ground.files import write_whole
from ganjax.models.condition import condition_sizes
from ganjax.runs.config import Config
from ganjax.runs.latents import pictures_behind
from ganjax.runs.sampling import Sampler
from ganjax.runs.subjects import open_classifier, open_published
from ganjax.using.guard import Guard, OpenGuard

FOLDER = "guard"

_logger = logging.getLogger("ganjax")


def open_guard(config: Config, workdir: epath.Path) -> OpenGuard | None:
    """A run's guard, ready to look at pictures; None where its config has none.

    Args:
        config: the run's.
        workdir: the run's, where what is made of the training set is kept.

    Raises:
        UserError: a check lacks something: a package, the training set, its labels.
    """
    if config.guard is None:
        return None
    return OpenGuard(config.guard, RunMaterial(config, workdir))


def keep_guard(config: Config, workdir: epath.Path) -> None:
    """Makes a trained run's guard ready, so that the run can be copied without its training set.

    What a check lacks is said in a warning: training is done, and nothing leaves yet.
    """
    if jax.process_count() > 1:  # the first to sample makes it ready
        return
    try:
        open_guard(config, workdir)
    except UserError as error:
        _logger.warning("the guard of %s is not ready yet: %s", workdir, error)


def capped(sampler: Sampler, guard: Guard | None) -> Sampler:
    """The sampler within the guard's caps on style.

    Raises:
        UserError: more was asked for than they allow.
    """
    if guard is None or not sampler.gan.generator.latent_size:
        return sampler
    largest = guard.largest_truncation
    if largest is not None:
        if sampler.truncation is not None and sampler.truncation > largest:
            raise UserError(
                f"--truncation is {sampler.truncation}; the guard of this run allows {largest} at most: give that or "
                "less, or leave it out"
            )
        if sampler.truncated_layers is not None and largest < 1:
            raise UserError(
                f"--truncated-layers is {sampler.truncated_layers}; the guard of this run allows a truncation of "
                f"{largest} at most, in all layers: leave it out"
            )
        if sampler.truncation is None and (largest < 1 or sampler.mode == "resample"):
            _logger.warning("truncated to %g, the most that the guard of this run allows", largest)
            sampler = dataclasses.replace(sampler, truncation=largest)
    if guard.largest_distance is not None and getattr(sampler.gan.generator, "codes", None) is not None:
        raise UserError("largest_distance of the guard is for latents, and some of this generator's are classes")
    return dataclasses.replace(sampler, largest_distance=guard.largest_distance)


class RunMaterial:
    """What checks may know of a run: see ``ganjax.using.guard.Material``."""

    def __init__(self, config: Config, workdir: epath.Path) -> None:
        self._config, self._workdir = config, workdir
        self._source: Source | None = None

    @functools.cached_property
    def _dataset(self) -> Dataset:
        """Of the pictures that the run is to make, wherever they are now."""
        return pictures_behind(self._config)

    @property
    def name(self) -> str:
        """The workdir."""
        return str(self._workdir)

    @property
    def num_classes(self) -> int:
        """Of the generator."""
        return condition_sizes(self._config.gan.generator)[0]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Of what the generator's images show."""
        return picture_shape(self._config.gan)

    @property
    def mirrors(self) -> bool:
        """Whether training shows every picture flipped as well."""
        return self._config.data.mirror

    def classifier(self) -> FeatureNetwork:
        """Of the training set, trained if it is not in the folder or the user's cache."""
        made: list[Classifier | StackedClassifier] = []

        def make(source: Source) -> dict[str, np.ndarray]:
            made.append(open_classifier(self._dataset, Reals(source, read_content(source), "train")))
            one = made[0].digits if isinstance(made[0], StackedClassifier) else made[0]
            facts = {field: getattr(one, field) for field in _FACTS} | {"classes": one.num_classes}
            facts["stacked"] = isinstance(made[0], StackedClassifier)
            arrays = flatten_dict(jax.device_get(one.variables), sep="/")
            return {"facts": np.array(json.dumps(facts)), **{name: np.asarray(it) for name, it in arrays.items()}}

        kept = self.kept("classifier", {}, make)
        if made:
            return made[0]
        facts = json.loads(str(kept["facts"]))
        arrays: Any = {name: jnp.asarray(array) for name, array in kept.items() if name != "facts"}
        classifier = Classifier(
            variables=unflatten_dict(arrays, sep="/"),
            network=Network(num_classes=facts["classes"]),
            **{field: facts[field] for field in _FACTS if field != "image_shape"},
            image_shape=tuple(facts["image_shape"]),
        )
        return StackedClassifier(digits=classifier) if facts["stacked"] else classifier

    def space(self, name: NetworkName | None) -> Space:
        """Of a network's features, or of pixels."""
        if name is None:
            return pixel_space(self.image_shape)
        if name == "classifier":
            network: Any = self.classifier()
            return network_space(network, network.image_shape)
        network = open_published(name, resize=None, download=False, otherwise="or let NoCopy compare pixels")
        return network_space(network, self.image_shape)

    def kept(
        self, name: str, settings: Mapping[str, Any], make: Callable[[Source], Mapping[str, np.ndarray]]
    ) -> Mapping[str, np.ndarray]:
        """Arrays from the run's folder; made and put there where they are not yet."""
        digest = hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode()).hexdigest()[:12]
        path = self._workdir / FOLDER / f"{name}-{digest}.npz"
        if path.exists():
            return _load(path)
        arrays = make(self._training_set(path))
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **cast(Any, dict(arrays)))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, buffer.getvalue())
        except (OSError, UserError) as error:
            _logger.warning("%s; what the guard needs is made anew each time", error)
        return arrays

    def _training_set(self, path: epath.Path) -> Source:
        if self._source is None:
            try:
                source = self._dataset.open()
            except UserError as error:
                raise UserError(
                    f"the guard of {self._workdir} needs {path.name}, which is made of the training set, and that "
                    f"cannot be opened: {error}; sample once where it is, and copy {FOLDER}/ with the run"
                ) from error
            self._source = source
        return self._source


_FACTS = ("name", "fingerprint", "accuracy", "num_held_out", "image_shape")


def _load(path: epath.Path) -> Mapping[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = (str(error) or type(error).__name__).partition("\n")[0][:80]
        raise UserError(
            f"{path} is damaged ({reason}); restore it from a copy, or remove it: it is made anew of the training set"
        ) from error
