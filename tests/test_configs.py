"""The configs that come with the package: each builds, steps, and resolves to what its golden file says.

    python tests/test_configs.py --write    # after a change that was meant: then read the difference

Expected values of the R3GAN presets are typed in from the paper (arXiv 2501.05441, appendix).
"""

import dataclasses
import io
import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_state import random_state

from ganjax import GAN, R1, R2, VAE, Adam, Config, CosineRamp, Run, UserError, example_batch, load_config, losses
from ganjax.algorithms.gan import train_step
from ganjax.data import Folder
from ganjax.runs.config import describe

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
CONFIGS = {path.stem: path for path in sorted((ROOT / "configs").glob("*.py"))}
PATH = ROOT / "configs" / "quickstart.py"

FLOAT32 = ["--dtype", "float32"]  # bfloat16 is slow on a CPU
# The smallest networks that a config's own flags allow.
NARROW = {
    "quickstart": ["--features", "4"],
    "vae_digits": ["--features", "4"],
    "vae_fashion_mnist": ["--features", "4"],
    "mlp_digits": ["--width", "8"],
    "dcgan_fashion_mnist": ["--features", "4"],
    "r3gan_fashion_mnist": ["--width", "16", *FLOAT32],
    "r3gan_ffhq64": ["--width", "16", *FLOAT32],
    "r3gan_ffhq256": ["--width", "64", *FLOAT32],
    "r3gan_folder": ["--width", "16", *FLOAT32],
    "r3gan_imagenet32": ["--width", "16", *FLOAT32],
    "r3gan_imagenet64": ["--width", "16", *FLOAT32],
    "r3gan_cifar10": ["--width", "8", *FLOAT32],
    "r3gan_stacked_mnist": ["--width", "8", *FLOAT32],
}


@pytest.fixture(autouse=True, scope="module")
def _compile_quickly():
    """What runs for milliseconds is not worth optimizing for seconds."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def resolved(name: str) -> dict[str, str]:
    return describe(load_config(CONFIGS[name]))


def golden_text(name: str) -> str:
    return json.dumps(resolved(name), indent=2) + "\n"


def test_every_config_is_covered_here():
    assert set(NARROW) == set(CONFIGS)
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(CONFIGS)


@pytest.mark.parametrize("name", CONFIGS)
def test_resolved_values_are_those_of_the_golden_file(name):
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    assert resolved(name) == expected, "if the change is meant: python tests/test_configs.py --write"


def narrow_model(name: str) -> Any:
    """As the config makes it, but small: narrow by its own flags, and, where there are many stages, of few blocks."""
    model: Any = load_config(CONFIGS[name], NARROW[name]).gan
    options: dict[str, Any] = {}
    if model.generator.image_shape[0] > 32:
        options["blocks_per_stage"] = 1
    if model.generator.image_shape[0] > 64:
        options |= dict(group_size=8, widths=tuple(max(8, width // 4) for width in model.generator.widths))
    other = "encoder" if isinstance(model, VAE) else "discriminator"
    networks: dict[str, Any] = {name: getattr(model, name).clone(**options) for name in ("generator", other)}
    return dataclasses.replace(model, **networks)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_step_at_reduced_width(name):
    gan = narrow_model(name)
    state, metrics = jax.jit(train_step, static_argnums=0)(
        gan, random_state(gan), example_batch(gan, 2), jax.random.key(0)
    )
    assert all(np.isfinite(value) for value in metrics.values())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    assert metrics["e/grad_norm" if isinstance(gan, VAE) else "d/grad_norm"] > 0
    assert metrics["g/grad_norm"] > 0
    if isinstance(gan.ema_half_life, CosineRamp):  # it starts at zero: the average is the live weights
        jax.tree.map(np.testing.assert_array_equal, state.ema_params, state.generator.params)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_is_a_value(name):
    first, second = load_config(CONFIGS[name]), load_config(CONFIGS[name])
    assert first == second
    assert first.gan == second.gan
    assert hash(first.gan) == hash(second.gan)


# --- R3GAN's presets ---


@dataclasses.dataclass(frozen=True)
class Paper:
    """A column of the paper's table of hyperparameters; images in millions."""

    image_size: int
    widths: tuple[int, ...]
    groups: tuple[int, ...]
    num_classes: int
    batch_size: int
    total: float
    burn_in: float
    gamma: tuple[float, float]
    half_life: float
    final_learning_rate: float
    mirror: bool


PAPER = {
    "stacked_mnist": Paper(32, (768,) * 4, (96,) * 4, 0, 512, 10, 2, (1, 0.1), 0.5, 2e-4, False),
    "cifar10": Paper(32, (768,) * 4, (96,) * 4, 10, 512, 250, 20, (0.05, 0.005), 5, 5e-5, True),
    "ffhq64": Paper(64, (768,) * 4 + (384,), (96,) * 4 + (48,), 0, 256, 100, 20, (2, 0.2), 0.5, 5e-5, True),
    "ffhq256": Paper(
        256, (768,) * 4 + (384, 192, 96), (96,) * 4 + (48, 24, 12), 0, 256, 200, 20, (150, 15), 0.5, 5e-5, True
    ),
    "imagenet32": Paper(32, (1536,) * 4, (96,) * 4, 1000, 4096, 1000, 200, (0.5, 0.05), 50, 5e-5, True),
    "imagenet64": Paper(64, (1536,) * 5, (96,) * 5, 1000, 4096, 1000, 200, (1, 0.1), 50, 5e-5, True),
}


@pytest.mark.parametrize("name", PAPER)
def test_presets_are_the_papers(name):
    paper, config = PAPER[name], load_config(CONFIGS[f"r3gan_{name}"])
    gan, run, million = config.gan, config.run, 1e6
    assert isinstance(gan, GAN)
    for network in (gan.generator, gan.discriminator):
        assert network.image_shape == (paper.image_size, paper.image_size, 3)
        assert network.widths == paper.widths
        assert network.expansion == 2
        assert network.blocks_per_stage == 2
        assert tuple(network.expansion * width // network.group_size for width in network.widths) == paper.groups
        assert network.num_classes == paper.num_classes
        assert network.dtype == jnp.bfloat16
    assert (gan.generator.latent_size, gan.generator.embedding_size) == (64, 64)
    assert (run.batch_size, run.total_images) == (paper.batch_size, paper.total * million)
    assert gan.loss == losses.relativistic_pairing
    assert [type(penalty) for penalty in gan.penalties] == [R1, R2]
    assert [penalty.every for penalty in gan.penalties] == [1, 1]
    assert (gan.updates, gan.discriminator_updates) == ("alternating", 1)
    assert (gan.ema_ramp_up, config.data.mirror) == (None, paper.mirror)
    adam = gan.generator_optimizer
    assert isinstance(adam, Adam)
    assert gan.discriminator_optimizer == adam
    assert (adam.b1, adam.epsilon) == (0, 1e-8)
    ramps = [
        (gan.penalties[0].weight, *paper.gamma),
        (gan.penalties[1].weight, *paper.gamma),
        (adam.learning_rate, 2e-4, paper.final_learning_rate),
        (adam.b2, 0.9, 0.99),
        (gan.ema_half_life, 0, paper.half_life * million),
    ]
    for ramp, start, end in ramps:
        assert isinstance(ramp, CosineRamp)
        assert ramp.start == start
        assert ramp.end == pytest.approx(end, rel=1e-12)
        assert ramp.num_images == paper.burn_in * million


# --- overrides ---


def test_overrides_reach_the_config_the_run_and_the_data():
    config = load_config(PATH, ["--features", "8", "--run.seed", "3", "--data.mirror", "True"])
    assert isinstance(config.gan, GAN)
    assert config.gan.generator.features == config.gan.discriminator.features == 8
    assert config.run.seed == 3
    assert config.data.mirror is True
    assert load_config(PATH, ["--run.seed=3"]).run.seed == 3


def test_derived_values_follow():
    """From an argument to everything that the config makes of it; what is said of the run itself goes first."""
    plain = load_config(PATH)
    longer = load_config(PATH, ["--total-images", "1000000", "--batch-size", "32"])
    values = describe(plain), describe(longer)
    ramps = [float(value["gan.generator_optimizer.learning_rate.num_images"]) for value in values]
    assert ramps == [plain.run.total_images, longer.run.total_images]
    assert longer.run.total_images == 1_000_000 != plain.run.total_images
    assert longer.run.num_steps == 1_000_000 // 32
    both = load_config(PATH, ["--batch-size", "32", "--run.batch-size", "16"])
    assert both.run.batch_size == 16
    folder = load_config(CONFIGS["r3gan_folder"], ["--size", "128", "--width", "64", "--path", "elsewhere"])
    assert folder.gan.generator.widths == (64, 64, 64, 64, 32, 16)
    assert folder.data == Folder(Path("elsewhere"), size=128, mirror=True)
    gan = load_config(CONFIGS["r3gan_cifar10"], ["--gamma", "0.1"]).gan
    assert isinstance(gan, GAN)
    assert gan.penalties == (R1(CosineRamp(0.1, 0.01, 20e6)), R2(CosineRamp(0.1, 0.01, 20e6)))


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.py"
    path.write_text(text)
    return path


MINE = """
from ganjax import Config
def config(*, size: int = 3) -> Config:
    {body}
"""

MISTAKES = {
    "unknown flag": (["--run.sede", "3"], r"--run\.sede.*--run\.seed"),
    "unknown argument": (["--featurs", "3"], r"--featurs.*--features"),
    "ill-typed": (["--batch-size", "many"], r"many"),
    "ill-typed field": (["--run.seed", "1.5"], r"1\.5"),
    "no value": (["--batch-size"], r"batch-size"),
    "no such choice": (["--run.resident", "cloud"], r"cloud"),
    "not positive": (["--batch-size", "0"], r"run\.batch_size is 0"),
    "negative seed": (["--run.seed", "-1"], r"run\.seed is -1"),
    "odd interval": (["--run.keep-every", "7"], r"run\.keep_every is 7.*run\.checkpoint_every"),
    "positional": (["features=3"], r"features=3"),
}


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])  # tyro draws its boxes accordingly
@pytest.mark.parametrize(("flags", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_wrong_flag_is_refused_in_one_line(flags, message, encoding, monkeypatch):
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding, write_through=True))
    monkeypatch.setattr(sys, "stderr", sys.stdout)
    with pytest.raises(UserError, match=message) as refusal:
        load_config(PATH, flags)
    assert "\n" not in str(refusal.value)
    assert not printed.getvalue()


def test_what_a_config_itself_refuses_is_one_line_too():
    with pytest.raises(UserError, match=r"size is 48; expected a power of two") as refusal:
        load_config(CONFIGS["r3gan_folder"], ["--size", "48"])
    assert "\n" not in str(refusal.value)


FILES: dict[str, tuple[str, str]] = {
    "no config": ("seed = 3\n", r"mine\.py does not define config\(\)"),
    "not a function": ("config = 3\n", r"mine\.py does not define config\(\)"),
    "broken": ("import nowhere_to_be_found\n", r"mine\.py cannot be loaded: ModuleNotFoundError.*nowhere_to_be_found"),
    "no Python": ("def config(:\n", r"mine\.py cannot be loaded: SyntaxError"),
    "another type": (MINE.format(body="return {'size': size}"), r"returns dict; expected a ganjax\.Config"),
}


@pytest.mark.parametrize(("text", "message"), FILES.values(), ids=FILES)
def test_a_wrong_file_is_refused_in_one_line(text, message, tmp_path):
    with pytest.raises(UserError, match=message) as refusal:
        load_config(write(tmp_path, text))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("path", ["configs/nothing.py", "configs", "configs/quickstart"])
def test_a_missing_file_is_refused_in_one_line(path):
    with pytest.raises(UserError, match=r"no config file .*configs.*expected the path of a Python file") as refusal:
        load_config(path)
    assert "\n" not in str(refusal.value)


def test_a_config_of_your_own(tmp_path):
    """Any Linen module, any optax optimizer, any function: nothing has to be registered."""
    path = write(
        tmp_path,
        '''"""Mine."""
import optax
from ganjax import GAN, Config, Run, losses
from ganjax.data import Digits
from ganjax.models import mlp


def half(images_seen):
    return 0.5


def config(*, size: int = 8, momentum: float = 0.5) -> Config:
    """Args:
        size: pixels a side.
    """
    shape = (size, size, 1)
    sgd = optax.sgd(0.1, momentum=momentum)
    gan = GAN(
        generator=mlp.Generator(shape),
        discriminator=mlp.Discriminator(shape),
        generator_optimizer=sgd,
        discriminator_optimizer=sgd,
        loss=losses.Loss(lambda real, fake: 0.0, lambda real, fake: 0.0),
        augmentation_strength=half,
    )
    run = Run(batch_size=8, total_images=80, log_every=8, sample_every=8, checkpoint_every=8)
    return Config(gan=gan, data=Digits(size=size), run=run)
''',
    )
    config = load_config(path, ["--size", "16"])
    assert isinstance(config, Config)
    assert isinstance(config.gan, GAN)
    assert config.gan.generator.image_shape == (16, 16, 1)
    lines = describe(config)
    assert all(isinstance(text, str) for text in lines.values())
    assert lines["gan.generator.image_shape"] == "(16, 16, 1)"
    assert lines["gan.augmentation_strength"] == "half"
    assert lines["run.batch_size"] == "8"


def test_a_description_shows_every_difference():
    def differences(*flags: str) -> set[str]:
        return {name for name, value in describe(load_config(PATH, flags)).items() if value != plain[name]}

    plain = resolved("quickstart")
    assert differences("--run.seed", "1") == {"run.seed"}
    assert differences("--gamma", "0.1") == {"gan.penalties.0.weight", "gan.penalties.1.weight"}
    assert differences("--features", "8") == {"gan.generator.features", "gan.discriminator.features"}


def test_a_run_counts_in_images():
    run = Run(batch_size=64, total_images=1000, log_every=100, sample_every=64, checkpoint_every=1000)
    assert run.num_steps == 16  # 15 would be 960 images
    assert [step for step in range(1, 9) if run.due(run.log_every, step)] == [2, 4, 5, 7, 8]  # past 100, 200, 300 ...
    assert all(run.due(run.sample_every, step) for step in range(1, 17))
    assert [step for step in range(1, 40) if run.due(run.checkpoint_every, step)] == [16, 32]
    assert not run.keeps(16)
    assert dataclasses.replace(run, keep_every=2000).keeps(32)


def regenerate(arguments: list[str]) -> Any:
    if arguments != ["--write"]:
        return __doc__
    GOLDEN.mkdir(exist_ok=True)
    for name in CONFIGS:
        (GOLDEN / f"{name}.json").write_text(golden_text(name))
    return 0


if __name__ == "__main__":
    sys.exit(regenerate(sys.argv[1:]))
