"""The one place that turns our millimetres and axes into Blender's metres and axes.

Ours: x to the subject's left, y up, z out of the face, mm. Blender's: z up, metres; the face
looks along -y, as Blender's own front view expects.
"""

from __future__ import annotations

import numpy as np

from pipeline.geometry import FloatArray

METRES_PER_MM = 0.001

#: (4, 4): Blender coordinates (m) of a point in our head frame (mm).
BLENDER_FROM_WORLD = np.array(
    [
        [METRES_PER_MM, 0, 0, 0],
        [0, 0, -METRES_PER_MM, 0],
        [0, METRES_PER_MM, 0, 0],
        [0, 0, 0, 1],
    ]
)


def blender_points(points_mm: FloatArray) -> FloatArray:
    """(n, 3) points in Blender's metres and axes of (n, 3) points in mm."""
    # What the matrix says, without the many small products that numpy takes long over.
    x, y, z = points_mm.T * METRES_PER_MM
    return np.stack([x, -z, y], axis=1)


def turned_world(rotation_deg: float) -> FloatArray:
    """(4, 4) rotation about Blender's z of everything but the world.

    Turning head and camera by -a under a fixed HDR world is turning the world by a, without
    rebuilding the world's importance map.
    """
    a = np.deg2rad(-rotation_deg)
    c, s = np.cos(a), np.sin(a)
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
