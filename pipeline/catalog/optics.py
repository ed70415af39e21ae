"""The two surfaces of a spectacle lens, from its prescription.

A lens is ground to a back vertex power F: with surface powers F1 = (n - 1) / R1 in front and
F2 = (1 - n) / R2 behind, thickness t and radii in metres, F = F1 / (1 - t F1 / n) + F2 (Jalie,
"The Principles of Ophthalmic Lenses", 4th ed. 1984). Radii are positive when the centre lies behind
the lens. The front is steeper the more plus a lens has, after Vogel's rule: base curve = F + 6 D
for plus and F / 2 + 6 D for minus, here about the base curve of the frame instead of 6 D.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.catalog.outline import TOOL_MM_D

FloatArray = NDArray[np.float64]

#: Indices of CR-39, MR-8 and MR-10 (Mitsui Chemicals), and the power up to which each is usual.
_INDICES = ((2.25, 1.498), (4.25, 1.598), (np.inf, 1.661))
#: Base curves that blanks are made in.
_BASE_CURVES_D = (0.5, 8.5)
#: A rim holds an edge of this, and no lens is thinner anywhere.
_LEAST_EDGE_MM = 1.0
#: The bevel of a thick edge sits so far behind its front, as opticians set it.
_EDGE_BEFORE_BEVEL_MM = 1.0
#: The centre of minus lenses of at least so many dioptres, as laboratories surface them.
_THIN_MM, _THIN_FROM_D = 1.4, 3.0
#: A plane, as a sphere.
_FLAT_MM = 1e6
#: Where lenses are centred: half of the adult mean distance between pupils, 63 mm (Dodgson 2004),
#: and above the boxing centre line. Opticians decentre a lens by no more than blanks allow.
_PUPIL_X_MM, _PUPIL_Y_MM, _DECENTRED_MM = 31.5, 2.0, 4.0


@dataclass(frozen=True, eq=False)
class LensForm:
    """A left lens about the centre of its box: x temporal, y up, z out of the face, mm.

    index: of refraction. centre_mm: thickness at the optical centre. front_radius, back_radius:
    mm. front_centre, back_centre: (3,) mm, centres of the spheres.
    """

    index: float
    centre_mm: float
    front_radius: float
    back_radius: float
    front_centre: FloatArray
    back_centre: FloatArray

    def front(self, uv: FloatArray) -> FloatArray:
        """(...,) z of the front at points (..., 2)."""
        return _height(self.front_centre, self.front_radius, uv)

    def back(self, uv: FloatArray) -> FloatArray:
        """(...,) z of the back at points (..., 2)."""
        return _height(self.back_centre, self.back_radius, uv)


def refractive_index(power_d: float) -> float:
    """The index of the material that a lens of this power is usually made of."""
    return next(index for most, index in _INDICES if abs(power_d) <= most)


def lens_form(
    power_d: float, base_curve_d: float, thickness_mm: float, edge: FloatArray, centre_x: float
) -> LensForm:
    """The lens that a prescription asks for.

    thickness_mm: of a plano lens; a minus lens is thinner at its centre, a plus lens grows until
    its edge holds. edge: (n, 2) mm, the
    outline about the box's centre, `centre_x` mm from the middle of the bridge. z is 0 where the
    front of a plano lens of no thickness, of the frame's base curve, would be at the centre; the
    edge lies about that sphere, where the groove of the rim is.
    """
    index = refractive_index(power_d)
    base = base_curve_d + (power_d if power_d > 0 else power_d / 2)
    front_radius = TOOL_MM_D / float(np.clip(base, *_BASE_CURVES_D))
    if power_d == 0:
        front_radius = TOOL_MM_D / base_curve_d
    shift = float(np.clip(_PUPIL_X_MM - centre_x, -_DECENTRED_MM, _DECENTRED_MM))
    optical = np.array([shift, _PUPIL_Y_MM])
    minus = float(np.clip(-power_d / _THIN_FROM_D, 0.0, 1.0))
    thick = thickness_mm + minus * min(0.0, _THIN_MM - thickness_mm)
    for _ in range(20):
        form = _form(power_d, index, thick, front_radius, optical)
        missing = _LEAST_EDGE_MM - float((form.front(edge) - form.back(edge)).min())
        if missing < 1e-6:
            break
        thick += missing
    edges = form.front(edge) - form.back(edge)
    before = min(float(edges.mean()) / 2, _EDGE_BEFORE_BEVEL_MM)
    groove = float(_height(np.array([0, 0, -1.0]) * TOOL_MM_D / base_curve_d,
                           TOOL_MM_D / base_curve_d, edge).mean())  # fmt: skip
    lift = np.array([0.0, 0.0, groove + before - float(form.front(edge).mean())])
    return LensForm(
        index, thick, front_radius, form.back_radius, form.front_centre + lift,
        form.back_centre + lift,
    )  # fmt: skip


def _form(
    power_d: float, index: float, thick: float, front_radius: float, optical: FloatArray
) -> LensForm:
    """A lens whose front passes through the origin."""
    front_power = 1000 * (index - 1) / front_radius
    back_power = power_d - front_power / (1 - thick / 1000 * front_power / index)
    back_radius = _FLAT_MM if abs(back_power) < 1e-4 else 1000 * (1 - index) / back_power
    front_centre = np.array([0.0, 0.0, -front_radius])
    vertex = np.array([*optical, _height(front_centre, front_radius, optical)])
    axis = (vertex - front_centre) / front_radius
    back_centre = vertex - (thick + back_radius) * axis
    return LensForm(index, thick, front_radius, back_radius, front_centre, back_centre)


def _height(centre: FloatArray, radius: float, uv: ArrayLike) -> FloatArray:
    """(...,) z at (..., 2) of a sphere's side: its foremost if the radius is positive."""
    off = np.asarray(uv, float) - centre[:2]
    square = np.maximum(radius**2 - (off**2).sum(axis=-1), 0.0)
    return np.asarray(centre[2] + np.sign(radius) * np.sqrt(square))
