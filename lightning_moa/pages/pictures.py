"""Pictures as a site has them: every edge as it is, in a third of the bytes; and a small one for the index."""

from __future__ import annotations

from pathlib import Path

THUMB = (640, 360)
"""Pixels of an index's picture: the upper part where it is longer."""
LOSSLESS = {"lossless": True, "quality": 20, "method": 2}
"""Of WebP: half of what figures have as PNG, in a sixth of a second; more effort saves little."""
STEP = 5
"""Of a channel's 255: no colour is further than two off, which no eye tells, and a third fewer bytes say it."""


def write_picture(file: Path, to: Path, thumb: Path | None = None) -> None:
    """Write a PNG as WebP, its colours in steps of `STEP`, on white where it can be seen through.

    Args:
        file: the PNG.
        to: the WebP file.
        thumb: a WebP file for its small one; None writes none.

    Raises:
        OSError, ValueError and what else a broken picture does to its decoder.
    """
    from PIL import Image

    with Image.open(file) as image:
        whole = image.convert("RGBA")
    flat = Image.new("RGB", whole.size, "white")
    flat.paste(whole, mask=whole.getchannel("A"))
    flat.point([STEP * round(value / STEP) for value in range(256)] * 3).save(to, "WEBP", **LOSSLESS)
    if thumb is not None:
        height = min(flat.height, round(flat.width * THUMB[1] / THUMB[0]))
        size = (THUMB[0], max(round(THUMB[0] * height / flat.width), 1))
        # A small multiple of what is shown: the rest is quick.
        small = flat.crop((0, 0, flat.width, height)).reduce(max(flat.width // (2 * THUMB[0]), 1))
        small.resize(size, Image.Resampling.LANCZOS).save(thumb, "WEBP", quality=80)
