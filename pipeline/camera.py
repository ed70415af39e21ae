"""The camera of a spec as matrices: pure arithmetic, shared by renderer, labels and tests.

A camera looks along its own -z, x to the right of the picture, y up (OpenGL's convention).
Pixels: (0, 0) is the corner of the first pixel, u to the right, v down.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import Anchors, FloatArray
from pipeline.spec import GAZE_PITCH_DEG, GAZE_YAW_DEG, CameraSpec

#: Width of the sensor that `focal_mm` refers to (35 mm film).
SENSOR_MM = 36.0
#: The middle of the face lies this far below the nose nodes: about the tip of the nose.
FACE_CENTRE_BELOW_NOSE_MM = 22.0
#: The middle between the eyes as seen from the middle of the face (mm): mean of 40 persons, who
#: differ by 1.5 and 2.5 (standard deviations).
_EYES_MM = np.array([0.0, 33.6, 24.4])


def face_centre(anchors: Anchors) -> FloatArray:
    """(3,) mm: the point the camera looks at and turns about, between ears and nose."""
    temples = (anchors.temple_left + anchors.temple_right) / 2
    nose = (anchors.nose_left + anchors.nose_right) / 2
    middle = (temples + nose) / 2
    return np.array([middle[0], nose[1] - FACE_CENTRE_BELOW_NOSE_MM, middle[2]])


def world_from_camera(camera: CameraSpec, centre: FloatArray) -> FloatArray:
    """(4, 4) pose of the camera, mm, in the head's frame; `centre` (3,) is what it looks at."""
    yaw, pitch, roll = np.deg2rad([camera.yaw_deg, camera.pitch_deg, camera.roll_deg])
    back = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    right = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
    up = np.cross(back, right)
    pose = np.eye(4)
    pose[:3, 0] = np.cos(roll) * right + np.sin(roll) * up
    pose[:3, 1] = np.cos(roll) * up - np.sin(roll) * right
    pose[:3, 2] = back
    pose[:3, 3] = centre + camera.distance_mm * back
    return pose


def gaze_at(camera: CameraSpec) -> tuple[float, float]:
    """Where eyes that look at a camera look: yaw to the subject's left and pitch up, in degrees of
    the head's frame, as far as eyes turn."""
    x, y, z = world_from_camera(camera, -_EYES_MM)[:3, 3]
    yaw, pitch = np.rad2deg([np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))])
    return (
        float(np.clip(yaw, -GAZE_YAW_DEG, GAZE_YAW_DEG)),
        float(np.clip(pitch, -GAZE_PITCH_DEG, GAZE_PITCH_DEG)),
    )


def in_front(camera: CameraSpec, centre: FloatArray, points: FloatArray) -> NDArray[np.bool_]:
    """(n,) whether points (n, 3) in mm of the head's frame lie before the pinhole, by 1 mm."""
    pose = world_from_camera(camera, centre)
    return -((points - pose[:3, 3]) @ pose[:3, 2]) > 1.0


def project(camera: CameraSpec, centre: FloatArray, points: FloatArray, size: int) -> FloatArray:
    """(n, 2) float64 pixels (u, v) of (n, 3) points in mm of the head's frame.

    Points must lie before the camera; others give meaningless pixels.
    """
    pose = world_from_camera(camera, centre)
    local = (points - pose[:3, 3]) @ pose[:3, :3]
    focal_px = camera.focal_mm / SENSOR_MM * size
    u = size * (0.5 + camera.shift_x) + focal_px * local[:, 0] / -local[:, 2]
    v = size * (0.5 - camera.shift_y) - focal_px * local[:, 1] / -local[:, 2]
    return np.stack([u, v], axis=1)
