"""Makes images with the generator of this folder, without ganjax: python load.py [NUM [SEED]].

It needs JAX and what its programs are stored with: pip install jax flatbuffers
"""

import json
import pathlib
import sys

import jax.export
import numpy as np

KINDS = {"F32": "<f4", "I32": "<i4", "U32": "<u4", "BOOL": "?"}


def load(folder):
    """What makes images, float32 in [-1, 1] or close to it, of a row each of the arrays that config.json names."""
    content = (folder / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    entries = {name: it for name, it in json.loads(content[8:start]).items() if name != "__metadata__"}
    weights = {
        name: np.frombuffer(memoryview(content)[start:][slice(*it["data_offsets"])], KINDS[it["dtype"]]).reshape(
            it["shape"]
        )
        for name, it in entries.items()
    }
    program = jax.export.deserialize(bytearray((folder / "generator.stablehlo").read_bytes()))
    return lambda **inputs: np.asarray(program.call(weights, inputs))


if __name__ == "__main__":
    here = pathlib.Path(__file__).resolve().parent
    config = json.loads((here / "config.json").read_text(encoding="utf-8"))
    num, seed = (int(sys.argv[place]) if len(sys.argv) > place else default for place, default in ((1, 4), (2, 0)))
    given = {name: np.zeros((num, *it["shape"]), it["dtype"]) for name, it in config["inputs"].items()}
    if "latents" in given:
        given["latents"][:] = np.random.default_rng(seed).normal(size=given["latents"].shape)
    if "labels" in given:
        given["labels"][:] = np.arange(num) % config["num_classes"]
    if config.get("guard"):
        print(f"not looked at by the run's guard ({config['guard']}): ganjax sample has it do so")
    images = load(here)(**given)
    np.save("images.npy", images)
    print(f"images.npy: {images.shape}, from {images.min():.3f} to {images.max():.3f}")
