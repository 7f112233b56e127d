"""Networks that are not trained, within a model: what a perceptual term looks through, what decodes latents.

Their weights are constants: a model that holds one is hashed and compared by what it says of itself, is loaded without
its weights, and keeps none in its state. ``prepare`` finds them before a run begins. A program gets them as arguments
where its caller gives them (``given_weights``), as the compiled launches of training and the sampler do, and else has
them within it.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ganjax.ground.errors import UserError
from ganjax.platform.distributed import any_problem

__all__ = ["Decoder", "Frozen", "frozen_networks", "frozen_weights", "given_weights", "prepare"]


@runtime_checkable
class Frozen(Protocol):
    """A network that is not trained, by what it is: a frozen dataclass, without its weights."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def load(self) -> PyTree:
        """The weights, as arrays of the host; found once, and kept.

        Raises:
            UserError: they are not there, or not what they should be.
        """
        ...


class Decoder(Frozen, Protocol):
    """What makes pictures of the latents that a generator makes: ``ganjax.DecoderOf`` a trained autoencoder is one."""

    def picture_shape(self, latent_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Height, width and channels of the pictures of latents of a height, width and channels.

        Raises:
            UserError: it decodes no such latents.
        """
        ...

    def decode(
        self, weights: PyTree, latents: Float[Array, "batch rows columns latent_channels"]
    ) -> Float[Array, "batch height width channels"]:
        """Pictures in [-1, 1], or close to it, of latents."""
        ...


def frozen_networks(model: Any) -> tuple[Frozen, ...]:
    """Those of a model, each once, wherever among its attributes they are."""
    found: dict[Frozen, None] = {}

    def visit(value: Any) -> None:
        if isinstance(value, tuple):
            for item in value:
                visit(item)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            if isinstance(value, Frozen):
                found[value] = None
            else:
                for field in dataclasses.fields(value):
                    visit(getattr(value, field.name, None))

    visit(model)
    return tuple(found)


def prepare(networks: Sequence[Frozen]) -> None:
    """Finds the weights of networks; with several processes, on all of them.

    Raises:
        UserError: some are not there.
    """
    for network in networks:
        problem = None
        try:
            network.load()
        except UserError as error:
            problem = str(error)
        if problem := any_problem(problem):
            raise UserError(problem)


_given: list[dict[Frozen, PyTree]] = [{}]


@contextlib.contextmanager
def given_weights(weights: dict[Any, PyTree]) -> Iterator[None]:
    """While a function is traced, networks have these weights, which may be tracers, and not arrays of the host."""
    _given.append(weights)
    try:
        yield
    finally:
        _given.pop()


def frozen_weights(network: Frozen) -> PyTree:
    """The weights that a network has where this is called."""
    if network in _given[-1]:
        return _given[-1][network]
    with jax.ensure_compile_time_eval():  # a program is being traced
        weights = network.load()
    return jax.tree.map(jnp.asarray, weights)
