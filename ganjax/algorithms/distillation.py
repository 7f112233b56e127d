"""A discriminator that learns from a network which is not trained, beside its game: GAT's teacher (arXiv 2509.24935).

    discriminator = gat.Discriminator(shape, teacher_size=768)
    GAN(..., penalties=(DifferenceR1(0.1), DifferenceR2(0.1), Distillation(1.0, DinoTokens())))

``ganjax.evaluation.dinov2`` has such a teacher.
"""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from ganjax.algorithms.frozen import Decoder, frozen_weights
from ganjax.algorithms.given import Scored
from ganjax.algorithms.perceptual import Perception
from ganjax.algorithms.terms import check_term
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Schedule

__all__ = ["TEACHER_LAYERS", "Distillation", "Lesson", "cosine_distances", "cubic_matrix"]

TEACHER_LAYERS = ("class_token", "patch_tokens")
"""What a teacher shows: [batch, size], and [batch, rows, columns, size]."""

_TOLD = "teacher"


class Lesson(NamedTuple):
    """What a discriminator says of each token, and what the teacher says: of the class, and of the patches."""

    told: Float[Array, "batch tokens size"]
    of_class: Float[Array, "batch size"]
    of_patches: Float[Array, "batch rows columns size"]


@dataclasses.dataclass(frozen=True)
class Distillation:
    """One minus the cosine between what is said of a real's tokens and what the teacher says of it.

    Of the class token, and on average of those of the patches. The teacher's grid is resized to the discriminator's by
    cubic convolution. Only reals are taught. The teacher is shown them without noise, and of their augmentation with
    nothing but ``flip``.

    Attributes:
        weight: of both together.
        teacher: a network with ``TEACHER_LAYERS``.
        decoder: makes pictures of latents, of a GAN of these; None: its images are pictures.
        every: interval, in iterations.
    """

    weight: Schedule
    teacher: Perception
    decoder: Decoder | None = None
    every: int = 1
    name: ClassVar[str] = "distillation"

    def __post_init__(self) -> None:
        check_term(self)
        if absent := [layer for layer in TEACHER_LAYERS if layer not in self.teacher.layers]:
            raise UserError(
                f"Distillation's teacher, {type(self.teacher).__name__}, shows no {absent[0]}; give one such as "
                "ganjax.evaluation.dinov2.DinoTokens"
            )

    def check(self, generator: Any, discriminator: Any) -> None:
        """Raises ``UserError`` unless the discriminator can be taught."""
        if not getattr(discriminator, "teacher_size", 0):
            raise UserError(
                "Distillation needs a discriminator that says something of each patch: gat's, with a teacher_size of "
                "as many numbers as the teacher says, such as 768"
            )

    def __call__(self, real: Scored, fake: Scored, keys: Key[Array, " batch"]) -> Float[Array, ""]:
        pictures = real.images
        if self.decoder is not None:
            pictures = self.decoder.decode(frozen_weights(self.decoder), pictures)
        pictures = pictures if real.mirrored is None else real.mirrored(pictures)
        shown = self.teacher.maps(frozen_weights(self.teacher), pictures, TEACHER_LAYERS)
        shown = jax.lax.stop_gradient(shown)
        of_class, of_patches = (shown[layer] for layer in TEACHER_LAYERS)
        of_class_token, of_tokens = cosine_distances(Lesson(real.says().scores[_TOLD], of_class, of_patches))
        return jnp.mean(of_class_token + of_tokens)


def cosine_distances(lesson: Lesson) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
    """One minus the cosine, of the class token and, on average, of the patches' tokens."""
    tokens, size = lesson.told.shape[1] - 1, lesson.told.shape[2]
    if lesson.of_class.shape[-1] != size:
        raise UserError(
            f"the discriminator's teacher_size is {size}, and the teacher says {lesson.of_class.shape[-1]} numbers of "
            "each token; make them equal"
        )
    side = round(tokens**0.5)
    if side * side != tokens:
        raise UserError(f"Distillation takes square images, and these are of {tokens} patches; leave it out")
    rows, columns = (jnp.asarray(cubic_matrix(side, length)) for length in lesson.of_patches.shape[1:3])
    grid = jnp.einsum("yh,xw,bhws->byxs", rows, columns, lesson.of_patches, precision="highest")
    taught = jnp.concatenate([lesson.of_class[:, None], grid.reshape(len(grid), tokens, size)], axis=1)
    told = lesson.told.astype(jnp.float32)
    norms = [jnp.sqrt(jnp.maximum(jnp.sum(jnp.square(each), axis=-1), 1e-16)) for each in (told, taught)]
    distances = 1 - jnp.sum(told * taught, axis=-1) / (norms[0] * norms[1])
    return distances[:, 0], jnp.mean(distances[:, 1:], axis=1)


def cubic_matrix(size: int, length: int) -> Float[np.ndarray, "size length"]:
    """Brings ``length`` numbers to ``size`` by cubic convolution with a = -3/4; borders go on (PyTorch's bicubic)."""
    points = (np.arange(size) + 0.5) * length / size - 0.5
    matrix = np.zeros((size, length))
    for tap in range(-1, 3):
        index = np.floor(points).astype(int) + tap
        distance = np.abs(points - index)
        near = 1.25 * distance**3 - 2.25 * distance**2 + 1
        far = -0.75 * distance**3 + 3.75 * distance**2 - 6 * distance + 3
        weights = np.where(distance <= 1, near, far)
        np.add.at(matrix, (np.arange(size), index.clip(0, length - 1)), weights)
    return matrix.astype(np.float32)
