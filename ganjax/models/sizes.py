"""What the sizes of a network must be, whatever its family: refused when a config is read, not by a layer."""

from typing import Any

from ganjax.ground.checks import check_number

_SMALLEST = {"num_classes": 0, "num_low_precision_stages": 0}  # 1 is that of any other
_EXAMPLES = {"num_classes": 10, "group_size": 16, "expansion": 2, "blocks_per_stage": 2, "num_low_precision_stages": 4}


def check_sizes(network: Any, *names: str) -> None:
    """Refuses attributes that count something, or hold such counts, and are too small; ``image_shape`` always.

    Args:
        network: whose attributes they are.
        names: of the attributes.

    Raises:
        UserError: one of them, or of the numbers in it, is below 1, or below 0 where none is meant by 0.
    """
    for name in ("image_shape", *names):
        value = getattr(network, name)
        bounds: Any = {"at_least": _SMALLEST.get(name, 1), "example": _EXAMPLES.get(name, 64)}
        if not isinstance(value, tuple | list):
            check_number(name, value, **bounds)
            continue
        for index, size in enumerate(value):
            check_number(f"{name}[{index}]", size, **bounds)
