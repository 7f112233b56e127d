"""What a person may ask a generator for, picture by picture, as it comes from a page: checked, and nothing believed."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ganjax.ground.checks import LARGEST_SEED
from ganjax.ground.errors import UserError

MOST_WISHES = 64
"""Pictures of one request."""

LARGEST_TRUNCATION = 2.0
LARGEST_AMOUNT = 20.0
"""Of a direction: how far a picture may be moved along it, either way."""


@dataclasses.dataclass(frozen=True)
class Known:
    """What can be asked of a generator.

    Attributes:
        class_names: of its classes; their numbers where they have none.
        attribute_names: likewise.
        num_layers: into which styles go; 1 where there is nothing to mix.
        directions: names of those along which pictures can be moved.
        between_classes: whether there is something between two classes.
        largest_truncation: that is allowed.
        most_wishes: pictures of one request.
    """

    class_names: tuple[str, ...] = ()
    attribute_names: tuple[str, ...] = ()
    num_layers: int = 1
    directions: tuple[str, ...] = ()
    between_classes: bool = False
    largest_truncation: float = LARGEST_TRUNCATION
    most_wishes: int = MOST_WISHES


@dataclasses.dataclass(frozen=True)
class Place:
    """A picture that is drawn: the first sample of ``ganjax sample --seed SEED``; or one that was projected.

    Attributes:
        seed: of its latents, and of noise.
        label: its class, from 0 on.
        attributes: as many as the generator takes.
        code: what a projected picture is kept under, whose latents take the place of the seed's.
    """

    seed: int
    label: int = 0
    attributes: tuple[float, ...] = ()
    code: str | None = None

    @property
    def said(self) -> str:
        """Which it is, in words."""
        return f"seed {self.seed}" if self.code is None else "a projected picture"


@dataclasses.dataclass(frozen=True)
class Wish:
    """A picture, and what is done with its place before it is made, in this order.

    Attributes:
        place: where it starts.
        towards: another place, on the way to which it is.
        share: of that way; 1 is the other place.
        mixed: a seed whose styles take the place of its own
        layers: in these layers, the first and the last of them.
        direction: number of the one along which it is moved,
        amount: by this many deviations of what is drawn.
        truncation: what is left of its distance from what is typical.
    """

    place: Place
    towards: Place | None = None
    share: float = 0.0
    mixed: int | None = None
    layers: tuple[int, int] = (0, 0)
    direction: int | None = None
    amount: float = 0.0
    truncation: float = 1.0

    @property
    def said(self) -> str:
        """What was done, in words; "" for a plain sample."""
        done = [] if self.place.code is None else [self.place.said]
        if self.towards is not None and self.share:
            done.append(f"{self.share:.3g} of the way to {self.towards.said}, label {self.towards.label}")
        if self.mixed is not None:
            done.append(f"layers {self.layers[0]} to {self.layers[1]} of seed {self.mixed}")
        if self.direction is not None and self.amount:
            done.append(f"moved by {self.amount:.3g} along direction {self.direction}")
        if self.truncation != 1.0:
            done.append(f"truncation {self.truncation:.3g}")
        return ", ".join(done)


def read_wishes(given: Any, known: Known) -> list[Wish]:
    """The wishes of a request: ``{"wishes": [{"seed": 0, "label": 3, "truncation": 0.7}, ...]}``.

    Args:
        given: what came, of whatever kind.
        known: what can be asked for.

    Raises:
        UserError: it cannot be meant.
    """
    wishes = given.get("wishes") if isinstance(given, dict) else None
    if not isinstance(wishes, list) or not 1 <= len(wishes) <= known.most_wishes:
        raise UserError(f"the request has no list of 1 to {known.most_wishes} wishes; load the page again")
    return [_wish(wish, known) for wish in wishes]


def read_place(given: Any, known: Known) -> Place:
    """A seed with a class and attributes, where the generator takes some; raises ``UserError``."""
    fields = _object("a place", given, {"seed", "label", "attributes", "code"})
    code = fields.get("code")
    if code is not None and (not isinstance(code, str) or len(code) > 64):
        raise UserError(f"code is {_shown(code)}; expected one that this server gave")
    attributes = fields.get("attributes", [0.0] * len(known.attribute_names))
    if not isinstance(attributes, list) or len(attributes) != len(known.attribute_names):
        raise UserError(f"attributes is {_shown(attributes)}; expected {len(known.attribute_names)} numbers")
    return Place(
        _whole("seed", fields.get("seed"), 0, LARGEST_SEED),
        _whole("label", fields.get("label", 0), 0, max(0, len(known.class_names) - 1)),
        tuple(_number("an attribute", number, -1000.0, 1000.0) for number in attributes),
        code,
    )


def _wish(given: Any, known: Known) -> Wish:
    own = {"seed", "label", "attributes", "code"}
    names = own | {"towards", "share", "mixed", "layers", "direction", "amount", "truncation"}
    fields = _object("a wish", given, names)
    place = read_place({name: fields[name] for name in own if name in fields}, known)

    def found(name: str, read: Callable[[Any], Any], default: Any) -> Any:
        return default if fields.get(name) is None else read(fields[name])

    most = known.largest_truncation
    wish = Wish(
        place,
        towards=found("towards", lambda value: read_place(value, known), None),
        share=found("share", lambda value: _number("share", value, 0.0, 1.0), 0.0),
        mixed=found("mixed", lambda value: _whole("mixed", value, 0, LARGEST_SEED), None),
        layers=found("layers", lambda value: _layers(value, known), (0, 0)),
        direction=found("direction", lambda value: _direction(value, known), None),
        amount=found("amount", lambda value: _number("amount", value, -LARGEST_AMOUNT, LARGEST_AMOUNT), 0.0),
        truncation=found("truncation", lambda value: _number("truncation", value, 0.0, most), min(1.0, most)),
    )
    if wish.mixed is not None and known.num_layers < 2:
        raise UserError("mixed is given, and this generator has no layers to mix; leave it out")
    if wish.towards is not None and wish.towards.label != place.label and not known.between_classes:
        raise UserError("towards has another label, and this generator knows nothing between classes; stay within one")
    return wish


def _direction(value: Any, known: Known) -> int:
    if not known.directions:
        raise UserError("direction is given, and none were found for this generator; leave it out")
    return _whole("direction", value, 0, len(known.directions) - 1)


def _layers(value: Any, known: Known) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise UserError(f"layers is {_shown(value)}; expected the first and the last, such as [0, 3]")
    first, last = (_whole("a layer", number, 0, known.num_layers - 1) for number in value)
    if first > last:
        raise UserError(f"layers is {_shown(value)}; expected the smaller first")
    return first, last


def _object(what: str, given: Any, names: set[str]) -> Mapping[str, Any]:
    if not isinstance(given, dict) or not given.keys() <= names:
        raise UserError(f"{what} is {_shown(given)}; expected an object of some of {', '.join(sorted(names))}")
    return given


def _whole(name: str, value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise UserError(f"{name} is {_shown(value)}; expected a whole number from {least} to {most}")
    return value


def _number(name: str, value: Any, least: float, most: float) -> float:
    if type(value) not in (int, float) or not least <= value <= most:
        raise UserError(f"{name} is {_shown(value)}; expected a number from {least:g} to {most:g}")
    return float(value)


def _shown(value: Any) -> str:
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
