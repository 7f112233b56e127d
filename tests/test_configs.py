"""The configs that come with the package: each builds, steps, and resolves to what its golden file says.

    python tests/test_configs.py --write    # after a change that was meant: then read the difference

Expected values of the R3GAN presets are typed in from the paper (arXiv 2501.05441, appendix).
"""

import dataclasses
import functools
import io
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from random_state import random_state

from ganjax import GAN, R1, R2, VAE, Adam, Config, CosineRamp, Run, UserError, example_batch, init, load_config, losses
from ganjax.algorithms.optimizers import Clipped
from ganjax.algorithms.step import train_step
from ganjax.data import Folder
from ganjax.runs.config import config_files, describe

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
CONFIGS = {path.stem: path for path in sorted((ROOT / "configs").glob("*.py"))}
PATH = ROOT / "configs" / "quickstart.py"

# What is compared with the golden files: a config, or one of its sizes.
PRESETS = {name: [] for name in CONFIGS if name not in ("r3gan_ffhq", "r3gan_imagenet")} | {
    f"r3gan_{name}_{size}": ["--size", str(size)]
    for name, size in (("ffhq", 64), ("ffhq", 256), ("imagenet", 32), ("imagenet", 64))
}
FLOAT32 = ["--dtype", "float32"]  # bfloat16 is slow on a CPU
ENLARGERS = ["--features", "4", "--num-blocks", "1", "--discriminator-features", "4", "--size", "32"]
ENLARGERS += ["--perceptual", "0", "--psnr-images", "0"]  # without weights of others, and with the GAN at once
STYLED = ["--latent-size", "8", "--style-size", "8", "--num-mapping-layers", "1", "--channel-limit", "4", *FLOAT32]
TRANSFORMER = ["--width", "8", "--depth", "4", "--num-heads", "2", *FLOAT32]
UNAUGMENTED = ["--augmentation", "0"]  # r3gan_cifar10 is computed with it, and test_augment_step.py compares them
# The smallest networks that a config's own flags allow.
SMALL_AUTOENCODER = ["--widths", "8", "8", "--blocks", "1"]
AT_ONCE = ["--discriminator-start", "0"]
NARROW = {
    "autoencoder_fashion_mnist": [*SMALL_AUTOENCODER, "--num-codes", "4", *AT_ONCE],
    "autoencoder_folder": [*SMALL_AUTOENCODER, "--groups", "4", "--size", "16", *FLOAT32, *AT_ONCE],
    "autoencoder_imagenet256": ["--perceptual", "0", *FLOAT32],
    "quickstart": ["--features", "4"],
    "folder_small": ["--features", "4"],
    "vae_cifar10": ["--features", "4"],
    "vae_digits": ["--features", "4"],
    "vae_fashion_mnist": ["--features", "4"],
    "mlp_digits": ["--width", "8"],
    "cut": ["--features", "4", "--num-blocks", "1", "--num-positions", "4", "--size", "32"],
    "cycle_digits": ["--features", "4", "--num-blocks", "1"],
    "cycle_gan": ["--features", "4", "--num-blocks", "1", "--size", "32"],
    "pix2pix_cifar10": ["--features", "4"],
    "dcgan": ["--features", "4", "--size", "16"],
    "enlarging_cifar10": ["--features", "4", "--num-blocks", "1", "--adversarial", "0.05"],
    "esrgan": [*ENLARGERS, "--growth", "4"],
    "srgan": ENLARGERS,
    "dcgan_fashion_mnist": ["--features", "4"],
    "pix2pix": ["--start", "edges", "--features", "4", "--size", "64", "--crop-from", "None"],
    "realesrgan": ["--features", "4", "--num-blocks", "1", "--growth", "4", "--size", "32", "--degradation", "area"],
    "biggan": ["--size", "32", "--features", "2", "--num-classes", "3", *FLOAT32],
    "biggan_cifar10": ["--features", "1", "--discriminator-updates", "1", *FLOAT32],
    "sagan": ["--size", "32", "--features", "2", "--num-classes", "0", *FLOAT32],
    "sngan_cifar10": ["--features", "1", "--discriminator-features", "1", "--discriminator-updates", "1"],
    "bicycle_gan": ["--features", "2", "--size", "32"],
    "munit": ["--features", "2", "--num-blocks", "1", "--size", "16", "--num-scales", "1"],
    "stylegan3": [
        *("--size", "16", "--channel-base", "64", "--channel-limit", "4", "--num-layers", "3", "--style-size", "8"),
        *("--latent-size", "8", "--discriminator-channel-base", "64", "--discriminator-channel-limit", "8", *FLOAT32),
    ],
    "star_gan": ["--features", "4", "--num-blocks", "1", "--size", "16", "--discriminator-updates", "2"],
    "gat_cifar10": [*TRANSFORMER, "--patch", "16"],
    "gat_fashion_mnist": [*TRANSFORMER, "--patch", "4"],
    "gat_folder": [*TRANSFORMER, "--patch", "8"],
    "gat_imagenet256": [*TRANSFORMER, "--patch", "8"],
    "r3gan_fashion_mnist": ["--width", "16", *FLOAT32],
    "r3gan_ffhq_64": ["--width", "16", *FLOAT32, *UNAUGMENTED],
    "r3gan_ffhq_256": ["--width", "64", *FLOAT32, *UNAUGMENTED],
    "r3gan_folder": ["--width", "16", *FLOAT32, *UNAUGMENTED],
    "r3gan_imagenet_32": ["--width", "16", *FLOAT32, *UNAUGMENTED],
    "r3gan_imagenet_64": ["--width", "16", *FLOAT32, *UNAUGMENTED],
    "r3gan_cifar10": ["--width", "8", *FLOAT32],
    "r3gan_stacked_mnist": ["--width", "8", *FLOAT32],
    "stylegan2": [*STYLED, "--size", "6", "8", "--num-classes", "2", "--augmentation", "none"],
    "stylegan2_cifar10": [*STYLED, "--channel-base", "128", "--augmentation", "none"],
}

# Presets that are computed ones with more stages, classes or width: it is enough that they trace.
TRACED = {"autoencoder_imagenet256", "r3gan_ffhq_256", "r3gan_imagenet_32", "r3gan_imagenet_64", "r3gan_folder"}
TRACED |= {"gat_fashion_mnist", "gat_folder", "gat_imagenet256", "r3gan_ffhq_64", "biggan", "cycle_gan"}
# Those of which others compute steps: test_landmark_runs.py trains by the config, test_multimodal.py as its authors do.
TRACED |= {"stylegan2", "bicycle_gan"}
TRACED |= {"vae_cifar10"}  # vae_fashion_mnist in colour


def load(preset: str, *flags: str) -> Config:
    name = preset if preset in CONFIGS else preset.rpartition("_")[0]
    return load_config(CONFIGS[name], [*PRESETS[preset], *flags])


def resolved(name: str) -> dict[str, str]:
    return describe(load(name))


def golden_text(name: str) -> str:
    return json.dumps(resolved(name), indent=2) + "\n"


def test_every_config_is_covered_here():
    assert set(NARROW) == set(PRESETS) == {path.stem for path in GOLDEN.glob("*.json")}
    assert {name for preset in PRESETS for name in CONFIGS if preset.startswith(name)} == set(CONFIGS)


@pytest.mark.parametrize("name", PRESETS)
def test_resolved_values_are_those_of_the_golden_file(name):
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    assert resolved(name) == expected, "if the change is meant: python tests/test_configs.py --write"


def test_functions_are_told_apart_by_what_they_are_and_not_by_where_they_lie() -> None:
    """For a run goes on in another process, where all of memory is another."""

    def made(rate: float, bound: float = 1.0) -> dict[str, str]:
        @dataclasses.dataclass(frozen=True)
        class Images:
            """Of something whose text is Python's own."""

            what: Any = dataclasses.field(default_factory=lambda: type("What", (), {})())
            mirror: bool = False

            def open(self) -> Any:
                raise NotImplementedError

        optimizer = optax.chain(optax.clip_by_global_norm(bound), optax.rmsprop(rate))
        gan = dataclasses.replace(
            load("mlp_digits").gan,
            generator_optimizer=optimizer,
            discriminator_optimizer=Clipped(optax.inject_hyperparams(optax.sgd)(optax.cosine_decay_schedule(rate, 9))),
        )
        return describe(Config(gan=gan, data=Images(), run=load("mlp_digits").run))

    values = made(0.1)
    assert values == made(0.1)
    assert not [value for value in values.values() if " at 0x" in value]
    for other in (made(0.2), made(0.1, 2.0)):
        assert [name for name in values if values[name] != other[name]]
    changed = [name for name in values if values[name] != made(0.2)[name]]
    assert {name.split(".")[1] for name in changed} == {"generator_optimizer", "discriminator_optimizer"}


def narrow_model(name: str) -> Any:
    """As the config makes it, but small: narrow by its own flags, and, where there are stages of blocks, of few."""
    model: Any = load(name, *NARROW[name]).gan
    options: dict[str, Any] = {}
    if hasattr(model.generator, "blocks_per_stage"):
        options["blocks_per_stage"] = 1
        if model.generator.image_shape[0] > 64:
            options |= dict(group_size=8, widths=tuple(max(8, width // 4) for width in model.generator.widths))
    other = "encoder" if isinstance(model, VAE) else "discriminator"
    networks: dict[str, Any] = {name: getattr(model, name).clone(**options) for name in ("generator", other)}
    return dataclasses.replace(model, **networks)


@pytest.mark.parametrize("name", PRESETS)
def test_a_step_at_reduced_width(name):
    gan = narrow_model(name)
    if name in TRACED:
        state, batch = jax.eval_shape(lambda: (init(gan, jax.random.key(0)), example_batch(gan, 2)))
        after, _ = jax.eval_shape(functools.partial(train_step, gan), state, batch, jax.random.key(0))
        assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), (after,)) == jax.tree.map(
            lambda leaf: (leaf.shape, leaf.dtype), (state,)
        )
        return
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
    "ffhq_64": Paper(64, (768,) * 4 + (384,), (96,) * 4 + (48,), 0, 256, 100, 20, (2, 0.2), 0.5, 5e-5, True),
    "ffhq_256": Paper(
        256, (768,) * 4 + (384, 192, 96), (96,) * 4 + (48, 24, 12), 0, 256, 200, 20, (150, 15), 0.5, 5e-5, True
    ),
    "imagenet_32": Paper(32, (1536,) * 4, (96,) * 4, 1000, 4096, 1000, 200, (0.5, 0.05), 50, 5e-5, True),
    "imagenet_64": Paper(64, (1536,) * 5, (96,) * 5, 1000, 4096, 1000, 200, (1, 0.1), 50, 5e-5, True),
}


@pytest.mark.parametrize("name", PAPER)
def test_presets_are_the_papers(name):
    paper, config = PAPER[name], load(f"r3gan_{name}")
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


def test_a_preset_of_a_size_is_a_default_and_no_more():
    config = load("r3gan_ffhq_256", "--gamma", "3", "--num-microbatches", "4", "--total-images", "1000000")
    assert isinstance(config.gan, GAN)
    assert config.gan.penalties[0] == R1(CosineRamp(3.0, 3.0 / 10, 20e6))
    assert (config.gan.num_microbatches, config.run.total_images) == (4, 1_000_000)
    plain = load("r3gan_imagenet_64", "--augmentation", "0", "--gamma", "0").gan
    assert isinstance(plain, GAN)
    assert (plain.augmentation, plain.penalties[0].weight) == (None, CosineRamp(0.0, 0.0, 200e6))
    with pytest.raises(UserError, match=r"128.*--size"):
        load_config(CONFIGS["r3gan_ffhq"], ["--size", "128"])


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
    "too few": (["--total-images", "0"], r"run\.total_images is 0; expected a number at least 1"),
    "negative seed": (["--run.seed", "-1"], r"run\.seed is -1; expected a number from 0 to 4294967295"),
    "large seed": (["--run.seed", "4294967296"], r"run\.seed is 4294967296; expected a number from 0 to 4294967295"),
    "enormous seed": (["--run.seed", "1" + 20 * "0"], r"run\.seed is 1(0){20}; expected a number from 0"),
    "nan": (["--gamma", "nan"], r"--gamma: nan is not a finite number"),
    "infinity": (["--learning-rate=-inf"], r"--learning-rate: -inf is not a finite number"),
    "beyond any number": (["--gamma", "1e999"], r"--gamma: 1e999 is not a finite number"),
    "negative weight": (["--gamma", "-5"], r"R1's weight is -5\.0; expected a number at least 0"),
    "negative rate": (["--learning-rate", "-1"], r"learning_rate, at the start of its ramp, is -1\.0"),
    "no width": (["--features", "0"], r"features is 0; expected a number at least 1"),
    "no interval": (["--run.log-every", "0"], r"run\.log_every is 0; expected a number at least 1"),
    "one image to measure": (["--run.evaluate-num", "1"], r"run\.evaluate_num is 1; expected a number at least 2"),
    "long wait": (["--run.distributed-timeout", "9" * 12], r"run\.distributed_timeout is 9{12}; expected a number"),
    "endless": (["--run.total-images", "9" * 20], r"run\.total_images is 9{20}, which takes .* 2,147,483,647 steps"),
    "several types": (["--run.keep-every", "1.5"], r"--run\.keep-every is '1\.5'; expected a whole number or None"),
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


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("nowhere/nothing.py", "a name that `ganjax configs` lists"),
        ("configs", "a name that `ganjax configs` lists"),
        ("quickstrat", "quickstart, which comes with ganjax"),
        ("nowhere/quickstart.py", "quickstart, which comes with ganjax"),
        ("x" * 300, "a name that `ganjax configs` lists"),
    ],
)
def test_a_missing_file_is_refused_in_one_line(path, advice):
    with pytest.raises(
        UserError, match=f"no config file {path}; expected the path of a Python file.*{advice}"
    ) as refusal:
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


PATHS = """
from pathlib import Path
from ganjax import Config, load_config
from ganjax.data import Folder

def config(*, path: Path = Path("images"), other: Path | None = None) -> Config:
    plain = load_config("quickstart")
    return Config(gan=plain.gan, data=Folder(other / "below" if other else path, size=8), run=plain.run)
"""


def path_of(config_file: Path, *flags: str) -> Any:
    data: Any = load_config(config_file, flags).data
    return getattr(data, "images", data).path


def test_a_url_stays_whole_in_a_flag_of_a_path(tmp_path, monkeypatch):
    config_file = write(tmp_path, PATHS)
    assert str(path_of(config_file, "--path", "gs://bucket/x")) == "gs://bucket/x"
    assert str(path_of(config_file, "--other", "s3://bucket/x")) == "s3://bucket/x/below"
    assert str(path_of(config_file, "--data.path", "gs://bucket/x")) == "gs://bucket/x"
    assert describe(load_config(config_file, ["--path=gs://bucket/x"]))["data.path"] == "gs://bucket/x"
    monkeypatch.setenv("HOME", "/home/somebody")
    assert path_of(config_file, "--path", "~/x") == Path("/home/somebody/x")
    for flag in ("--path", "--other"):
        with pytest.raises(UserError, match=rf"{flag}: https://h/x begins with https://; expected a path of this mach"):
            load_config(config_file, [flag, "https://h/x"])


@pytest.mark.parametrize("name", [name for name in CONFIGS if "path: Path" in CONFIGS[name].read_text()])
def test_every_config_takes_a_url(name):
    beside = ["--inputs", "gs://bucket/y.npz"] if name in ("cut", "cycle_gan") else []
    assert str(path_of(CONFIGS[name], "--path", "gs://bucket/x.npz", *beside)) == "gs://bucket/x.npz"


# --- where config files are, and what they import ---


def test_a_name_is_a_config_that_comes_with_ganjax(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config("quickstart") == load_config(PATH)
    (tmp_path / "mlp_digits").mkdir()  # a folder is no config
    assert load_config("mlp_digits") == load_config(CONFIGS["mlp_digits"])
    (tmp_path / "vae_digits").write_text("this is a file of somebody's own")
    with pytest.raises(UserError, match="vae_digits is not a Python file"):
        load_config("vae_digits")


def test_a_config_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path, PATHS)
    assert path_of(Path("~/mine.py")) == Path("images")


BESIDE = """
import dataclasses
import sizes
from parts import SEED
from parts.inner.deep import Mine
from ganjax import Config, load_config

def config(*, batch_size: int = 8) -> Config:
    from late import FEATURES
    plain = load_config("quickstart", [f"--features={FEATURES}", f"--run.seed={SEED}", f"--batch-size={batch_size}"])
    return dataclasses.replace(plain, data=Mine(size=sizes.SIZE))
"""
DEEP = """
import dataclasses
from ganjax.data import Digits

SEED = {size}

@dataclasses.dataclass(frozen=True)
class Mine(Digits):
    'Digits.'
"""


def beside(folder: Path, size: int) -> Path:
    """A config that imports two modules and a package beside it, one of them late."""
    (folder / "parts" / "inner").mkdir(parents=True)
    (folder / "sizes.py").write_text(f"SIZE = {size}")
    (folder / "late.py").write_text("FEATURES = 4")
    (folder / "parts" / "__init__.py").write_text("from parts.inner.deep import SEED")
    (folder / "parts" / "inner" / "deep.py").write_text(DEEP.format(size=size))
    return write(folder, BESIDE)


@pytest.fixture(autouse=True)
def _imports_are_undone():
    path, modules = list(sys.path), dict(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - set(modules):
        if name in ("sizes", "late", "only_here") or name.partition(".")[0] == "parts":
            del sys.modules[name]


def test_a_config_imports_modules_beside_it(tmp_path):
    first, second = beside(tmp_path / "first", 16), beside(tmp_path / "second", 8)
    for path, size in ((first, 16), (second, 8), (first, 16)):
        config: Any = load_config(path, ["--batch-size", "24", "--data.mirror"])
        assert (config.data.size, config.run.seed, config.run.batch_size) == (size, size, 24)
        assert config.gan.generator.features == 4
        assert config.data.mirror
    files = config_files(second)
    assert sorted(files) == ["config.py", "late.py", "parts/__init__.py", "parts/inner/deep.py", "sizes.py"]
    assert files["config.py"] == second
    copy = tmp_path / "copy"
    for name, file in files.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(file.read_bytes())
    (tmp_path / "second" / "sizes.py").write_text("SIZE = 32")
    assert describe(load_config(copy / "config.py"))["data.size"] == "8"


LOADS_ANOTHER = """'Of the same name.'
import dataclasses
import sizes
from ganjax import Config, load_config

EARLY = load_config({inner!r}).data.size

def config(*, more: int = 0) -> Config:
    other = load_config({inner!r})
    return dataclasses.replace(other, run=dataclasses.replace(other.run, seed=EARLY + 1000 * sizes.SIZE + more))
"""


def test_a_config_that_loads_another_of_its_name_gets_its_own_modules(tmp_path):
    inner, outer = beside(tmp_path / "inner", 8), beside(tmp_path / "outer", 16)
    outer.write_text(LOADS_ANOTHER.format(inner=str(inner)))
    config: Any = load_config(outer, ["--more", "5"])
    assert (config.data.size, config.run.seed) == (8, 16_013)
    assert sorted(config_files(outer)) == ["config.py", "sizes.py"]


def test_the_first_of_two_modules_of_one_name_stays(tmp_path):
    """What is pickled for another process is found by its module's name."""
    path = write(tmp_path, "import only_here\n" + MINE.format(body="return only_here.made()"))
    text = "from ganjax import load_config\nclass Thing: pass\ndef made():\n    return {}"
    (tmp_path / "only_here.py").write_text(text.format("load_config('quickstart')"))
    load_config(path)
    thing = sys.modules["only_here"].Thing()
    (tmp_path / "only_here.py").write_text(text.format("load_config('mlp_digits')  # changed"))
    assert load_config(path).run.total_images == 2_000_000
    assert isinstance(pickle.loads(pickle.dumps(thing)), type(thing))


def test_a_config_that_imports_nothing_leaves_no_trace(tmp_path):
    path = write(tmp_path, PATHS)
    before = list(sys.path)
    load_config(path)
    assert sys.path == before
    assert config_files(path) == {"config.py": path}


def test_a_module_whose_name_a_run_needs_is_refused(tmp_path):
    (tmp_path / "config.py").write_text("SIZE = 16")
    path = write(tmp_path, "import config as other\n" + PATHS)
    with pytest.raises(
        UserError, match=r"mine\.py imports config\.py, the name that a run keeps mine\.py by; rename it"
    ):
        config_files(path)


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
    for name in PRESETS:
        (GOLDEN / f"{name}.json").write_text(golden_text(name))
    return 0


if __name__ == "__main__":
    sys.exit(regenerate(sys.argv[1:]))
