"""What the sizes of a network must be, whatever its family: refused when a config is read, not by a layer."""

import dataclasses
from typing import Any

from ganjax.ground.checks import check_number

_SMALLEST = {  # 1 is that of any other
    "num_classes": 0,
    "num_attributes": 0,
    "num_scores": 0,
    "teacher_size": 0,
    "latent_size": 0,
    "num_low_precision_stages": 0,
    "num_dropouts": 0,
    "shared_size": 0,
    "num_layers": 0,
    "deviation_maps": 0,
    "num_codes": 0,
    "attention_stages": 0,
    "own_first": 0,
    "own_last": 0,
    "only": 0,
}
_EXAMPLES = {
    "num_classes": 10,
    "group_size": 16,
    "expansion": 2,
    "blocks_per_stage": 2,
    "num_low_precision_stages": 4,
    "levels": 5,
    "num_layers": 3,
    "num_blocks": 9,
    "num_mapping_layers": 8,
    "channel_base": 32768,
    "channel_limit": 512,
    "style_size": 512,
    "deviation_group": 4,
    "deviation_maps": 1,
    "base_shape": 4,
    "latent_channels": 4,
    "blocks": 2,
    "groups": 32,
    "num_codes": 1024,
    "attention_stages": 0,
}


def check_sizes(network: Any) -> None:
    """Refuses attributes that count something, or hold such counts, and are too small: all that are whole numbers.

    Args:
        network: a dataclass whose attributes they are.

    Raises:
        UserError: one of them, or of the numbers in it, is below 1, or below 0 where none is meant by 0.
    """
    for field in dataclasses.fields(network):
        value = getattr(network, field.name, None)
        sizes = {f"{field.name}[{i}]": size for i, size in enumerate(value)} if isinstance(value, tuple | list) else {}
        for name, size in (sizes or {field.name: value}).items():
            if isinstance(size, int | float) and not isinstance(size, bool) and "float" not in str(field.type):
                smallest, example = _SMALLEST.get(field.name, 1), _EXAMPLES.get(field.name, 64)
                check_number(name, size, at_least=smallest, example=example)
