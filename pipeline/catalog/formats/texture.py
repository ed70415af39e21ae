"""Images of textures, and colours as files write them."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import AssetError

#: The longer side of a texture is reduced to this.
MAX_SIDE_PX = 4096
_MAX_BYTES = 1 << 29


def read_texture(source: Path | bytes | None, owner: Path) -> NDArray[np.uint8] | None:
    """(h, w, 3) uint8 sRGB of an image file or its bytes, at most MAX_SIDE_PX a side.

    None where none is named or the file is missing, as of many a downloaded mesh: it is then used
    without it. Raises AssetError, naming `owner` and the image, for one that is there and cannot
    be read, or is so large that it may be a bomb (Pillow's limit, 179 million pixels).
    """
    if source is None or (isinstance(source, Path) and not is_there(source)):
        return None
    name = source.name if isinstance(source, Path) else "a texture inside it"
    try:
        if isinstance(source, Path) and source.stat().st_size > _MAX_BYTES:
            raise AssetError(f"{owner}: {name} is larger than {_MAX_BYTES} bytes; reduce it")
        with warnings.catch_warnings():
            # Pillow's remarks on odd but readable images.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                image.draft("RGB", (MAX_SIDE_PX, MAX_SIDE_PX))
                image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
                return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (AssetError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise AssetError(f"{owner}: {name} has too many pixels; reduce it") from None
    # Pillow's readers raise many kinds of exceptions on broken images.
    except Exception:
        raise AssetError(
            f"{owner}: {name} is no image that can be read; save it as PNG or JPEG"
        ) from None


def is_there(path: Path) -> bool:
    """Whether there is such a file; no name, however odd, raises."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def linear_from_srgb(srgb: NDArray) -> NDArray:
    """The transfer function of IEC 61966-2-1, on values in 0..1."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def colour_rows(columns: list[NDArray]) -> NDArray[np.float32]:
    """(n, 3) float32 linear colours from three columns of sRGB: whole 0..255, or 0..1."""
    stacked = np.stack(columns, axis=1)
    rows = np.nan_to_num(stacked.astype(np.float64))
    scale = 255.0 if stacked.dtype.kind in "ui" or rows.max(initial=0.0) > 1.0 else 1.0
    return linear_from_srgb(np.clip(rows / scale, 0.0, 1.0)).astype(np.float32)
