"""Learning curves over images seen, as one picture."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from etils import epath
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from ganjax.runs.report import is_note, read_log

WIDTH, HEIGHT = 460, 260
_LEFT, _TOP, _RIGHT, _BOTTOM = 62, 40, 14, 30
_GROUND, _FRAME, _TEXT = (255, 255, 255), (205, 205, 205), (60, 60, 60)
# Okabe & Ito's colours, which the colour-blind can tell apart.
_COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (0, 0, 0))

Curve = tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]

_PANELS = {
    "losses": ("d/loss", "g/loss"),
    "logits": ("d/real", "d/fake", "g/fake"),
    "lower bound, in nats": ("vae/loss", "vae/reconstruction", "vae/divergence"),
    "gradient norms": ("d/grad_norm", "e/grad_norm", "g/grad_norm"),
}


def learning_curves(log: epath.Path) -> Image.Image:
    """Draws a ``metrics.jsonl``: losses, logits, gradient norms, penalties, augmentation, and a panel an evaluation.

    A panel whose values are positive and span more than a factor of fifty has a logarithmic axis.

    Raises:
        UserError: the log is damaged.
    """
    curves = _read(log)
    drawn = [
        _panel(title, {name: curves[name] for name in names}, last=max(curves[name][0][-1] for name in names))
        for title, names in panels(curves).items()
    ]
    columns = min(2, max(1, len(drawn)))
    rows = max(1, math.ceil(len(drawn) / columns))
    canvas = Image.new("RGB", (columns * WIDTH, rows * HEIGHT), _GROUND)
    for index, panel in enumerate(drawn):
        canvas.paste(panel, (index % columns * WIDTH, index // columns * HEIGHT))
    return canvas


def panels(curves: Iterable[str]) -> dict[str, list[str]]:
    """The curves that belong into one picture, by its title: those of a GAN and a VAE, and of evaluations."""
    names = list(curves)
    found = {title: [name for name in together if name in names] for title, together in _PANELS.items()}
    found["penalties"] = [name for name in names if name.startswith("penalty/")]
    found["augmentation"] = [name for name in names if name.startswith("augment/")]
    found |= {name: [name] for name in names if name.startswith("evaluate/")}
    return {title: together for title, together in found.items() if together}


def _read(log: epath.Path) -> dict[str, Curve]:
    points: dict[str, list[tuple[float, float]]] = {}
    for record in read_log(log):
        if is_note(record):
            continue
        for name, value in record.items():
            if name not in ("step", "images") and math.isfinite(value):
                points.setdefault(name, []).append((record["images"], value))
    return {name: (np.array(found)[:, 0], np.array(found)[:, 1]) for name, found in points.items()}


def _panel(title: str, curves: dict[str, Curve], *, last: float) -> Image.Image:
    panel = Image.new("RGB", (WIDTH, HEIGHT), _GROUND)
    draw, font = ImageDraw.Draw(panel), ImageFont.load_default(size=12)
    values = np.concatenate([curve[1] for curve in curves.values()])
    logarithmic = bool(values.min() > 0 and values.max() > 50 * values.min())
    scale = np.log10 if logarithmic else np.asarray
    ticks = _decades(values) if logarithmic else _ticks(float(values.min()), float(values.max()))
    low = min(float(scale(values.min())), float(scale(ticks[0])))
    high = max(float(scale(values.max())), float(scale(ticks[-1])))
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM

    def place(images: float, value: float) -> tuple[float, float]:
        across = images / last if last else 0.0
        up = (float(scale(value)) - low) / (high - low) if high > low else 0.5
        return _LEFT + across * (right - _LEFT), bottom - up * (bottom - _TOP)

    for tick in ticks:
        height = place(0, tick)[1]
        draw.line((_LEFT, height, right, height), fill=_FRAME)
        draw.text((_LEFT - 6, height), f"{tick:g}", fill=_TEXT, font=font, anchor="rm")
    for tick in _ticks(0.0, last):
        if tick <= last:
            across = place(tick, 10**low if logarithmic else low)[0]
            draw.line((across, bottom, across, bottom + 4), fill=_TEXT)
            draw.text((across, bottom + 6), _count(tick), fill=_TEXT, font=font, anchor="ma")
    draw.line((_LEFT, bottom, right, bottom), fill=_TEXT)
    draw.text((_LEFT, 6), title, fill=_TEXT, font=ImageFont.load_default(size=14))
    across = float(right)
    for index, (name, (images, numbers)) in reversed(list(enumerate(curves.items()))):
        colour = _COLOURS[index % len(_COLOURS)]
        points = [place(*point) for point in zip(images.tolist(), numbers.tolist(), strict=True)]
        if len(points) > 1:
            draw.line(points, fill=colour, width=2, joint="curve")
        if len(points) <= 30:
            for point in points:
                draw.circle(point, 3, fill=colour)
        if name != title:
            draw.text((across, 8), name, fill=colour, font=font, anchor="ra")
            across -= font.getlength(name) + 12
    return panel


def _ticks(low: float, high: float) -> Sequence[float]:
    """Three to seven round numbers, the first at or below ``low`` and the last at or above ``high``."""
    span = high - low or abs(high) or 1.0
    size = 10 ** math.floor(math.log10(span / 3))
    step = next(size * factor for factor in (1, 2, 5, 10) if span / (size * factor) <= 5)
    first = math.floor(low / step)
    count = math.ceil(high / step - 1e-9) - first
    return [round((first + index) * step, 12) for index in range(max(count, 1) + 1)]


def _decades(values: Float[np.ndarray, " points"]) -> Sequence[float]:
    low, high = math.floor(math.log10(values.min())), math.ceil(math.log10(values.max()))
    return [10.0**power for power in range(low, high + 1, max(1, (high - low) // 5))]


def _count(images: float) -> str:
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if images >= size:
            return f"{images / size:g}{suffix}"
    return f"{images:g}"
