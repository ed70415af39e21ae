"""How deep glasses lie in a head, worked out with nothing that the fit uses.

Points are spread densely over the posed glasses; libigl gives their distance to the skin, and
tells inside by the generalised winding number (Barill et al., Fast Winding Numbers for Soups and
Clouds, SIGGRAPH 2018). A mask that closes round nothing has no winding number to speak of: there
the side of the nearest face decides (Baerentzen and Aanaes, 2005).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import igl
import numpy as np
import trimesh
from scipy.spatial import cKDTree

from pipeline.geometry import FloatArray, Head, Surface
from pipeline.limits import FitLimits

TEMPLE_SAMPLES = 1500
FRONT_SAMPLES = 800
#: Sampling and the rounding of the limits' own figures.
SLACK_MM = 0.1
#: Winding number, well inside, of what is closed enough to have an inside.
_CLOSED = 0.75
EDGE_MM = 2.0


class Skin:
    """The skin of a head as libigl sees it."""

    def __init__(self, head: Head) -> None:
        parts = [s for name, s in head.surfaces.items() if name.startswith("skin")]
        soup = trimesh.util.concatenate(
            [trimesh.Trimesh(s.vertices, s.triangles(), process=False) for s in parts]
        )
        soup.merge_vertices(merge_tex=True, merge_norm=True)
        soup.update_faces(soup.unique_faces() & soup.nondegenerate_faces())
        anchors = head.anchors.as_array()
        vertices, faces = np.array(soup.vertices), np.array(soup.faces, dtype=np.int64)
        near = np.linalg.norm(vertices - anchors.mean(axis=0), axis=1) < 400
        faces = np.ascontiguousarray(faces[near[faces].any(axis=1)])
        # The middle of the head, some way behind the bridge of the nose.
        inside = anchors.mean(axis=0, keepdims=True)
        winding = float(igl.fast_winding_number(vertices, faces, inside)[0])
        self.closed = abs(winding) > _CLOSED
        edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        once, count = np.unique(edges, axis=0, return_counts=True)
        edge = vertices[once[count == 1]]
        steps = np.linspace(0, 1, 9)[:, None, None]
        self._edge = cKDTree((edge[:, 0] * steps + edge[:, 1] * (1 - steps)).reshape(-1, 3))
        self.vertices, self.faces = vertices, faces if winding > 0 else faces[:, ::-1].copy()

    def depth(self, points: FloatArray) -> FloatArray:
        """(n,) mm under the skin, negative outside, of points (n, 3)."""
        way = (
            igl.SIGNED_DISTANCE_TYPE_FAST_WINDING_NUMBER
            if self.closed
            else igl.SIGNED_DISTANCE_TYPE_PSEUDONORMAL
        )
        signed, _, nearest, _ = igl.signed_distance(
            points, self.vertices, self.faces, sign_type=way
        )
        depth = -np.asarray(signed)
        if not self.closed:
            # Beyond the edge of a mask there is no side to be on.
            beyond = self._edge.query(nearest)[0] < EDGE_MM
            depth[beyond] = -np.abs(depth[beyond])
        return depth


def figures(skin: Skin, worn: Sequence[Mapping[str, Surface]]) -> list[dict[str, float]]:
    """penetration_front_mm, penetration_temple_{left,right}_mm of each pair's posed parts.

    All pairs on a head at once, because most of the work is building a tree over its skin.
    """
    points, owners = [], []
    for pair, parts in enumerate(worn):
        for name, part in parts.items():
            mesh = trimesh.Trimesh(part.vertices, part.triangles(), process=False)
            count = TEMPLE_SAMPLES if name.startswith("temple") else FRONT_SAMPLES
            points.append(trimesh.sample.sample_surface(mesh, count, seed=pair)[0])
            key = f"penetration_{name}_mm" if name.startswith("temple") else "penetration_front_mm"
            owners.append((pair, key))
    found: list[dict[str, float]] = [{} for _ in worn]
    if not points:
        return found
    depths = np.split(skin.depth(np.concatenate(points)), np.cumsum([len(p) for p in points])[:-1])
    for (pair, key), depth in zip(owners, depths, strict=True):
        found[pair][key] = max(found[pair].get(key, -np.inf), float(depth.max()))
    return found


def violations(found: Mapping[str, float], limits: FitLimits) -> list[str]:
    """What of `figures` is beyond the limits of an accepted fit."""
    return [
        f"{name} {value:.2f}"
        for name, value in found.items()
        if value > (limits.front_mm if "front" in name else limits.temple_mm) + SLACK_MM
    ]
