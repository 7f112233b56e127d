"""One training iteration of a GAN. Everything here is pure.

The discriminator's updates come first, each on fresh reals; then the generator's; then the average of its weights.
Randomness is a function of (key, step, sample): noise belongs to a sample's place in the global batch, not to the
device that computes it, so every way of spreading the work gives the same numbers.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from ganjax.algorithms.draws import Batch, Draw, Shown, draw_updates
from ganjax.algorithms.gan import AUGMENTATION, AVERAGED, GAN, LOSS, TrainState
from ganjax.algorithms.gan_networks import Name, Networks
from ganjax.algorithms.given import Judged
from ganjax.algorithms.gradients import mean_gradients, per_device
from ganjax.algorithms.model import Player, average, checked_batch, descend, global_batch_size
from ganjax.algorithms.samples import draw_latents
from ganjax.algorithms.step import Metrics, iterate
from ganjax.algorithms.terms import Carried, Term, add_terms, evaluate, is_due
from ganjax.augment import AdaptiveStrength
from ganjax.ground.schedules import rests, value_at


@iterate.register(GAN)
def iterate_gan(
    gan: GAN, state: TrainState, batch: Batch, key: Key[Array, ""], *, axis_name: str | None = None
) -> tuple[TrainState, dict[str, PyTree], Metrics]:
    """See ``iterate``."""
    *discriminator_draws, generator_draw = _draw(gan, batch, jax.random.fold_in(key, state.step), axis_name)
    batch_size = global_batch_size(generator_draw.reals.shape[0], axis_name)
    images_seen = state.step.astype(jnp.float32) * batch_size
    strength = _augmentation_strength(gan, state, images_seen)
    networks = Networks(gan, images_seen, strength, axis_name)
    now = _Iteration(gan, networks, state.step, images_seen, axis_name)

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
    networks: Networks
    step: Int[Array, ""]
    images_seen: Float[Array, ""]
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
                passed = self.networks.generate(at.generator.params, at.generator.variables, draw, of="discriminator")
                with jax.named_scope("penalties"):
                    real = self.networks.scored(params, variables, draw.show_reals())
                    fake = self.networks.scored(params, variables, draw.show_fakes(passed.outputs))
                return (real, self.networks.made(fake, draw, at.generator), draw.noise.penalty), variables

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
            generated, variables, _ = self.networks.generated(params, variables, draw, at.discriminator)
            return (generated,), variables

        after, values = self.update_lazily("generator", after, draw, given)
        return after, gradients, metrics | {f"term/{name}": value for name, value in values.items()}

    def discriminator_loss(self, at: _Position, params: PyTree, variables: PyTree, draw: Draw):
        """What the discriminator minimises; see the class."""
        gan = self.gan
        passed = self.networks.generate(at.generator.params, at.generator.variables, draw, of="discriminator")
        others = at.generator.variables if gan.statistics == "own" else passed.variables
        (real_logits, real), (fake_logits, fake), after = self.networks.judge(params, variables, draw, passed.outputs)
        loss, kept = gan.loss.of_discriminator(real_logits, fake_logits, at.carried.get(LOSS), self.axis_name)
        metrics = {"d/loss": loss, "d/real": jnp.mean(real_logits), "d/fake": jnp.mean(fake_logits)}
        if isinstance(gan.augmentation_strength, AdaptiveStrength):
            metrics["augment/real_sign"] = jnp.mean(jnp.sign(real_logits))
        given = (real, self.networks.made(fake, draw, at.generator), draw.noise.penalty)
        total = value_at(gan.discriminator_weight, self.images_seen) * loss
        with jax.named_scope("penalties"):
            total, values, carried = self.add_terms(total, gan.penalties, given, at.carried)
        metrics |= {f"penalty/{name}": value for name, value in values.items()}
        carried |= {} if gan.loss.init is None else {LOSS: kept}
        return total, (after, (metrics, carried, others))

    def generator_loss(self, at: _Position, params: PyTree, variables: PyTree, draw: Draw):
        """What the generator minimises; see the class."""
        gan = self.gan
        generated, after, others = self.networks.generated(params, variables, draw, at.discriminator)

        def adversary(fake: Judged, real: Callable[[], Judged]) -> tuple[Array, Array]:
            reals = real().logits if gan.loss.generator_uses_reals else None
            loss = gan.loss.of_generator(reals, fake.logits, self.images_seen, self.axis_name)
            return loss, jnp.mean(fake.logits)

        weight = value_at(gan.adversarial_weight, self.images_seen)
        if rests(gan.adversarial_weight):
            # Judged anew within the branch; what is outside of it, the compiler leaves out unless a term looks at it.
            def judge(shown: Shown) -> Judged:
                opponent = at.discriminator
                return self.networks.score(opponent.params, opponent.variables, shown, of="generator").judged

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


def _has_own_update(gan: GAN, term: Term) -> bool:
    return gan.lazy == "separate" and term.every > 1


def _lazy_terms(gan: GAN, name: Name) -> list[Term]:
    """Those of a player's terms that have updates of their own."""
    terms = gan.penalties if name == "discriminator" else gan.generator_terms
    return [term for term in terms if _has_own_update(gan, term)]


def _draw(gan: GAN, batch: Batch, key: Key[Array, ""], axis_name: str | None) -> list[Draw]:
    """One draw for each of the discriminator's updates, and one, last, for the generator's."""
    updates = {"num_updates": gan.discriminator_updates, "num_batches": gan.num_batches, "shared": gan.shared_draws}
    batch = checked_batch(gan, batch, num_draws=gan.discriminator_updates + (not gan.shared_draws))
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
