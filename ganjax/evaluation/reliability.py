"""The reliability diagram: how often pictures are real, over the probability with which they are said to be."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ganjax.evaluation.calibration import Reliability

__all__ = ["reliability_picture"]

_SIDE, _LEFT, _TOP, _RIGHT, _BOTTOM, _COUNTS = 400, 64, 48, 20, 44, 90
_GROUND, _FRAME, _TEXT = (255, 255, 255), (205, 205, 205), (60, 60, 60)
_POINTS, _BARS = (0, 114, 178), (230, 159, 0)  # Okabe & Ito's, which the colour-blind can tell apart


def reliability_picture(found: Reliability, *, title: str) -> Image.Image:
    """A point a bin, the diagonal on which they should lie, and below how many pictures each has.

    Args:
        found: what is drawn.
        title: one line above it.
    """
    width, height = _LEFT + _SIDE + _RIGHT, _TOP + _SIDE + _BOTTOM + _COUNTS
    picture = Image.new("RGB", (width, height), _GROUND)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=12)
    bottom = _TOP + _SIDE

    def place(across: float, up: float) -> tuple[float, float]:
        return _LEFT + across * _SIDE, bottom - up * _SIDE

    for tick in np.linspace(0, 1, 6).tolist():
        draw.line((*place(tick, 0), *place(tick, 1)), fill=_FRAME)
        draw.line((*place(0, tick), *place(1, tick)), fill=_FRAME)
        draw.text((_LEFT - 8, place(0, tick)[1]), f"{tick:.1f}", fill=_TEXT, font=font, anchor="rm")
        draw.text((place(tick, 0)[0], bottom + 6), f"{tick:.1f}", fill=_TEXT, font=font, anchor="ma")
    draw.line((*place(0, 0), *place(1, 1)), fill=_TEXT)
    points = [place(*point) for point in zip(found.confidence.tolist(), found.frequency.tolist(), strict=True)]
    if len(points) > 1:
        draw.line(points, fill=_POINTS, width=2, joint="curve")
    floor, most = height - 6, int(found.counts.max())
    for (across, up), confidence, count in zip(points, found.confidence.tolist(), found.counts.tolist(), strict=True):
        draw.circle((across, up), 4, fill=_POINTS)
        top = floor - (_COUNTS - 30) * count / most
        draw.rectangle((place(confidence, 0)[0] - 12, top, place(confidence, 0)[0] + 12, floor), fill=_BARS)
        draw.text((place(confidence, 0)[0], top - 2), f"{count}", fill=_TEXT, font=font, anchor="md")
    draw.text((_LEFT, 8), title, fill=_TEXT, font=ImageFont.load_default(size=14))
    num = int(found.counts.sum())
    said = f"calibration error {found.error:.3f} (by chance alone {found.chance:.3f}), {num:,} pictures"
    draw.text((_LEFT, 27), said, fill=_TEXT, font=font)
    draw.text((_LEFT + _SIDE / 2, bottom + 24), "probability of being real", fill=_TEXT, font=font, anchor="ma")
    draw.text((_LEFT + 6, _TOP + 6), "share that is real", fill=_TEXT, font=font)
    return picture
