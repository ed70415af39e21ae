"""Crops of faces as datasets align them, as a turn, a focal length and a shift of the camera.

A crop of a photo, turned and resized, is a similarity of its picture, and a similarity of the
picture is a camera with another roll, focal length and shift at the same place. So the aligned
picture is rendered as it is, and nothing is resampled. What the alignment needs is projected with
the camera before it, as a detector would find it in the photo.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from pipeline.camera import View
from pipeline.errors import AssetError
from pipeline.geometry import Anchors, FloatArray, Head

#: Where CelebA's crop of 178 x 218 px has the middles of the eyes, left of the picture first: the
#: means of its list_landmarks_align_celeba.txt, to the pixel.
CELEBA_EYES_PX = np.array([[69.0, 111.0], [108.0, 111.0]])
CELEBA_WIDTH, CELEBA_HEIGHT = 178, 218
#: Of the average neutral face (mean of 40 persons, made even, mm): the nodes, in the order of
#: `Anchors.as_array`, and right and left eye and corner of the mouth, as of `face_points`.
_AVERAGE_NODES = np.array(
    [[74.1, 0.0, 0.0], [-74.1, 0.0, 0.0], [9.8, -17.1, 96.2], [-9.8, -17.1, 96.2]]
)
_AVERAGE_FACE = np.array(
    [[-31.8, -6.2, 87.8], [31.8, -6.2, 87.8], [-23.0, -72.2, 95.4], [23.0, -72.2, 95.4]]
)


def aligned(view: View, head: Head, how: Literal["ffhq", "celeba"]) -> View:
    """The view whose picture is the aligned crop of the given view's picture.

    Raises AssetError where eyes and mouth lie one behind the other or behind the camera, so that
    there is no crop.
    """
    points = face_points(head)
    if not view.in_front(points).all():
        raise AssetError(f"{head.name}: the camera is too near for align: {how}")
    found = view.project(points, 1)
    corner, right = {"ffhq": ffhq_square, "celeba": celeba_square}[how](found)
    side = float(np.hypot(*right))
    if not side > 1e-6:
        raise AssetError(f"{head.name}: eyes and mouth give no square for align: {how}")
    return cropped(view, corner, right)


def cropped(view: View, corner: FloatArray, right: FloatArray) -> View:
    """The view that shows a square of another's picture, in units of that picture's width.

    corner: (2,) the square's first corner, u and v. right: (2,) from there along its upper edge.
    """
    side = float(np.hypot(*right))
    across = right / side
    down = np.array([-across[1], across[0]])
    # Where the camera's axis is seen, from the corner, in widths of the square.
    axis = np.array([0.5 + view.shift_x, 0.5 - view.shift_y]) - corner
    u, v = axis @ across / side, axis @ down / side
    cosine, sine = across[0], -across[1]
    pose = view.pose.copy()
    pose[:3, 0] = cosine * view.pose[:3, 0] + sine * view.pose[:3, 1]
    pose[:3, 1] = cosine * view.pose[:3, 1] - sine * view.pose[:3, 0]
    return replace(
        view,
        pose=pose,
        focal_mm=view.focal_mm / side,
        shift_x=float(u - 0.5),
        shift_y=float(0.5 - v),
    )


def face_points(head: Head) -> FloatArray:
    """(4, 3) mm: middle of the right and the left eye, right and left corner of the mouth.

    By the 68 landmarks: eyes are means of the six points on their lids. Of a mesh without
    landmarks, those of the average face, laid on its four anchors.
    """
    if head.landmarks is None:
        return _on_anchors(head.anchors)
    marks = head.landmarks
    return np.stack([marks[36:42].mean(axis=0), marks[42:48].mean(axis=0), marks[48], marks[54]])


def _on_anchors(anchors: Anchors) -> FloatArray:
    """The average face's points, by the similarity that takes its nodes nearest to the anchors.

    S. Umeyama, "Least-squares estimation of transformation parameters between two point patterns"
    (1991).
    """
    nodes = anchors.as_array()
    here, there = _AVERAGE_NODES - _AVERAGE_NODES.mean(axis=0), nodes - nodes.mean(axis=0)
    left, scales, right = np.linalg.svd(there.T @ here)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = left @ (sign[:, None] * right)
    scale = (scales * sign).sum() / (here**2).sum()
    moved = (_AVERAGE_FACE - _AVERAGE_NODES.mean(axis=0)) @ (scale * rotation).T
    return np.asarray(moved + nodes.mean(axis=0))


def ffhq_square(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The crop of FFHQ, without its mirrored and blurred borders: first corner and upper edge.

    points: (4, 2) as of `face_points`. With e from the eye on the left of the picture to the other
    and m from the middle of the eyes to the middle of the mouth's corners, the half edge x is the
    direction of e - (-m_y, m_x) turned level with the face, of length max(2 |e|, 1.8 |m|); the
    square's centre lies 0.1 m below the eyes. Karras et al., "Progressive growing of GANs" (2018),
    appendix C, as in `recreate_aligned_images` of NVIDIA's ffhq-dataset. CelebA-HQ and
    CelebAMask-HQ are cropped by the same formulae, with one clicked point an eye.
    """
    eye_right, eye_left, mouth_right, mouth_left = points
    eyes, mouth = (eye_right + eye_left) / 2, (mouth_right + mouth_left) / 2
    across, down = eye_left - eye_right, mouth - eyes
    half = across - np.array([-down[1], down[0]])
    half = half / max(np.hypot(*half), 1e-12)
    half = half * max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down))
    below = np.array([-half[1], half[0]])
    return eyes + 0.1 * down - half - below, 2.0 * half


def celeba_square(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The crop of CelebA: first corner and upper edge; points as of `face_points`.

    A similarity takes the middles of the eyes to where CelebA has them in its aligned 178 x 218
    px (Liu et al., "Deep learning face attributes in the wild", 2015: aligned "according to the
    two eye locations"). Of these, the square is the middle 178 rows, as `CenterCrop(178)` gives.
    """
    eye_right, eye_left = points[:2]
    apart = CELEBA_EYES_PX[1, 0] - CELEBA_EYES_PX[0, 0]
    edge = (eye_left - eye_right) * (CELEBA_WIDTH / apart)
    down = np.array([-edge[1], edge[0]])
    top = (CELEBA_HEIGHT - CELEBA_WIDTH) / 2
    u, v = CELEBA_EYES_PX[0] - [0.0, top]
    return eye_right - (u * edge + v * down) / CELEBA_WIDTH, edge
