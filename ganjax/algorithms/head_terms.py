"""Terms of what a discriminator's heads tell: the classes of images, and the codes that fakes were made of.

Each is a term of either player: in ``penalties`` it teaches the heads, in ``generator_terms`` the generator.
"""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from ganjax.algorithms.given import Generated, Judged, Scored, wide
from ganjax.algorithms.terms import check_term, global_mean
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Schedule

__all__ = ["Classification", "DiscriminativeClassification", "MutualInformation"]

Scores = Float[Array, "batch scores"]
Labels = Int[Array, " batch"]


def _size(term: Any, discriminator: Any) -> int | None:
    """How many numbers the term's head tells; None of a module of anybody's own, which does not say.

    Raises:
        UserError: there is no such head.
    """
    heads = getattr(discriminator, "heads", None)
    if heads is None:
        return None
    sizes = {head.name: head.size for head in heads}
    _check_told(term, sizes)
    return sizes[term.head]


def _check_told(term: Any, told: Any) -> None:
    if term.head not in told:
        raise UserError(
            f"{type(term).__name__} is of what a head {term.head!r} tells, and the discriminator tells "
            f"{', '.join(told) or 'nothing'}; give it heads=(Head({term.head!r}, size),), of a family that has heads"
        )


def _told(judged: Judged, term: Any) -> Scores:
    """What the term's head says.

    Raises:
        UserError: it says nothing.
    """
    _check_told(term, judged.scores)
    return wide(judged.scores[term.head])


def _cross_entropy(scores: Scores, labels: Labels | None, offset: int, axis_name: str | None) -> Float[Array, ""]:
    """The mean over images with a label, which is offset by so many scores; 0 where none has."""
    if labels is None:
        raise UserError("classes are to be told, and the discriminator's terms are given no labels; take the term away")
    known = (labels >= 0).astype(jnp.float32)
    each = optax.softmax_cross_entropy_with_integer_labels(scores, jnp.maximum(labels, 0) + offset)
    share = global_mean(known, axis_name)
    return jnp.mean(known * each) / jnp.where(share > 0, share, 1.0)


def _check_classes(term: Any, generator: Any, discriminator: Any, scores_per_class: int) -> None:
    size = _size(term, discriminator)
    if size is None:
        return
    classes = generator.num_classes
    if size % scores_per_class or (classes and size != scores_per_class * classes):
        wanted = f"{scores_per_class * classes}" if classes else f"a multiple of {scores_per_class}"
        raise UserError(
            f"{type(term).__name__}: head {term.head!r} tells {size} numbers and the generator takes {classes} "
            f"classes; expected {wanted}"
        )


@dataclasses.dataclass(frozen=True)
class Classification:
    """Cross entropy of the class that a head tells, in nats: an auxiliary classifier (AC-GAN, arXiv 1610.09585, Eq. 3).

    The discriminator minimises it on reals and on fakes, the generator on its fakes. With a head that judges, and no
    class that either network is told, it is the supervised part of semi-supervised learning (Salimans et al., arXiv
    1606.03498, section 5): a term of the discriminator, without the fakes, which have no class. Of records without a
    label, whose label is -1, nothing is asked: the mean is over those that have one; with microbatches, of each of
    them.

    Attributes:
        weight: of it.
        fakes: whether the discriminator learns the classes from fakes, too, by the labels that they were made for.
        head: whose scores these are: a logit for each class.
        every: interval, in iterations.
    """

    weight: Schedule = 1.0
    fakes: bool = True
    head: str = "classes"
    every: int = 1
    name: ClassVar[str] = "classification"

    def __post_init__(self) -> None:
        check_term(self)

    def check(self, generator: Any, discriminator: Any) -> None:
        """Raises ``UserError`` unless the head tells the classes of the networks."""
        _check_classes(self, generator, discriminator, 1)
        if self.fakes and not generator.num_classes:
            raise UserError(
                "Classification is of fakes, too, and the generator takes no classes, so that they have none; give it "
                "num_classes, or Classification(fakes=False) as a term of the discriminator"
            )

    def label_classes(self, discriminator: Any) -> int:
        """Of how many classes the records' labels are."""
        return _size(self, discriminator) or 0

    def __call__(self, given: Scored | Generated, fake: Scored | None = None, *_: Any) -> Float[Array, ""]:
        def of(judged: Judged) -> Float[Array, ""]:
            return _cross_entropy(_told(judged, self), given.condition.labels, 0, given.axis_name)

        if isinstance(given, Generated):
            return of(given.fake)
        return of(given.says()) + (of(fake.says()) if self.fakes and fake is not None else 0.0)


@dataclasses.dataclass(frozen=True)
class DiscriminativeClassification:
    """A classifier of each class's reals and each class's fakes (ADC-GAN: Hou et al., arXiv 2107.10060).

    The head has a logit for the reals of each class, y+, and then one for the fakes of each, y-. The discriminator
    minimises -E log C(y+|x) over reals and -E log C(y-|x) over fakes; the generator -E log C(y+|x) + E log C(y-|x) over
    its fakes. So, other than with ``Classification``, it gains nothing by fakes that are easier to classify than reals.

    Attributes:
        weight: lambda.
        head: whose scores these are.
        every: interval, in iterations.
    """

    weight: Schedule = 1.0
    head: str = "classes"
    every: int = 1
    name: ClassVar[str] = "discriminative_classification"

    def __post_init__(self) -> None:
        check_term(self)

    def check(self, generator: Any, discriminator: Any) -> None:
        """Raises ``UserError`` unless the head tells twice the classes of the generator."""
        _check_classes(self, generator, discriminator, 2)
        if not generator.num_classes:
            raise UserError(
                "DiscriminativeClassification is of fakes of each class, and the generator takes none; give num_classes"
            )

    def label_classes(self, discriminator: Any) -> int:
        """Of how many classes the records' labels are."""
        return (_size(self, discriminator) or 0) // 2

    def __call__(self, given: Scored | Generated, fake: Scored | None = None, *_: Any) -> Float[Array, ""]:
        def of(judged: Judged, *, as_fakes: bool) -> Float[Array, ""]:
            scores = _told(judged, self)
            offset = scores.shape[1] // 2 if as_fakes else 0
            return _cross_entropy(scores, given.condition.labels, offset, given.axis_name)

        if isinstance(given, Generated):
            return of(given.fake, as_fakes=False) - of(given.fake, as_fakes=True)
        assert fake is not None, "the discriminator's terms are given both"
        return of(given.says(), as_fakes=False) + of(fake.says(), as_fakes=True)


@dataclasses.dataclass(frozen=True)
class MutualInformation:
    """-E log Q(c|G(z, c)), in nats: minus InfoGAN's bound on I(c; G(z, c)), up to H(c) (arXiv 1606.03657, Eq. 5 and 6).

    c are the generator's ``codes``, and Q is what a head tells of them (``Codes.negative_log_likelihood``). InfoGAN has
    it as a term of both players. As a term of the discriminator alone, the codes being those of several generators, it
    tells them apart (MAD-GAN, arXiv 1704.02906).

    Attributes:
        weight: lambda.
        head: whose scores these are: as many as ``codes.size``.
        every: interval, in iterations.
    """

    weight: Schedule = 1.0
    head: str = "codes"
    every: int = 1
    name: ClassVar[str] = "mutual_information"

    def __post_init__(self) -> None:
        check_term(self)

    def check(self, generator: Any, discriminator: Any) -> None:
        """Raises ``UserError`` unless there are codes, and a head for them."""
        codes = getattr(generator, "codes", None)
        if codes is None:
            raise UserError(
                "MutualInformation is of codes, and none of the generator's latents are; give it codes, such as "
                "codes=Codes(categories=(10,), uniform=2)"
            )
        size = _size(self, discriminator)
        if size not in (codes.size, None):
            raise UserError(
                f"MutualInformation: head {self.head!r} tells {size} numbers and there are {codes.size} of codes; "
                "make them equal"
            )

    def __call__(self, given: Scored | Generated, fake: Scored | None = None, *_: Any) -> Float[Array, ""]:
        made = given if isinstance(given, Generated) else fake
        assert made is not None, "the discriminator's terms are given both"
        if made.codes is None or made.latents is None:
            raise UserError("MutualInformation is of the codes of fakes, which only GAN gives; take it away")
        judged = made.fake if isinstance(made, Generated) else made.says()
        return jnp.mean(made.codes.negative_log_likelihood(_told(judged, self), made.latents))
