"""The 68 landmarks of iBUG 300-W as vertices of the parametric head's skin.

Numbered from 0 as in Sagonas et al., "300 faces in-the-wild challenge" (2016): 0-16 the jaw from
the subject's right ear to the left, 17-21 and 22-26 the brows, 27-30 the ridge and 31-35 the base
of the nose, 36-41 and 42-47 the eyes, 48-59 the outer and 60-67 the inner lips. All begin at the
subject's right, the left of a picture. They are points of the head in three dimensions, so on a
turned head the jaw's stay where they are and do not follow the outline of the cheek.

`assets/heads/find_landmarks.py` found them; the numbers hold for `assets/heads/hm08.npz` alone.
"""

from __future__ import annotations

#: Indices of subdivided skin vertices, see `pipeline.catalog.head.bare_head`.
VERTICES = (
    11293, 18989, 10175, 17303, 895, 893, 1899, 914, 2281, 3687, 4638, 3666, 3668, 20054,
    15543, 21730, 16620, 6216, 16792, 222, 6092, 208, 3054, 11818, 3067, 19548, 11922, 5926,
    5922, 5996, 2110, 318, 313, 317, 3147, 3151, 2852, 2828, 2834, 2840, 2843, 2847, 5552,
    5546, 5540, 5564, 5559, 5555, 18256, 10534, 16931, 455, 19687, 15871, 21004, 19714,
    12432, 492, 6773, 16958, 6598, 6710, 6730, 12383, 12274, 12424, 6791, 6764,
)  # fmt: skip
