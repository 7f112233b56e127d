"""The compiled programs of training: what the loop runs, and what measurements and plans look at."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import Mesh
from jaxtyping import Array, Key, PyTree

from ganjax.algorithms.frozen import given_weights
from ganjax.algorithms.model import Model, State
from ganjax.algorithms.perceptual import perceptions_of
from ganjax.algorithms.step import init, train_step
from ganjax.compiling.launch import train_steps
from ganjax.data import Feed, ResidentFeed
from ganjax.platform.cache import cache_folder
from ganjax.platform.distributed import announce
from ganjax.platform.forms import current_platform
from ganjax.platform.sharding import (
    check_split,
    data_mesh,
    gathers_parameters,
    mesh_of,
    model_sharding,
    names_of,
    split_axis_of,
    split_sharding,
)

ModelT = TypeVar("ModelT", bound=Model)

_CACHE_HIT = "/jax/compilation_cache/cache_hits"


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled launch.

    Attributes:
        run: ``(state, arrays, inputs, key) -> (state, metrics)``, with the state donated; the metrics of several
            iterations are stacked.
        num_steps: the iterations of a launch.
        seconds: what tracing and compiling took.
        warm: whether it came from the cache and was not compiled.
        memory_bytes: of one device, by the compiler's count: arguments, results and temporaries.
    """

    run: Any
    num_steps: int
    seconds: float
    warm: bool
    memory_bytes: int | None


def mesh_for(gan: Model, model_parallel: int) -> Mesh:
    """The devices of a run: see ``data_mesh``.

    Raises:
        UserError: so many devices cannot share the networks.
    """
    check_model_parallel(gan, model_parallel)
    return data_mesh(model_parallel=model_parallel)


def check_model_parallel(gan: Model, model_parallel: int) -> None:
    """Raises ``UserError`` unless so many devices can share the networks."""
    if model_parallel > 1:
        state = jax.eval_shape(functools.partial(init, gan), jax.random.key(0))
        check_split({name: getattr(gan, name) for name in state.players}, model_parallel)


def abstract_state(gan: Model, mesh: Mesh, *, shard: bool = False) -> State:
    """The shapes, dtypes and placements of a state: to create it, to compile for it and to restore it.

    Args:
        gan: what the state is a state of.
        mesh: the devices; where it has an axis "model", parameters, and an optimizer's state of them, are split over it
            as their network says.
        shard: whether the arrays are split over the devices, by the rule of ``split_sharding``, or whole on each.
    """
    state = jax.eval_shape(functools.partial(init, gan), jax.random.key(0))
    networks = {name: getattr(gan, name) for name in state.players}
    rule = split_sharding if shard else model_sharding

    def place(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        parts = (str(getattr(key, "name", getattr(key, "key", ""))) for key in path)
        owner = next((networks[part] for part in parts if part in networks), gan.generator)
        sharding = rule(mesh, leaf.shape, model_axis=split_axis_of(owner, names_of(path)))
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map_with_path(place, state)


def shardings(state: State) -> State:
    """Where the arrays of a state are, or are to be, as jit's ``out_shardings`` takes it."""
    return jax.tree.map(lambda leaf: leaf.sharding, state)


def for_sharded_state(gan: ModelT, state: State) -> ModelT:
    """The same model, whose step is spread over the batch alone wherever the arrays of its state are."""
    mesh = mesh_of(state)
    if mesh is None or all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state)):
        return gan
    networks: Any = {name: gathers_parameters(getattr(gan, name), mesh) for name in state.players}
    return dataclasses.replace(gan, **networks)


def lower_step(
    gan: Model, batch: Any, state: State, arrays: dict[str, Any], inputs: Any, key: Any
) -> jax.stages.Lowered:
    """The step of training, traced: ``(state, arrays, inputs, key, weights) -> (state, metrics)``, its state donated.

    The weights are of networks that are not trained, in the order of ``perceptions_of``.

    Args:
        gan: what is trained.
        batch: makes the batch: ``Feed.batch``, or another function ``(arrays, inputs) -> batch``.
        state: abstract or not, as are the following; with shardings.
        arrays: what is the same at every step.
        inputs: of one step.
        key: the run's one key, replicated.
    """

    def step(gan: Model, state: State, arrays: dict[str, Array], inputs: Any, key: Array):
        return train_step(gan, state, batch(arrays, inputs), key)

    return _lower(step, gan, state, arrays, inputs, key)


def compile_launch(
    gan: Model, feed: Feed, state: State, key: Key[Array, ""], *, num_steps: int = 1, say: bool = True
) -> Program:
    """Compiles a launch of some iterations, and says how long that took and what memory it takes.

    Args:
        gan: what is trained.
        feed: where its batches come from; one that is resident for launches of several iterations.
        state: abstract or not.
        key: the run's one key, replicated.
        num_steps: the iterations of a launch.
        say: whether to print.
    """
    began = time.perf_counter()
    if num_steps == 1:
        lowered = lower_step(gan, feed.batch, state, feed.arrays, feed.abstract_inputs, key)
    else:
        assert isinstance(feed, ResidentFeed)

        def launch(gan: Model, state: State, arrays: dict[str, Array], numbers: Array, key: Array):
            return train_steps(gan, state, feed.dataset(arrays, numbers), key, num_steps)

        lowered = _lower(launch, gan, state, feed.arrays, feed.abstract_launch(num_steps), key)
    with _cache_hits() as hits:
        compiled = lowered.compile()
    seconds, memory = time.perf_counter() - began, memory_bytes(compiled)
    constants = jax.device_put([network.load() for network in perceptions_of(gan)], key.sharding)

    def run(state: State, arrays: dict[str, Array], inputs: Any, key: Array) -> tuple[State, dict[str, Array]]:
        return compiled(state, arrays, inputs, key, constants)

    program = Program(run=run, num_steps=num_steps, seconds=seconds, warm=bool(hits), memory_bytes=memory)
    if say:
        steps = f"; {num_steps} steps a launch" if num_steps > 1 else ""
        warm = ", warm: from the cache" if program.warm else ""
        size = "" if memory is None else f"; {memory / 2**20:,.0f} MiB a device"
        announce(f"compiled in {seconds:.1f} s{warm}{size}{steps}")
    return program


def _lower(launch: Callable, gan: Model, state: State, arrays: Any, inputs: Any, key: Any) -> jax.stages.Lowered:
    networks = perceptions_of(gan)

    def spread(state: State, arrays: Any, inputs: Any, key: Any, constants: list[PyTree]):
        with given_weights(dict(zip(networks, constants, strict=True))):
            return launch(for_sharded, state, arrays, inputs, key)

    def place(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype, sharding=key.sharding)

    for_sharded = for_sharded_state(gan, state)
    jitted = jax.jit(spread, donate_argnums=0, out_shardings=(shardings(state), key.sharding))
    return jitted.lower(state, arrays, inputs, key, jax.tree.map(place, [network.load() for network in networks]))


def quick_to_compile() -> dict[str, bool | int]:
    """``compiler_options`` of a program that runs once, in which compiling is all the time that it takes.

    On a CPU LLVM's passes over two random draws took 10 s of a processor's time, of a small autoencoder's 49 s; without
    them the two take 0.4 s, and their numbers are the same bits.
    """
    if current_platform() != "cpu":
        return {}
    return {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def memory_bytes(compiled: jax.stages.Compiled) -> int | None:
    """What a program takes of one device's memory, by the compiler's count; None if it has none."""
    memory = compiled.memory_analysis()
    if memory is None:
        return None
    size = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return size - memory.alias_size_in_bytes


def use_compilation_cache(wanted: bool) -> None:
    """Keeps compiled programs in the user's cache folder, and looks for them there, or does neither.

    A folder that the user gave to JAX itself (``JAX_COMPILATION_CACHE_DIR``) is left as it is.
    """
    folder = str(cache_folder() / "compiled")
    if jax.config.values["jax_compilation_cache_dir"] not in (None, folder):
        jax.config.update("jax_enable_compilation_cache", wanted)
        return
    jax.config.update("jax_compilation_cache_dir", folder if wanted else None)
    compilation_cache.reset_cache()  # JAX looks at the folder's name once, when it first compiles


def num_parameters(state: State) -> dict[str, int]:
    """Of each network."""
    return {name: sum(leaf.size for leaf in jax.tree.leaves(player.params)) for name, player in state.players.items()}


@contextlib.contextmanager
def _cache_hits() -> Iterator[list[str]]:
    """A list that grows when JAX finds a program in its cache."""
    hits: list[str] = []

    def listen(event: str, **_: Any) -> None:
        if event == _CACHE_HIT:
            hits.append(event)

    jax.monitoring.register_event_listener(listen)
    try:
        yield hits
    finally:
        jax.monitoring.unregister_event_listener(listen)
