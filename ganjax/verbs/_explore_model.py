"""What of a run `ganjax explore` offers: directions to walk, pictures to project, and what its page is told of it."""

import logging
from typing import Any, cast

import numpy as np

from ganjax.algorithms.model import State
from ganjax.ground.errors import UserError
from ganjax.models.condition import example_condition
from ganjax.models.network import StyledGenerator
from ganjax.runs.config import Config
from ganjax.runs.exploring import Direction, Explorer
from ganjax.runs.points import Maker
from ganjax.runs.projecting import Projector, open_eye
from ganjax.runs.steering import find_directions
from ganjax.runs.wishes import LARGEST_AMOUNT
from ganjax.using.projection import Descent
from ganjax.verbs._explore_uploads import FORMATS, MOST_BYTES

_logger = logging.getLogger("ganjax")


def directions_of(maker: Maker, num: int) -> list[Direction]:
    """The strongest directions by the weights, then those by samples; none where there is nothing to find them in."""
    num = min(num, getattr(maker.generator, "style_size", maker.generator.latent_size))
    condition = example_condition(maker.generator, 1)
    points = maker.draw(np.zeros(1, np.int64), condition)
    found = []
    for name, method in (("SeFa", "sefa"), ("PCA", "pca")) if num else ():
        try:
            some = find_directions(maker, points, method=cast(Any, method), num=num, layers=None, seed=0)
        except UserError as error:
            _logger.warning("no directions by %s: %s", name, error)
            continue
        steps = np.asarray(some.vectors * some.deviations[:, None], np.float32)
        found += [Direction(f"{name} {number}", step) for number, step in enumerate(steps, 1)]
    return found


def projector_of(config: Config, state: State, maker: Maker, num_steps: int) -> Projector | None:
    """What projects pictures: by the features of the discriminator where it shows some of them, else by pixels.

    None where it is not wanted.
    """
    if not num_steps:
        return None
    try:
        eye = open_eye(config, state, "discriminator")
    except UserError:
        eye = open_eye(config, state, "pixels")
    space = "w" if isinstance(maker.generator, StyledGenerator) else "latents"
    return Projector(maker=maker, eye=eye, space=space, descent=Descent(num_steps=num_steps))


def facts_of(explorer: Explorer, name: str, images_seen: int) -> dict[str, Any]:
    """What the page is told."""
    known, (height, width, channels) = explorer.known, explorer.image_shape
    facts = [f"{images_seen:,} images seen", f"{width} x {height} pixels{'' if channels == 3 else ', grey'}"]
    facts += [f"{len(known.class_names)} classes"] if known.class_names else []
    return {
        "name": name,
        "facts": " · ".join(facts),
        "image": [height, width],
        "input": explorer.input_shape and list(explorer.input_shape),
        "latents": explorer.latent_size > 0,
        "classes": list(known.class_names),
        "attributes": list(known.attribute_names),
        "layers": known.num_layers,
        "directions": list(known.directions),
        "between_classes": known.between_classes,
        "projects": explorer.projects,
        "largest_truncation": known.largest_truncation,
        "largest_amount": LARGEST_AMOUNT,
        "most": known.most_wishes,
        "upload": {"formats": list(FORMATS.values()), "megabytes": MOST_BYTES // 2**20},
    }
