"""What a fit must keep to be accepted, by how the glasses are worn."""

from __future__ import annotations

from pipeline.model import Finite, Frozen, NonNegative
from pipeline.spec import WearMode


class FitLimits(Frozen):
    """Bounds a fit must keep to be accepted, in mm and degrees; see `pipeline.fit.Fit`.

    front_mm, temple_mm: deepest penetration. pad_gap_mm: the pad or bridge that touches least.
    lash_gap_mm: least distance from lashes and eyes to a lens. opening_deg, closing_deg: turn of a
    temple outwards and inwards. bend_before_mm, bend_behind_mm: how far the temple's anchor may
    lie in front of the ear node (the bend rides on the ear) and behind it (not asked of masks
    that end at the node). ear_gap_mm, ear_side_gap_mm: how far above or below the ear node and
    beside it the temple passes. nose_mm: glasses' nose anchor to the head's nose node.
    """

    front_mm: NonNegative = 0.5
    temple_mm: NonNegative = 1.5
    pad_gap_mm: NonNegative = 1.0
    lash_gap_mm: Finite = 0.0
    opening_deg: NonNegative = 12.0
    closing_deg: NonNegative = 4.0
    bend_before_mm: NonNegative = 25.0
    bend_behind_mm: NonNegative = 30.0
    ear_gap_mm: NonNegative = 5.0
    ear_side_gap_mm: NonNegative = 12.0
    nose_mm: NonNegative = 12.0
    vertex_min_mm: Finite = 4.0
    vertex_max_mm: Finite = 35.0
    roll_deg: NonNegative = 5.0
    yaw_deg: NonNegative = 5.0
    tilt_min_deg: Finite = -12.0
    tilt_max_deg: Finite = 25.0


class SlippedLimits(FitLimits):
    """Temples are drawn forward over the ears, lenses stand further off the eyes.

    Where the nose grows wide the pads rest before the nodes on its flanks.
    """

    ear_gap_mm: NonNegative = 10.0
    bend_before_mm: NonNegative = 40.0
    nose_mm: NonNegative = 15.0
    vertex_max_mm: Finite = 50.0


class AskewLimits(FitLimits):
    """One temple lies above its ear; both pads may not lie equally close."""

    pad_gap_mm: NonNegative = 2.0
    closing_deg: NonNegative = 8.0
    ear_gap_mm: NonNegative = 20.0
    roll_deg: NonNegative = 12.0
    yaw_deg: NonNegative = 12.0


class PushedUpLimits(FitLimits):
    """On the forehead: no nose, rims may touch instead of pads, temples rise from the ears.

    The vertex distance is that of a lens's middle to the forehead behind it.
    """

    pad_gap_mm: NonNegative = 25.0
    opening_deg: NonNegative = 20.0
    bend_before_mm: NonNegative = 40.0
    ear_gap_mm: NonNegative = 25.0
    ear_side_gap_mm: NonNegative = 20.0
    nose_mm: NonNegative = 40.0
    vertex_min_mm: Finite = 0.0
    vertex_max_mm: Finite = 60.0
    tilt_min_deg: Finite = -60.0


class UndersizedLimits(FitLimits):
    """Temples are splayed and end before their bend is at the ear."""

    opening_deg: NonNegative = 20.0
    bend_before_mm: NonNegative = 45.0


class OversizedLimits(FitLimits):
    """Temples close or gape and reach far behind the ears; pads too far apart sink low."""

    closing_deg: NonNegative = 8.0
    bend_behind_mm: NonNegative = 45.0
    ear_side_gap_mm: NonNegative = 20.0
    nose_mm: NonNegative = 18.0


class WearLimits(Frozen):
    """Limits by how glasses are worn; see `WearSpec`."""

    worn: FitLimits = FitLimits()
    slipped: SlippedLimits = SlippedLimits()
    askew: AskewLimits = AskewLimits()
    pushed_up: PushedUpLimits = PushedUpLimits()
    undersized: UndersizedLimits = UndersizedLimits()
    oversized: OversizedLimits = OversizedLimits()

    def of(self, mode: WearMode) -> FitLimits:
        """The limits of a way of wearing."""
        limits: FitLimits = getattr(self, mode)
        return limits
