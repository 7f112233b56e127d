"""A run's generator for many people at once: wishes become pictures, in batches of one size through one program."""

import collections
import dataclasses
import functools
import math
import secrets
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from ganjax.algorithms.draws import as_float
from ganjax.algorithms.generators import GeneratorAlone
from ganjax.algorithms.samples import decoded, picture_shape
from ganjax.ground.errors import UserError
from ganjax.models.condition import Condition, condition_sizes
from ganjax.models.network import Network, StyledGenerator, within_distance
from ganjax.runs.points import Maker
from ganjax.runs.projecting import Projector
from ganjax.runs.sampling import filled_up, frozen_on, given_to_decoder
from ganjax.runs.wishes import LARGEST_TRUNCATION, MOST_WISHES, Known, Place, Wish
from ganjax.using.gathering import Gatherer
from ganjax.using.guard import Guard
from ganjax.using.points import Points, images_of, slerp

BATCH_SIZE = 16
"""Images that are computed at once, whoever asked for them."""

_MOST_PLACES = 1024  # whose latents or styles are remembered, for whoever moves a slider asks for them again
_MOST_PIXELS = 2**24  # of the pictures of one request
_PATIENCE = 300.0  # seconds in which a picture must be there


Pixels = UInt8[np.ndarray, "height width channels"]


class Direction(NamedTuple):
    """Along which pictures can be moved.

    Attributes:
        name: that the page has for it.
        step: of one deviation of what is drawn, in latents or in a style.
    """

    name: str
    step: Float[np.ndarray, " size"]


class _Row(NamedTuple):
    """What the program takes of a wish: arrays of the host, which it is given in batches."""

    start: np.ndarray
    end: np.ndarray
    share: Any
    mixed: np.ndarray
    layers: np.ndarray
    step: np.ndarray
    truncation: Any
    seed: Any
    condition: Condition


class Explorer:
    """Makes pictures of wishes. It may be asked from any number of threads.

    Attributes:
        known: what can be asked for.
        input_shape: of the image that it starts from; None: from none.
        latent_size: 0 where it starts from no latents.
        image_shape: of what it makes; of a generator that takes any size, as it was trained.
    """

    def __init__(
        self,
        maker: Maker,
        *,
        class_names: Sequence[str] = (),
        attribute_names: Sequence[str] = (),
        directions: Sequence[Direction] = (),
        projector: Projector | None = None,
        guard: Guard | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        """Compiles nothing yet.

        Args:
            maker: the generator, without truncation.
            class_names: where they are known.
            attribute_names: likewise.
            directions: along which pictures can be moved.
            projector: of pictures; None: none are projected.
            guard: of the run, which may cap style.
            batch_size: images that are computed at once.
        """
        self._maker, self._generator = maker, maker.generator
        self._directions, self._projector = directions, projector
        num_classes, num_attributes, self.input_shape = condition_sizes(self._generator)
        self._num_classes, self.latent_size = num_classes, self._generator.latent_size
        gan = GeneratorAlone.of(maker.sampler.gan)
        self.image_shape = picture_shape(gan)
        self._gan, self._frozen = gan, frozen_on(gan, None)
        self._shares = isinstance(self._generator, Network)
        self._cap = None if guard is None else guard.largest_distance
        largest = None if guard is None else guard.largest_truncation
        self.known = Known(
            class_names=tuple(class_names) or tuple(map(str, range(num_classes))),
            attribute_names=tuple(attribute_names) or tuple(map(str, range(num_attributes))),
            num_layers=maker.num_layers,
            directions=tuple(direction.name for direction in directions),
            between_classes=self._shares and num_classes > 1,
            largest_truncation=min(LARGEST_TRUNCATION, largest or LARGEST_TRUNCATION),
            most_wishes=int(np.clip(_MOST_PIXELS // math.prod(self.image_shape[:2]), 4, MOST_WISHES)),
        )
        # What starts from an image of its own size each time is computed one by one.
        self._size = batch_size if self.input_shape is None else 1
        self._arrays: collections.OrderedDict[Place | str, np.ndarray] = collections.OrderedDict()
        self._lock = threading.Lock()
        self._places = Gatherer(self._compute_places, size=self._size, seconds=0.0)
        self._pictures = Gatherer(self._compute_pictures, size=self._size)
        self._targets = Gatherer(self._compute_target, size=1, most_waiting=8)

    @property
    def projects(self) -> bool:
        """Whether pictures can be projected."""
        return self._projector is not None

    def warm_up(self) -> None:
        """Compiles the programs, where the size of what they start from is known."""
        start = None if self.input_shape is None else np.zeros(self.input_shape, np.uint8)
        self.images([Wish(Place(0, attributes=(0.0,) * len(self.known.attribute_names)))], start=start)

    def images(self, wishes: Sequence[Wish], *, start: np.ndarray | None = None) -> list[Pixels]:
        """Pictures, which are for ``Exit`` (``exits.py``) to let out.

        Args:
            wishes: what is asked for.
            start: the image that a generator starts from which starts from one, uint8, or float32 in [-1, 1].

        Raises:
            UserError: the generator starts from an image and there is none, or the other way round.
            Busy: too much is being asked for.
        """
        if (start is None) != (self.input_shape is None):
            raise UserError(
                "this generator starts from latents, and from no picture"
                if self.input_shape is None
                else "this generator starts from a picture: choose one"
            )
        arrays = self._arrays_of({place for wish in wishes for place in _places(wish)})
        rows = [self._row(wish, arrays, start) for wish in wishes]
        return _results(self._pictures.submit(rows))

    def project(self, picture: Pixels, *, label: int | None = None, attributes: Sequence[float] = ()) -> Place:
        """The place whose picture is most like one that is given; it takes some seconds.

        Args:
            picture: of the generator's size.
            label: of its class; None: it is found.
            attributes: as many as the generator takes.

        Raises:
            UserError: pictures cannot be projected here.
            Busy: others are waiting.
        """
        if self._projector is None:
            raise UserError("pictures are not projected with this generator")
        (found,) = _results(self._targets.submit([(picture, label, tuple(attributes))]))
        array, found_label = found
        code = secrets.token_urlsafe(12)
        self._remember({code: array})
        return Place(0, found_label, tuple(attributes), code)

    def close(self) -> None:
        """Ends the threads."""
        for gatherer in (self._places, self._pictures, self._targets):
            gatherer.close()

    def _remember(self, found: Mapping[Any, np.ndarray]) -> None:
        with self._lock:
            self._arrays.update(found)
            while len(self._arrays) > _MOST_PLACES:
                self._arrays.popitem(last=False)

    def _arrays_of(self, places: set[Place]) -> dict[Place, np.ndarray]:
        """The latents or styles of places."""
        with self._lock:
            keys = {place: place.code or place for place in places}
            found = {place: self._arrays[key] for place, key in keys.items() if key in self._arrays}
            for place in found:
                self._arrays.move_to_end(keys[place])
        missing = [place for place in places if place not in found]
        if any(place.code is not None for place in missing):
            raise UserError("the projected picture is not kept any more; choose it again")
        made = dict(zip(missing, _results(self._places.submit(missing)), strict=True))
        self._remember(made)
        return found | made

    def _row(self, wish: Wish, arrays: dict[Place, np.ndarray], start: np.ndarray | None) -> _Row:
        place, end = wish.place, wish.towards or wish.place
        own = arrays[place]
        layers = np.zeros(self.known.num_layers, bool)
        layers[wish.layers[0] : wish.layers[1] + 1] = wish.mixed is not None
        step = np.zeros(own.shape[-1], np.float32)
        if wish.direction is not None:
            step = np.float32(wish.amount) * self._directions[wish.direction].step
        return _Row(
            own,
            arrays[end],
            np.float32(wish.share),
            own if wish.mixed is None else arrays[_mixed_place(wish, wish.mixed)],
            layers,
            step,
            np.float32(wish.truncation),
            np.uint32(place.seed),
            self._condition(place, end, wish.share)._replace(inputs=cast(Any, start)),
        )

    def _condition(self, place: Place, end: Place, share: float) -> Condition:
        """Of one row, on the way from a place to another."""
        labels: Any = None
        if self._num_classes and self._shares:
            labels = np.zeros(self._num_classes, np.float32)
            labels[place.label] += 1 - share
            labels[end.label] += share
        elif self._num_classes:
            labels = np.int32(place.label)
        first, last = (np.array(one.attributes, np.float32) for one in (place, end))
        return Condition(labels, cast(Any, first + np.float32(share) * (last - first)) if len(first) else None)

    def _compute_places(self, places: Sequence[Place]) -> list[np.ndarray]:
        seeds = np.array([place.seed for place in places], np.uint32)
        condition = _stacked([self._condition(place, place, 0.0) for place in places])
        seeds, condition = jax.tree.map(lambda leaf: filled_up(leaf, self._size), (seeds, condition))
        return list(jax.device_get(self._maker.draw(seeds, condition).array)[: len(places)])

    def _compute_pictures(self, rows: Sequence[_Row]) -> list[np.ndarray]:
        batch = jax.tree.map(lambda leaf: filled_up(leaf, self._size), _stacked(rows))
        made = _make(self._gan, self._cap, self._frozen, self._maker.variables, batch)
        return list(jax.device_get(made)[: len(rows)])

    def _compute_target(self, asked: Sequence[tuple[Pixels, int | None, tuple[float, ...]]]) -> list[Any]:
        ((picture, label, attributes),) = asked
        assert self._projector is not None
        labels: Any = None if label is None or not self._num_classes else jnp.array([label], jnp.int32)
        condition = Condition(labels, jnp.array([attributes], jnp.float32) if attributes else None)
        if condition.attributes is not None and self._num_classes and label is None:
            condition = condition._replace(labels=jnp.zeros(1, jnp.int32))  # which then is not looked for
        points = self._projector(picture[None], condition).points
        found = points.condition.labels
        return [(np.asarray(points.array[0]), 0 if found is None else int(found[0]))]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _make(
    gan: GeneratorAlone, cap: float | None, frozen: Any, variables: Any, rows: Any
) -> UInt8[Array, "batch height width channels"]:
    """The images of rows: everything that can be done with places, whether it is asked for or not."""
    generator, rows = gan.generator, _Row(*rows)
    styled = isinstance(generator, StyledGenerator)
    array = _straight(rows.start, rows.end, rows.share) if styled else slerp(rows.start, rows.end, rows.share)
    parts, mixed = (each.reshape(*rows.layers.shape, -1) for each in (array, rows.mixed))
    array = jnp.where(rows.layers[:, :, None], mixed, parts).reshape(array.shape)
    array = array + (rows.step[:, None] if styled else rows.step)
    condition, average = rows.condition, jnp.zeros_like(array)
    if styled:
        found: Any = generator.apply(variables, condition.taken_by(generator), array, method="average_of")
        average = jnp.broadcast_to(found[:, None], array.shape)
    codes = getattr(generator, "codes", None)  # the last of the latents, and no more typical near their middle
    truncated = jnp.arange(array.shape[-1]) < array.shape[-1] - (codes.size if codes else 0)
    truncation = jnp.where(truncated, rows.truncation.reshape(-1, *(1,) * (array.ndim - 1)), 1.0)
    away = truncation * (array - average)
    array = average + (away if cap is None else within_distance(away, cap))
    if condition.inputs is not None:
        condition = condition._replace(inputs=as_float(condition.inputs))
    points = Points(None, array, condition) if styled else Points(array, None, condition)
    with given_to_decoder(gan, frozen):
        images = decoded(gan, images_of(generator, variables, points, keys=_keys(rows.seed)))
    return jnp.clip(jnp.round((images + 1) * 127.5), 0, 255).astype(jnp.uint8)


def _straight(first: Float[Array, "num *shape"], last: Float[Array, "num *shape"], share: Array) -> Array:
    return first + share.reshape(-1, *(1,) * (first.ndim - 1)) * (last - first)


def _keys(seeds: Array) -> Array:
    return jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), 0))(seeds)


def _places(wish: Wish) -> list[Place]:
    """All whose latents a wish needs."""
    others = [] if wish.mixed is None else [_mixed_place(wish, wish.mixed)]
    return [wish.place, *others, *([] if wish.towards is None else [wish.towards])]


def _mixed_place(wish: Wish, seed: int) -> Place:
    return dataclasses.replace(wish.place, seed=seed)


def _stacked(rows: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)


def _results(futures: Sequence[Future]) -> list[Any]:
    return [future.result(timeout=_PATIENCE) for future in futures]
