"""Pictures made of many images: grids, and sheets of named rows."""

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageDraw

from ganjax.ground.fonts import drawable


def image_grid(
    images: UInt8[np.ndarray, "batch height width channels"],
    *,
    columns: int,
    cells: Int[np.ndarray, " batch"] | None = None,
    scale: int | None = None,
) -> Image.Image:
    """Images in rows of ``columns`` on a dark ground, enlarged to whole multiples so that small ones can be seen.

    Args:
        images: one or three channels.
        columns: images a row.
        cells: where each image goes, counted row by row; by default one after the other.
        scale: how often a pixel is repeated; by default so that an image is at least 48 pixels high.
    """
    count, height, width, channels = images.shape
    cells = np.arange(count) if cells is None else cells
    scale = scale or max(1, 48 // height)
    rows, gap = int(cells.max()) // columns + 1, 2
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = height * scale, width * scale
    canvas = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, channels), 32, np.uint8)
    for cell, image in zip(cells.tolist(), images, strict=True):
        top, left = gap + cell // columns * (height + gap), gap + cell % columns * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return image_from_array(canvas)


def image_from_array(image: UInt8[np.ndarray, "height width channels"]) -> Image.Image:
    """A grey or an RGB picture."""
    return Image.fromarray(image[:, :, 0] if image.shape[-1] == 1 else image)


def sheet(rows: dict[str, UInt8[np.ndarray, "batch height width channels"]]) -> Image.Image:
    """The rows below each other, each with its name to the left."""
    images = np.concatenate(list(rows.values()))
    grid = image_grid(images, columns=len(images) // len(rows), scale=max(1, 64 // images.shape[1])).convert("RGB")
    texts = [drawable(name, size=14) for name in rows]
    margin = 12 + max(int(font.getlength(text)) for text, font in texts)
    canvas = Image.new("RGB", (margin + grid.width, grid.height), (32, 32, 32))
    canvas.paste(grid, (margin, 0))
    draw = ImageDraw.Draw(canvas)
    for index, (text, font) in enumerate(texts):
        draw.text((6, (index + 0.5) * grid.height / len(rows)), text, fill=(220, 220, 220), font=font, anchor="lm")
    return canvas
