"""Statistics of the reals, kept in the user's cache.

The cache is keyed by the content of the dataset and by all that the numbers depend on, so that another dataset, split,
resize or network never meets statistics that are not its own.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int32, UInt8

from ganjax.data import Source, order
from ganjax.evaluation.content import Content, Subset, read_chunks
from ganjax.evaluation.features import FeatureNetwork, Features
from ganjax.evaluation.statistics import Moments, moments_of
from ganjax.evaluation.stored import load_arrays, save_arrays
from ganjax.ground.errors import UserError
from ganjax.platform.cache import cache_folder
from ganjax.platform.distributed import all_have

Extract = Callable[[UInt8[np.ndarray, "batch height width channels"]], Features]


class KeptFeatures(NamedTuple):
    """Features of some images, with their labels where there are any, and the records that they are of."""

    features: Float[np.ndarray, "num features"]
    labels: Int32[np.ndarray, " num"] | None
    indices: np.ndarray


@dataclasses.dataclass(frozen=True)
class Reals:
    """A dataset that generated images are compared with.

    Attributes:
        source: its records.
        content: of all of them.
        split: which part of the dataset it is.
        whole: the dataset, where the records are some of it, or turned round, for one of several generators.
    """

    source: Source
    content: Content
    split: str
    whole: Source | None = None

    @property
    def stamp(self) -> dict[str, Any]:
        """What a stamp says of them."""
        return {"dataset": self.source.name, "dataset_sha256": self.content.sha256, "split": self.split}


class Reference:
    """What one network says of a dataset: computed when it is asked for, then kept in the cache."""

    def __init__(self, reals: Reals, network: FeatureNetwork, extract: Extract, *, batch_size: int) -> None:
        """Computes nothing yet.

        Args:
            reals: the dataset.
            network: whose name, resize and weights are part of the key.
            extract: the network, compiled for batches of ``batch_size``.
            batch_size: images at once.
        """
        self._reals, self._network, self._extract, self._batch_size = reals, network, extract, batch_size

    @property
    def reals(self) -> Reals:
        """The dataset."""
        return self._reals

    def moments(self) -> Moments:
        """Of all images."""
        settings = self._settings("moments")
        path = _path(settings)
        stored = _stored_everywhere(path, settings)
        if stored is not None:
            arrays, facts = stored
            return Moments(facts["count"], arrays["mean"], arrays["second"])
        chunks = read_chunks(self._reals.source, size=self._batch_size, title="reals: features of")
        moments = moments_of(np.asarray(self._extract(chunk["images"]).features) for chunk in chunks)
        save_arrays(path, settings, {"mean": moments.mean, "second": moments.second}, {"count": moments.count})
        return moments

    def features(self, num: int, *, seed: int) -> KeptFeatures:
        """Of ``num`` images drawn at random, or of all when there are no more.

        Raises:
            UserError: a feature is not finite.
        """
        source = self._reals.source
        num = min(num, len(source))
        whole = num == len(source)
        settings = {**self._settings("features"), "num": num, "seed": None if whole else seed}
        path = _path(settings)
        stored = _stored_everywhere(path, settings)
        if stored is None:
            indices = np.arange(num)
            if not whole:
                indices = np.sort(order(num_records=len(source), seed=seed, start=0, stop=num))
            chunks = read_chunks(Subset(source, indices), size=self._batch_size, title="reals: features of")
            kept, labels = [], []
            for chunk in chunks:
                kept.append(np.asarray(self._extract(chunk["images"]).features))
                labels.append(chunk.get("labels", np.empty(0, np.int32)))
            arrays = {"features": np.concatenate(kept), "labels": np.concatenate(labels), "indices": indices}
            if num_bad := np.sum(~np.isfinite(arrays["features"]).all(axis=1)):
                raise UserError(f"the features of {num_bad} images of {source.name} are NaN or infinite")
            save_arrays(path, settings, arrays, {})
        else:
            arrays = stored[0]
        labels = arrays["labels"] if source.num_classes else None
        return KeptFeatures(arrays["features"], labels, arrays["indices"])

    def _settings(self, kind: str) -> dict[str, Any]:
        network = self._network
        return {
            "kind": kind,
            "content": self._reals.content.sha256,
            "network": network.name,
            "network_sha256": network.fingerprint,
            "resize": network.resize,
            "format": 1,
        }


def _stored_everywhere(path: Path, settings: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """What every host has in its cache; what one has not, all compute together."""
    stored = load_arrays(path, settings)
    return stored if all_have(None if stored is None else "it") else None


def _path(settings: dict[str, Any]) -> Path:
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:24]
    return cache_folder() / "references" / f"{settings['kind']}-{key}.npz"
