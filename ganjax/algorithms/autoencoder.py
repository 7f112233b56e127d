"""An adversarial autoencoder: images by way of smaller maps, sharp by a discriminator of patches. All of it is pure.

    model = Autoencoder(generator=autoencoder.Generator(shape), discriminator=PatchDiscriminator(shape), ...)
    state = init(model, jax.random.key(0))
    state, metrics = jax.jit(train_step, static_argnums=0)(model, state, batch, key)

It is VQGAN (Esser et al., arXiv 2012.09841) of a network with codes, and latent diffusion's first stage (Rombach et
al., arXiv 2112.10752) of one without. ``init``, ``train_step``, ``sample`` and ``example_batch`` are those of every
model; the network starts from an image, so a sample is a reconstruction of one.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from ganjax.algorithms import losses
from ganjax.algorithms.draws import Batch, Draw, Images, draw_updates
from ganjax.algorithms.generator_terms import RealDistance
from ganjax.algorithms.given import Generated, Judged
from ganjax.algorithms.gradients import in_parts, mean_gradients, per_device
from ganjax.algorithms.loss import check_plain
from ganjax.algorithms.model import (
    NetworksState,
    Optimizer,
    Passed,
    Player,
    average,
    checked_batch,
    descend,
    forward,
    global_batch_size,
    new_player,
)
from ganjax.algorithms.step import Metrics, init, iterate
from ganjax.algorithms.terms import Term, add_terms, check_names
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Number, Schedule, check_schedule, value_at
from ganjax.models import autoencoder
from ganjax.models.autoencoder import LATENTS
from ganjax.models.codebook import CODEBOOK, moved_codebook
from ganjax.models.condition import Condition

__all__ = ["Autoencoder"]

_SMALL, _LARGEST = 1e-4, 1e4  # of VQGAN's code: what keeps the adaptive weight finite, and what bounds it
_VARIANCE_PACE = 0.01  # how far the variance of the latents follows that of a batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Autoencoder:
    """Everything about it that training does not change: hashable, and equal by value.

    What is minimised is per number of an image: means over its pixels and channels.

    Attributes:
        generator: both halves, of ``ganjax.models.autoencoder``.
        discriminator: of images and reconstructions, such as ``ganjax.models.translation.PatchDiscriminator``.
        generator_optimizer: of both halves and of codes that are descended: ``Adam``, or any optax optimizer.
        discriminator_optimizer: likewise.
        terms: how far a reconstruction is from its image: ``RealDistance`` (absolute or squared), and
            ``PerceptualDistance`` in the features of any network. The sum counts as the reconstruction's loss.
        divergence: weight of KL(posterior || N(0, 1)), of a network without codes: summed over the maps of an image, as
            latent diffusion has it beside a sum over the image's numbers, and divided by how many these are.
        codebook: weight of the squared distance of codes from what they replace, of a network with codes.
        commitment: weight of that of what is replaced from its codes.
        codebook_decay: of codes that follow what they replace: how much of their averages is left after an iteration.
        loss: the adversarial objective.
        adversarial_weight: of the objective in what the generator minimises, beside the adaptive weight.
        adaptive: whether it is also multiplied by the norm of the reconstruction loss's gradient with respect to the
            last layer's kernel over that of the objective's (2012.09841, Eq. 7; 1e-4 in place of the paper's 1e-6, and
            at most 1e4, as in the authors' code).
        discriminator_weight: of the objective in what the discriminator minimises; the authors' hinge is halved.
        discriminator_start: images seen before the discriminator is trained and asked.
        num_microbatches: each update's batch is worked through in so many parts, their gradients averaged.
        ema_half_life: of the generator's averaged weights, in images; 0 makes the average the live weights.
        ema_ramp_up: bounds the half-life by this share of the images seen; None: no bound.
    """

    generator: autoencoder.Generator
    discriminator: nn.Module
    generator_optimizer: Optimizer
    discriminator_optimizer: Optimizer
    terms: tuple[Term, ...] = (RealDistance(1.0),)
    divergence: Schedule = 1e-6
    codebook: Schedule = 1.0
    commitment: Schedule = 0.25
    codebook_decay: Number = 0.99
    loss: losses.Loss = losses.hinge
    adversarial_weight: Schedule = 1.0
    adaptive: bool = True
    discriminator_weight: Schedule = 0.5
    discriminator_start: Number = 0
    num_microbatches: int = 1
    ema_half_life: Schedule = 10_000.0
    ema_ramp_up: Number | None = None

    def __post_init__(self) -> None:
        expected, found = self.generator.image_shape, self.discriminator.image_shape
        if found != expected:
            raise UserError(f"image_shape: the generator has {expected} and the discriminator {found}; make them equal")
        check_plain(self.loss, "Autoencoder")
        if self.loss.generator_uses_reals:
            raise UserError("an Autoencoder's loss is of fakes alone for the generator; give none that is relativistic")
        check_number("num_microbatches", self.num_microbatches, at_least=1, example=1)
        check_number("discriminator_start", self.discriminator_start, at_least=0, example=250_000)
        check_number("codebook_decay", self.codebook_decay, at_least=0, below=1, example=0.99)
        for name, example in (
            ("divergence", 1e-6),
            ("codebook", 1),
            ("commitment", 0.25),
            ("adversarial_weight", 1),
            ("discriminator_weight", 0.5),
            ("ema_half_life", 10_000),
        ):
            check_schedule(name, getattr(self, name), at_least=0, example=example)
        check_number("ema_ramp_up", self.ema_ramp_up, at_least=0, example=0.05)
        if not self.terms:
            raise UserError(
                "terms is (); expected what compares reconstructions with images, such as RealDistance(1.0)"
            )
        check_names(self.terms)
        for term in self.terms:
            if term.every != 1 or hasattr(term, "init"):
                raise UserError(
                    f"{type(term).__name__} of terms comes at an interval or carries arrays; an Autoencoder takes "
                    "those that compare at every iteration, as RealDistance and PerceptualDistance"
                )

    @property
    def inputs(self) -> Callable[[Images, Key[Array, " batch"]], Images]:
        """What the generator starts from: the images themselves."""
        return itself

    @property
    def num_batches(self) -> int:
        """How many batches of reals an iteration consumes."""
        return 1


def itself(images: Images, keys: Key[Array, " batch"]) -> Images:
    """The images, without draws."""
    del keys
    return images


class _Shown(NamedTuple):
    """A draw, and what the generator as it is makes of it: no gradient goes further.

    Attributes:
        draw: what was made something of.
        before: the last layer's maps.
        maps: between the halves.
        images: reconstructions.
        slopes: of the generator's objective with respect to these; zeros before the discriminator begins.
        objective: of the part of the batch in which an image is.
        logit: the mean of that part.
    """

    draw: Draw
    before: Array
    maps: Array
    images: Images
    slopes: Images
    objective: Float[Array, " batch"]
    logit: Float[Array, " batch"]


class _Made(NamedTuple):
    """What the generator makes of images on the way to its last layer.

    Attributes:
        before: the last layer's maps.
        maps: between the halves, drawn or before they are replaced by codes.
        losses: of the maps, by the names of their weights.
        use: how often each code is the nearest, and the sum of what it replaces; () without codes.
    """

    before: Array
    maps: Array
    losses: dict[str, Float[Array, ""]]
    use: Any


@init.register(Autoencoder)  # pyright: ignore[reportArgumentType]  (its state is another)
def init_autoencoder(
    model: Autoencoder, key: Key[Array, ""], *, generator: PyTree | None = None, discriminator: PyTree | None = None
) -> NetworksState:
    """``init`` of an autoencoder."""
    generator_key, discriminator_key = jax.random.split(jax.random.fold_in(key, 0xF1257))
    latents = jnp.zeros((1, 0), jnp.float32)
    images = jnp.zeros((1, *model.generator.image_shape), jnp.float32)
    players = {
        "generator": new_player(
            model.generator, generator_key, latents, model.generator_optimizer, name="generator", params=generator
        ),
        "discriminator": new_player(
            model.discriminator,
            discriminator_key,
            images,
            model.discriminator_optimizer,
            name="discriminator",
            params=discriminator,
        ),
    }
    averages = {"generator": jax.tree.map(jnp.copy, players["generator"].params)}  # a copy: the step donates its state
    return NetworksState(step=jnp.zeros((), jnp.int32), players=players, averages=averages)


@iterate.register(Autoencoder)  # pyright: ignore[reportArgumentType]
def iterate_autoencoder(
    model: Autoencoder, state: NetworksState, batch: Batch, key: Key[Array, ""], *, axis_name: str | None = None
) -> tuple[NetworksState, dict[str, PyTree], Metrics]:
    """An iteration: an update of each player, both from the networks that it begins with and on the same images.

    The maps of image i are its mean plus its deviation times normal numbers of its key for latents.

    Args:
        model: what is trained.
        state: may be donated.
        batch: of images.
        key: the run's one key, the same at every step.
        axis_name: the mapped axis under ``shard_map`` or ``pmap``, over which ``batch`` is split.

    Returns:
        The next state, the gradients of both networks, and float32 scalars of the global batch, as the networks were
        before their updates; the norms of the parameters are of those after. ``autoencoder/loss`` is the
        reconstruction's, ``autoencoder/divergence`` is in nats an image.
    """
    step_key = jax.random.fold_in(key, state.step)
    (draw,) = draw_updates(checked_batch(model, batch), step_key, num_updates=0, num_batches=1, axis_name=axis_name)
    batch_size = global_batch_size(draw.reals.shape[0], axis_name)
    now = _Iteration(model, state, state.step.astype(jnp.float32) * batch_size, axis_name)
    shown = now.show(draw)
    weight = now.adversarial_weight(shown)

    generator, critic = state.generator, state.players["discriminator"]
    loss = lambda params, variables, shown: now.generator_loss(params, variables, shown, weight)  # noqa: E731
    found, variables, (metrics, use) = now.gradients(loss, generator, shown)
    found = {"generator": found}
    variables = _following(model, state, variables, use, batch_size)
    players = {"generator": now.descend(model.generator_optimizer, generator, found["generator"], variables)}
    found["discriminator"], players["discriminator"], of_discriminator = now.update_discriminator(critic, shown)
    metrics |= of_discriminator | {
        "g/weight": weight,
        "autoencoder/deviation": jnp.sqrt(variables[LATENTS]["variance"]),
    }
    for name, prefix in (("generator", "g"), ("discriminator", "d")):
        metrics[f"{prefix}/grad_norm"] = optax.tree.norm(found[name])
        metrics[f"{prefix}/param_norm"] = optax.tree.norm(players[name].params)
    pace: Any = {"half_life": model.ema_half_life, "ramp_up": model.ema_ramp_up}
    pace |= {"batch_size": batch_size, "images_seen": now.images_seen}
    averages = {"generator": average(state.ema_params, players["generator"].params, **pace)}
    return NetworksState(step=state.step + 1, players=players, averages=averages), found, metrics


@dataclasses.dataclass(frozen=True)
class _Iteration:
    """The losses of both players, and their gradients."""

    model: Autoencoder
    state: NetworksState
    images_seen: Float[Array, ""]
    axis_name: str | None

    def gradients(self, loss: Callable, player: Player, shown: _Shown) -> tuple[PyTree, PyTree, Any]:
        """Those of a player's loss, with what it has beside."""
        parts: Any = {"num_microbatches": self.model.num_microbatches, "axis_name": self.axis_name}
        return mean_gradients(loss, player.params, player.variables, shown, **parts)

    def descend(self, optimizer: Optimizer, player: Player, gradients: PyTree, variables: PyTree) -> Player:
        """The player after its update."""
        return descend(optimizer, player, gradients, variables, self.images_seen)

    def once_begun(self, act: Callable[[], PyTree], nothing: Callable[[PyTree], PyTree]) -> PyTree:
        """What is done with the discriminator, once it has begun; before, ``nothing`` of its shapes."""
        if not self.model.discriminator_start:
            return act()
        begun = self.images_seen >= self.model.discriminator_start
        return jax.lax.cond(begun, act, lambda: nothing(jax.eval_shape(act)))

    def _none(self, shapes: PyTree) -> PyTree:
        return per_device(_zeros(shapes), self.axis_name)

    def show(self, draw: Draw) -> _Shown:
        """What the generator makes; where the batch is one part, the compiler has it of the generator's update."""
        params, variables = self.state.generator.params, self.state.generator.variables

        def make(draw: Draw) -> tuple[Array, Array, Images]:
            made = self.make(params, variables, draw)
            return made.before, made.maps, self.finish(params, params["decoder"]["output"], made.before)

        def judge(given: tuple[Images, Draw]) -> tuple[Images, Array, Array]:
            slopes, told = jax.grad(self.fooled, has_aux=True)(*given)
            return slopes, *(jnp.broadcast_to(value, (len(slopes),)) for value in told)  # pyright: ignore

        in_turn: Any = {"num_microbatches": self.model.num_microbatches}
        before, maps, images = in_parts(make, draw, **in_turn)
        with jax.named_scope("objective"):
            judged = self.once_begun(lambda: in_parts(judge, (images, draw), **in_turn), self._none)
        return _Shown(draw, before, maps, images, *judged)

    def adversarial_weight(self, shown: _Shown) -> Float[Array, ""]:
        """Of the objective in what the generator minimises: Eq. 7, of the gradients of the whole batch."""
        weight = value_at(self.model.adversarial_weight, self.images_seen)
        if not self.model.adaptive:
            return weight
        generator = self.state.generator
        last = {name: generator.params["decoder"]["output"] for name in ("reconstruction", "objective")}

        def of_last_layer(last: PyTree, variables: PyTree, shown: _Shown):
            images = {name: self.finish(generator.params, layer, shown.before) for name, layer in last.items()}
            given = generator.params, images["reconstruction"], shown.maps, shown.draw
            reconstruction, _ = self.reconstruction_loss(*given)
            return reconstruction + jnp.sum(shown.slopes * images["objective"]), (variables, {})

        def compute() -> Float[Array, ""]:
            found, _, _ = self.gradients(of_last_layer, Player(last, {}, ()), shown)
            norms = {name: jnp.linalg.norm(layer["kernel"].reshape(-1)) for name, layer in found.items()}
            return jnp.minimum(norms["reconstruction"] / (norms["objective"] + _SMALL), _LARGEST)

        with jax.named_scope("adaptive_weight"):
            return weight * self.once_begun(compute, _zeros)

    def make(self, params: PyTree, variables: PyTree, draw: Draw) -> _Made:
        """Images as far as the last layer, with the losses of their maps."""
        network = self.model.generator
        variables = {"params": params, **variables}
        encoded: Any = network.apply(variables, draw.reals, method="encode")
        maps = encoded.mean
        if not network.num_codes:
            shape = maps.shape[1:]
            maps = maps + encoded.deviation * jax.vmap(lambda key: jax.random.normal(key, shape))(draw.noise.latents)
            divergence = 0.5 * (jnp.square(encoded.mean) + jnp.exp(encoded.log_variance) - encoded.log_variance - 1)
            found, use = {"divergence": jnp.mean(jnp.sum(divergence, axis=(1, 2, 3)))}, ()
            begin = maps
        else:
            nearest: Any = network.apply(variables, maps, method="nearest")
            codes, numbers = nearest
            stopped: Any = jax.lax.stop_gradient
            found = {
                "codebook": jnp.mean(jnp.square(codes - stopped(maps))),
                "commitment": jnp.mean(jnp.square(stopped(codes) - maps)),
            }
            use = _use(numbers.reshape(-1), stopped(maps).reshape(-1, maps.shape[-1]), network.num_codes)
            begin = maps + stopped(codes - maps)  # straight through (arXiv 1711.00937, section 3.2)
        before: Any = network.apply(variables, begin, method="prepare")
        return _Made(before, maps, found, use)

    def finish(self, params: PyTree, last: PyTree, before: Array) -> Images:
        """The images, of a last layer."""
        params = params | {"decoder": params["decoder"] | {"output": last}}
        images: Any = self.model.generator.apply(
            {"params": params, **self.state.generator.variables}, before, method="finish"
        )
        return images

    def judge(self, params: PyTree, variables: PyTree, images: Images, keys: Any, *, moves: bool = True) -> Passed:
        """What the discriminator says of images."""
        return forward(
            self.model.discriminator, params, variables, images, Condition(), keys, self.axis_name, moves=moves
        )

    def fooled(self, images: Images, draw: Draw) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Float[Array, ""]]]:
        """The generator's objective; again, with the mean logit."""
        critic, keys = self.state.players["discriminator"], draw.noise.fake_discriminator
        logits = self.judge(critic.params, critic.variables, images, keys, moves=False).outputs
        objective = losses.at_all_scales(self.model.loss.generator, None, logits)
        return objective, (objective, losses.mean_logit(logits))

    def reconstruction_loss(self, params: PyTree, images: Images, maps: Array, draw: Draw) -> tuple[Array, Metrics]:
        """The sum of the terms, and each by its name."""
        unjudged = Judged(jnp.zeros((len(images),)), ())  # these terms ask no discriminator
        generated = Generated(
            images=images,
            reals=draw.reals,
            start=maps.reshape(len(images), -1),
            generate=lambda start, rows: images[rows],
            fake=unjudged,
            real=lambda: unjudged,
            keys=draw.noise.term,
            axis_name=self.axis_name,
            parameters=params,
        )
        how: Any = {"step": self.state.step, "images_seen": self.images_seen, "axis_name": self.axis_name}
        total, values, _ = add_terms(jnp.zeros(()), self.model.terms, (generated,), {}, **how)
        return total, {f"term/{name}": value for name, value in values.items()}

    def generator_loss(self, params: PyTree, variables: PyTree, shown: _Shown, weight: Float[Array, ""]):
        """What both halves minimise, with metrics and what of the maps is followed.

        Of the objective it has the slopes alone, along which that moves: the discriminator is asked once.
        """
        model, draw = self.model, shown.draw
        with jax.named_scope("generator"):
            made = self.make(params, variables, draw)
            images = self.finish(params, params["decoder"]["output"], made.before)
            total, metrics = self.reconstruction_loss(params, images, made.maps, draw)
        metrics["autoencoder/loss"] = total
        for name, value in made.losses.items():
            per_number = math.prod(model.generator.image_shape) if name == "divergence" else 1
            total += value_at(getattr(model, name), self.images_seen) / per_number * value
            metrics[f"autoencoder/{name}"] = value

        metrics |= {"g/loss": jnp.mean(shown.objective), "g/fake": jnp.mean(shown.logit)}
        moments = (jnp.mean(made.maps), jnp.mean(jnp.square(made.maps)))
        return total + weight * jnp.sum(shown.slopes * images), (
            variables,
            (metrics, (jax.lax.stop_gradient(moments), made.use)),
        )

    def update_discriminator(self, critic: Player, shown: _Shown) -> tuple[PyTree, Player, Metrics]:
        """Its gradients, itself after the update, and metrics."""
        model = self.model

        def loss(params: PyTree, variables: PyTree, shown: _Shown):
            noise = shown.draw.noise
            real = self.judge(params, variables, shown.draw.reals, noise.real_discriminator)
            fake = self.judge(params, real.variables, shown.images, noise.fake_discriminator)
            value = losses.at_all_scales(model.loss.discriminator, real.outputs, fake.outputs)
            metrics = {
                "d/loss": value,
                "d/real": losses.mean_logit(real.outputs),
                "d/fake": losses.mean_logit(fake.outputs),
            }
            weight = value_at(model.discriminator_weight, self.images_seen)
            return weight * value, (fake.variables, metrics)

        def update() -> tuple[PyTree, Player, Metrics]:
            found, variables, metrics = self.gradients(loss, critic, shown)
            return found, self.descend(model.discriminator_optimizer, critic, found, variables), metrics

        def rest(shapes: PyTree) -> tuple[PyTree, Player, Metrics]:
            found, _, metrics = _zeros(shapes)
            return found, critic, metrics

        with jax.named_scope("discriminator"):
            return self.once_begun(update, rest)


def _zeros(shapes: PyTree) -> PyTree:
    return jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)


def _use(
    numbers: Array, maps: Float[Array, "pixels size"], num_codes: int
) -> tuple[Float[Array, " codes"], Float[Array, "codes size"]]:
    """The share of pixels that each code is the nearest of, and the sum of these over all pixels' number."""
    shares = jnp.zeros((num_codes,)).at[numbers].add(1.0)
    return shares / len(numbers), jnp.zeros((num_codes, maps.shape[1])).at[numbers].add(maps) / len(numbers)


def _following(model: Autoencoder, state: NetworksState, variables: PyTree, use: Any, batch_size: int) -> PyTree:
    """What follows the maps and is not descended: their variance, and codes that do."""
    (mean, square), codes = use
    pace = jnp.maximum(_VARIANCE_PACE, 1 / (state.step.astype(jnp.float32) + 1))  # at first the mean of all so far
    latents = variables[LATENTS]
    variance = latents["variance"] + pace * (square - jnp.square(mean) - latents["variance"])
    variables = variables | {LATENTS: latents | {"variance": variance}}
    if CODEBOOK in variables:
        height, width, _ = model.generator.latent_shape
        counts, sums = (batch_size * height * width * it for it in codes)
        moved = moved_codebook(variables[CODEBOOK]["codebook"], counts, sums, decay=model.codebook_decay)
        variables = variables | {CODEBOOK: {"codebook": moved}}
    return variables
