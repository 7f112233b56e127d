"""What the two networks say in an update of a GAN, and what terms are given of it. Everything here is pure.

The discriminator sees images as they are augmented: this is the one place that asks it, and the generator.
"""

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ganjax.algorithms.draws import Draw, Images, Shown, interleaved
from ganjax.algorithms.gan import GAN, Side
from ganjax.algorithms.given import Generated, Judged, Scored
from ganjax.algorithms.homogeneous import logits_and_gradients
from ganjax.algorithms.model import Passed, Player, forward
from ganjax.models.condition import Condition, as_argument, condition_sizes
from ganjax.models.layers import fit_maps
from ganjax.models.network import StyledGenerator

Name = Literal["generator", "discriminator"]
Logits = Float[Array, "batch *patches"]
Operands = tuple[Shown, Float[Array, ""], Float[Array, ""]]
"""What augmentation needs: what is shown, the strength, and the images seen."""


@dataclasses.dataclass(frozen=True)
class Networks:
    """Asks both networks, in the updates of one iteration.

    Attributes:
        gan: whose networks.
        images_seen: before the iteration.
        strength: of the augmentation.
        axis_name: the mapped axis over which the batch is split.
    """

    gan: GAN
    images_seen: Float[Array, ""]
    strength: Float[Array, ""]
    axis_name: str | None

    def generate(self, params: PyTree, variables: PyTree, draw: Draw, *, of: Name) -> Passed:
        """Images in an update of one of the players."""
        latents: Any = draw.latents
        passed = (self.gan.generator, params, variables, latents, draw.condition, draw.noise.generator, self.axis_name)
        return forward(*passed, moves=self.moves(of))

    def score(
        self, params: PyTree, variables: PyTree, shown: Shown, *, of: Name, reference: Images | None = None
    ) -> Passed:
        """Logits of images, as the discriminator sees them, in an update of one of the players.

        Augmentation that depends on what an image shows looks at that of ``reference``; None: at the image itself.
        """
        images = _augment(self.gan, shown.images, self.operands(shown), reference)
        condition = _augment_inputs(self.gan, shown, self.operands(shown))
        passed = (self.gan.discriminator, params, variables, images, condition, shown.discriminator, self.axis_name)
        return forward(*passed, moves=self.moves(of))

    def scored(self, params: PyTree, variables: PyTree, shown: Shown) -> Scored:
        """What the discriminator's terms know of reals or fakes, in its update: they are scored when a term asks."""

        def judge(images: Images) -> Judged:
            return self.score(params, variables, shown._replace(images=images), of="discriminator").judged

        def score_near(images: Images) -> Logits:
            near = shown._replace(images=images)
            return self.score(params, variables, near, of="discriminator", reference=shown.images).outputs

        mirrored = getattr(self.gan.augmentation, "mirrored", None)
        return Scored(
            lambda images: judge(images).logits,
            shown.images,
            parameters=params,
            score_near=score_near,
            judged=lambda: judge(shown.images),
            condition=shown.condition,
            axis_name=self.axis_name,
            mirrored=None if mirrored is None else lambda pictures: mirrored(pictures, shown.augmentation),
        )

    def made(self, fake: Scored, draw: Draw, generator: Player) -> Scored:
        """With what a term knows of fakes alone, in the discriminator's update."""

        def generate(latents: Array) -> Images:
            drawn = draw._replace(latents=latents)
            return self.generate(generator.params, generator.variables, drawn, of="discriminator").outputs

        codes = getattr(self.gan.generator, "codes", None)
        return fake._replace(latents=draw.latents, codes=codes, generate=generate)

    def judge(
        self, params: PyTree, variables: PyTree, draw: Draw, fakes: Images
    ) -> tuple[tuple[Logits, Scored], tuple[Logits, Scored], PyTree]:
        """Logits of reals and of fakes in the discriminator's update, and its other collections afterwards."""
        gan = self.gan

        def one(variables: PyTree, shown: Shown, side: Side) -> tuple[tuple[Logits, Scored], PyTree]:
            # The compiler sees that a penalty scores the same images again and keeps one forward pass.
            scored = self.scored(params, variables, shown)
            if not gan.penalizes_cheaply(side):
                passed = self.score(params, variables, shown, of="discriminator")
                scored = scored._replace(logits=passed.outputs, judged=lambda: passed.judged)
                return (passed.outputs, scored), passed.variables
            critic, augment = functools.partial(_criticize, gan), functools.partial(_augment, gan)
            shown = shown._replace(condition=_augment_inputs(gan, shown, self.operands(shown)))
            scores: Any = logits_and_gradients(critic, augment, params, shown.images, self.operands(shown))
            logits, gradients = scores
            return (logits, scored._replace(logits=logits, gradients=gradients)), variables

        # The parts of a step have names in a profile (``runs/profile.py``).
        if gan.judged == "together":
            reals, shown = draw.show_reals(), draw.show_fakes(fakes)
            with jax.named_scope("reals_and_fakes"):
                passed = self.score(params, variables, interleaved(reals, shown), of="discriminator")
            both = jax.tree.map(lambda leaf: leaf.reshape(-1, 2, *leaf.shape[1:]), passed.judged)

            def one_of(shown: Shown, which: int) -> tuple[Logits, Scored]:
                judged = jax.tree.map(lambda leaf: leaf[:, which], both)
                scored = self.scored(params, variables, shown)
                return judged.logits, scored._replace(logits=judged.logits, judged=lambda: judged)

            return one_of(reals, 0), one_of(shown, 1), passed.variables
        with jax.named_scope("reals"):
            real, after = one(variables, draw.show_reals(), "real")
        with jax.named_scope("fakes"):
            fake, after = one(after, draw.show_fakes(fakes), "fake")
        return real, fake, after

    def generated(
        self, params: PyTree, variables: PyTree, draw: Draw, opponent: Player
    ) -> tuple[Generated, PyTree, PyTree]:
        """What the generator's terms are given in its update, and both players' other collections afterwards."""
        gan, moves = self.gan, self.moves("generator")

        def judged(shown: Shown) -> tuple[Judged, PyTree]:
            passed = self.score(opponent.params, opponent.variables, shown, of="generator")
            return passed.judged, passed.variables

        def staged(method: str, inputs: Array, draw: Draw) -> Array:
            passed = (gan.generator, params, variables, inputs, draw.condition, draw.noise.generator, self.axis_name)
            return forward(*passed, moves=moves, method=method).outputs

        def of_latents(latents: Array) -> Images:
            return self.generate(params, variables, draw._replace(latents=latents), of="generator").outputs

        def again(start: Array, rows: slice) -> Images:
            some = jax.tree.map(lambda leaf: leaf[rows], draw)
            if isinstance(gan.generator, StyledGenerator):
                return staged("synthesize", start, some)
            return self.generate(params, variables, some._replace(latents=start), of="generator").outputs

        passed = self.generate(params, variables, draw, of="generator")
        fake, others = judged(draw.show_fakes(passed.outputs))
        real = functools.cache(lambda: judged(draw.show_reals())[0])
        start: Any = draw.latents
        if isinstance(gan.generator, StyledGenerator):
            start = staged("map", start, draw)
        generated = Generated(
            images=passed.outputs,
            reals=draw.reals,
            start=start,
            generate=again,
            fake=fake,
            real=real,
            keys=draw.noise.term,
            axis_name=self.axis_name,
            parameters=params,
            condition=draw.condition,
            latents=draw.latents,
            codes=getattr(gan.generator, "codes", None),
            of_latents=of_latents,
        )
        return generated, passed.variables, others if gan.statistics == "both" else opponent.variables

    def operands(self, shown: Shown) -> tuple[Shown, Array, Array]:
        """What augmentation needs."""
        return shown, self.strength, self.images_seen

    def moves(self, of: Name) -> bool:
        """Whether what of the networks is not descended moves in an update of this player."""
        return self.gan.statistics != "discriminator" or of == "discriminator"


def _augment(gan: GAN, images: Images, operands: Operands, reference: Images | None = None) -> Images:
    """Images as the discriminator sees them."""
    shown, strength, images_seen = operands
    augmentation: Any = gan.augmentation

    def viewed(images: Images) -> Images:
        return images if gan.view is None else gan.view(images, images_seen)

    if augmentation is None:
        return viewed(images)
    drawn = (shown.augmentation, strength)
    if reference is None or not getattr(augmentation, "looks", False):
        return augmentation(viewed(images), *drawn)
    return augmentation(viewed(images), *drawn, reference=viewed(reference))


def _augment_inputs(gan: GAN, shown: Shown, operands: Operands) -> Condition:
    """What stands beside the judged image undergoes what that undergoes: a draw is a function of the sample's key.

    Colours are those of three channels; what there are beside them are grey images of their own.
    """
    inputs = shown.condition.inputs
    unchanged = gan.augmentation is None and gan.view is None
    if inputs is None or unchanged or condition_sizes(gan.discriminator)[2] is None:
        return shown.condition
    inputs, channels = fit_maps(inputs, shown.images.shape[1:3]), inputs.shape[-1]
    ends = np.cumsum([3] * (channels // 3) + [1] * (channels % 3))
    parts = [_augment(gan, part, operands) for part in jnp.split(inputs, ends[:-1], axis=-1)]
    return shown.condition._replace(inputs=jnp.concatenate(parts, axis=-1))


def _criticize(gan: GAN, params: PyTree, images: Images, units: Logits, operands: Operands) -> Logits:
    """The logits of a homogeneous discriminator."""
    shown, *_ = operands
    parts = {"train": True, "keys": shown.discriminator, "units": units}
    condition = as_argument(gan.discriminator, shown.condition)
    logits: Any = gan.discriminator.apply({"params": params}, images, condition, **parts)
    return logits
