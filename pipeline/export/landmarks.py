"""Landmarks of a face, where a sample's record has them, as COCO's keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.export.samples import Sample

#: The 68 points of iBUG 300-W in their order, by the subject's sides: region, points, closed.
_REGIONS = (
    ("jaw", 17, False),
    ("right_brow", 5, False),
    ("left_brow", 5, False),
    ("nose_bridge", 4, False),
    ("nostrils", 5, False),
    ("right_eye", 6, True),
    ("left_eye", 6, True),
    ("outer_lips", 12, True),
    ("inner_lips", 8, True),
)
POINTS = sum(count for _, count, _ in _REGIONS)


def _skeleton() -> list[list[int]]:
    """Pairs of numbers, from 1, of points that a line joins."""
    lines, first = [], 1
    for _, count, closed in _REGIONS:
        lines += [[i, i + 1] for i in range(first, first + count - 1)]
        lines += [[first + count - 1, first]] if closed else []
        first += count
    return lines


CATEGORY: dict[str, Any] = {
    "id": 1,
    "name": "face",
    "supercategory": "person",
    "keypoints": [f"{name}_{i}" for name, count, _ in _REGIONS for i in range(1, count + 1)],
    "skeleton": _skeleton(),
}


def of(sample: Sample) -> tuple[Sequence[Sequence[float]], Sequence[bool]] | None:
    """Points (x, y) in px of the picture, and whether each is seen; None if not known."""
    labels = sample.record.get("labels") or {}
    points = labels.get("landmarks_px")
    if points is None:
        return None
    return points, labels.get("landmarks_visible", [True] * len(points))


def annotation(sample: Sample, size: int) -> dict[str, Any] | None:
    """The face in a picture `size` px wide; None without landmarks, or if all are outside.

    COCO counts px from the middle of the first one, so that is 0 here and 0.5 in the record.
    """
    found = of(sample)
    if found is None:
        return None
    keypoints: list[float] = []
    inside = []
    for (x, y), visible in zip(*found, strict=True):
        if 0 <= x < size and 0 <= y < size:
            inside.append((x, y))
            keypoints += [round(x - 0.5, 2), round(y - 0.5, 2), 2 if visible else 1]
        else:
            keypoints += [0, 0, 0]
    if not inside:
        return None
    (left, top), (right, bottom) = (
        [round(edge(values), 2) for values in zip(*inside, strict=True)] for edge in (min, max)
    )
    width, height = round(right - left, 2), round(bottom - top, 2)
    return {
        "category_id": 1,
        "keypoints": keypoints,
        "num_keypoints": len(inside),
        "bbox": [left, top, width, height],
        "area": round(width * height, 2),
        "iscrowd": 0,
    }
