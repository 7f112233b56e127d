"""Which pictures of a set look least like the rest of it."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image

from ganjax.data import Source
from ganjax.evaluation.classifier import cached_classifier
from ganjax.evaluation.content import read_chunks
from ganjax.evaluation.spaces import Space, network_space, pixel_space
from ganjax.ground.errors import UserError
from ganjax.ground.grids import sheet
from ganjax.runs.subjects import open_published

_NEIGHBOURS = 5
_COLUMNS = 12


class Outliers(NamedTuple):
    """How odd each picture is.

    Attributes:
        distances: of each to the five most like it, on average.
        space: of what the distances are, in words.
    """

    distances: Float[np.ndarray, " num"]
    space: str


def find_outliers(source: Source, *, network: str | None) -> Outliers:
    """Looks for each picture's nearest others.

    Args:
        source: the pictures.
        network: whose features; ``pixels``; None: a classifier's where there are labels, else pixels.

    Raises:
        UserError: there are too few pictures, or no labels for a classifier.
    """
    from sklearn.neighbors import NearestNeighbors  # a second to import

    num = min(_NEIGHBOURS, len(source) - 1)
    if num < 2:
        raise UserError(f"{source.name} has {len(source)} pictures; expected 3 or more, one of which may be odd")
    space = _space(source, network)
    vectors = np.concatenate([space(chunk["images"]) for chunk in read_chunks(source, title="looking at")])
    found: Any = NearestNeighbors(n_neighbors=num + 1, algorithm="brute").fit(vectors).kneighbors(vectors)
    distances, indices = found
    own = indices == np.arange(len(vectors))[:, None]
    own[~own.any(axis=1), -1] = True  # of many copies not all find themselves
    return Outliers(distances[~own].reshape(len(vectors), num).mean(axis=1), space.name)


def outliers_sheet(by_distance: Source, by_logit: Source) -> Image.Image:
    """The first of each, a row each."""
    columns = min(_COLUMNS, len(by_distance))
    rows = {"by distance": by_distance, "by the discriminator": by_logit}
    return sheet(
        {name: np.stack([source[index]["images"] for index in range(columns)]) for name, source in rows.items()}
    )


def _space(source: Source, network: str | None) -> Space:
    if network == "classifier" or (network is None and source.num_classes > 1):
        return network_space(cached_classifier(source), source.image_shape)
    if network is None or network == "pixels":
        return pixel_space(source.image_shape)
    published = open_published(network, resize=None, download=False, otherwise="or give --network pixels")
    return network_space(published, source.image_shape)
