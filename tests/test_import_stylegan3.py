"""`ganjax import stylegan3`: what the authors' code answers with the same weights, and what is refused."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import official_stylegan3 as official
import pytest
from foreign_files import module, write_nvidia, write_safetensors
from official_translation import draw
from test_stylegan3_official import network, official_shape

from ganjax import UserError
from ganjax.interchange.families import read_weights
from ganjax.interchange.stylegan3 import generators_table
from ganjax.runs.config import load_config
from ganjax.runs.config_files import shipped_configs

Tensors = dict[str, np.ndarray]
NAME = "r"
SETTINGS = {**official.CASES[NAME].settings, "mapping_kwargs": {"num_layers": 2}}


def theirs() -> Tensors:
    """A generator's tensors, the filters among them."""
    import flax.traverse_util

    ours = network(NAME)
    given = (jnp.zeros((1, official.LATENTS)), jnp.zeros(1, jnp.int32))
    shapes: Any = jax.eval_shape(lambda: ours.init(jax.random.key(0), *given, train=False))
    shapes = flax.traverse_util.flatten_dict(shapes, sep=".")
    found: Tensors = {}
    for called, place in generators_table(ours).items():
        shape = official_shape(shapes[f"{place.collection}.{place.variable}"].shape, theirs=called)
        found[called] = np.asarray(official.weight(f"{NAME}.{called}", shape), np.float32)
    with np.load(official.FILE) as kept:
        filters = [called for called in kept.files if called.startswith(f"{NAME}/") and called.endswith("_filter")]
        return found | {called.removeprefix(f"{NAME}/"): kept[called] for called in filters}


def test_images_are_the_authors(tmp_path: Path) -> None:
    live = {called: 1.1 * array if called.endswith(".bias") else array for called, array in theirs().items()}
    whole = {"G": module(live, _init_kwargs=SETTINGS), "G_ema": module(theirs(), _init_kwargs=SETTINGS)}
    found = read_weights("stylegan3", write_nvidia(tmp_path / "network.pkl", whole))
    assert found.title == "StyleGAN3-R of 32 x 32 pixels"
    flags = [word for name, value in found.flags.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    generator: Any = load_config(shipped_configs()["stylegan3"], flags).gan.generator
    latents, labels = jnp.asarray(draw(f"{NAME} latents", official.BATCH, official.LATENTS)), official.labels(NAME)
    apply = jax.jit(lambda variables: generator.apply(variables, latents, jnp.asarray(labels), train=False))
    assert found.averaged is not None
    with np.load(official.FILE) as kept:
        images = official.some(np.asarray(apply(found.averaged)))
        np.testing.assert_allclose(images, kept[f"{NAME}/images"], rtol=0, atol=1e-5)
    assert np.abs(np.asarray(apply(found.generator)) - np.asarray(apply(found.averaged))).max() > 1e-3


def changed(*, without: str = "", **arrays: np.ndarray) -> Tensors:
    given = {called.replace("__", "."): array for called, array in arrays.items()}
    return {called: array for called, array in (theirs() | given).items() if called != without}


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "a tensor that is missing": (
        lambda: changed(without="synthesis.input.freqs"),
        {},
        "StyleGAN3's generator G_ema, and lacks synthesis.input.freqs; name a file",
    ),
    "one that is too many": (
        lambda: changed(synthesis__attention=np.ones(3, np.float32)),
        {},
        "StyleGAN3's generator G_ema, and has beside its weights synthesis.attention",
    ),
    "a layer that is missing": (
        lambda: changed(without=next(name for name in theirs() if "L1_" in name and name.endswith("12.weight"))),
        {},
        "has not 4 to 64 layers with as many channels each as its name says",
    ),
    "another filter": (
        lambda: {name: 0.9 * it if name.endswith("down_filter") else it for name, it in theirs().items()},
        {},
        "down_filter is not what it is of this network",
    ),
    "another margin": (theirs, {"margin_size": 4}, "was made with margin_size=4; expected 10"),
    "a setting that is no number": (theirs, {"output_scale": "x"}, "was made with output_scale=x; expected 0.25"),
    "settings of other channels": (theirs, {"channel_base": [], "channel_max": 10**20}, ""),
    "another family": (
        lambda: {"synthesis.b4.const": np.ones((1, 4, 4), np.float32)},
        {},
        "is no StyleGAN3; expected the tensors of its generator, such as synthesis.input.freqs",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_stylegan3_is_refused(case: str, tmp_path: Path) -> None:
    tensors, settings, message = REFUSED[case]
    file = write_nvidia(tmp_path / "network.pkl", {"G_ema": module(tensors(), _init_kwargs=SETTINGS | settings)})
    if not message:  # the tensors tell enough
        assert read_weights("stylegan3", file).flags["channel_limit"] == 12
        return
    with pytest.raises(UserError) as caught:
        read_weights("stylegan3", file)
    assert message in str(caught.value)


def test_another_familys_importer_names_this_one(tmp_path: Path) -> None:
    file = write_safetensors(tmp_path / "a.safetensors", {f"G_ema.{name}": it for name, it in theirs().items()})
    with pytest.raises(UserError, match="it looks like StyleGAN3 of 32 x 32 pixels, which `ganjax import stylegan3` t"):
        read_weights("stylegan2", file)
    found = read_weights("stylegan3", file)
    assert (found.flags["variant"], found.flags["num_classes"], found.discriminator) == ("r", 2, None)
