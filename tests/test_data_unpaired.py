"""Two datasets that do not belong to each other: each in an order of its own, on any devices."""

import dataclasses
import itertools
import pathlib
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from ganjax import load_config
from ganjax.data import ArraySource, Folder, Npz, ReadableSource, ResidentFeed, Source, Unpaired, open_feed, order
from ganjax.ground.errors import UserError
from ganjax.runs.config import describe

SECOND = 0x9E3779B97F4A7C15  # from the seed of the images to that of the inputs


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Pictures that say their number, and on which side they have their left."""

    count: int
    channels: int = 3
    mirror: bool = False

    def open(self) -> Source:
        images = np.zeros((self.count, 4, 4, self.channels), np.uint8)
        images += np.arange(self.count, dtype=np.uint8)[:, None, None, None]
        images[:, :, 0] = 200
        return ArraySource(images, np.arange(self.count) % 2, name=f"{self.count} numbers")


def numbers_in(images: np.ndarray) -> list[tuple[int, bool]]:
    flipped = images[:, 0, 3, 0] == 200
    return [(int(image[0, 1, 0]), bool(flip)) for image, flip in zip(images, flipped, strict=True)]


def expected(count: int, seed: int, step: int, *, mirror: bool) -> list[tuple[int, bool]]:
    places = order(num_records=count * (1 + mirror), seed=seed, start=step * 4, stop=step * 4 + 4)
    return [(int(place) % count, bool(place >= count)) for place in places]


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("resident", ["device", "stream", "split"])
def test_each_has_an_order_of_its_own(resident: str, mirror: bool) -> None:
    dataset = Unpaired(Numbers(7, mirror=mirror), inputs=Numbers(11, channels=1, mirror=mirror))
    source = ReadableSource(pickle.loads(pickle.dumps(dataset.open())))
    sharding, most = None, 2**30
    if resident == "split":
        mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
        sharding, most = NamedSharding(mesh, PartitionSpec("data")), source.num_bytes // 3
    feed = open_feed(
        source,
        seed=3,
        rows_per_step=4,
        mirror=dataset.mirror,
        resident="stream" if resident == "stream" else "auto",
        resident_bytes=most,
        sharding=sharding,
    )
    gather = jax.jit(feed.batch)
    with feed.iterate(2) as inputs:
        for step, step_inputs in zip(range(2, 9), inputs, strict=False):
            batch = {key: np.asarray(value) for key, value in gather(feed.arrays, step_inputs).items()}
            assert batch["inputs"].shape == (4, 4, 4, 1)
            assert numbers_in(batch["images"]) == expected(7, 3, step, mirror=mirror)
            assert numbers_in(batch["inputs"]) == expected(11, 3 + SECOND, step, mirror=mirror)
            assert batch["labels"].tolist() == [number % 2 for number, _ in numbers_in(batch["images"])]


def test_several_steps_a_launch_take_the_same_batches() -> None:
    feed = open_feed(Unpaired(Numbers(7), inputs=Numbers(5)).open(), seed=0, rows_per_step=4, resident="device")
    assert isinstance(feed, ResidentFeed)
    with feed.iterate(0) as inputs:
        single = [feed.batch(feed.arrays, one) for one in itertools.islice(inputs, 3)]
    with feed.iterate(0, [3]) as inputs:
        (launch,) = inputs
    assert launch.shape == feed.abstract_launch(3).shape == (3, 4, 2)
    dataset = feed.dataset(feed.arrays, launch)
    for step, batch in enumerate(single):
        for key, value in dataset.batch(dataset.numbers[step]).items():
            np.testing.assert_array_equal(value, batch[key])
    assert feed.abstract_inputs.dtype == jnp.int32


def test_records_by_their_number() -> None:
    source = Unpaired(Numbers(3), inputs=Numbers(5)).open()
    assert (len(source), source.num_classes, source.input_shape) == (5, 2, (4, 4, 3))
    assert source.name == "3 numbers and 5 numbers"
    assert [numbers_in(source[4][key][None])[0][0] for key in ("images", "inputs")] == [1, 4]
    assert source.fingerprint(4) == source.parts[0].fingerprint(1) + source.parts[1].fingerprint(4)


def test_refusals() -> None:
    with pytest.raises(UserError, match=r"mirror of the images is True and of the inputs False; expected the same"):
        print(Unpaired(Numbers(3, mirror=True), inputs=Numbers(3)).mirror)
    source = Unpaired(Numbers(5), inputs=Numbers(3)).open()
    with pytest.raises(UserError, match=r"3 numbers has 3 images, fewer than the 4 that one step takes"):
        open_feed(source, seed=0, rows_per_step=4)


CONFIG = """
from ganjax import GAN, Adam, Config, Run
from ganjax.data import Folder, Npz, Unpaired
from ganjax.models.translation import PatchDiscriminator, ResNet


def config(*, num_blocks: int = 1) -> Config:
    adam, shape = Adam(2e-4), (32, 32, 3)
    gan = GAN(
        generator=ResNet(shape, input_shape=shape, num_blocks=num_blocks),
        discriminator=PatchDiscriminator(shape),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
    )
    data = Unpaired(Folder("photos", size=32), inputs=Npz("paintings.npz"))
    every = {"log_every": 10, "sample_every": 10, "checkpoint_every": 10}
    return Config(gan=gan, data=data, run=Run(batch_size=2, total_images=10, **every))
"""


def test_the_fields_of_both_are_flags(tmp_path: pathlib.Path) -> None:
    (tmp_path / "own.py").write_text(CONFIG)
    flags = ["--data.images.crop-from", "40", "--data.inputs.path", "drawings.npz", "--data.inputs.size", "32"]
    config = load_config(tmp_path / "own.py", flags)
    assert config.data == Unpaired(Folder("photos", size=32, crop_from=40), inputs=Npz("drawings.npz", size=32))
    assert describe(config)["data.inputs.path"] == "drawings.npz"
    with pytest.raises(UserError, match=r"--data.inputs.crop-from"):
        load_config(tmp_path / "own.py", ["--data.inputs.crop-from", "40"])
