"""Print `VERTICES` of `pipeline/catalog/landmarks.py`: skin vertices that are the 68 landmarks.

    python assets/heads/find_landmarks.py

Each lies nearest to a place on the average head that was set by hand, where annotators of iBUG
300-W put it, for the subject's left side; the right side mirrors it. Points on the lids are of the
loop that runs along their edge, at the corners and at a third and two thirds between them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from pipeline.catalog.head import _model

# Index to place on the average head (mm, origin between the eyes): jaw from ear to chin, brow,
# ridge of the nose, its base, outer and inner lips.
PLACES = {
    16: (69, 0, -55), 15: (67, -18, -48), 14: (65, -35, -48), 13: (61.5, -53, -48),
    12: (57, -69, -42), 11: (49.5, -84, -32), 10: (38, -95.5, -18), 9: (20, -103.5, 2),
    8: (0, -106, 15.5),
    22: (14.5, 17.5, 24), 23: (23, 20.5, 24), 24: (32.5, 22.5, 21.5), 25: (42, 21, 15),
    26: (50.5, 16, 5),
    27: (0, 1.7, 23.2), 28: (0, -11.2, 26.5), 29: (0, -23.6, 34.7), 30: (0, -35.5, 41.4),
    33: (0, -46, 32.5), 34: (8, -45, 30.5), 35: (15.5, -42, 24),
    51: (0, -57.5, 35), 52: (6, -56.3, 34.3), 53: (14, -60, 30), 54: (22, -67.5, 22),
    55: (14.5, -74.5, 26.5), 56: (7.5, -77.3, 29.5), 57: (0, -78, 30),
    62: (0, -65.5, 30), 63: (8, -65.6, 29), 64: (18, -67, 23.5), 65: (8, -68.2, 29),
    66: (0, -68.3, 29.8),
}  # fmt: skip
# Points on the upper and the lower lip, which touch: an open jaw moves these up or down (mm).
UPPER, LOWER = (62, 63), (65, 66)
# The left eye, from the inner corner over the upper lid: loop of the lids, share of the width.
LID_LOOP = 4
LIDS = {42: 0, 43: 1 / 3, 44: 2 / 3, 45: 1, 46: 2 / 3, 47: 1 / 3}
# Left index to right index.
MIRRORED = {
    **{16 - i: i for i in range(8)}, **{26 - i: 17 + i for i in range(5)},
    35: 31, 34: 32, 42: 39, 43: 38, 44: 37, 45: 36, 46: 41, 47: 40,
    54: 48, 53: 49, 52: 50, 55: 59, 56: 58, 64: 60, 63: 61, 65: 67,
}  # fmt: skip


def main() -> None:
    model = _model()
    rest = model.attributes["rest"].astype(float)
    lips = model.attributes["lips"] > 0.5
    coarse = model.blend({"unit/jawOpen": 1.0})[: model.skin_count, 1]
    jaw = model.to_fine @ coarse
    found = {}
    for index, place in PLACES.items():
        allowed = np.ones(len(rest), bool)
        if index in UPPER:
            allowed = lips & (jaw > -3.0)
        if index in LOWER:
            allowed = lips & (jaw < -6.0)
        if place[0] == 0:
            allowed &= np.abs(rest[:, 0]) < 0.05
        among = np.flatnonzero(allowed)
        found[index] = int(among[np.linalg.norm(rest[among] - place, axis=1).argmin()])
    loop = model.lids["left"][LID_LOOP]
    inner, outer = rest[loop[0], 0], rest[loop[13], 0]
    for index, share in LIDS.items():
        columns = loop[:14] if index < 46 else loop[14:]
        at = inner + share * (outer - inner)
        found[index] = int(columns[np.abs(rest[columns, 0] - at).argmin()])
    for left, right in MIRRORED.items():
        mirrored = rest[found[left]] * (-1, 1, 1)
        found[right] = int(np.linalg.norm(rest - mirrored, axis=1).argmin())
    print(tuple(found[index] for index in range(68)))


if __name__ == "__main__":
    main()
