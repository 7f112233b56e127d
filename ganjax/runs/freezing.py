"""A discriminator whose first layers stay as they are: FreezeD (Mo et al., arXiv 2002.10964).

The features of another dataset's discriminator serve a small new one; its later layers alone are trained.
"""

import dataclasses

from ganjax.algorithms.model import Model
from ganjax.algorithms.optimizers import Frozen
from ganjax.ground.errors import UserError


def with_frozen_stages(model: Model, num_stages: int) -> Model:
    """A model whose discriminator's first stages, counted from the image, are not trained.

    Args:
        model: with a discriminator that names its stages; see ``ganjax.models.network.Discriminator``.
        num_stages: 0: the model itself.

    Raises:
        UserError: it has no such discriminator, or not more stages than these.
    """
    if num_stages == 0:
        return model
    discriminator = getattr(model, "discriminator", None)
    stages = getattr(discriminator, "stages", ())
    asked = f"run.freeze_discriminator is {num_stages}"
    if not stages or not hasattr(model, "discriminator_optimizer"):
        found = "no discriminator" if discriminator is None else f"a {type(discriminator).__name__} without stages"
        raise UserError(
            f"{asked}, and the model has {found}; leave it out, or name its stages (see docs/interchange.md)"
        )
    if num_stages > len(stages):
        raise UserError(f"{asked}, and the discriminator has {len(stages)} stages; expected at most {len(stages)}")
    names = tuple(name for stage in stages[:num_stages] for name in stage)
    optimizer = Frozen(model.discriminator_optimizer, names)  # pyright: ignore[reportAttributeAccessIssue]
    return dataclasses.replace(model, discriminator_optimizer=optimizer)  # pyright: ignore[reportCallIssue]
