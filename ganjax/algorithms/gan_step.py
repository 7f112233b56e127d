"""One training iteration of a GAN. Everything here is pure.

The discriminator's updates come first, each on fresh reals; then the generator's; then the average of its weights.
Randomness is a function of (key, step, sample): noise belongs to a sample's place in the global batch, not to the
device that computes it, so every way of spreading the work gives the same numbers.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from ganjax.algorithms.draws import Batch, Draw, Images, Shown, draw_updates, interleaved
from ganjax.algorithms.gan import AUGMENTATION, AVERAGED, GAN, Side, TrainState
from ganjax.algorithms.generator_terms import Generated, Judged
from ganjax.algorithms.gradients import mean_gradients, per_device
from ganjax.algorithms.homogeneous import logits_and_gradients
from ganjax.algorithms.model import Passed, Player, average, checked_batch, descend, forward, global_batch_size
from ganjax.algorithms.penalties import Scored
from ganjax.algorithms.samples import draw_latents
from ganjax.algorithms.step import Metrics, iterate
from ganjax.algorithms.terms import Carried, Term, add_terms, evaluate, is_due
from ganjax.augment import AdaptiveStrength
from ganjax.ground.schedules import rests, value_at
from ganjax.models.condition import Condition, as_argument, condition_sizes
from ganjax.models.layers import fit_maps
from ganjax.models.network import StyledGenerator

Name = Literal["generator", "discriminator"]
Logits = Float[Array, "batch *patches"]
Operands = tuple[Shown, Float[Array, ""], Float[Array, ""]]
"""What augmentation needs: what is shown, the strength, and the images seen."""


@iterate.register(GAN)
def iterate_gan(
    gan: GAN, state: TrainState, batch: Batch, key: Key[Array, ""], *, axis_name: str | None = None
) -> tuple[TrainState, dict[str, PyTree], Metrics]:
    """See ``iterate``."""
    *discriminator_draws, generator_draw = _draw(gan, batch, jax.random.fold_in(key, state.step), axis_name)
    batch_size = global_batch_size(generator_draw.reals.shape[0], axis_name)
    images_seen = state.step.astype(jnp.float32) * batch_size
    strength = _augmentation_strength(gan, state, images_seen)
    now = _Iteration(gan, state.step, images_seen, strength, axis_name)

    at, metrics, gradients = _Position(state.generator, state.discriminator, state.carried), {}, {}
    for draw in discriminator_draws:
        at, gradients["discriminator"], metrics["discriminator"] = now.update_discriminator(at, draw)
    met = at._replace(discriminator=state.discriminator) if gan.updates == "simultaneous" else at
    met, gradients["generator"], metrics["generator"] = now.update_generator(met, generator_draw)
    at = met._replace(discriminator=at.discriminator) if gan.updates == "simultaneous" else met

    carried, how = dict(at.carried), {"half_life": gan.ema_half_life, "ramp_up": gan.ema_ramp_up}
    how |= {"batch_size": batch_size, "images_seen": images_seen}
    ema_params = average(state.ema_params, at.generator.params, **how)
    if gan.average_variables:
        carried[AVERAGED] = average(state.ema_variables, at.generator.variables, **how)
    found = {**metrics["discriminator"], **metrics["generator"]}
    found |= {
        "d/param_norm": optax.tree.norm(at.discriminator.params),
        "g/param_norm": optax.tree.norm(at.generator.params),
    }
    if gan.augmentation is not None:
        found["augment/p"] = strength
    if isinstance(gan.augmentation_strength, AdaptiveStrength):
        carried[AUGMENTATION] = gan.augmentation_strength.update(
            carried[AUGMENTATION], mean_sign=found["augment/real_sign"], step=state.step, batch_size=batch_size
        )
    after = TrainState(
        step=state.step + 1,
        generator=at.generator,
        discriminator=at.discriminator,
        ema_params=ema_params,
        carried=carried,
    )
    return after, gradients, found


class _Position(NamedTuple):
    """What the updates of an iteration change, one after another."""

    generator: Player
    discriminator: Player
    carried: Carried


@dataclasses.dataclass(frozen=True)
class _Iteration:
    """The updates of one iteration, and the losses of the two players.

    A loss is a function of a player's parameters, its other collections, and a draw. It gives, beside its value, these
    collections afterwards, and metrics with what its terms carry and the other player's collections.
    """

    gan: GAN
    step: Int[Array, ""]
    images_seen: Float[Array, ""]
    strength: Float[Array, ""]
    axis_name: str | None

    def update_discriminator(self, at: _Position, draw: Draw) -> tuple[_Position, PyTree, Metrics]:
        """The discriminator's update, and those of its lazy terms: the position, its gradients, and metrics."""
        gan = self.gan

        def update(at: _Position) -> tuple[_Position, PyTree, Metrics]:
            loss = functools.partial(self.discriminator_loss, at)
            with jax.named_scope("discriminator"):
                player, gradients, beside = self.descend("discriminator", at, loss, _complete(gan, draw))
            metrics, carried, others = beside
            generator = dataclasses.replace(at.generator, variables=others)
            after = _Position(generator, player, at.carried | carried)
            metrics = {**metrics, "d/grad_norm": optax.tree.norm(gradients)}

            def given(params: PyTree, variables: PyTree, draw: Draw, at: _Position) -> tuple[tuple, PyTree]:
                passed = self.generate(at.generator.params, at.generator.variables, draw, of="discriminator")
                with jax.named_scope("penalties"):
                    real = self.scored(params, variables, draw.show_reals())
                    fake = self.scored(params, variables, draw.show_fakes(passed.outputs))
                return (real, fake, draw.noise.penalty), variables

            after, values = self.update_lazily("discriminator", after, draw, given)
            return after, gradients, metrics | {f"penalty/{name}": value for name, value in values.items()}

        if not rests(gan.discriminator_weight):
            return update(at)

        def rest(at: _Position) -> tuple[_Position, PyTree, Metrics]:
            return at, *jax.tree.map(jnp.zeros_like, jax.eval_shape(update, at)[1:])

        acts = value_at(gan.discriminator_weight, self.images_seen) > 0
        after, gradients, metrics = jax.lax.cond(acts, update, rest, at)
        unchanged = gan.statistics == "own"  # so that the generator does not pass through the branch
        return after._replace(generator=at.generator) if unchanged else after, gradients, metrics

    def update_generator(self, at: _Position, draw: Draw) -> tuple[_Position, PyTree, Metrics]:
        """The generator's update, and those of its lazy terms: the position, its gradients, and metrics."""
        loss = functools.partial(self.generator_loss, at)
        with jax.named_scope("generator"):
            player, gradients, beside = self.descend("generator", at, loss, _complete(self.gan, draw))
        metrics, carried, others = beside
        discriminator = dataclasses.replace(at.discriminator, variables=others)
        after = _Position(player, discriminator, at.carried | carried)
        metrics = {**metrics, "g/grad_norm": optax.tree.norm(gradients)}

        def given(params: PyTree, variables: PyTree, draw: Draw, at: _Position) -> tuple[tuple, PyTree]:
            generated, variables, _ = self.generated(params, variables, draw, at.discriminator)
            return (generated,), variables

        after, values = self.update_lazily("generator", after, draw, given)
        return after, gradients, metrics | {f"term/{name}": value for name, value in values.items()}

    def discriminator_loss(self, at: _Position, params: PyTree, variables: PyTree, draw: Draw):
        """What the discriminator minimises; see the class."""
        gan = self.gan
        passed = self.generate(at.generator.params, at.generator.variables, draw, of="discriminator")
        others = at.generator.variables if gan.statistics == "own" else passed.variables
        (real_logits, real), (fake_logits, fake), after = self.judge(params, variables, draw, passed.outputs)
        loss = gan.loss.discriminator(*(gan.loss.gathered(it, self.axis_name) for it in (real_logits, fake_logits)))
        metrics = {"d/loss": loss, "d/real": jnp.mean(real_logits), "d/fake": jnp.mean(fake_logits)}
        if isinstance(gan.augmentation_strength, AdaptiveStrength):
            metrics["augment/real_sign"] = jnp.mean(jnp.sign(real_logits))
        given = (real, fake, draw.noise.penalty)
        total = value_at(gan.discriminator_weight, self.images_seen) * loss
        with jax.named_scope("penalties"):
            total, values, carried = self.add_terms(total, gan.penalties, given, at.carried)
        metrics |= {f"penalty/{name}": value for name, value in values.items()}
        return total, (after, (metrics, carried, others))

    def generator_loss(self, at: _Position, params: PyTree, variables: PyTree, draw: Draw):
        """What the generator minimises; see the class."""
        gan = self.gan
        generated, after, others = self.generated(params, variables, draw, at.discriminator)

        def adversary(fake: Judged, real: Callable[[], Judged]) -> tuple[Array, Array]:
            reals = gan.loss.gathered(real().logits, self.axis_name) if gan.loss.generator_uses_reals else None
            return gan.loss.generator(reals, gan.loss.gathered(fake.logits, self.axis_name)), jnp.mean(fake.logits)

        weight = value_at(gan.adversarial_weight, self.images_seen)
        if rests(gan.adversarial_weight):
            # Judged anew within the branch; what is outside of it, the compiler leaves out unless a term looks at it.
            def judge(shown: Shown) -> Judged:
                passed = self.score(at.discriminator.params, at.discriminator.variables, shown, of="generator")
                return Judged(passed.outputs, passed.features)

            ask = functools.partial(judge, draw.show_reals())
            nothing = per_device((jnp.zeros(()), jnp.zeros(())), self.axis_name)
            loss, mean_fake = jax.lax.cond(
                weight > 0, lambda: adversary(judge(draw.show_fakes(generated.images)), ask), lambda: nothing
            )
            others = at.discriminator.variables
        else:
            loss, mean_fake = adversary(generated.fake, generated.real)
        metrics = {"g/loss": loss, "g/fake": mean_fake}
        total, values, carried = self.add_terms(weight * loss, gan.generator_terms, (generated,), at.carried)
        metrics |= {f"term/{name}": value for name, value in values.items()}
        return total, (after, (metrics, carried, others))

    def generate(self, params: PyTree, variables: PyTree, draw: Draw, *, of: Name) -> Passed:
        """Images in an update of one of the players."""
        latents: Any = draw.latents
        passed = (self.gan.generator, params, variables, latents, draw.condition, draw.noise.generator, self.axis_name)
        return forward(*passed, moves=self.moves(of))

    def score(self, params: PyTree, variables: PyTree, shown: Shown, *, of: Name) -> Passed:
        """Logits of images, as the discriminator sees them, in an update of one of the players."""
        images = _augment(self.gan, shown.images, self.operands(shown))
        condition = _augment_inputs(self.gan, shown, self.operands(shown))
        passed = (self.gan.discriminator, params, variables, images, condition, shown.discriminator, self.axis_name)
        return forward(*passed, moves=self.moves(of))

    def scored(self, params: PyTree, variables: PyTree, shown: Shown) -> Scored:
        """Images with the function that gives their logits, in the discriminator's update."""

        def score(images: Images) -> Logits:
            return self.score(params, variables, shown._replace(images=images), of="discriminator").outputs

        return Scored(score, shown.images, parameters=params)

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
                return (passed.outputs, scored), passed.variables
            critic, augment = functools.partial(_criticize, gan), functools.partial(_augment, gan)
            shown = shown._replace(condition=_augment_inputs(gan, shown, self.operands(shown)))
            scores: Any = logits_and_gradients(critic, augment, params, shown.images, self.operands(shown))
            logits, gradients = scores
            return (logits, scored._replace(gradients=gradients)), variables

        # The parts of a step have names in a profile (``runs/profile.py``).
        if gan.judged == "together":
            reals, shown = draw.show_reals(), draw.show_fakes(fakes)
            with jax.named_scope("reals_and_fakes"):
                passed = self.score(params, variables, interleaved(reals, shown), of="discriminator")
            logits = passed.outputs.reshape(-1, 2, *passed.outputs.shape[1:])
            real, fake = (self.scored(params, variables, side) for side in (reals, shown))
            return (logits[:, 0], real), (logits[:, 1], fake), passed.variables
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
            return Judged(passed.outputs, passed.features), passed.variables

        def staged(method: str, inputs: Array, draw: Draw) -> Array:
            passed = (gan.generator, params, variables, inputs, draw.condition, draw.noise.generator, self.axis_name)
            return forward(*passed, moves=moves, method=method).outputs

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
        given = (passed.outputs, draw.reals, start, again, fake, real, draw.noise.term, self.axis_name, params)
        return Generated(*given), passed.variables, others if gan.statistics == "both" else opponent.variables

    def descend(self, name: Name, at: _Position, loss: Callable, draw: Draw) -> tuple[Player, PyTree, Any]:
        """A player after a step along the gradients of a loss, these, and what the loss gives beside."""
        player, optimizer = getattr(at, name), getattr(self.gan, f"{name}_optimizer")
        parts = {"num_microbatches": self.gan.num_microbatches, "axis_name": self.axis_name}
        gradients, variables, given = mean_gradients(loss, player.params, player.variables, draw, **parts)
        return descend(optimizer, player, gradients, variables, self.images_seen), gradients, given

    def update_lazily(
        self, name: Name, at: _Position, draw: Draw, given: Callable
    ) -> tuple[_Position, dict[str, Float[Array, ""]]]:
        """A player after the updates of those of its terms that have some of their own, and these terms' values.

        Args:
            name: the player's.
            at: before.
            draw: of the update before, whose reals are shown again.
            given: ``(params, variables, draw, at) -> (what the terms are called with, variables afterwards)``.
        """
        values = {}
        for number, term in enumerate(_lazy_terms(self.gan, name)):
            weight = value_at(term.weight, self.images_seen) * term.every
            anew = _complete(self.gan, draw.anew(number))
            before = getattr(at, name), {key: at.carried[key] for key in (term.name,) if key in at.carried}

            def update(term: Term = term, weight: Array = weight, draw: Draw = anew, at: _Position = at):
                def loss(params: PyTree, variables: PyTree, draw: Draw):
                    called, after = given(params, variables, draw, at)
                    value, kept = evaluate(term, called, at.carried)
                    return weight * value, (after, (value, kept))

                with jax.named_scope(f"{name}_{term.name}"):
                    player, _, (value, kept) = self.descend(name, at, loss, draw)
                return value, (player, kept)

            def rest(before: PyTree = before):
                return jnp.zeros(()), before

            due = is_due(term, step=self.step, images_seen=self.images_seen)
            values[term.name], (player, kept) = jax.lax.cond(due, update, rest)
            at = at._replace(**{name: player}, carried=at.carried | kept)
        return at, values

    def add_terms(self, total: Array, terms: tuple[Term, ...], given: tuple, carried: Carried):
        """A loss with those terms of a player that have no updates of their own, and what these carry."""
        when: Any = {"step": self.step, "images_seen": self.images_seen, "axis_name": self.axis_name}
        here = [term for term in terms if not _has_own_update(self.gan, term)]
        total, values, carried = add_terms(total, here, given, carried, **when)
        return total, values, {term.name: carried[term.name] for term in here if term.name in carried}

    def operands(self, shown: Shown) -> tuple[Shown, Array, Array]:
        """What augmentation needs."""
        return shown, self.strength, self.images_seen

    def moves(self, of: Name) -> bool:
        """Whether what of the networks is not descended moves in an update of this player."""
        return self.gan.statistics != "discriminator" or of == "discriminator"


def _has_own_update(gan: GAN, term: Term) -> bool:
    return gan.lazy == "separate" and term.every > 1


def _lazy_terms(gan: GAN, name: Name) -> list[Term]:
    """Those of a player's terms that have updates of their own."""
    terms = gan.penalties if name == "discriminator" else gan.generator_terms
    return [term for term in terms if _has_own_update(gan, term)]


def _draw(gan: GAN, batch: Batch, key: Key[Array, ""], axis_name: str | None) -> list[Draw]:
    """One draw for each of the discriminator's updates, and one, last, for the generator's."""
    updates = {"num_updates": gan.discriminator_updates, "num_batches": gan.num_batches}
    batch = checked_batch(gan, batch, num_draws=gan.discriminator_updates + 1)
    return draw_updates(batch, key, **updates, axis_name=axis_name)


def _complete(gan: GAN, draw: Draw) -> Draw:
    """With latents, and with what the generator starts from."""
    latents = draw_latents(gan, draw.noise.latents) if draw.latents is None else draw.latents
    condition = draw.condition
    if gan.inputs is not None:
        condition = condition._replace(inputs=gan.inputs(draw.reals, draw.noise.inputs))
    return draw._replace(latents=latents, condition=condition)


def _augmentation_strength(gan: GAN, state: TrainState, images_seen: Float[Array, ""]) -> Float[Array, ""]:
    if isinstance(gan.augmentation_strength, AdaptiveStrength):
        return state.carried[AUGMENTATION].strength
    return value_at(gan.augmentation_strength, images_seen)


def _augment(gan: GAN, images: Images, operands: Operands) -> Images:
    """Images as the discriminator sees them."""
    shown, strength, images_seen = operands
    images = images if gan.view is None else gan.view(images, images_seen)
    return images if gan.augmentation is None else gan.augmentation(images, shown.augmentation, strength)


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
