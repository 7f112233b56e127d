"""What an image is generated for: a class, attributes, an image to start from, or any of these together."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ganjax.ground.errors import UserError

Labels = Int[Array, " batch"]
Shares = Float[Array, "batch classes"]
"""How much of each class an image is to be of, in place of its label: what lies between classes."""


class Condition(NamedTuple):
    """What both networks are told of each sample. None stands for what there is not.

    Attributes:
        labels: class numbers, int32 [batch]; or, for a network that asks for the condition's ``vector``, as families
            here do, ``Shares``, float32 [batch, num_classes].
        attributes: numbers, float32 [batch, num_attributes]: several classes at once, or continuous values.
        inputs: images to start from, float32 in [-1, 1], [batch, height, width, channels].
    """

    labels: Labels | Shares | None = None
    attributes: Float[Array, "batch attributes"] | None = None
    inputs: Float[Array, "batch height width channels"] | None = None

    @classmethod
    def of(cls, given: Condition | Labels | None) -> Condition:
        """A condition, or labels alone, as a condition."""
        return given if isinstance(given, Condition) else cls(labels=given)

    def taken_by(self, network: Any) -> Condition:
        """What a network takes of it.

        Args:
            network: with ``num_classes`` and, where it takes more than labels, ``num_attributes``, ``input_shape`` and
                ``any_size``.

        Raises:
            UserError: something that it takes is missing, or of another size.
        """
        num_classes, num_attributes, input_shape = condition_sizes(network)
        if num_classes and self.labels is None:
            raise UserError(
                f"the model has num_classes={num_classes} but got no labels: give labels, or use num_classes=0"
            )
        if num_attributes:
            found = None if self.attributes is None else self.attributes.shape[-1]
            if found != num_attributes:
                raise UserError(
                    f"the model has num_attributes={num_attributes} but got {found or 'none'}: give as many numbers "
                    "for each image, or change num_attributes"
                )
        if input_shape is not None:
            found = None if self.inputs is None else tuple(self.inputs.shape[1:])
            told = slice(2 if getattr(network, "any_size", False) else 0, None)
            enlarged = (*network.image_shape[:2], input_shape[2])  # to stand beside the images
            if found is None or found[told] not in (input_shape[told], enlarged[told]):
                raise UserError(
                    f"the model starts from images of {input_shape} (height, width, channels) but got "
                    f"{found or 'none'}: give such inputs, or change input_shape"
                )
        return Condition(
            labels=self.labels if num_classes else None,
            attributes=self.attributes if num_attributes else None,
            inputs=None if input_shape is None else self.inputs,
        )

    def vector(self, num_classes: int) -> Float[Array, "batch size"] | None:
        """The labels, as rows of zeros with a one, and the attributes beside each other; None if there are neither."""
        parts = [] if self.labels is None else [shares_of(self.labels, num_classes)]
        parts += [] if self.attributes is None else [self.attributes.astype(jnp.float32)]
        return jnp.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0] if parts else None


def shares_of(labels: Labels | Shares, num_classes: int) -> Shares:
    """Labels as rows of zeros with a one; shares as they are."""
    return labels if labels.ndim == 2 else jax.nn.one_hot(labels, num_classes, dtype=jnp.float32)


def condition_sizes(network: Any) -> tuple[int, int, tuple[int, int, int] | None]:
    """The ``num_classes``, ``num_attributes`` and ``input_shape`` of a network, which may know of labels alone."""
    return network.num_classes, getattr(network, "num_attributes", 0), getattr(network, "input_shape", None)


def as_argument(network: Any, condition: Condition) -> Condition | Labels | None:
    """A condition as a network is given it: what it takes, and labels as such where there is nothing else.

    So a network of anybody's own that knows of labels alone is one, too. ``Shares`` are never given as such.
    """
    taken = condition.taken_by(network)
    shares = taken.labels is not None and taken.labels.ndim == 2
    return taken if shares or taken.attributes is not None or taken.inputs is not None else taken.labels


def example_condition(network: Any, batch_size: int) -> Condition:
    """Zeros of the right shapes and dtypes."""
    num_classes, num_attributes, input_shape = condition_sizes(network)
    return Condition(
        labels=jnp.zeros((batch_size,), jnp.int32) if num_classes else None,
        attributes=jnp.zeros((batch_size, num_attributes), jnp.float32) if num_attributes else None,
        inputs=None if input_shape is None else jnp.zeros((batch_size, *input_shape), jnp.float32),
    )
