"""Standing statistics, by which a generator's batch norms sample (BigGAN, Brock et al., arXiv 1809.11096, appendix A).

Running statistics lag behind weights, and fit neither averaged weights nor truncated latents. Standing ones are the
means of those of several batches that the generator makes, in the mode of training, of the latents that are asked for.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import PyTree

from ganjax.algorithms.gan import AVERAGED
from ganjax.algorithms.model import NetworksState, State
from ganjax.algorithms.samples import weights_of
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.models.condition import Condition, as_argument, condition_sizes
from ganjax.models.normalization import BATCH_STATISTICS, STANDING
from ganjax.platform.sharding import gathered, mesh_of
from ganjax.runs.sampling import BATCH_SIZE, Sampler

_DRAW = 0x57A7D  # apart from the latents of the samples


def check_standing(standing: int | None) -> None:
    """Raises ``UserError`` unless it is a number of batches, or None."""
    check_number("--standing", standing, at_least=1, at_most=1_000_000, example=16)


def with_standing_statistics(sampler: Sampler, state: State) -> State:
    """The state for the sampler's ``standing`` to be sampled from; as it is where the sampler asks for none.

    The labels are drawn evenly from the classes. What else the generator has beside its weights, such as spectral
    vectors, moves as it does in training.

    Raises:
        UserError: the generator has no batch norm, or starts from more than latents and labels.
    """
    if sampler.standing is None:
        return state
    _, num_attributes, input_shape = condition_sizes(sampler.gan.generator)
    if BATCH_STATISTICS not in weights_of(state, sampler.weights):
        raise UserError(
            f"--standing is {sampler.standing}, and this generator has no batch norm, whose statistics these would be; "
            "leave it out"
        )
    if num_attributes or input_shape is not None:
        what = "attributes" if num_attributes else "images"
        raise UserError(
            f"--standing is {sampler.standing}: for it latents and labels are drawn, and this generator takes {what}; "
            "leave it out"
        )
    variables = _standing(sampler, mesh_of(state), state)
    player = dataclasses.replace(state.generator, variables=variables)
    if isinstance(state, NetworksState):
        return dataclasses.replace(state, players={**state.players, "generator": player})
    changes: dict[str, Any] = {"generator": player}
    if getattr(state, "ema_variables", {}):
        changes["carried"] = {**getattr(state, "carried"), AVERAGED: variables}  # noqa: B009 (not all states have it)
    return dataclasses.replace(state, **changes)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _standing(sampler: Sampler, mesh: Mesh | None, state: State) -> PyTree:
    """The other collections of the generator after the passes."""
    generator: Any = sampler.gan.generator
    variables = weights_of(state if mesh is None else gathered(state, mesh), sampler.weights)
    params = variables.pop("params")
    key = jax.random.fold_in(jax.random.key(sampler.seed), _DRAW)

    def one(variables: PyTree, number: Any) -> tuple[PyTree, PyTree]:
        keys = jax.random.split(jax.random.fold_in(key, number), 3 * BATCH_SIZE).reshape(3, BATCH_SIZE)
        labels = None
        if generator.num_classes:
            labels = jax.vmap(lambda key: jax.random.randint(key, (), 0, generator.num_classes))(keys[1])
        _, changed = generator.apply(
            {"params": params, **variables},
            sampler.latents(keys[0]),
            as_argument(generator, Condition(labels=labels)),
            train=True,
            keys=keys[2],
            mutable=[*variables, STANDING],
        )
        changed = dict(changed)
        return {name: changed[name] for name in variables}, changed[STANDING]

    variables, found = jax.lax.scan(one, variables, jnp.arange(sampler.standing))
    return variables | {BATCH_STATISTICS: jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), found)}
