"""`ganjax train --from`: a new run from another's weights, and what is said where networks differ."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from etils import epath

from ganjax import Adam
from ganjax.algorithms.optimizers import Frozen
from ganjax.cli import main
from ganjax.models import dcgan, r3gan
from ganjax.runs.sampling import restore_state
from ganjax.runs.workdir import load_workdir

CONFIG = """
from ganjax import GAN, Adam, Config, Run
from ganjax.data import Digits
from ganjax.models import mlp


def config(*, width: int = 8, judge: int = 8, rate: float = 1e-3) -> Config:
    adam, shape = Adam(rate), (8, 8, 1)
    gan = GAN(
        generator=mlp.Generator(shape, latent_size=4, hidden=(width,)),
        discriminator=mlp.Discriminator(shape, hidden=(judge,)),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
    )
    run = Run(batch_size=8, total_images=16, log_every=8, sample_every=8, checkpoint_every=8, num_samples=4)
    return Config(gan=gan, data=Digits(size=8), run=run)
"""


@pytest.fixture(scope="module")
def donor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("donor")
    (folder / "own.py").write_text(CONFIG)
    assert main(["train", str(folder / "own.py"), "--workdir", str(folder / "run")]) == 0
    return folder


def state_of(workdir: Path, step: int | None = None) -> Any:
    return restore_state(load_workdir(epath.Path(workdir)), epath.Path(workdir), step=step)


def test_weights_are_taken_over_and_optimizers_are_not(
    donor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new, command = tmp_path / "new", ["train", str(donor / "own.py"), "--rate", "2e-3", "--run.seed", "7"]
    short = ["--run.total-images", "8"]  # so that the checkpoint of the start is still there
    assert main([*command, *short, "--from", str(donor / "run"), "--workdir", str(new)]) == 0
    said = capsys.readouterr().out
    given, begun, ended = state_of(donor / "run"), state_of(new, 0), state_of(new)
    count = len(jax.tree.leaves((given.generator.params, given.discriminator.params, given.ema_params)))
    assert f"{count} arrays of weights from step 2 of {donor / 'run'}" in said
    for name in ("generator", "discriminator"):
        one, other = given.players[name], begun.players[name]
        jax.tree.map(np.testing.assert_array_equal, one.params, other.params)
        assert not any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(other.opt_state))
        assert any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(one.opt_state))
    jax.tree.map(np.testing.assert_array_equal, given.ema_params, begun.ema_params)
    assert (int(begun.step), int(ended.step)) == (0, 1)
    assert json.loads((new / "origin.json").read_text()) == {"from": str(donor / "run"), "step": 2, "drawn": []}
    assert json.loads((new / "overrides.json").read_text()) == ["--rate", "2e-3", "--run.seed", "7", *short]

    # It goes on as any run does, with --from or without.
    more = [*command, "--workdir", str(new), "--run.total-images", "24"]
    assert main([*more, "--from", str(donor / "run")]) == 0
    assert "goes on from its own checkpoint; --from counts at the start of a run" in capsys.readouterr().out
    assert int(state_of(new).step) == 3
    assert main([*command, "--from", str(new), "--workdir", str(tmp_path / "third")]) == 0
    origin = json.loads((tmp_path / "third" / "origin.json").read_text())
    assert origin["earlier"]["from"] == str(donor / "run")
    (new / "origin.json").write_text("{")
    assert main([*command, "--from", str(new), "--workdir", str(tmp_path / "fourth")]) == 2
    assert "origin.json is damaged" in capsys.readouterr().err


def test_other_networks_are_refused_or_drawn(donor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", str(donor / "own.py"), "--judge", "12", "--from", str(donor / "run")]
    assert main([*command, "--workdir", str(tmp_path / "new")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert not (tmp_path / "new").exists()
    assert re.search(
        r"has other networks: \d+ arrays would be taken over, and \d+ not: discriminator\.\S+ "
        r"\(\[8\] for \[12\]\).*; give --partial to draw these, or name another run",
        line,
    )
    assert main([*command, "--partial", "--run.total-images", "8", "--workdir", str(tmp_path / "new")]) == 0
    given, begun = state_of(donor / "run"), state_of(tmp_path / "new", 0)
    jax.tree.map(np.testing.assert_array_equal, given.generator.params, begun.generator.params)
    drawn = json.loads((tmp_path / "new" / "origin.json").read_text())["drawn"]
    assert drawn
    assert all(name.startswith("discriminator.") for name in drawn)
    assert "--partial" not in (tmp_path / "new" / "overrides.json").read_text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--partial"], "--partial is given and --from is not; name the run whose weights are taken, or leave it out"),
        (["--from", "nowhere"], "nowhere"),
        (
            ["--run.freeze-discriminator", "-1"],
            "run.freeze_discriminator is -1; expected a number at least 0, such as 3",
        ),
        (
            ["--run.freeze-discriminator", "2"],
            "run.freeze_discriminator is 2, and the discriminator has 1 stages; expected at most 1",
        ),
    ],
)
def test_mistakes(
    flags: list[str], message: str, donor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(donor / "own.py"), *flags, "--workdir", str(tmp_path / "new")]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_frozen_stages_stay_to_the_bit(donor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workdir = tmp_path / "new"
    command = ["train", str(donor / "own.py"), "--run.freeze-discriminator", "1", "--workdir", str(workdir)]
    assert main(command) == 2
    assert "the weights are drawn; name the run whose discriminator it is with --from" in capsys.readouterr().err
    shutil.rmtree(workdir)
    assert main([*command, "--from", str(donor / "run"), "--run.total-images", "8"]) == 0
    assert main(command) == 0  # it goes on to 16 images
    given, ended = state_of(donor / "run").discriminator, state_of(workdir).discriminator
    gan: Any = load_workdir(epath.Path(workdir)).gan
    (stage,) = gan.discriminator.stages
    stage = [name for name in stage if name in given.params]
    assert 0 < len(stage) < len(given.params)
    for name, params in given.params.items():
        same = [np.array_equal(*pair) for pair in zip(*map(jax.tree.leaves, (params, ended.params[name])), strict=True)]
        assert all(same) if name in stage else not all(same)
    assert main([*command[:2], "--workdir", str(workdir)]) == 2
    assert "belongs to another config (run.freeze_discriminator 1 -> 0)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("discriminator", "sizes"),
    [
        (dcgan.Discriminator((16, 16, 3), features=4), [2, 2]),
        (r3gan.Discriminator((16, 16, 3), widths=(8, 8, 4), group_size=4, num_classes=2), [4, 3, 3]),
    ],
)
def test_families_name_their_stages(discriminator: Any, sizes: list[int]) -> None:
    """In order from the image, each parameter once, and something is left to be trained."""
    labels = jnp.zeros(1, jnp.int32) if discriminator.num_classes else None
    images = jnp.zeros((1, 16, 16, 3))
    shapes = jax.eval_shape(lambda: discriminator.init(jax.random.key(0), images, labels, train=False))["params"]
    stages = discriminator.stages
    named = [name for stage in stages for name in stage]
    assert [len(stage) for stage in stages] == sizes
    assert len(set(named)) == len(named)
    assert 0 < len(shapes.keys() & set(named)) < len(shapes)


def test_an_optimizer_with_frozen_names() -> None:
    params = {"first": np.array([-0.0, 1.0], np.float32), "second": np.ones(2, np.float32)}
    gradients = jax.tree.map(np.ones_like, params)
    for inner in (Adam(0.1, weight_decay=0.1), optax.sgd(0.1, momentum=0.9)):
        optimizer: Any = Frozen(inner, ("first",))
        changes, _ = optimizer.update(gradients, optimizer.init(params), params, images_seen=jnp.zeros(()))
        after: Any = optax.apply_updates(params, changes)
        assert np.asarray(after["first"]).tobytes() == params["first"].tobytes()
        assert np.all(np.asarray(after["second"]) < 1)
