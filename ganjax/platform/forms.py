"""The ways in which the same numbers are computed, and which of them suits which hardware.

A convolution with groups or a stride and a resampling can be written in several ways, which give the same numbers at
very different speeds:

- XLA on CPU runs grouped and depthwise convolutions up to a hundred times slower than dense ones, and the derivatives
  of strided ones several times slower than matrix products.
- On GPU a grouped convolution under a sharded ``jit`` gathers the whole batch onto every device
  (openxla/xla issue 47945), so it becomes dense convolutions, which are slower than it is on one device.
- The TPU's matrix unit is 128 wide and narrower groups waste it, so they are packed to 128 channels.
- The TPU's compiler gives every kernel the same part of the core's vector memory, which is too little for some and
  costs time to compile for others.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Literal

import jax
from jax.experimental.xla_metadata import set_xla_metadata

from ganjax.ground.errors import UserError

__all__ = [
    "FORMS",
    "Forms",
    "current_forms",
    "current_platform",
    "kernel_memory",
    "own_batch",
    "target_forms",
    "target_platform",
]


@dataclasses.dataclass(frozen=True)
class Forms:
    """How the step is written for one platform; every choice gives the same numbers.

    Attributes:
      grouped: ``native`` is XLA's grouped convolution, ``packed`` the same with groups merged into wider ones, and
        ``dense`` a convolution without groups for each merged group, which the others are, too, where the merged groups
        are not all of one width; ``products`` is a matrix product for each merged group, over the pixels' neighbours;
        ``alone`` is ``native`` where each device has a batch of its own, and ``dense`` where the compiler divides one.
        Merging fills the kernel up with zeros.
      block_channels: the most input channels that a merged group has.
      resampling: ``shifts`` adds shifted copies, ``depthwise`` is a depthwise convolution.
      strided: ``native`` is XLA's strided or dilated convolution, ``products`` a matrix product over the pixels' 2 x 2
        phases and neighbours.
      pointwise: ``product`` is a matrix product over the channels, ``convolution`` a convolution of size one.
      product_pixels: with ``convolution``, maps of no more pixels than this take the ``product`` all the same.
      sampling: bilinear sampling of small images (``ganjax.augment``) by ``gather``, or as matrix ``products``, as is
        then the doubling of the maps of Real-ESRGAN's discriminator.
      penalties: the derivatives of R1 and R2 go through a discriminator four times where it is ``homogeneous`` (see
        ``ganjax/algorithms/homogeneous.py``), or six times as in the ``plain`` statement.
      dense: RRDBNet and SRVGG as they are stated, ``plain``, or on ``row_pairs`` (see ``ganjax/models/row_pairs.py``).
      modulated: a convolution whose kernel is a style's (``ganjax.models.modulation``) by ``scaling`` what goes into it
        and what comes out, or with ``kernels`` of each sample, as it is stated.
      merged_channels: a convolution that changes the size becomes one with its filter (``ganjax.models.resampling``)
        where the maps that the filter would pass over have no more channels than this.
      folded_channels: maps of no more channels than this, where a network folds maps (``ganjax.models.resampling``),
        have squares of 2 x 2 pixels beside each other in the channels.
      blurring: each image with a kernel of its own (``ganjax.augment.degradation``) by adding ``shifts``, or as matrix
        ``products``.
      filtering: low-pass filters with a change of rate (``ganjax/models/filters.py``) as matrix ``products``, or as a
        ``depthwise`` convolution of maps with zeros put in.
      resized: a 3 x 3 convolution after pixels are doubled, or before the mean of 2 x 2 (``ganjax.models.residual``),
        ``apart`` from it, or ``merged`` with it into a 4 x 4 one of stride two, of 16 products for every 36.
      attention_parts: self-attention of the ResNets' GANs takes so many parts of the queries one after the other, and
        computes each again on the way back: the products of one stay in a TPU's vector memory.
      attention: of transformers (``ganjax/models/transformer.py``), with each token's numbers beside each other, in
        ``rows``, by ``jax.nn.dot_product_attention``, or with each number's tokens, in ``columns``: a TPU's tiles are
        128 wide, and a head has 64 numbers.
      loops: a loop of many iterations as one program on the ``device``, or as one of an iteration that the ``host``
        calls again and again: XLA on CPU runs a convolution in a loop many times slower than outside.
      members: the runs of a sweep ``together``, by ``vmap`` in one program, or ``in_turn``, by one program whose
        arguments their numbers are: under ``vmap`` the kernels have an axis of their own, and convolutions become
        grouped ones.
      recomputes: whether blocks of transformers keep their products alone for the way back, or, where a network is
        ``checkpointed``, nothing; else all that they compute is kept.
      convolutions: with their axes as they are ``stated``, or ``ordered`` for XLA's fast code (see
        ``ganjax/platform/convolutions.py``).
      kernel_memory: whether ``kernel_memory`` has an effect, or all is left to the compiler.
    """

    grouped: Literal["native", "packed", "dense", "products", "alone"]
    block_channels: int
    resampling: Literal["shifts", "depthwise"]
    strided: Literal["native", "products"]
    pointwise: Literal["product", "convolution"]
    product_pixels: int = 0
    sampling: Literal["gather", "products"] = "gather"
    penalties: Literal["homogeneous", "plain"] = "homogeneous"
    dense: Literal["plain", "row_pairs"] = "plain"
    kernel_memory: bool = False
    blurring: Literal["shifts", "products"] = "shifts"
    filtering: Literal["products", "depthwise"] = "products"
    modulated: Literal["scaling", "kernels"] = "scaling"
    merged_channels: int = 0
    folded_channels: int = 0
    resized: Literal["merged", "apart"] = "merged"
    attention_parts: int = 1
    attention: Literal["rows", "columns"] = "rows"
    loops: Literal["device", "host"] = "device"
    members: Literal["together", "in_turn"] = "together"
    recomputes: bool = False
    convolutions: Literal["stated", "ordered"] = "stated"

    def merges(self, channels: int) -> bool:
        """Whether maps of so many channels are better not filtered apart from a convolution."""
        return channels <= self.merged_channels


FORMS = {
    "cpu": Forms(
        grouped="dense",
        block_channels=32,
        resampling="shifts",
        strided="products",
        pointwise="product",
        loops="host",
        members="in_turn",
        recomputes=True,
        convolutions="ordered",
    ),
    "gpu": Forms(
        grouped="alone", block_channels=128, resampling="shifts", strided="native", pointwise="product", recomputes=True
    ),
    "tpu": Forms(
        grouped="packed",
        block_channels=128,
        resampling="depthwise",
        strided="native",
        pointwise="convolution",
        product_pixels=64,
        sampling="products",
        dense="row_pairs",
        kernel_memory=True,
        blurring="products",
        merged_channels=64,
        folded_channels=64,
        attention_parts=8,
        attention="columns",
        recomputes=True,
    ),
}
"""Which forms suit which platform: ``cpu``, ``gpu``, ``tpu``."""

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


def own_batch() -> bool:
    """Whether what is being traced is of one device's batch: there is one device, or ``shard_map`` has divided it."""
    return jax.device_count() == 1 or bool(jax.sharding.get_abstract_mesh().manual_axes)


def kernel_memory(kibibytes: int | None) -> contextlib.AbstractContextManager[None]:
    """What is traced inside becomes TPU kernels that have so much of the core's vector memory.

    The compiler gives a kernel 16 MiB on a v5e, 32 on a v6e. More makes some kernels faster, those that read large
    maps for little arithmetic. Less makes all of them compile in a fraction of the time, because they are unrolled less
    far: for those that run shortly. A kernel of several operations has the memory of the element-wise ones among them.

    Nothing inside may call a jitted function that is called with the same shapes outside, such as ``jnp.pad``: JAX
    lowers it once for all of its callers, with the limit.

    Args:
      kibibytes: None leaves it to the compiler, as do forms without ``kernel_memory``.
    """
    if kibibytes is None or not current_forms().kernel_memory:
        return contextlib.nullcontext()
    return set_xla_metadata(scoped_vmem_limit_kib=str(kibibytes))
