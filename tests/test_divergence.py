"""Infinite numbers: caught where they come, gone back from, and gone on without; and the signs of a collapse."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from processes import MLP

from ganjax.cli import main
from ganjax.data import ArraySource, open_feed, unskipped_step
from ganjax.runs.collapse import imbalance, narrow, spread

# The discriminator's loss on a batch that holds the poisoned record is not a number, whatever the weights.
POISONED = f"""
import dataclasses
import jax.numpy as jnp
import numpy as np
from ganjax import load_config, losses
from ganjax.data import ArraySource



class Discriminator(load_config({MLP!r}).gan.discriminator.__class__):
    def __call__(self, images, labels=None, **settings):
        logits = super().__call__(images, labels, **settings)
        return jnp.where(images[:, 0, 0, 0] > 0.99, jnp.nan, logits)


@dataclasses.dataclass(frozen=True)
class Data:
    mirror: bool = False

    def open(self):
        images = np.random.default_rng(0).integers(0, 200, (64, 8, 8, 1), np.uint8)
        images[33, 0, 0, 0] = 255
        return ArraySource(images)


def config(*, width: int = 8, batch_size: int = 8):
    made = load_config({MLP!r}, [f"--width={{width}}", f"--batch-size={{batch_size}}"])
    gan = dataclasses.replace(
        made.gan, discriminator=Discriminator(image_shape=(8, 8, 1), hidden=(width,)),
    )
    return dataclasses.replace(made, gan=gan, data=Data())
"""
FLAGS = ["--run.num-samples=4", "--run.log-every=8", "--run.checkpoint-every=24", "--run.sample-every=10_000"]


def train(tmp_path: Path, name: str, *flags: str) -> int:
    (tmp_path / "poisoned.py").write_text(POISONED)
    return main(["train", str(tmp_path / "poisoned.py"), "--workdir", str(tmp_path / name), *FLAGS, *flags])


def lines(workdir: Path) -> list[dict]:
    found = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.startswith("speed/")} for line in found]


def test_a_run_goes_back_and_on_without_the_batch_and_can_be_resumed_exactly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rollback = ["--run.on-divergence=rollback", "--run.max-rollbacks=2"]
    assert train(tmp_path, "whole", *rollback, "--run.total-images=112") == 0  # two epochs of 8 steps but for two
    errors = capsys.readouterr().err
    notes = [line for line in lines(tmp_path / "whole") if "rollback/reason" in line]
    recorded = json.loads((tmp_path / "whole" / "rollbacks.json").read_text())
    assert [note["rollback/number"] for note in notes] == list(range(1, len(recorded) + 1))
    assert 1 <= len(recorded) <= 2
    first = recorded[0]
    assert re.fullmatch(r"\S+ is (nan|inf|-inf)", first["reason"])
    assert first["skipped"] == first["step"] - 1  # nothing had been left out before
    assert f"{first['reason']} at step {first['step']}: back to step" in errors
    trained = [line["step"] for line in lines(tmp_path / "whole") if "d/loss" in line]
    assert trained == list(range(1, 15))
    # Stopped after the rollback and started again, it ends where the other does.
    assert train(tmp_path, "parts", *rollback, f"--run.total-images={8 * (first['step'] + 1)}") == 0
    assert train(tmp_path, "parts", *rollback, "--run.total-images=112") == 0
    losses = [[line for line in lines(tmp_path / name) if "d/loss" in line] for name in ("whole", "parts")]
    assert losses[0] == losses[1]


def test_it_goes_back_so_often_and_no_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path, "stop", "--run.total-images=112") == 1
    assert "the last checkpoint is from before" in capsys.readouterr().err
    flags = ["--run.on-divergence=rollback", "--run.max-rollbacks=1", "--run.total-images=800"]
    assert train(tmp_path, "once", *flags) == 1
    assert len(json.loads((tmp_path / "once" / "rollbacks.json").read_text())) == 1
    assert train(tmp_path, "once", *flags) == 1  # nor when it is started again


def test_left_out_batches_shift_those_after() -> None:
    assert [unskipped_step(step, [2, 3, 6]) for step in range(6)] == [0, 1, 4, 5, 7, 8]
    assert [unskipped_step(step, []) for step in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("resident", ["device", "stream"])
def test_a_feed_leaves_batches_out(resident) -> None:
    source = ArraySource(np.random.default_rng(0).integers(0, 256, (20, 2, 2, 1), np.uint8))
    feed = open_feed(source, seed=0, rows_per_step=4, resident=resident)

    def images(start: int, count: int, *skipped: int) -> list[np.ndarray]:
        with feed.iterate(start, skipped=skipped) as inputs:
            return [np.asarray(feed.batch(feed.arrays, next(inputs))["images"]) for _ in range(count)]

    whole = images(0, 8)
    np.testing.assert_array_equal(images(0, 5, 5, 1), [whole[i] for i in (0, 2, 3, 4, 6)])
    np.testing.assert_array_equal(images(3, 2, 5, 1), [whole[i] for i in (4, 6)])


def usual(count: int) -> list[dict[str, float]]:
    return [{"d/real": 1.0, "d/fake": -1.0, "g/grad_norm": 0.5} for _ in range(count)]


@pytest.mark.parametrize(
    ("line", "sign", "words"),
    [
        ({"d/real": 30.0, "d/fake": -5.0}, "collapse/gap", "the generator has lost"),
        ({"g/grad_norm": 1e-4}, "collapse/gradient", "has vanished"),
        ({"g/grad_norm": 1e3}, "collapse/gradient", "explodes"),
    ],
)
def test_a_lost_balance_is_told(line: dict[str, float], sign: str, words: str) -> None:
    scalars = usual(1)[0] | line
    assert words in imbalance(scalars, usual(10))[sign]
    assert imbalance(scalars, usual(9)) == {}
    assert imbalance(usual(1)[0], usual(10)) == {}


def test_samples_that_are_all_alike_are_told() -> None:
    rng = np.random.default_rng(0)
    reals = rng.integers(0, 256, (64, 8, 8, 1), np.uint8)
    alike = np.broadcast_to(reals[:1], reals.shape) + rng.integers(0, 3, reals.shape, np.uint8)
    assert spread(reals) == pytest.approx(2 / 12**0.5, rel=0.02)  # uniform over [0, 2]
    said = narrow(spread(alike), spread(reals))
    assert said is not None
    assert "nearly all alike" in said
    assert narrow(spread(reals[:32]), spread(reals)) is None


STUCK = f"""
import dataclasses, flax.linen as nn, jax.numpy as jnp
from ganjax import load_config

class Generator(load_config({MLP!r}).gan.generator.__class__):
    def __call__(self, latents, labels=None, **settings):
        return super().__call__(latents * 0, labels, **settings)

def config(*, width: int = 8, batch_size: int = 8):
    made = load_config({MLP!r}, [f"--width={{width}}", f"--batch-size={{batch_size}}"])
    return dataclasses.replace(made, gan=dataclasses.replace(
        made.gan, generator=Generator(image_shape=(8, 8, 1), hidden=(width,))))
"""


def test_a_run_tells_of_a_collapse_in_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "stuck.py").write_text(STUCK)
    flags = ["--run.num-samples=16", "--run.total-images=160", "--run.sample-every=40", "--run.checkpoint-every=80"]
    assert main(["train", str(tmp_path / "stuck.py"), "--workdir", str(tmp_path / "run"), *flags]) == 0
    notes = [line for line in lines(tmp_path / "run") if "collapse/spread" in line]
    assert [note["images"] for note in notes] == [40]  # and not again so soon
    assert "nearly all alike" in notes[0]["collapse/spread"]
    assert "at 40 images samples from fixed latents" in capsys.readouterr().err
