"""Writes docs/combinations.md: which losses, terms and families of networks go together, made from the code.

    python docs/make_combinations.py          # and takes a step with each family, some minutes on one core
    python docs/make_combinations.py --quick  # writes the page alone

Every loss with every term and every family is made as a GAN: that raises nothing, or the one line that the page shows.
What is then left to go wrong is a number. For each family one step is taken on the sum of all its losses with all its
terms: it is finite, and so is the step of every part, for gradients add up.
"""

import argparse
import collections
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import ganjax
from ganjax import GAN, Codes, Head, Term, UserError, augment, example_batch, init, losses, train_step
from ganjax.algorithms.differences import DifferenceR1, DifferenceR2
from ganjax.models import biggan, dcgan, energy, gat, mlp, r3gan, resnet, srgan, stylegan2, stylegan3, translation, vae
from ganjax.models.layer_schedule import LayerSchedule

PAGE = Path(__file__).parent / "combinations.md"
Shape = tuple[int, int, int]
CLASSES, CODES = 3, Codes(categories=(2,), uniform=1)
HEADS = (Head("classes", CLASSES), Head("both", 2 * CLASSES), Head("codes", CODES.size))

HEAD = """# What goes with what

Made from the code by `python docs/make_combinations.py`, which makes every loss with every term and every family as a
`GAN`, and takes a step with each family on the sum of all its losses and all its terms: that is finite, and so is each
part, for gradients add up.

Of {all:,} combinations of a loss, a term and a family {made:,} are made. Each of the others is refused when the `GAN`
is made, with one of the lines below, with which its loss or its term would be refused without the other, too: so the
tables are of pairs. Networks have classes, codes (but for those without latents) and heads that tell these.
`PerceptualDistance`, which needs a trained network, goes where `RealDistance` goes; `top_k` takes any loss but those
that compare samples: `softmax`, `relativistic_average` and those of `against_averages`.
"""

LOSSES: dict[str, losses.Loss] = {
    **{name: value for name, value in vars(losses).items() if isinstance(value, losses.Loss)},
    "against_averages(non_saturating)": losses.against_averages(losses.non_saturating),
    "against_averages(hinge)": losses.against_averages(losses.hinge),
    "top_k(non_saturating, 0.5)": losses.top_k(losses.non_saturating, 0.5),
    "energy_based()": losses.energy_based(),
    "boundary_equilibrium()": losses.boundary_equilibrium(),
}
PENALTIES: tuple[Term, ...] = (
    ganjax.R1(1.0),
    ganjax.R2(1.0),
    DifferenceR1(1.0),
    DifferenceR2(1.0),
    ganjax.WGANGP(),
    ganjax.WGANDiv(),
    ganjax.ZeroCentred(),
    ganjax.DRAGAN(),
    ganjax.LeCam(),
    ganjax.Consistency(augment.DiffAugment("translation")),
    ganjax.LatentConsistency(),
    ganjax.Classification(),
    ganjax.DiscriminativeClassification(head="both"),
    ganjax.MutualInformation(),
    ganjax.Orthogonality(),
)
GENERATOR_TERMS: tuple[Term, ...] = (
    ganjax.Classification(),
    ganjax.DiscriminativeClassification(head="both"),
    ganjax.MutualInformation(),
    ganjax.LatentDiversity(),
    ganjax.Repelling(),
    ganjax.Repelling(layer=-1),
    ganjax.FeatureMatching(),
    ganjax.PathLength(),
    ganjax.RealDistance(),
    ganjax.Orthogonality(),
)


class Family(NamedTuple):
    """Two small networks."""

    generator: Any
    discriminator: Any


def families() -> dict[str, Family]:
    """Of each kind a small pair, with what any term may ask for: classes, codes and heads."""

    def pair(generator: Callable, discriminator: Callable, shape: Shape = (8, 8, 1), **latents: Any) -> Family:
        latents = latents or {"latent_size": 8, "codes": CODES}
        return Family(
            generator(image_shape=shape, num_classes=CLASSES, **latents),
            discriminator(image_shape=shape, heads=HEADS),
        )

    part = functools.partial
    channels: dict[str, Any] = {"channel_base": 32, "channel_limit": 4}
    styled: dict[str, Any] = {"style_size": 4, "num_mapping_layers": 2}
    schedule = LayerSchedule(num_layers=4, channel_base=64, channel_limit=6)
    autoencoder = {"image_shape": (8, 8, 1), "latent_size": 4, "features": 4}
    patches = part(translation.PatchDiscriminator, num_layers=1, features=4, input_shape=(8, 8, 1), norm="none")
    unet = part(translation.UNet, features=4, input_shape=(8, 8, 1))
    style_judge = part(stylegan2.Discriminator, **channels, num_mapping_layers=2)
    energies = part(energy.Discriminator, encoder=vae.Encoder(**autoencoder), decoder=dcgan.Generator(**autoencoder))
    tokens: dict[str, Any] = {"patch": 4, "depth": 4, "width": 16, "num_heads": 2}
    bigger = part(biggan.Generator, features=4, hierarchical=False, shared_size=4)
    return {
        "mlp": pair(part(mlp.Generator, hidden=(8,)), part(mlp.Discriminator, hidden=(8,))),
        "dcgan": pair(part(dcgan.Generator, features=4), part(dcgan.Discriminator, features=4)),
        "resnet": pair(part(resnet.Generator, features=4), part(resnet.Discriminator, features=4), (32, 32, 1)),
        "biggan": pair(bigger, part(biggan.Discriminator, features=4), (32, 32, 3)),
        "r3gan": pair(
            part(r3gan.Generator, widths=(8, 8), group_size=4, embedding_size=4),
            part(r3gan.Discriminator, widths=(8, 8), group_size=4),
        ),
        "stylegan2": pair(part(stylegan2.Generator, **styled, **channels), style_judge),
        "stylegan3": pair(part(stylegan3.Generator, **styled, schedule=schedule), style_judge, (16, 16, 1)),
        "gat": pair(part(gat.Generator, **tokens), part(gat.Discriminator, **tokens, class_size=8)),
        "energy": pair(part(mlp.Generator, hidden=(8,)), energies),
        "pix2pix": pair(part(unet, latents_everywhere=True), patches),
        "pix2pix without latents": pair(unet, patches, latent_size=0),
        "vgg (srgan)": pair(part(dcgan.Generator, features=4), part(srgan.VGGDiscriminator, features=4, units=8)),
    }


def make(
    family: Family, loss: losses.Loss, penalties: tuple[Term, ...] = (), generator_terms: tuple[Term, ...] = ()
) -> GAN:
    """A GAN of these.

    Raises:
        UserError: they do not go together.
    """
    return GAN(
        generator=family.generator,
        discriminator=family.discriminator,
        generator_optimizer=optax.sgd(1e-6),
        discriminator_optimizer=optax.sgd(1e-6),
        loss=loss,
        penalties=penalties,
        generator_terms=generator_terms,
    )


def refusal(loss: losses.Loss, family: Family, penalty: Term | None = None, term: Term | None = None) -> str | None:
    """Why these do not go together; None where they do."""
    try:
        make(family, loss, () if penalty is None else (penalty,), () if term is None else (term,))
    except UserError as error:
        return str(error)
    return None


def title(term: Term) -> str:
    """As a config has it, without what is of no matter here."""
    name = type(term).__name__
    return f"{name}(layer=-1)" if getattr(term, "layer", None) == -1 and name == "Repelling" else name


def sum_of(parts: list[losses.Loss]) -> losses.Loss:
    """A loss whose players minimise the sum of what they do in each."""

    def discriminator(real: Any, fake: Any, carried: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        found = [one.of_discriminator(real, fake, carried[str(i)], None) for i, one in enumerate(parts)]
        return sum(value for value, _ in found), {str(i): after for i, (_, after) in enumerate(found)}

    def generator(real: Any, fake: Any) -> Any:
        return sum(
            one.of_generator(real if one.generator_uses_reals else None, fake, jnp.zeros(()), None) for one in parts
        )

    return losses.Loss(
        discriminator,
        generator,
        generator_uses_reals=True,
        init=lambda: {str(i): jnp.zeros(()) if one.init is None else one.init() for i, one in enumerate(parts)},
        energies=any(one.energies for one in parts),
    )


def step_with_all(family: Family) -> dict[str, float]:
    """The metrics of a step on the sum of all losses that go with a family, with all such terms.

    Raises:
        FloatingPointError: a metric, a gradient or a parameter is not finite.
    """
    plain = losses.non_saturating
    loss = sum_of([one for one in LOSSES.values() if refusal(one, family) is None])
    penalties = tuple(one for one in PENALTIES if refusal(plain, family, one) is None)
    terms = [one for one in GENERATOR_TERMS if refusal(plain, family, None, one) is None]
    named = {one.name: one for one in terms}  # of two of one name a player takes one: the last
    gan = make(family, loss, penalties, tuple(named.values()))
    state = init(gan, jax.random.key(0))
    after, metrics = jax.jit(functools.partial(train_step, gan))(state, example_batch(gan, 4), jax.random.key(0))
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((after.players, after.carried, metrics))):
        raise FloatingPointError(f"not finite: { {name: float(value) for name, value in metrics.items()} }")
    return {name: float(value) for name, value in metrics.items()}


def page() -> str:
    """All of docs/combinations.md.

    Raises:
        AssertionError: a loss, a term and a family do not go together, of which any two do.
    """
    kinds, plain = families(), losses.non_saturating
    reasons: dict[str, int] = {}

    def cell(reason: str | None) -> str:
        return "yes" if reason is None else f"no ({reasons.setdefault(reason, len(reasons) + 1)})"

    def table(corner: str, rows: Mapping[str, Callable[[Family], str | None]]) -> Iterator[str]:
        yield f"| {corner} | {' | '.join(kinds)} |"
        yield "|---" * (len(kinds) + 1) + "|"
        for name, ask in rows.items():
            yield f"| {name} | {' | '.join(cell(ask(family)) for family in kinds.values())} |"

    of_losses = {f"`{name}`": functools.partial(refusal, loss) for name, loss in LOSSES.items()}
    of_penalties = {f"`{title(one)}`": functools.partial(refusal, plain, penalty=one) for one in PENALTIES}
    of_terms = {f"`{title(one)}`": functools.partial(refusal, plain, term=one) for one in GENERATOR_TERMS}
    tables = {
        "Losses": list(table("loss", of_losses)),
        "Terms of the discriminator (`penalties`)": list(table("term", of_penalties)),
        "Terms of the generator (`generator_terms`)": list(table("term", of_terms)),
    }
    counts = count_all(kinds)
    lines = [HEAD.format(**counts).rstrip()]
    for name, rows in tables.items():
        lines += ["", f"## {name}", "", *rows]
    lines += ["", "## Why not", ""]
    lines += [f"{number}. {reason}." for reason, number in reasons.items()]
    return "\n".join(lines) + "\n"


def count_all(kinds: dict[str, Family]) -> collections.Counter[str]:
    """How many combinations of three there are, and how many are made; that no other reason appears than of two."""
    counts: collections.Counter[str] = collections.Counter()
    sides = [*({"penalty": one} for one in PENALTIES), *({"term": one} for one in GENERATOR_TERMS)]
    for family in kinds.values():
        of_losses = {name: refusal(loss, family) for name, loss in LOSSES.items()}
        of_terms = [refusal(losses.non_saturating, family, **side) for side in sides]
        for (name, loss), (side, of_term) in itertools.product(LOSSES.items(), zip(sides, of_terms, strict=True)):
            reason = refusal(loss, family, **side)
            expected = {of_losses[name], of_term} - {None} or {None}
            assert reason in expected, f"{name}, {side}: {reason}"
            counts["all"] += 1
            counts["made"] += reason is None
    return counts


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--quick", action="store_true", help="take no steps")
    arguments.add_argument("--only", nargs="*", help="take steps with these families alone")
    options = arguments.parse_args()
    for name, family in families().items():
        if not options.quick and (options.only is None or name in options.only):
            metrics = step_with_all(family)
            print(f"{name}: a step with {sum('/' in key for key in metrics)} metrics, all finite", flush=True)
    PAGE.write_text(page(), encoding="utf-8")
