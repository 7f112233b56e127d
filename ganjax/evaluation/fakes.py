"""Images that are measured, wherever they come from."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Int32, UInt8

from ganjax.evaluation.distances import Estimate
from ganjax.evaluation.features import FeatureNetwork
from ganjax.evaluation.pairs import Pairs

PathLength = Callable[[FeatureNetwork], Estimate]
Equivariance = Callable[[str], float]
"""Of a generator by a metric that moves the picture in it, in dB."""


CodeUse = Callable[[], tuple[float, float]]
"""The share of an autoencoder's codes that reals are coded by, and the perplexity of their frequencies."""


class Chunk(NamedTuple):
    """Some of the images.

    Attributes:
        images: of one size.
        labels: in the order of the reals' classes; None where there are none to be had.
        given: what the generator was given, in the order of its own classes; None where it takes none.
        records: of the reals for which they were made; None where they were made for none.
    """

    images: UInt8[np.ndarray, "num height width channels"]
    labels: Int32[np.ndarray, " num"] | None
    given: Int32[np.ndarray, " num"] | None = None
    records: Int[np.ndarray, " num"] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fakes:
    """Images that are measured.

    Attributes:
        chunks: makes the first so many of them, each time anew; fewer if there are no more.
        num: how many there are, or will be.
        image_shape: height, width, channels.
        stamp: what a stamp says of them.
        label_counts: how many of them each class of the reals has, or at most has; None where labels are lacking.
        unlabelled: why they are.
        label_note: what a person should know of the labels, if anything.
        path_length: of their generator, where it has one.
        pathless: why it has none.
        equivariance: of their generator, where it can be told how to move the picture.
        unmoving: why it cannot.
        code_use: of their generator, where that is an autoencoder with codes.
        uncoded: why it is none.
        pairs: each of them with the real that it should be like, where there is one.
        unpaired: why there is none.
    """

    chunks: Callable[[int], Iterator[Chunk]]
    num: int
    image_shape: tuple[int, int, int]
    stamp: dict[str, Any]
    label_counts: tuple[int, ...] | None = None
    unlabelled: str = "they have none"
    label_note: str = ""
    path_length: PathLength | None = None
    pathless: str = "images on disk have none; measure a run"
    equivariance: Equivariance | None = None
    unmoving: str = "images on disk have none; measure a run"
    code_use: CodeUse | None = None
    uncoded: str = "what made these has none"
    pairs: Pairs | None = None
    unpaired: str = "these have none: measure images on disk, or a run whose generator starts from images"
