"""What the authors' PyTorch code of CycleGAN and CUT does with random weights, kept for ``test_unpaired_official.py``.

    python tests/official_unpaired.py FOLDER     # with PyTorch; writes tests/golden/unpaired.npz

``FOLDER`` is taesungp/contrastive-unpaired-translation, which has both models. Weights and images are drawn here, each
from its own name; of each gradient, and of each change of a parameter, eight random projections are kept.
"""

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
from official_translation import draw, project

FILE = Path(__file__).parent / "golden" / "unpaired.npz"
SIZE, BATCH, FEATURES, STEPS = 16, 2, 4, 3
POOL_SIZE, RATE, EPSILON = 2, 2e-4, 1e-2
CYCLE, BACKWARD_CYCLE, IDENTITY = 10.0, 7.0, 0.5
# What is drawn for the pools: of images, of inputs; by step, by image: whether there is an exchange, and with which.
SWAPS = {"pool": [[0, 0], [1, 1], [0, 1]], "backward_pool": [[0, 0], [1, 1], [1, 0]]}
PLACES = {"pool": [[0, 0], [1, 1], [0, 0]], "backward_pool": [[0, 0], [1, 0], [1, 0]]}
NUM_POSITIONS, WIDTH, TEMPERATURE = 12, 8, 0.07
AREAS = [22 * 22, 16 * 16, 8 * 8, 4 * 4]
CUTS = {
    "cut": dict(contrast=1.0, identity=True, mirror=False),
    "fast_cut": dict(contrast=10.0, identity=False, mirror=True),
}


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter by its official name and in its official layout."""
    noise = draw(name, *shape)
    return noise / np.sqrt(np.prod(shape[1:]), dtype=np.float32) if len(shape) > 1 else np.float32(0.1) * noise


def images(name: str) -> np.ndarray:
    """NHWC."""
    return np.tanh(draw(f"{name} images", BATCH, SIZE, SIZE, 3))


def positions(name: str) -> list[np.ndarray]:
    """Of each layer."""
    found = []
    for layer, area in enumerate(AREAS):
        found.append(np.argsort(draw(f"{name} positions {layer}", area))[:NUM_POSITIONS].astype(np.int32))
    return found


def _options(**changes: Any) -> Any:
    options = dict(
        gpu_ids=[], isTrain=True, checkpoints_dir="/nowhere", name="none", preprocess="none", input_nc=3, output_nc=3,
        ngf=FEATURES, ndf=FEATURES, normG="instance", normD="instance", no_dropout=True, init_type="normal",
        init_gain=0.02, no_antialias=True, no_antialias_up=True, netG="", netD="n_layers", n_layers_D=1,
        gan_mode="lsgan", lr=RATE, beta1=0.5, beta2=0.999, amp=False, direction="AtoB", batch_size=BATCH,
    )  # fmt: skip
    return types.SimpleNamespace(**{**options, **changes})


def _give_weights(torch: Any, model: Any, names: list[str]) -> dict[str, Any]:
    given = {}
    for name in names:
        for parameter, value in getattr(model, f"net{name}").named_parameters():
            called = f"net{name}.{parameter}"
            with torch.no_grad():
                value.copy_(torch.from_numpy(weight(called, tuple(value.shape))))
            given[called] = value
    return given


def _batch(torch: Any, step: int) -> dict[str, Any]:
    pair = {side: torch.from_numpy(images(f"{side}{step}").transpose(0, 3, 1, 2).copy()) for side in "AB"}
    return pair | {"A_paths": [], "B_paths": []}


def _cycle_gan(torch: Any, kept: dict[str, Any]) -> None:
    from models import cycle_gan_model  # pyright: ignore[reportMissingImports]
    from util import image_pool  # pyright: ignore[reportMissingImports]

    options = _options(lambda_A=CYCLE, lambda_B=BACKWARD_CYCLE, lambda_identity=IDENTITY, pool_size=POOL_SIZE)
    model = cycle_gan_model.CycleGANModel(options)
    for optimizer in model.optimizers:  # by default Adam walks on rounding errors as far as on anything else
        optimizer.param_groups[0]["eps"] = EPSILON
    given = _give_weights(torch, model, ["G_A", "G_B", "D_A", "D_B"])
    before = {name: value.detach().numpy().copy() for name, value in given.items()}
    for step in range(STEPS):
        # The pool of images is asked first; while it is not full it draws nothing.
        swaps = [*SWAPS["pool"][step], *SWAPS["backward_pool"][step]]
        places = [*PLACES["pool"][step], *PLACES["backward_pool"][step]]
        drawn = iter([] if step == 0 else list(zip(swaps, places, strict=True)))
        asked: list[int] = []

        def uniform(*_: Any, drawn: Any = drawn, asked: list[int] = asked) -> float:
            swap, place = next(drawn)
            asked.append(place)
            return 0.75 if swap else 0.25

        image_pool.random = types.SimpleNamespace(uniform=uniform, randint=lambda *_, asked=asked: asked[-1])
        model.set_input(_batch(torch, step))
        model.optimize_parameters()
        assert next(drawn, None) is None
        for name in model.loss_names:
            kept[f"cycle_gan/{step}/{name}"] = np.float32(float(getattr(model, f"loss_{name}").detach()))
        for name, value in given.items():
            if step == 0:  # those of D, whose step follows that of G, are its own alone
                kept[f"cycle_gan/gradient/{name}"] = project(name, value.grad.numpy())
    for name, value in given.items():
        kept[f"cycle_gan/change/{name}"] = project(name, value.detach().numpy() - before[name])
    for name, pool in (("pool", model.fake_B_pool), ("backward_pool", model.fake_A_pool)):
        kept[f"cycle_gan/{name}"] = torch.cat(pool.images).numpy().transpose(0, 2, 3, 1)[:, ::3, ::3]


def _cut(torch: Any, name: str, kept: dict[str, Any], *, contrast: float, identity: bool, mirror: bool) -> None:
    from models import cut_model, networks  # pyright: ignore[reportMissingImports]

    options = _options(
        netG="", no_antialias=False, no_antialias_up=False, netF="mlp_sample", netF_nc=WIDTH,
        nce_layers="0,4,8,12", nce_idt=identity, nce_T=TEMPERATURE, num_patches=NUM_POSITIONS, lambda_GAN=1.0,
        lambda_NCE=contrast, flip_equivariance=mirror, nce_includes_all_negatives_from_minibatch=False,
    )  # fmt: skip
    asked = iter([])
    permute = types.SimpleNamespace(random=lambda: 0.25 if mirror else 0.75, permutation=lambda area: next(asked))
    cut_model.np = types.SimpleNamespace(random=permute)
    networks.np = types.SimpleNamespace(random=permute, ceil=np.ceil, array=np.array, mod=np.mod)
    model = cut_model.CUTModel(options)
    model.set_input(_batch(torch, 0))
    asked = iter([*positions("images"), *positions("identity")])
    model.data_dependent_initialize(_batch(torch, 0))
    asked = iter([*positions("images"), *positions("identity")])
    given = _give_weights(torch, model, ["G", "D", "F"])
    # D's update leaves gradients that G's adds to, so they are looked at in between.
    judge = model.optimizer_D.step

    def step(*arguments: Any) -> Any:
        for parameter, value in given.items():
            if parameter.startswith("netD"):
                kept[f"{name}/gradient/{parameter}"] = project(parameter, value.grad.numpy())
        return judge(*arguments)

    model.optimizer_D.step = step
    model.optimize_parameters()
    for loss in model.loss_names:
        kept[f"{name}/{loss}"] = np.float32(float(getattr(model, f"loss_{loss}").detach()))
    for parameter, value in given.items():
        if not parameter.startswith("netD"):
            kept[f"{name}/gradient/{parameter}"] = project(parameter, value.grad.numpy())


def main(folder: str) -> None:
    """Writes the file."""
    import torch

    sys.path.insert(0, folder)
    # Of it the models need nothing here, and it imports libraries that need not be there.
    import util  # pyright: ignore[reportMissingImports]

    util.util = sys.modules["util.util"] = types.ModuleType("util.util")
    from models import networks  # pyright: ignore[reportMissingImports]

    def generator(*_: Any, opt: Any, **__: Any) -> Any:
        plain = {"no_antialias": opt.no_antialias, "no_antialias_up": opt.no_antialias}
        return networks.ResnetGenerator(3, 3, FEATURES, networks.get_norm_layer("instance"), n_blocks=1, **plain)

    networks.define_G = lambda *given, **named: generator(opt=named.get("opt", given[-1]))
    kept: dict[str, Any] = {}
    for name, settings in CUTS.items():
        _cut(torch, name, kept, **settings)
    _cycle_gan(torch, kept)
    for name, value in kept.items():
        if value.ndim == 0:
            print(name, value)
    np.savez_compressed(FILE, **kept)


if __name__ == "__main__":
    main(sys.argv[1])
