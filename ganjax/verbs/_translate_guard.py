"""The guard's part in `ganjax translate`: what is made of an input is made anew, or withheld."""

import collections
from collections.abc import Callable, Sequence

import numpy as np

from ganjax.using.guard import REPLACEMENTS, OpenGuard, Refused

Made = list[tuple[str, np.ndarray]]
"""Images, uint8 and of one size, each with the name of the input that it was made of."""


class Watch:
    """Looks at what is made, and makes it again with other latents where there are some.

    Attributes:
        refused: how often something was refused, by reason.
        withheld: the inputs of which all that was made was refused, each with the last reason.
    """

    def __init__(self, guard: OpenGuard | None, *, replaceable: bool, label: int | None) -> None:
        """Refuses nothing yet.

        Args:
            guard: what refuses; None: nothing does.
            replaceable: whether another number of a sample makes another picture of the same input.
            label: of the class that is asked for.
        """
        self.refused: collections.Counter[str] = collections.Counter()
        self.withheld: dict[str, str] = {}
        self._guard, self._label = guard, label or 0
        self._tries = guard.guard.tries if guard is not None and replaceable else 1
        self._tried: dict[str, int] = {}

    def number_of(self, name: str, number: int) -> int:
        """The number of the sample by which the picture that leaves was made of an input with this number."""
        return number + self._tried.get(name, 0) * REPLACEMENTS

    def passed(self, names: Sequence[str], make: Callable[[Sequence[str]], Made]) -> list[str]:
        """Makes these until what is made of them may leave; returns the names of those of which it may.

        Args:
            names: of inputs.
            make: makes of each of these inputs one or more images.
        """
        left, bad = list(names), dict[str, str]()
        for tried in range(self._tries if left else 0):
            self._tried |= dict.fromkeys(left, tried)
            bad = self._refuse(make(left))
            left = list(bad)
            if not left:
                break
        self.withheld |= bad
        return [name for name in names if name not in bad]

    def look_at_film(self, name: str, frames: np.ndarray, *, called: str) -> None:
        """Raises ``Refused`` where a frame of what is made of a film may not leave."""
        if bad := self._refuse([(name, frame) for frame in frames]):
            self.withheld |= bad
            raise self.refusal(f"a frame of what was made of {called}")

    def refusal(self, what: str) -> Refused:
        """The error that says that nothing of what was asked for leaves."""
        assert self._guard is not None, "it is what refused"
        return self._guard.refusal(self.refused, what)

    def _refuse(self, made: Made) -> dict[str, str]:
        """The inputs of which an image is refused, each with the first reason."""
        if self._guard is None:
            return {}
        images = np.stack([image for _, image in made])
        reasons = self._guard.reasons(images, np.full(len(images), self._label))
        found = zip(made, reasons, strict=True)
        bad = {name: reason for (name, _), reason in reversed(list(found)) if reason is not None}
        self.refused.update(bad.values())
        return bad
