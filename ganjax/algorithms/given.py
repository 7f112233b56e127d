"""What terms are called with: what the discriminator says, and what it is shown or the generator made."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from ganjax.models.codes import Codes
from ganjax.models.condition import Condition

__all__ = ["Generated", "Judged", "Scored", "logits_of_images"]

Images = Float[Array, "batch height width channels"]
Logits = Float[Array, "batch *patches"]
Latents = Float[Array, "batch latents"]


class Judged(NamedTuple):
    """What the discriminator says of images.

    Attributes:
        logits: one an image or one a patch of each.
        features: what its layers showed (see ``network.Discriminator.show``), from the first on; () if nothing.
        scores: what its heads told (see ``network.Discriminator.tell``), by their names.
    """

    logits: Logits
    features: tuple[Array, ...] = ()
    scores: dict[str, Array] = {}  # noqa: RUF012 (nobody writes into it)


class Scored(NamedTuple):
    """What a term of the discriminator knows of the reals or of the fakes.

    All but the first two are there in the update of a GAN; another model gives what it has.

    Attributes:
        score: gives the logits of any images: parameters, labels and noise, augmentation's too, are fixed.
        images: before any augmentation.
        gradients: those of each image's logit with respect to it, where the step has them already.
        parameters: the discriminator's.
        logits: of the images, where the step has them already.
        score_near: ``score`` of images near to these, to which augmentation does exactly what it does to these, also
            where that depends on what an image shows; None: ``score`` does so.
        judged: asks the discriminator what it says of the images; terms call ``says``.
        condition: what they are of, by their records.
        latents: of fakes: what they were made of.
        codes: of fakes: which of these are codes; None if none are.
        generate: of fakes: the images of other latents, all else being the same.
        axis_name: the mapped axis over which the batch is split; see ``terms.global_mean``.
        mirrored: mirrors those of other pictures of the same records that augmentation mirrors; None: it mirrors none.
    """

    score: Callable[[Images], Logits]
    images: Images
    gradients: Images | None = None
    parameters: PyTree | None = None
    logits: Logits | None = None
    score_near: Callable[[Images], Logits] | None = None
    judged: Callable[[], Judged] | None = None
    condition: Condition = Condition()
    latents: Latents | None = None
    codes: Codes | None = None
    generate: Callable[[Latents], Images] | None = None
    axis_name: str | None = None
    mirrored: Callable[[Images], Images] | None = None

    def says(self) -> Judged:
        """What the discriminator says of the images."""
        return Judged(self.score(self.images)) if self.judged is None else self.judged()


class Generated(NamedTuple):
    """What the generator made in an update, and what it can be compared with.

    Attributes:
        images: what it made, before any augmentation.
        reals: of the same records: of the same condition, and what ``inputs`` were made of.
        start: from which it was made: the latents, or of a ``StyledGenerator`` the styles.
        generate: ``(start, rows)``: the images of another start for some of the samples, all else being the same.
        fake: what the discriminator says of the images, after augmentation.
        real: asks it of the reals.
        keys: one a sample, for what a term draws.
        axis_name: the mapped axis over which the batch is split; see ``terms.global_mean``.
        parameters: the generator's.
        condition: what the images are to be of.
        latents: what they were made of.
        codes: which of these are codes; None if none are.
        of_latents: the images of other latents, all else being the same.
    """

    images: Images
    reals: Images
    start: Float[Array, "batch *layers size"]
    generate: Callable[[Float[Array, "some *layers size"], slice], Images]
    fake: Judged
    real: Callable[[], Judged]
    keys: Key[Array, " batch"]
    axis_name: str | None
    parameters: PyTree | None = None
    condition: Condition = Condition()
    latents: Latents | None = None
    codes: Codes | None = None
    of_latents: Callable[[Latents], Images] | None = None

    @property
    def last(self) -> Images:
        """The images that are comparable with reals: of a generator that gives its earlier ones, too, the last."""
        return self.images[..., -self.reals.shape[-1] :]


def logits_of_images(logits: Logits) -> Float[Array, " batch"]:
    """One number an image: the mean over its patches, where it has a logit for each."""
    return logits if logits.ndim == 1 else logits.reshape(len(logits), -1).mean(axis=-1)


def wide(values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """In float32 or more: of sums and differences of narrower numbers, few digits would be right."""
    return values if jnp.finfo(values.dtype).bits >= 32 else values.astype(jnp.float32)
