"""Where a sample is seen from: pure arithmetic, shared by renderer, labels and tests.

A `CameraSpec` says how the camera stands before any face; a `View` is that camera before one head,
with its alignment worked out. A camera looks along its own -z, x to the right of the picture, y up
(OpenGL's convention). Pixels: (0, 0) is the corner of the first pixel, whose centre is (0.5, 0.5);
u to the right, v down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import Anchors, FloatArray, Head
from pipeline.spec import GAZE_PITCH_DEG, GAZE_YAW_DEG, CameraSpec

#: Width of the sensor that `focal_mm` refers to (35 mm film).
SENSOR_MM = 36.0
#: The middle of the face lies this far below the nose nodes: about the tip of the nose.
FACE_CENTRE_BELOW_NOSE_MM = 22.0
#: The middle between the eyes as seen from the middle of the face (mm): mean of 40 persons, who
#: differ by 1.5 and 2.5 (standard deviations).
_EYES_MM = np.array([0.0, 33.6, 24.4])


@dataclass(frozen=True, eq=False)
class View:
    """A camera before a head, in the head's frame.

    pose: (4, 4) world_from_camera, mm. focal_mm: for a sensor 36 mm wide. shift_x, shift_y: of
    what lies on the camera's axis, as a share of the picture's width, right and up. aperture_mm:
    diameter of the lens' opening, 0 for a pinhole. focus_mm: along the axis, to the plane in focus.
    """

    pose: FloatArray
    focal_mm: float
    shift_x: float
    shift_y: float
    aperture_mm: float = 0.0
    focus_mm: float = 1000.0

    def matrix(self, size: int) -> FloatArray:
        """(3, 3) camera matrix K in px of a picture `size` px wide, of axes x right, y down and
        z ahead (OpenCV's convention)."""
        focal_px = self.focal_mm / SENSOR_MM * size
        return np.array(
            [
                [focal_px, 0.0, size * (0.5 + self.shift_x)],
                [0.0, focal_px, size * (0.5 - self.shift_y)],
                [0.0, 0.0, 1.0],
            ]
        )

    def camera_from_head(self) -> FloatArray:
        """(4, 4) rigid, mm: into axes x right, y down, z ahead, which `matrix` takes to pixels."""
        rotation = self.pose[:3, :3].T * np.array([[1.0], [-1.0], [-1.0]])
        matrix = np.eye(4)
        matrix[:3, :3] = rotation
        matrix[:3, 3] = -rotation @ self.pose[:3, 3]
        return matrix

    def ahead_mm(self, points: FloatArray) -> FloatArray:
        """(n,) how far along the axis points (n, 3) in mm lie before the pinhole."""
        return -((points - self.pose[:3, 3]) @ self.pose[:3, 2])

    def in_front(self, points: FloatArray) -> NDArray[np.bool_]:
        """(n,) whether points (n, 3) in mm lie before the pinhole, by 1 mm."""
        return self.ahead_mm(points) > 1.0

    def project(self, points: FloatArray, size: int) -> FloatArray:
        """(n, 2) float64 pixels (u, v) of (n, 3) points in mm, for a picture `size` px wide.

        Points must lie before the camera; others give meaningless pixels.
        """
        matrix, rigid = self.matrix(size), self.camera_from_head()
        local = points @ rigid[:3, :3].T + rigid[:3, 3]
        return local[:, :2] / local[:, 2:] * matrix[0, 0] + matrix[:2, 2]

    def rays(self, pixels: FloatArray, size: int) -> FloatArray:
        """(n, 3) unit directions in the head's frame from the pinhole through (n, 2) pixels."""
        matrix = self.matrix(size)
        local = np.ones((len(pixels), 3))
        local[:, :2] = (pixels - matrix[:2, 2]) / matrix[0, 0]
        ways = local @ self.camera_from_head()[:3, :3]
        return ways / np.linalg.norm(ways, axis=1, keepdims=True)

    def blur_px(self, points: FloatArray, size: int) -> FloatArray:
        """(n,) radius in px of the disc that a point (n, 3) is seen as, from 1 mm before the lens
        on; at most the picture's width."""
        return self.blur_at_px(self.ahead_mm(points), size)

    def blur_at_px(self, ahead_mm: FloatArray, size: int) -> FloatArray:
        """`blur_px` of points so far ahead."""
        ahead = np.maximum(ahead_mm, 1.0)
        focal_px = self.focal_mm / SENSOR_MM * size
        blur = 0.5 * self.aperture_mm * focal_px * np.abs(1.0 / ahead - 1.0 / self.focus_mm)
        return np.minimum(blur, float(size))


def view_of(camera: CameraSpec, head: Head) -> View:
    """The camera of a spec before a head: aligned, and focused on the nearer eye."""
    centre = face_centre(head.anchors)
    view = View(
        pose=world_from_camera(camera, centre),
        focal_mm=camera.focal_mm,
        shift_x=camera.shift_x,
        shift_y=camera.shift_y,
    )
    if camera.f_number is not None:
        eyes = [eye for eye in (head.eye_left, head.eye_right) if eye is not None] or [
            (head.anchors.nose_left + head.anchors.nose_right) / 2
        ]
        # The opening is that of the lens: an aligned crop of its picture is no other lens.
        view = replace(
            view,
            aperture_mm=camera.focal_mm / camera.f_number,
            focus_mm=float(view.ahead_mm(np.array(eyes)).min()),
        )
    if camera.align == "none":
        return view
    from pipeline.align import aligned

    return aligned(view, head, camera.align)


def face_centre(anchors: Anchors) -> FloatArray:
    """(3,) mm: the point the camera looks at and turns about, between ears and nose."""
    temples = (anchors.temple_left + anchors.temple_right) / 2
    nose = (anchors.nose_left + anchors.nose_right) / 2
    middle = (temples + nose) / 2
    return np.array([middle[0], nose[1] - FACE_CENTRE_BELOW_NOSE_MM, middle[2]])


def world_from_camera(camera: CameraSpec, centre: FloatArray) -> FloatArray:
    """(4, 4) pose of the camera, mm, in the head's frame; `centre` (3,) is what it looks at."""
    yaw, roll = np.deg2rad([camera.yaw_deg, camera.roll_deg])
    back = towards_camera(camera)
    right = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
    up = np.cross(back, right)
    pose = np.eye(4)
    pose[:3, 0] = np.cos(roll) * right + np.sin(roll) * up
    pose[:3, 1] = np.cos(roll) * up - np.sin(roll) * right
    pose[:3, 2] = back
    pose[:3, 3] = centre + camera.distance_mm * back
    return pose


def towards_camera(camera: CameraSpec) -> FloatArray:
    """(3,) unit vector from the face to the camera."""
    yaw, pitch = math.radians(camera.yaw_deg), math.radians(camera.pitch_deg)
    across = math.cos(pitch)
    return np.array([math.sin(yaw) * across, math.sin(pitch), math.cos(yaw) * across])


def angles_of(pose: FloatArray) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees of a `world_from_camera`, with the signs of `CameraSpec`."""
    back, right = pose[:3, 2], pose[:3, 0]
    yaw = np.arctan2(back[0], back[2])
    level = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
    roll = np.arctan2(right @ np.cross(back, level), right @ level)
    pitch = np.arcsin(np.clip(back[1], -1.0, 1.0))
    yaw, pitch, roll = np.rad2deg([yaw, pitch, roll])
    return float(yaw), float(pitch), float(roll)


def gaze_at(camera: CameraSpec) -> tuple[float, float]:
    """Where eyes that look at a camera look: yaw to the subject's left and pitch up, in degrees of
    the head's frame, as far as eyes turn."""
    x, y, z = (camera.distance_mm * towards_camera(camera) - _EYES_MM).tolist()
    yaw, pitch = math.degrees(math.atan2(x, z)), math.degrees(math.atan2(y, math.hypot(x, z)))
    return (
        min(max(yaw, -GAZE_YAW_DEG), GAZE_YAW_DEG),
        min(max(pitch, -GAZE_PITCH_DEG), GAZE_PITCH_DEG),
    )
