"""How far images are from their reals to the eye of a network that is not trained: the perceptual term.

    GAN(..., generator_terms=(RealDistance(0.005), PerceptualDistance(1.0, Vgg19())))

``ganjax.evaluation.vgg19`` and ``ganjax.evaluation.perception`` have such networks. Their weights are constants: a
model that holds one is hashed and compared by what it says of itself, is loaded without its weights, and keeps none in
its state. ``prepare`` finds them before a run begins. A program gets them as arguments where its caller gives them
(``given_weights``), as the compiled launches of training do, and else has them within it.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ganjax.algorithms.generator_terms import Generated, Images, Kind, distance_between
from ganjax.algorithms.terms import check_term
from ganjax.ground.checks import Number, check_number
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Schedule
from ganjax.platform.distributed import any_problem

__all__ = ["REAL_ESRGAN_LAYERS", "Perception", "PerceptualDistance", "given_weights", "perceptions_of", "prepare"]


@runtime_checkable
class Perception(Protocol):
    """A network that is not trained, by what it is: a frozen dataclass, without its weights.

    Attributes:
        layers: the names of what it can show of images.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def layers(self) -> tuple[str, ...]: ...

    def load(self) -> PyTree:
        """The weights, as arrays of the host; found once, and kept.

        Raises:
            UserError: they are not there, or not what they should be.
        """
        ...

    def maps(self, weights: PyTree, images: Images, layers: tuple[str, ...]) -> dict[str, Array]:
        """What some layers say of images in [-1, 1], grey or RGB; gradients pass through."""
        ...


@dataclasses.dataclass(frozen=True)
class PerceptualDistance:
    """The mean difference between what a network's layers say of each image and of the real of its record.

    ESRGAN's (arXiv 1809.00219, section 3.3) is that of VGG-19's conv5_4 before its ReLU, weight 1 beside 0.01 of the L1
    in [0, 1]; Real-ESRGAN's (arXiv 2107.10833, section 4.1) has ``REAL_ESRGAN_LAYERS``; SRGAN's paper (arXiv
    1609.04802, Eq. 5) squares the differences.

    Attributes:
        weight: of the sum over the layers.
        network: whose layers.
        layers: the weight of each by its name.
        kind: of differences.
        every: interval, in iterations.
        target: makes of the reals what is compared with; None: the reals themselves.
    """

    weight: Schedule
    network: Perception
    layers: tuple[tuple[str, Number], ...] = (("conv5_4", 1.0),)
    kind: Kind = "absolute"
    every: int = 1
    target: Callable[[Images], Images] | None = None
    name: ClassVar[str] = "perceptual_distance"

    def __post_init__(self) -> None:
        check_term(self)
        if not self.layers:
            raise UserError("PerceptualDistance's layers are (); expected pairs of a layer's name and its weight")
        for layer, weight in self.layers:
            check_number(f"PerceptualDistance's weight of {layer}", weight, at_least=0, example=1)
            if layer not in self.network.layers:
                raise UserError(
                    f"PerceptualDistance's layers name {layer!r}, and {type(self.network).__name__} has "
                    f"{', '.join(self.network.layers)}"
                )

    def __call__(self, generated: Generated) -> Float[Array, ""]:
        reals = generated.reals if self.target is None else self.target(generated.reals)
        weights, names = _weights_of(self.network), tuple(layer for layer, _ in self.layers)
        ours, theirs = (self.network.maps(weights, images, names) for images in (generated.images, reals))
        distances = [weight * distance_between(ours[layer], theirs[layer], self.kind) for layer, weight in self.layers]
        return jnp.sum(jnp.stack(distances))


REAL_ESRGAN_LAYERS = (("conv1_2", 0.1), ("conv2_2", 0.1), ("conv3_4", 1.0), ("conv4_4", 1.0), ("conv5_4", 1.0))
"""Of VGG-19, with their weights, as Real-ESRGAN has them."""


def perceptions_of(model: Any) -> tuple[Perception, ...]:
    """The networks that a model looks through, each once, wherever among its attributes they are."""
    found: dict[Perception, None] = {}

    def visit(value: Any) -> None:
        if isinstance(value, Perception):
            found[value] = None
        elif isinstance(value, tuple):
            for item in value:
                visit(item)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            for field in dataclasses.fields(value):
                visit(getattr(value, field.name, None))

    visit(model)
    return tuple(found)


def prepare(model: Any) -> None:
    """Finds the weights of all networks that a model looks through; with several processes, on all of them.

    Raises:
        UserError: some are not there.
    """
    for network in perceptions_of(model):
        problem = None
        try:
            network.load()
        except UserError as error:
            problem = str(error)
        if problem := any_problem(problem):
            raise UserError(problem)


_given: list[dict[Perception, PyTree]] = [{}]


@contextlib.contextmanager
def given_weights(weights: dict[Perception, PyTree]) -> Iterator[None]:
    """While a function is traced, networks have these weights, which may be tracers, and not arrays of the host."""
    _given.append(weights)
    try:
        yield
    finally:
        _given.pop()


def _weights_of(network: Perception) -> PyTree:
    if network in _given[-1]:
        return _given[-1][network]
    with jax.ensure_compile_time_eval():  # a program is being traced
        weights = network.load()
    return jax.tree.map(jnp.asarray, weights)
