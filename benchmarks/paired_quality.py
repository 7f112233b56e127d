"""How near to the real pictures do generators come that start from what was made of them? On held-out pictures.

    python benchmarks/paired_quality.py --name enlarging --workdirs runs/pixels runs/gan --images held_out.npz
    python benchmarks/paired_quality.py --name drawings --workdirs runs/drawn --images held_out/ --perception net.npz

For runs of `configs/enlarging_cifar10.py`, `configs/pix2pix_cifar10.py` and `configs/pix2pix.py`, and others whose
inputs are made in the step. Beside them stand the inputs themselves, brought to the size of the pictures bicubically (a
hidden part stays grey), and the first run's network before its first step. The perceptual distance is the mean over the
layers of a network of the squared distance of its maps at length one, without LPIPS' learned weights (arXiv
1801.03924); the network is none that a run was trained on: SqueezeNet 1.1 of ImageNet, whose weights are given as an
.npz of Keras's names. A sheet of the first pictures is written beside the table.
"""

import dataclasses
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from etils import epath
from PIL import Image
from tables import RESULTS, write

from ganjax import init
from ganjax.data import Folder, Npz
from ganjax.evaluation.paired import psnr, ssim
from ganjax.ground.grids import sheet
from ganjax.runs.conditions import conditions_of
from ganjax.runs.sampling import Sampler, generate, restore_state
from ganjax.runs.workdir import load_workdir

SHOWN = 12


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        name: of the files that are written in ``results``.
        workdirs: of the runs; all start from inputs of one kind.
        images: an .npz or a folder of pictures that they have not seen.
        perception: SqueezeNet's weights; without them there is no perceptual distance.
        num: how many pictures.
    """

    name: str
    workdirs: tuple[str, ...]
    images: str
    perception: str | None = None
    num: int = 1_000


def main() -> None:
    """Measures, and writes a table and a sheet."""
    options = tyro.cli(Options, description=__doc__)
    rows: list[dict[str, Any]] = []
    pictures: dict[str, np.ndarray] = {}

    def add(name: str, made: np.ndarray, reals: np.ndarray, **more: Any) -> None:
        pairs = jnp.asarray(made), jnp.asarray(reals)
        row = {"name": name, "psnr": float(np.mean(psnr(*pairs))), "ssim": float(np.mean(ssim(*pairs)))}
        if options.perception:
            row["perceptual"] = perceptual_distance(options.perception, made, reals)
        rows.append(row | more)
        pictures[name] = made[:SHOWN]
        print(rows[-1], flush=True)

    for place in options.workdirs:
        workdir = epath.Path(place)
        config = load_workdir(workdir)
        shape = config.gan.generator.image_shape
        source: Any = Npz(options.images) if options.images.endswith(".npz") else Folder(options.images, size=shape[:2])
        source = source.open()
        indices = np.arange(min(options.num, len(source)))
        reals = np.stack([source[int(index)]["images"] for index in indices])
        condition = conditions_of(config.gan, source, indices)
        sampler, state = Sampler(config.gan, seed=0), restore_state(config, workdir)
        if not rows:
            add("the inputs", enlarged(np.asarray(condition.inputs), shape), reals)
            start = jax.jit(init, static_argnums=0)(config.gan, jax.random.key(config.run.seed))
            add("before the first step", generate(sampler, start, condition), reals)
        seen = int(state.step) * config.run.batch_size
        add(workdir.name, generate(sampler, state, condition), reals, images_seen=seen)
    pictures["the real pictures"] = reals[:SHOWN]  # pyright: ignore[reportPossiblyUnboundVariable]
    columns: Any = {
        "pictures": lambda row: row["name"],
        "images trained on": lambda row: f"{row['images_seen']:,}" if "images_seen" in row else "",
        "PSNR, dB": lambda row: f"{row['psnr']:.2f}",
        "SSIM": lambda row: f"{row['ssim']:.3f}",
    }
    if options.perception:
        columns["perceptual distance"] = lambda row: f"{row['perceptual']:.4f}"
    command = f"python {' '.join(sys.argv)}"
    title = f"{options.name.capitalize()}: {len(indices)} held-out pictures"  # pyright: ignore[reportPossiblyUnboundVariable]
    write(options.name, title=title, command=command, rows=rows, columns=columns)
    sheet(pictures).save(RESULTS / f"{options.name}.png")


def enlarged(inputs: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Inputs in [-1, 1], without what stands beside their colours, as pictures of a shape."""
    colours = inputs[..., :3] if inputs.shape[-1] >= 3 else inputs[..., :1].repeat(3, axis=-1)
    levels = np.clip(np.rint((colours + 1) * 127.5), 0, 255).astype(np.uint8)
    size = shape[1], shape[0]
    return np.stack([np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BICUBIC)) for one in levels])


def perceptual_distance(path: str, ours: np.ndarray, theirs: np.ndarray) -> float:
    """The mean over pictures, between uint8 ones."""
    with np.load(path) as file:
        weights = dict(file)

    @jax.jit
    def distance(ours: Any, theirs: Any) -> Any:
        pairs = zip(squeezenet(weights, ours), squeezenet(weights, theirs), strict=True)
        parts = [jnp.mean(jnp.sum(jnp.square(unit(one) - unit(other)), axis=-1)) for one, other in pairs]
        return sum(parts) / len(parts)

    size, found = 100, []
    for first in range(0, len(ours) // size * size or len(ours), size):
        parts = (jnp.asarray(part[first : first + size], jnp.float32) for part in (ours, theirs))
        found.append(float(distance(*parts)))
    return float(np.mean(found))


def unit(maps: Any) -> Any:
    """At each place of length one."""
    return maps / (jnp.sqrt(jnp.sum(jnp.square(maps), axis=-1, keepdims=True)) + 1e-10)


def squeezenet(weights: dict[str, np.ndarray], images: Any) -> list[Any]:
    """What SqueezeNet 1.1 says of pictures, 0 to 255: after the first layer and after each fire module."""

    def convolve(maps: Any, name: str, stride: int = 1, padding: str = "SAME") -> Any:
        kernel = jnp.asarray(weights[f"{name}/w"])
        maps = jax.lax.conv_general_dilated(
            maps, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jax.nn.relu(maps + weights[f"{name}/b"])

    def pool(maps: Any) -> Any:
        return jax.lax.reduce_window(maps, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID")

    maps = images[..., ::-1] - jnp.array([103.939, 116.779, 123.68])
    if maps.shape[1] < 64:  # else the last layers see nothing
        maps = jax.image.resize(maps, (len(maps), 64, 64, 3), "bilinear")
    maps = convolve(maps, "conv1", 2, "VALID")
    shown = [maps]
    for number in range(2, 10):
        maps = pool(maps) if number in (2, 4, 6) else maps
        squeezed = convolve(maps, f"fire{number}/squeeze1x1")
        maps = jnp.concatenate([convolve(squeezed, f"fire{number}/expand{size}") for size in ("1x1", "3x3")], axis=-1)
        shown.append(maps)
    return shown


if __name__ == "__main__":
    main()
