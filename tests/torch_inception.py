"""pytorch-fid's own Inception network with random weights, saved in the format of the published file."""

import functools
from pathlib import Path

import pytest


@functools.cache
def import_torchvision() -> object:
    """Imports torchvision beside a PyTorch for which its compiled operations do not load.

    They are not needed for Inception, but torchvision registers Python ones under two of their names, which must exist.
    What is returned declares them and has to be kept.
    """
    torch = pytest.importorskip("torch")
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):  # it is there where the operations did load
            library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    pytest.importorskip("torchvision")
    return library


def random_inception(monkeypatch: pytest.MonkeyPatch, *, seed: int = 0):
    """The Inception class's module of pytorch-fid, which fetches nothing and starts from random weights."""
    torch = pytest.importorskip("torch")
    import_torchvision()
    module = pytest.importorskip("pytorch_fid.inception")

    def random_state(*_: object, **__: object) -> dict:
        generator = torch.Generator().manual_seed(seed)
        state = {}
        for name, value in shapes.items():
            if name.endswith("num_batches_tracked"):
                state[name] = value
            elif name.endswith("running_var") or name.endswith("bn.weight"):
                state[name] = 0.5 + torch.rand(value.shape, generator=generator)
            elif value.ndim > 1:
                fan_in = value[0].numel()
                state[name] = torch.randn(value.shape, generator=generator) * (2 / fan_in) ** 0.5
            else:
                state[name] = 0.2 * torch.randn(value.shape, generator=generator)
        return state

    # The state's names and shapes come from the network itself, before it asks for its weights.
    shapes: dict = {}
    network_class = torch.nn.Module
    load = network_class.load_state_dict

    def load_state_dict(self, state, *arguments, **keywords):
        shapes.update(self.state_dict())
        return load(self, random_state(), *arguments, **keywords)

    monkeypatch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
    with monkeypatch.context() as patch:
        patch.setattr(network_class, "load_state_dict", load_state_dict)
        inception = module.fid_inception_v3()
    monkeypatch.setattr(module, "fid_inception_v3", lambda: inception)
    return inception.eval(), module


def save_published_format(network, path: Path, *, legacy: bool = False) -> Path:
    """Writes the state dictionary as PyTorch publishes weights."""
    torch = pytest.importorskip("torch")
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    return path
