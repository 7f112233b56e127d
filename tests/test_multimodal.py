"""StarGAN, BicycleGAN and MUNIT against their authors' code, and in every way of running them."""

from typing import Any

import jax
import numpy as np
import official_multimodal as official
import pytest

from ganjax import gradients

KEPT = np.load(official.FILE)


def check(case: str, model: Any, batch: Any, places: Any) -> None:
    """All losses and gradients are those of the authors' code."""
    state = official.state_of(model, places)
    found, metrics = jax.jit(gradients, static_argnums=0)(model, state, batch, official.KEY)
    kept = {name.removeprefix(f"{case}/"): KEPT[name] for name in KEPT.files if name.startswith(f"{case}/")}
    for name in [name for name in kept if kept[name].ndim == 0]:
        assert float(metrics[name]) == pytest.approx(float(kept.pop(name)), rel=1e-4), name
    largest = max(np.linalg.norm(value) for value in kept.values())
    for place, gradient in official.leaves_of(found, places):
        theirs = kept.pop(f"{place.network}/{place.name}")
        ours = official.project(f"{place.network} {place.name}", official.to_official(place.kind, gradient))
        # What vanishes, as the gradient of a bias before a norm does, is rounding in both.
        assert np.linalg.norm(ours - theirs) < 1e-4 * np.linalg.norm(theirs) + 1e-6 * largest, place
    assert not kept


@pytest.mark.parametrize("kind", ["attributes", "classes"])
def test_star_gan_is_the_authors(kind: str) -> None:
    check(kind, official.star_model(kind), official.star_batch(kind), official.star_places)
