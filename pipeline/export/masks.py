"""Masks as readers want them: run lengths, polygons. Pure functions of arrays."""

from __future__ import annotations

from typing import TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from pipeline.pixels import Mask

Contour = NDArray[np.int32]


class Rle(TypedDict):
    """COCO's compressed run lengths: size is (height, width)."""

    size: list[int]
    counts: str


def run_lengths(mask: Mask) -> Rle:
    """COCO's run lengths of an (h, w) mask, which decode to it bit by bit."""
    found = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    counts = found["counts"]
    assert isinstance(counts, bytes)
    return {"size": [int(side) for side in found["size"]], "counts": counts.decode()}


def polygons(mask: Mask) -> list[Contour]:
    """One closed polygon (n, 2) of pixels (x, y) for each connected part of an (h, w) mask.

    A polygon has no holes, so each hole is joined to what lies left of it by a slit that runs there
    and back through pixels of the mask. The polygons, filled with their outlines, are the mask.
    """
    contours, hierarchy = cv2.findContours(
        np.ascontiguousarray(mask, np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    if not contours:
        return []
    points = [contour[:, 0] for contour in contours]
    outside = hierarchy[0, :, 3]  # of a hole: the part that it is in; -1 of a part
    found = []
    for part in np.flatnonzero(outside < 0):
        holes = [points[hole] for hole in np.flatnonzero(outside == part)]
        found.append(_corners(_without_holes(points[part], holes, mask)))
    return found


def _without_holes(outline: Contour, holes: list[Contour], mask: Mask) -> Contour:
    """The outline with the holes' cut into it. All are (n, 2), every pixel on the way."""
    path = [(int(x), int(y)) for x, y in outline]
    # From the left, so that what a slit meets is already part of the path.
    for hole in sorted(holes, key=lambda points: int(points[:, 0].min())):
        start = int(hole[:, 0].argmin())
        around = [(int(x), int(y)) for x, y in np.roll(hole, -start, axis=0)]
        x, y = around[0]
        # The first pixel to the left that the mask lacks ends the slit.
        gap = np.flatnonzero(~mask[y, :x])
        stop = int(gap[-1]) + 1 if gap.size else 0
        at = path.index((stop, y))
        path[at:at] = [(stop, y), *around, around[0]]
    return np.array(path, np.int32)


def _corners(path: Contour) -> Contour:
    """A closed path without the points that lie on straight ways."""
    if len(path) < 3:
        return path
    ahead = np.roll(path, -1, axis=0) - path
    behind = path - np.roll(path, 1, axis=0)
    return path[(ahead != behind).any(axis=1)]
