"""Where the parameters of the authors' GAT stand in ganjax's, and how they are laid out there."""

from typing import Any, NamedTuple

import numpy as np


class Part(NamedTuple):
    """So much of a tensor of theirs, on its first axis, is one of ours, or a row of one that all blocks share."""

    name: str
    row: int | None = None
    part: int = 0
    parts: int = 1


def places(key: str, depth: int, *, taught: bool = False) -> dict[str, list[Part]]:
    """Of all tensors of the generator ``G`` or of the discriminator ``D`` but the embedding that is multiplied by 0.

    Args:
        key: of the network.
        depth: blocks.
        taught: whether the discriminator has a head for a teacher.
    """
    table = {"pos_embed": [Part("places")], "y_embedder.embedding_table.weight": [Part("classes")]}

    def layer(theirs: str, ours: str, row: int | None = None) -> None:
        table[f"{theirs}.weight"] = [Part(f"{ours}kernel", row)]
        table[f"{theirs}.bias"] = [Part(f"{ours}bias", row)]

    def joined(theirs: str, stem: str, names: tuple[str, ...], row: int) -> None:
        for kind, ours in (("weight", "kernel"), ("bias", "bias")):
            table[f"{theirs}.{kind}"] = [
                Part(f"{stem}.{name}_{ours}", row, part, len(names)) for part, name in enumerate(names)
            ]

    mapping = "latent_embedder" if key == "G" else "y_embedder.latent_embedder"
    for index in range(2):
        layer(f"{mapping}.{2 * index}", f"mapping_{index}.")
    for block in range(depth):
        stem, theirs, row = "stack.block", f"blocks.{block}", block
        joined(f"{theirs}.attn.qkv", f"{stem}.attention", ("query", "key", "value"), row)
        joined(f"{theirs}.mlp.w12", f"{stem}.feed_forward", ("gate", "value"), row)
        layer(f"{theirs}.attn.proj", f"{stem}.attention.output_", row)
        layer(f"{theirs}.mlp.w3", f"{stem}.feed_forward.output_", row)
        for letter, name in (("q", "query"), ("k", "key")):
            table[f"{theirs}.attn.{letter}_norm.weight"] = [Part(f"{stem}.attention.{name}_factor", row)]
        if key == "G":
            layer(f"{theirs}.adaLN_modulation.1", f"{stem}.modulation.", row)
        else:
            for number, short, name in ((1, "attn", "attention"), (2, "mlp", "feed_forward")):
                table[f"{theirs}.norm{number}.weight"] = [Part(f"{stem}.{name}_norm", row)]
                table[f"{theirs}.ls_{short}"] = [Part(f"{stem}.{name}_factor", row)]
    if key == "D":
        layer("x_embedder.proj", "patches.")
        layer("final_layer.1", "output.")
        for index in range(3 if taught else 0):
            layer(f"proj.{2 * index}", f"teacher_{index}.")
        return table | {"cls_token": [Part("class_token")], "final_layer.0.weight": [Part("output_norm")]}
    for index in range(4):
        layer(f"final_layers.{index}.linear", f"image_heads_{index}.patches.")
        layer(f"final_layers.{index}.adaLN_modulation.1", f"image_heads_{index}.modulation.")
    return table


def to_ours(array: np.ndarray, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor of theirs as one of ours of this shape."""
    if array.ndim == 4:  # a convolution of patches
        array = array.transpose(2, 3, 1, 0)
    return (array.T if name.endswith("kernel") and array.ndim == 2 else array).reshape(shape)


def to_theirs(array: np.ndarray, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """One of ours as a tensor of theirs of this shape."""
    if len(shape) == 4:
        return array.reshape(*shape[2:], shape[1], shape[0]).transpose(3, 2, 0, 1)
    return (array.T if name.endswith("kernel") else array).reshape(shape)


def converted(theirs: dict[str, np.ndarray], table: dict[str, list[Part]], ours: dict[str, Any]) -> dict[str, Any]:
    """Parameters of ours, by dotted names, from theirs; ``ours`` has their shapes."""
    found = {name: np.zeros(leaf.shape, np.asarray(theirs["pos_embed"]).dtype) for name, leaf in ours.items()}
    filled: dict[str, int] = {}
    for name, parts in table.items():
        for part, piece in zip(parts, np.split(theirs[name], parts[0].parts), strict=True):
            place = found[part.name] if part.row is None else found[part.name][part.row]
            place[...] = to_ours(piece, part.name, place.shape)
            filled[part.name] = filled.get(part.name, 0) + place.size
    assert filled == {name: leaf.size for name, leaf in found.items()}
    return found


def as_theirs(name: str, table: dict[str, list[Part]], ours: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    """Of ours, by dotted names, what their tensor of this name and shape is."""
    pieces = []
    for part in table[name]:
        array = np.asarray(ours[part.name] if part.row is None else ours[part.name][part.row])
        pieces.append(to_theirs(array, part.name, (shape[0] // part.parts, *shape[1:])))
    return np.concatenate(pieces)
