"""One level of Catmull-Clark subdivision of a quad mesh, as a fixed linear map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def _edges(faces: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Unique edges (e, 2) with the smaller index first, and the edge of each side (m, 4)."""
    sides = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2)
    edges, of_side = np.unique(np.sort(sides, axis=1), axis=0, return_inverse=True)
    return edges, of_side.reshape(faces.shape)


def catmull_clark(
    faces: NDArray[np.int64], vertex_count: int
) -> tuple[csr_matrix, NDArray[np.int64]]:
    """The subdivision of a quad mesh, to be applied to any per-vertex values.

    faces: (m, 4) int64 indices below `vertex_count` = n. Returns `(matrix, fine_faces)`:
    matrix is (n + e + m, n) sparse float64 with rows that sum to 1, so `matrix @ values` gives
    the values at the old vertices, then the e edges, then the m faces; fine_faces is (4 m, 4)
    int64, each face beginning at an old vertex, of the same orientation. Open borders follow
    the cubic B-spline rule; vertices without a face stay.
    """
    from scipy.sparse import coo_matrix, diags, vstack

    def sparse(rows: NDArray, columns: NDArray, shape: tuple[int, int]) -> csr_matrix:
        return coo_matrix((np.ones(rows.size), (rows.ravel(), columns.ravel())), shape).tocsr()

    def row_means(matrix: csr_matrix) -> csr_matrix:
        count = np.maximum(np.asarray(matrix.sum(axis=1)).ravel(), 1.0)
        return diags(1.0 / count) @ matrix

    n, m = vertex_count, len(faces)
    edges, edge_of_side = _edges(faces)
    e = len(edges)
    face_points = sparse(np.repeat(np.arange(m), 4), faces, (m, n)) / 4.0
    midpoints = sparse(np.repeat(np.arange(e), 2), edges, (e, n)) / 2.0
    faces_of_edge = sparse(edge_of_side, np.repeat(np.arange(m), 4), (e, m))
    border_edge = np.asarray(faces_of_edge.sum(axis=1)).ravel() < 2
    inner = diags((~border_edge).astype(float))
    edge_points = diags(np.where(border_edge, 1.0, 0.5)) @ midpoints
    edge_points = edge_points + 0.5 * inner @ row_means(faces_of_edge) @ face_points

    edges_of_vertex = sparse(edges, np.repeat(np.arange(e), 2), (n, e))
    faces_of_vertex = sparse(faces, np.repeat(np.arange(m), 4), (n, m))
    valence = np.asarray(faces_of_vertex.sum(axis=1)).ravel()
    on_border = np.asarray(edges_of_vertex @ border_edge.astype(float)).ravel() > 0
    smooth = (valence > 0) & ~on_border
    weight = np.where(smooth, 1.0 / np.maximum(valence, 1), 0.0)
    around = diags(weight) @ row_means(faces_of_vertex) @ face_points
    around = around + diags(2.0 * weight) @ row_means(edges_of_vertex) @ midpoints
    border_means = row_means(edges_of_vertex @ diags(border_edge.astype(float))) @ midpoints
    own = np.where(smooth, 1.0 - 3.0 * weight, np.where(on_border, 0.5, 1.0))
    vertex_points = around + diags(on_border * 0.5) @ border_means + diags(own)

    corner = np.arange(4)
    fine = np.stack(
        [
            faces,
            n + edge_of_side,
            np.broadcast_to(n + e + np.arange(m)[:, None], faces.shape),
            n + edge_of_side[:, corner - 1],
        ],
        axis=-1,
    )
    matrix = vstack([vertex_points, edge_points, face_points]).tocsr()
    return matrix, fine.reshape(-1, 4).astype(np.int64)
