"""The ways in which the same numbers are computed, and which of them suits which hardware.

A convolution with groups or a stride and a resampling can be written in several ways, which give the same numbers at
very different speeds:

- XLA on CPU runs grouped and depthwise convolutions up to a hundred times slower than dense ones, and the derivatives
  of strided ones several times slower than matrix products.
- On GPU a grouped convolution under a sharded ``jit`` gathers the whole batch onto every device
  (openxla/xla issue 47945), so it becomes dense convolutions.
- The TPU's matrix unit is 128 wide and narrower groups waste it, so they are packed to 128 channels.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Literal

import jax

from ganjax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Forms:
    """How the step is written for one platform; every choice gives the same numbers.

    Attributes:
      grouped: ``native`` is XLA's grouped convolution, ``packed`` the same with groups merged into wider ones, and
        ``dense`` a convolution without groups for each merged group, which ``packed`` is, too, where the merged groups
        are not all of one width. Merging fills the kernel up with zeros.
      block_channels: the most input channels that a merged group has.
      resampling: ``shifts`` adds shifted copies, ``depthwise`` is a depthwise convolution.
      strided: ``native`` is XLA's strided or dilated convolution, ``products`` a matrix product over the pixels' 2 x 2
        phases and neighbours.
      pointwise: ``product`` is a matrix product over the channels, ``convolution`` a convolution of size one.
      sampling: bilinear sampling of small images (``ganjax.augment``) by ``gather``, or as matrix ``products``.
      penalties: the derivatives of R1 and R2 go through a discriminator four times where it is ``homogeneous`` (see
        ``ganjax/homogeneous.py``), or six times as in the ``plain`` statement.
    """

    grouped: Literal["native", "packed", "dense"]
    block_channels: int
    resampling: Literal["shifts", "depthwise"]
    strided: Literal["native", "products"]
    pointwise: Literal["product", "convolution"]
    sampling: Literal["gather", "products"] = "gather"
    penalties: Literal["homogeneous", "plain"] = "homogeneous"


FORMS = {
    "cpu": Forms(grouped="dense", block_channels=32, resampling="shifts", strided="products", pointwise="product"),
    "gpu": Forms(grouped="dense", block_channels=128, resampling="shifts", strided="native", pointwise="product"),
    "tpu": Forms(
        grouped="packed",
        block_channels=128,
        resampling="depthwise",
        strided="native",
        pointwise="convolution",
        sampling="products",
    ),
}

# A context of JAX's own and not a ContextVar, because it is part of the key of jit's caches: a function that was traced
# for the machine's own platform is traced again for another one.
_forms_context = jax.make_user_context(None)
_platform_context = jax.make_user_context(None)


@contextlib.contextmanager
def target_forms(forms: Forms) -> Iterator[None]:
    """Uses ``forms`` for everything that is traced inside, to compare and to measure them."""
    with _forms_context(forms):
        yield


@contextlib.contextmanager
def target_platform(platform: str) -> Iterator[None]:
    """Uses the forms of ``platform`` for all that is traced inside, to compile ahead of time for another machine.

    Args:
      platform: ``cpu``, ``gpu`` (or ``cuda``, ``rocm``) or ``tpu``.

    Raises:
      UserError: for any other platform.
    """
    name = {"cuda": "gpu", "rocm": "gpu"}.get(platform, platform)
    if name not in FORMS:
        raise UserError(f"platform {platform!r} is not known: use one of {', '.join(FORMS)}")
    with target_forms(FORMS[name]), _platform_context(name):
        yield


def current_platform() -> str:
    """What is being traced for, ``cpu``, ``gpu`` or ``tpu``: the enclosing ``target_platform``, or JAX's default."""
    return _platform_context.value or {"cuda": "gpu", "rocm": "gpu"}.get(jax.default_backend(), jax.default_backend())


def current_forms() -> Forms:
    """The forms in effect: the enclosing ``target_platform``'s, or those of JAX's default backend."""
    forms = _forms_context.value
    return forms if forms is not None else FORMS.get(jax.default_backend(), FORMS["gpu"])
