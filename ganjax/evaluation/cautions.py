"""What a number that can be computed does not tell, for want of images or of a good network."""

from ganjax.evaluation.fakes import Fakes
from ganjax.evaluation.features import FeatureNetwork
from ganjax.evaluation.labels import name_some
from ganjax.evaluation.protocol import METRICS
from ganjax.evaluation.reference import Reals

_FEW = 100  # images, with which no share or mean is known to more than a tenth


def cautions(
    name: str, network: FeatureNetwork | None, *, num_fake: int, num_real: int | None, fakes: Fakes, reals: Reals | None
) -> list[str]:
    """Lines for a person, none where there is nothing to be said.

    Args:
        name: of ``METRICS``.
        network: whose features; None where the metric looks at pixels.
        num_fake: images that were measured; of the smallest class where each is compared by itself.
        num_real: and compared with.
        fakes: what was measured.
        reals: what it was compared with.
    """
    metric, lines = METRICS[name], []
    counts = {"images": num_fake, "reals": num_real}
    which = " in a class" if metric.labels and metric.reals else ""
    for kind, count in counts.items():
        if count is None or not metric.keeps or network is None:
            continue
        if name in ("fid", "rfid", "class-fid") and count <= network.num_features:
            lines.append(
                f"{name} of {count} {kind}{which} with {network.num_features} features: the covariance is singular and "
                f"{name} is biased upwards; use more, or kid, which has no bias"
            )
        elif count < _FEW:
            lines.append(f"{name} of {count} {kind}{which}: so few say little; use more")
    accuracy = getattr(network, "accuracy", None)
    if network is not None and accuracy is not None and accuracy < 0.5:
        lines.append(
            f"{network.name} is wrong on most images that were held out of its training ({accuracy:.2%} right): what "
            "its features and classes say means little"
        )
    if metric.labels and reals is not None and fakes.label_counts is not None:
        of_classes = zip(reals.source.class_names, reals.content.label_counts, fakes.label_counts, strict=True)
        missing = [of_class for of_class, real, fake in of_classes if real and not fake]
        if missing:
            lines.append(f"{name} is of the other classes: no image to measure has the label(s) {name_some(missing)}")
        lines += [fakes.label_note] if fakes.label_note else []
    return lines
