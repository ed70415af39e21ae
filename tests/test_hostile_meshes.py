"""Mesh files in all the forms that programs write, and in those that accidents leave behind."""

from __future__ import annotations

import base64
import json
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zlib
from pathlib import Path

import DracoPy
import numpy as np
import pytest
import trimesh
from PIL import Image

from pipeline.catalog.anchors import sidecar_path, write_sidecar
from pipeline.catalog.catalog import open_catalog
from pipeline.catalog.head import bare_head, person
from pipeline.catalog.mesh import load_eyewear, load_head
from pipeline.catalog.meshfile import companions, read_pieces
from pipeline.catalog.piece import Piece
from pipeline.errors import AssetError
from pipeline.fit import fit
from pipeline.geometry import Anchors
from pipeline.transforms import apply, compose, rotation_about, translation

CUBE = trimesh.creation.box((2, 2, 2))
#: Eight corners of a cube of edge 2 and its six sides, counter-clockwise from outside.
CORNERS = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
SIDES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


def one(path: Path) -> Piece:
    (piece,) = read_pieces(path)
    return piece


def area(piece: Piece) -> float:
    return float(trimesh.triangles.area(piece.surface.vertices[piece.surface.faces]).sum())


def volume(piece: Piece) -> float:
    """Signed: positive if faces are counter-clockwise from outside."""
    corners = piece.surface.vertices[piece.surface.faces]
    return float(np.linalg.det(corners).sum() / 6)


def file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(path: Path, *words: str) -> None:
    """One line, no warnings, without allocating what a header claims."""
    tracemalloc.start()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(AssetError) as caught:
            read_pieces(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path.parent))
    assert len(message) < 500
    for word in words:
        assert word in message, message


# --- OBJ -------------------------------------------------------------------------------------

V = "".join(f"v {x} {y} {z}\n" for x, y, z in CORNERS)
QUADS = "".join("f " + " ".join(str(i + 1) for i in side) + "\n" for side in SIDES)
NEGATIVE = "".join("f " + " ".join(str(i - 8) for i in side) + "\n" for side in SIDES)
SLASHED = "".join("f " + " ".join(f"{i + 1}//1" for i in side) + "\n" for side in SIDES)
MIXED = "".join(
    "f " + " ".join(f"{i + 1}{'/1/1' if n % 2 else ''}" for i in side) + " # side\n"
    for n, side in enumerate(SIDES)
)


@pytest.mark.parametrize(
    "text",
    [
        V + QUADS,
        (V + QUADS).replace("\n", "\r\n"),
        (V + QUADS).replace("\n", "\r"),
        "\ufeff# made by hand\n" + V + QUADS,
        V + NEGATIVE,
        "v 9 9 9\n" + V + NEGATIVE,
        V + "vn 0 0 1\n" + SLASHED,
        V + "vt 0 0\n" + MIXED,
        V.replace(" ", "\t") + QUADS.replace(" ", "  ") + "\n\n",
        V.replace("\n", " 1.0\n") + QUADS,
        V.replace("\n", " 0.5 0.5 0.5\n", 4) + QUADS,
        "v nan nan nan\n" + V + NEGATIVE + "l 1 2\np 3\ncurv2 1 2\n",
        V + QUADS.replace("f 1 2", "f 1 \\\n2"),
        V + QUADS + "f 1 1 2\nf 1 2 4 3\nf 2 4 1\n" + "f 7\n",
        V + QUADS + "g\no\nusemtl\nmtllib\n",
    ],
)
def test_a_cube_in_every_dialect_of_obj(tmp_path: Path, text: str) -> None:
    piece = one(file(tmp_path, "CUBE with blanks.OBJ", text))
    assert len(np.unique(piece.surface.vertices, axis=0)) == 8
    assert area(piece) == pytest.approx(24)
    assert volume(piece) == pytest.approx(8)


def test_negative_indices_count_from_the_vertices_read_so_far(tmp_path: Path) -> None:
    first = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf -3 -2 -1\n"
    piece = one(file(tmp_path, "a.obj", first + first.replace("v 0 1 0", "v 0 5 0")))
    assert area(piece) == pytest.approx(0.5 + 2.5)


def test_objects_and_materials_of_an_obj_are_pieces(tmp_path: Path) -> None:
    file(tmp_path, "my mats.mtl", "newmtl red one\nKd 1 0 0\nd 0.25\nnewmtl b\nKd 0 0 1\n")
    faces = QUADS.splitlines(keepends=True)
    text = (
        f"mtllib my mats.mtl\n{V}o Left lens\nusemtl red one\n{faces[0]}usemtl b\n{faces[1]}"
        f"o Rim\n{faces[2]}o Left lens\nusemtl red one\n{faces[3]}"
    )
    pieces = read_pieces(file(tmp_path, "a.obj", text))
    found = {(p.name, p.material_name): (len(p.surface.faces), p.opacity) for p in pieces}
    assert found == {
        ("Left lens", "red one"): (4, 0.25), ("Left lens", "b"): (2, 1.0), ("Rim", "b"): (2, 1.0),
    }  # fmt: skip
    assert pieces[0].surface.material.base_color == (1.0, 0.0, 0.0)


def test_missing_material_and_texture_files_do_no_harm(tmp_path: Path) -> None:
    text = f"mtllib gone.mtl\n{V}vt 0 0\nusemtl a\n{QUADS}"
    assert one(file(tmp_path, "a.obj", text)).surface.material is None
    file(tmp_path, "b.mtl", "newmtl a\nmap_Kd gone.png\n")
    material = one(file(tmp_path, "b.obj", text.replace("gone", "b"))).surface.material
    assert material.texture is None
    file(tmp_path, "gone.png", b"no image")
    refused(tmp_path / "b.obj", "gone.png", "no image that can be read")


def test_polygons_of_mixed_size_are_told_apart_line_by_line(tmp_path: Path) -> None:
    """Four, three and five corners, as many in all as three quads have; areas 1, 0.5 and 2.5."""
    text = (
        "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 5 0 0\nv 6 0 0\nv 5 1 0\n"
        "v 9 7 0\nv 11 7 0\nv 11 8 0\nv 10 8.5 0\nv 9 8 0\n"
        "f 1 2 3 4\nf 5 6 7\nf 8 9 10 11 12\n"
    )
    assert area(one(file(tmp_path, "a.obj", text))) == pytest.approx(4.0)


@pytest.mark.parametrize("back", ["-9", "-2"])
@pytest.mark.parametrize("others", ["", "vt 1 1\nf 1/1 2/1 4/1\n"])
def test_texture_coordinates_before_the_first_are_refused(tmp_path, back, others) -> None:
    """They are counted back from one vt, for which -1 is the only such number."""
    text = f"{V}vt 0 0\nf 5/{back} 6/{back} 8/{back}\n{others}"
    refused(file(tmp_path, "a.obj", text), "texture coordinate")
    good = one(file(tmp_path, "b.obj", text.replace(f"/{back}", "/-1")))
    assert good.surface.uv[0].tolist() == [0, 0]


@pytest.mark.parametrize(
    "line", ["skin of me.png", "-s 1 1 1 skin of me.png", "C:\\shots\\skin of me.png"]
)
def test_textures_are_found_by_their_last_name(tmp_path: Path, line: str) -> None:
    Image.fromarray(np.full((2, 3, 3), (10, 20, 30), np.uint8)).save(tmp_path / "skin of me.png")
    file(tmp_path, "a.mtl", f"newmtl a\nKd 0 0 0\nmap_Kd {line}\n")
    faces = QUADS.replace(" ", "/1 ").replace("f/1", "f").replace("\n", "/1\n")
    text = f"mtllib a.mtl\n{V}vt 0.25 0.75\nusemtl a\n{faces}"
    surface = one(file(tmp_path, "a.obj", text)).surface
    np.testing.assert_array_equal(surface.material.texture[1, 2], (10, 20, 30))
    assert surface.material.base_color == (1.0, 1.0, 1.0)
    np.testing.assert_array_equal(surface.uv, np.tile(np.float32([0.25, 0.75]), (8, 1)))


def test_vertices_part_where_texture_coordinates_differ(tmp_path: Path) -> None:
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nvt 0 0\nvt 1 1\nf 1/1 2/1 3/1\nf 2/2 4/1 3/1\n"
    surface = one(file(tmp_path, "a.obj", text)).surface
    assert surface.vertices.shape == (5, 3)
    assert surface.uv[surface.faces[1]].tolist() == [[1, 1], [0, 0], [0, 0]]


def polygon(points: list[tuple[float, float]], folder: Path) -> Piece:
    text = "".join(f"v {x} {y} {0.5 * x}\n" for x, y in points)
    return one(file(folder, "p.obj", text + "f " + " ".join(map(str, range(1, len(points) + 1)))))


@pytest.mark.parametrize(
    ("points", "flat_area"),
    [
        ([(0, 0), (4, 0), (4, 4), (0, 4)], 16),
        ([(0, 0), (4, 4), (0, 3), (-4, 4)], 12),
        ([(0, 0), (1, 1), (0, 4), (-1, 1)], 4),
        ([(4, 4), (0, 3), (-4, 4), (0, 0)], 12),
        ([(0, 0), (4, 0), (4, 4), (2, 1), (0, 4)], 10),
        ([(0, 0), (6, 0), (6, 4), (4, 4), (4, 1), (2, 1), (2, 4), (0, 4)], 18),
        ([(0, 4), (2, 4), (2, 1), (4, 1), (4, 4), (6, 4), (6, 0), (0, 0)], 18),
        ([(np.cos(a), np.sin(a)) for a in np.linspace(0, 6, 40)], None),
        (
            [((2 + (-1) ** i) * np.cos(i / 8), (2 + (-1) ** i) * np.sin(i / 8)) for i in range(50)],
            None,
        ),
    ],
)
def test_concave_polygons_are_cut_without_overlap(tmp_path, points, flat_area) -> None:
    """The area of the triangles is that of the outline, by the shoelace formula."""
    x, y = np.array(points, dtype=float).T
    shoelace = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    if flat_area is not None:
        assert shoelace == flat_area
    piece = polygon(points, tmp_path)
    assert len(piece.surface.faces) == len(points) - 2
    assert area(piece) == pytest.approx(shoelace * np.sqrt(1.25))


def test_many_small_concave_polygons_are_cut(tmp_path: Path) -> None:
    """Pentagons of area 10, one beside the other, that only one of their corners sees all of."""
    outline = np.array([(0, 0), (4, 0), (4, 4), (2, 1), (0, 4)])
    with (tmp_path / "a.obj").open("w") as out:
        for i in range(8_000):
            turned = np.roll(outline, i, axis=0) + np.array([5 * i, 0])
            out.writelines(f"v {x} {y} 0\n" for x, y in turned.tolist())
            out.write("f -5 -4 -3 -2 -1\n")
    piece = one(tmp_path / "a.obj")
    assert len(piece.surface.faces) == 24_000
    assert area(piece) == pytest.approx(80_000)


def test_concave_polygons_of_too_many_corners_are_refused(tmp_path: Path) -> None:
    """A star of 1000 corners; whether in a group of its own or not, work is counted by file."""
    angles = np.linspace(0, 2 * np.pi, 1000, endpoint=False)
    radii = 2 + (-1) ** np.arange(1000)
    star = zip(radii * np.cos(angles), radii * np.sin(angles), strict=True)
    text = "".join(f"v {x:.9f} {y:.9f} 0\n" for x, y in star)
    refused(file(tmp_path, "a.obj", text + f"f {' '.join(map(str, range(1, 1001)))}\n"),
            "too many corners", "1000", "triangulate")  # fmt: skip
    few = " ".join(map(str, range(1, 351)))
    groups = "".join(f"g {i}\nf {few}\n" for i in range(9))
    refused(file(tmp_path, "b.obj", text + groups), "too many corners", "350")


# --- PLY -------------------------------------------------------------------------------------


def ply_cube(form: str, kinds: tuple[str, str] = ("float", "uchar"), mixed: bool = False) -> bytes:
    """The cube; `mixed` splits some sides into triangles."""
    faces = [f for i, s in enumerate(SIDES) for f in
             ([s[:3], (s[0], *s[2:])] if mixed and i % 2 else [s])]  # fmt: skip
    head = (
        f"ply\nformat {form} 1.0\ncomment x\nelement vertex 8\n"
        + "".join(f"property {kinds[0]} {axis}\n" for axis in "xyz")
        + "property uchar red\nproperty uchar green\nproperty uchar blue\n"
        + f"element face {len(faces)}\nproperty list {kinds[1]} int vertex_indices\n"
        + "property uchar flag\nelement edge 1\nproperty int a\nend_header\n"
    )
    if form == "ascii":
        rows = [f"{x} {y} {z} 255 0 128\n" for x, y, z in CORNERS]
        rows += [f"{len(f)} {' '.join(map(str, f))} 7\n" for f in faces]
        return (head + "".join(rows) + "1\n").encode()
    order = ">" if "big" in form else "<"
    letter = {"float": "f", "double": "d", "uchar": "B", "int": "i"}
    body = b"".join(struct.pack(f"{order}3{letter[kinds[0]]}3B", *v, 255, 0, 128) for v in CORNERS)
    for f in faces:
        body += struct.pack(f"{order}{letter[kinds[1]]}{len(f)}iB", len(f), *f, 7)
    return head.encode() + body + struct.pack(f"{order}i", 1)


FORMS = ("ascii", "binary_little_endian", "binary_big_endian")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("kinds", [("float", "uchar"), ("double", "int")])
def test_a_cube_in_every_dialect_of_ply(tmp_path: Path, form, mixed, kinds) -> None:
    piece = one(file(tmp_path, "a.ply", ply_cube(form, kinds, mixed)))
    assert len(piece.surface.faces) == 12
    assert volume(piece) == pytest.approx(8)
    # 128 of 255 in sRGB is 0.2159 linear.
    np.testing.assert_allclose(piece.surface.attributes["color"][3], (1, 0, 0.2159), atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_a_ply_cut_off_anywhere_is_refused(tmp_path: Path, form: str) -> None:
    whole = ply_cube(form)
    for length in range(4, len(whole) - 4, 7):
        path = file(tmp_path, "a.ply", whole[:length])
        with pytest.raises(AssetError, match=r"cut off|no PLY|cannot read|unknown format"):
            read_pieces(path)


def strips(form: str) -> bytes:
    head = (
        f"ply\nformat {form} 1.0\nelement vertex 6\nproperty float x\nproperty float y\n"
        "property float z\nelement tristrips 1\nproperty list int int vertex_indices\nend_header\n"
    )
    points = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 2, 0), (1, 2, 0)]
    indices = [0, 1, 2, 3, -1, 2, 3, 4, 5]
    if form == "ascii":
        rows = [" ".join(map(str, p)) for p in points]
        return (head + "\n".join([*rows, " ".join(map(str, [len(indices), *indices]))])).encode()
    order = "<" if "little" in form else ">"
    body = b"".join(struct.pack(f"{order}3f", *p) for p in points)
    return head.encode() + body + struct.pack(f"{order}10i", len(indices), *indices)


@pytest.mark.parametrize("form", FORMS)
def test_triangle_strips_become_triangles_of_one_side(tmp_path: Path, form: str) -> None:
    surface = one(file(tmp_path, "a.ply", strips(form))).surface
    corners = surface.vertices[surface.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    np.testing.assert_array_equal(normals, np.tile((0, 0, 1.0), (4, 1)))


def test_ply_counts_of_lists_have_their_own_byte_order(tmp_path: Path) -> None:
    """Big-endian counts of single bytes, on sides and triangles in turn."""
    head = f"ply\nformat binary_big_endian 1.0\nelement vertex 8\n{XYZ}element face 9\n"
    faces = [f for i, s in enumerate(SIDES) for f in ([s[:3], (s[0], *s[2:])] if i % 2 else [s])]
    body = np.array(CORNERS, ">f4").tobytes()
    body += b"".join(struct.pack(">I", len(face)) + bytes(face) for face in faces)
    head += "property list uint uchar vertex_indices\nend_header\n"
    assert volume(one(file(tmp_path, "a.ply", head.encode() + body))) == pytest.approx(8)


def test_ply_columns_of_lists_are_no_coordinates_nor_colours(tmp_path: Path) -> None:
    text = ply_cube("ascii").decode().replace("uchar red", "list uchar uchar red")
    text = text.replace(" 255 0 128", " 2 255 255 0 128")
    piece = one(file(tmp_path, "a.ply", text))
    assert volume(piece) == pytest.approx(8)
    assert not piece.surface.attributes


def test_ply_text_of_another_type_than_announced(tmp_path: Path) -> None:
    """Text says its numbers itself: 1.5 is no 1 though whole numbers are announced."""
    text = ply_cube("ascii", ("int", "uchar")).decode()
    piece = one(file(tmp_path, "a.ply", text.replace("1 1 1 255 0 128", "1 1 1.5 255 0 nan")))
    assert piece.surface.vertices[:, 2].max() == 1.5
    np.testing.assert_allclose(piece.surface.attributes["color"][7], (1, 0, 0), atol=1e-4)


# --- STL -------------------------------------------------------------------------------------


def test_stl_of_both_kinds_is_welded(tmp_path: Path) -> None:
    for name, kind in (("a.stl", "stl"), ("b.STL", "stl_ascii")):
        path = tmp_path / name
        data = CUBE.export(file_type=kind)
        file(tmp_path, name, data)
        piece = one(path)
        assert piece.surface.vertices.shape == (8, 3)
        assert volume(piece) == pytest.approx(8)
        refused(file(tmp_path, "cut.stl", path.read_bytes()[:-20]), "cut off")


def test_a_binary_stl_that_begins_like_a_text_one(tmp_path: Path) -> None:
    data = b"solid".ljust(80) + CUBE.export(file_type="stl")[80:]
    assert volume(one(file(tmp_path, "a.stl", data))) == pytest.approx(8)


# --- glTF ------------------------------------------------------------------------------------


class Gltf:
    """Writes one triangle, or what is asked, as a .gltf or .glb."""

    def __init__(self) -> None:
        self.blob = b""
        self.tree: dict = {
            "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0, "name": "node"}], "meshes": [{"primitives": []}],
            "accessors": [], "bufferViews": [], "materials": [],
        }  # fmt: skip

    def view(self, data: bytes) -> int:
        self.blob += b"\0" * (-len(self.blob) % 4)
        entry = {"buffer": 0, "byteOffset": len(self.blob), "byteLength": len(data)}
        self.tree["bufferViews"].append(entry)
        self.blob += data
        return len(self.tree["bufferViews"]) - 1

    def accessor(self, values, dtype: str = "<f4", **more) -> int:
        values = np.atleast_1d(np.asarray(values, dtype))
        component = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
        width = 1 if values.ndim == 1 else values.shape[1]
        self.tree["accessors"].append(
            {
                "bufferView": self.view(values.tobytes()),
                "componentType": component[dtype.lstrip("<|")],
                "count": len(values),
                "type": {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}[width],
            }
            | more
        )
        return len(self.tree["accessors"]) - 1

    def primitive(self, **more) -> dict:
        entry: dict = {"attributes": {}} | more
        self.tree["meshes"][0]["primitives"].append(entry)
        return entry

    def triangle(self, **more) -> dict:
        entry = self.primitive(**more)
        entry["attributes"]["POSITION"] = self.accessor([(0, 0, 0), (1, 0, 0), (0, 1, 0)])
        return entry

    def glb(self, folder: Path) -> Path:
        self.tree["buffers"] = [{"byteLength": len(self.blob)}]
        text = json.dumps(self.tree).encode()
        text += b" " * (-len(text) % 4)
        blob = self.blob + b"\0" * (-len(self.blob) % 4)
        chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
        chunks += struct.pack("<II", len(blob), 0x004E4942) + blob
        return file(folder, "a.glb", struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)

    def gltf(self, folder: Path, uri: str) -> Path:
        self.tree["buffers"] = [{"byteLength": len(self.blob), "uri": uri}]
        return file(folder, "a.gltf", json.dumps(self.tree))


@pytest.fixture
def made() -> Gltf:
    return Gltf()


def points(piece: Piece) -> list[list[float]]:
    return np.round(piece.surface.vertices[piece.surface.faces[0]], 6).tolist()


def test_buffers_beside_the_file_and_inside_its_json(tmp_path: Path, made: Gltf) -> None:
    made.triangle()
    plain = points(one(made.glb(tmp_path)))
    assert plain == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    file(tmp_path, "my buffer.bin", made.blob)
    assert points(one(made.gltf(tmp_path, "my%20buffer.bin"))) == plain
    data = base64.b64encode(made.blob).decode()
    path = made.gltf(tmp_path, f"data:application/octet-stream;base64,{data}")
    assert points(one(path)) == plain
    refused(made.gltf(tmp_path, "gone.bin"), "gone.bin", "missing")
    refused(made.gltf(tmp_path, "/dev/zero"), "/dev/zero")
    refused(made.gltf(tmp_path, f"data:;base64,{data[:-9]}"), "cut off")


def test_transforms_of_nested_nodes(tmp_path: Path, made: Gltf) -> None:
    """A quarter turn about z of a child scaled by 2, in a parent moved along x and mirrored."""
    made.triangle()
    half = np.sqrt(0.5)
    made.tree["nodes"] = [
        {"children": [1], "translation": [10, 0, 0], "scale": [1, 1, -1]},
        {"mesh": 0, "rotation": [0, 0, half, half], "scale": [2, 2, 2]},
    ]
    # A mirror turns faces round: the last corner comes first.
    assert points(one(made.glb(tmp_path))) == [[8, 0, 0], [10, 2, 0], [10, 0, 0]]
    made.tree["nodes"][0] = {
        "children": [1], "matrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 10, 0, 0, 1],
    }  # fmt: skip
    assert points(one(made.glb(tmp_path))) == [[10, 0, 0], [10, 2, 0], [8, 0, 0]]


@pytest.mark.parametrize(
    ("mode", "indices", "count"), [(5, [0, 1, 2, 3], 2), (6, [0, 1, 2, 3], 2), (4, [0, 1, 2], 1)]
)
def test_strips_and_fans(tmp_path: Path, made: Gltf, mode, indices, count) -> None:
    square = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0)]
    entry = made.primitive(mode=mode, indices=made.accessor(indices, "<u2"))
    order = [0, 1, 3, 2] if mode == 6 else [0, 1, 2, 3]
    entry["attributes"]["POSITION"] = made.accessor([square[i] for i in order])
    made.primitive(mode=1)["attributes"]["POSITION"] = 0
    piece = one(made.glb(tmp_path))
    corners = piece.surface.vertices[piece.surface.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normals[:, 2] == 1).all()
    assert len(normals) == count


def test_sparse_accessors(tmp_path: Path, made: Gltf) -> None:
    entry = made.triangle()
    where = made.view(np.array([2], "<u2").tobytes())
    what = made.view(np.array([(0, 7, 0)], "<f4").tobytes())
    made.tree["accessors"][entry["attributes"]["POSITION"]]["sparse"] = {
        "count": 1,
        "indices": {"bufferView": where, "componentType": 5123},
        "values": {"bufferView": what},
    }
    assert points(one(made.glb(tmp_path)))[2] == [0, 7, 0]


def test_quantised_positions_and_a_moved_texture(tmp_path: Path, made: Gltf) -> None:
    entry = made.primitive(material=0)
    quantised = [(0, 0, 0), (32767, 0, 0), (0, -32768, 0)]
    entry["attributes"]["POSITION"] = made.accessor(quantised, "<i2", normalized=True)
    stride = made.tree["bufferViews"][-1]
    stride["byteLength"] = 18
    entry["attributes"]["TEXCOORD_1"] = made.accessor([(0, 0), (255, 0), (0, 255)], "|u1",
                                                      normalized=True)  # fmt: skip
    moved = {"offset": [0.5, 0], "rotation": np.pi / 2, "scale": [2, 1], "texCoord": 1}
    made.tree["extensionsRequired"] = ["KHR_mesh_quantization", "KHR_texture_transform"]
    made.tree["materials"] = [
        {"pbrMetallicRoughness": {"baseColorTexture": {
            "index": 0, "extensions": {"KHR_texture_transform": moved}}}}
    ]  # fmt: skip
    made.tree["textures"], made.tree["images"] = [{"source": 0}], [{"uri": "gone.png"}]
    piece = one(made.glb(tmp_path))
    assert points(piece) == [[0, 0, 0], [1, 0, 0], [0, -1, 0]]
    # u' = 0.5 + v and v' = -2 u, with v down in the file and up here.
    np.testing.assert_allclose(piece.surface.uv, [(0.5, 1), (0.5, 3), (1.5, 1)], atol=1e-6)


def test_morph_targets_count_by_their_default_weights(tmp_path: Path, made: Gltf) -> None:
    entry = made.triangle()
    entry["targets"] = [
        {"POSITION": made.accessor([(0, 0, 0), (0, 0, 0), (0, 0, 4)])},
        {"POSITION": made.accessor([(9, 9, 9)] * 3)},
    ]
    made.tree["meshes"][0]["weights"] = [0.25, 0]
    assert points(one(made.glb(tmp_path)))[2] == [0, 1, 1]
    made.tree["nodes"][0]["weights"] = [1.0, 0]
    assert points(one(made.glb(tmp_path)))[2] == [0, 1, 4]


def test_skins_are_posed_by_their_joints(tmp_path: Path, made: Gltf) -> None:
    """Two joints at x = 5 and y = 7, each bound 1 along z; the node's own place counts not."""
    entry = made.triangle()
    bind = np.eye(4)
    bind[2, 3] = 1.0
    entry["attributes"]["JOINTS_0"] = made.accessor([(0, 1, 0, 0)] * 3, "|u1")
    weights = [(1, 0, 0, 0), (0, 1, 0, 0), (0.5, 0.5, 0, 0)]
    entry["attributes"]["WEIGHTS_0"] = made.accessor(weights)
    inverse = made.accessor([bind.T.ravel()] * 2)
    made.tree["skins"] = [{"joints": [1, 2], "inverseBindMatrices": inverse}]
    made.tree["nodes"] = [
        {"mesh": 0, "skin": 0, "translation": [100, 0, 0]},
        {"translation": [5, 0, 0]}, {"translation": [0, 7, 0]},
    ]  # fmt: skip
    made.tree["scenes"] = [{"nodes": [0, 1, 2]}]
    assert points(one(made.glb(tmp_path))) == [[5, 0, 1], [1, 7, 1], [2.5, 4.5, 1]]


def test_draco_is_decoded(tmp_path: Path, made: Gltf) -> None:
    sphere = trimesh.creation.icosphere(subdivisions=2, radius=3.0)
    blob = DracoPy.encode(sphere.vertices.astype(np.float32), sphere.faces, quantization_bits=20)
    attribute = DracoPy.decode(blob).attributes[0]["unique_id"]
    view = made.view(blob)
    made.tree["accessors"] = [
        {"componentType": 5126, "count": len(sphere.vertices), "type": "VEC3"},
        {"componentType": 5125, "count": sphere.faces.size, "type": "SCALAR"},
    ]
    packed = {"bufferView": view, "attributes": {"POSITION": attribute}}
    entry = made.primitive(indices=1, extensions={"KHR_draco_mesh_compression": packed})
    entry["attributes"]["POSITION"] = 0
    made.tree["extensionsRequired"] = ["KHR_draco_mesh_compression"]
    piece = one(made.glb(tmp_path))
    assert len(piece.surface.faces) == len(sphere.faces)
    assert volume(piece) == pytest.approx(sphere.volume, rel=1e-4)
    made.tree["bufferViews"][view]["byteLength"] //= 2
    refused(made.glb(tmp_path), "Draco", "gltf-transform")


def test_a_file_of_which_one_primitive_fails_is_refused(tmp_path: Path, made: Gltf) -> None:
    made.triangle()
    made.triangle(indices=made.accessor([0, 1, 9], "<u2"))
    refused(made.glb(tmp_path), "vertex 9")
    made.tree["meshes"][0]["primitives"][1] = {"attributes": {"POSITION": 77}}
    refused(made.glb(tmp_path), "broken glTF")


def test_glb_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = CUBE.export(file_type="glb")
    for length in range(4, len(whole) - 1, 37):
        with pytest.raises(AssetError, match="cut off"):
            read_pieces(file(tmp_path, "a.glb", whole[:length]))


BROKEN_TREES = [
    ("accessors", [{"componentType": 5126, "count": 4_000_000_000, "type": "VEC3"}], "4000000000"),
    ("accessors", [{"componentType": 5126, "count": 29_000_000, "type": "VEC3",
                    "bufferView": 0}], "reaches beyond"),
    ("accessors", [{"componentType": 5126, "count": -3, "type": "VEC3", "bufferView": 0}], "-3"),
    ("accessors", [{"componentType": 1, "count": 3, "type": "VEC3", "bufferView": 0}], "broken"),
    ("accessors", {}, "broken"),
    ("accessors", [None], "broken"),
    ("nodes", [{"mesh": -1}], "broken"),
    ("nodes", [{"mesh": "x"}], "broken"),
    ("nodes", [{"mesh": 0, "children": [0]}], "two parents"),
    ("nodes", [{"mesh": 0, "matrix": [1, 2]}], "broken"),
    ("nodes", 5, "broken"),
    ("bufferViews", [{"buffer": 0, "byteLength": 10**12}], "cut off"),
    ("bufferViews", [{"buffer": 3, "byteLength": 4}], "broken"),
    ("asset", {"version": "1.0"}, "glTF 2.0"),
    ("extensionsRequired", ["EXT_mesh_gpu_instancing"], "EXT_mesh_gpu_instancing"),
    ("extensionsRequired", ["EXT_meshopt_compression"], "gltf-transform"),
    ("meshes", [], "broken"),
    ("meshes", [{"primitives": 1}], "broken"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "word"), BROKEN_TREES)
def test_broken_json_of_gltf(tmp_path: Path, made: Gltf, key, value, word) -> None:
    made.triangle()
    made.tree[key] = value
    refused(made.glb(tmp_path), word)


def test_instances_without_end_are_refused(tmp_path: Path, made: Gltf) -> None:
    made.triangle()
    made.tree["meshes"][0]["primitives"] *= 101
    made.tree["nodes"] = [{"mesh": 0}] * 200
    made.tree["scenes"] = [{"nodes": list(range(200))}]
    refused(made.glb(tmp_path), "20000 objects")


# --- what is no mesh, or too large -----------------------------------------------------------

XYZ = "property float x\nproperty float y\nproperty float z\n"
FACE = "property list uchar int vertex_indices\n"
ZIP = b"PK\x03\x04" + bytes(60)
PAGE = b"<!DOCTYPE html>\n<html><body>404 not found</body></html>\n"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 123\n"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.obj", PAGE, ("web page",)),
        ("a.glb", PAGE, ("web page",)),
        ("a.ply", b"\n\n" + PAGE, ("web page",)),
        ("a.stl", LFS, ("git lfs pull",)),
        ("a.obj", LFS, ("git lfs pull",)),
        ("a.glb", ZIP, ("zip", "unpack")),
        ("a.obj", ZIP, ("zip",)),
        ("a.stl", b"BLENDER-v500" + bytes(200), (".blend", "export")),
        ("a.obj", b"\x28\xb5\x2f\xfd" + bytes(200), (".blend",)),
        ("a.obj", b"Kaydara FBX Binary  \0" + bytes(90), ("FBX", "export")),
        ("a.obj", b"; FBX 7.4.0 project file\n", ("FBX",)),
        ("a.ply", V.encode() + QUADS.encode(), ("no PLY",)),
        ("a.obj", ply_cube("ascii"), ("PLY", "rename")),
        ("a.ply", CUBE.export(file_type="glb"), ("GLB", "rename")),
        ("a.obj", CUBE.export(file_type="stl_ascii"), ("STL", "rename")),
        ("a.stl", V.encode() + QUADS.encode(), ()),
        ("a.obj", b"", ("empty file",)),
        ("a.glb", b"", ("empty file",)),
        ("a.ply", b"\0" * 500, ("zeros",)),
        ("a.obj", b"\x01\0\x02" * 50, ("binary",)),
        ("a.obj", V, ("no faces",)),
        ("a.obj", V + "f 1 2\n", ("no faces",)),
        ("a.obj", V + "f 1 2 9\n", ("vertex 8", "has 8")),
        ("a.obj", V + "f 1 2 0\n", ("vertex -1",)),
        ("a.obj", V + "f 1 2 -9\n", ("vertex",)),
        ("a.obj", V + "f 1 2 x\n", ("f 1 2 x",)),
        ("a.obj", V + "f 1 2 99999999999999999999\n", ("vertex",)),
        ("a.obj", V + "v 1,5 2 3\n" + QUADS, ("v 1,5 2 3",)),
        ("a.obj", V + "v 1\n" + QUADS, ("1 numbers",)),
        # Three, two and four numbers with as many blanks each.
        ("a.obj", "v 0 0 0\nv  1 0\nv 0 1 0\t1\nf 1 2 3\n", ("2 numbers",)),
        ("a.obj", V + QUADS + "f 1 2", ("cut off",)),
        ("a.obj", V.replace("v 1 1 1", "v 1 inf 1") + QUADS, ("not finite",)),
        ("a.obj", V.replace("v 1 1 1", "v 1 1e200 1") + QUADS, ("1e30",)),
        ("a.stl", bytes(80) + struct.pack("<I", 4_000_000_000) + bytes(100), ("cut off", "4000")),
        ("a.stl", b"solid x\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\n", ("cut off",)),
        ("a.stl", b"solid x\nvertex 0 0 a\nendsolid\n", ("three numbers",)),
        # A signalling NaN, which warns when it is cast.
        ("a.stl", bytes(80) + struct.pack("<I", 1) + b"\0\0\xa0\x7f" * 12 + bytes(2),
         ("not finite",)),
        ("a.stl", b"solid x\nendsolid\n", ("no faces",)),
        ("a.stl", bytes(79) + b"x" + struct.pack("<I", 0), ("no faces",)),
        *[
            ("a.ply", f"ply\nformat {form} 1.0\nelement vertex {count}\n{XYZ}element face 1\n{FACE}"
             "end_header\n0 0 0\n", words)
            for form in FORMS
            for count, words in ((4_000_000_000, ("4000000000",)), (29_000_000, ("cut off",)))
        ],
        ("a.ply", f"ply\nformat ascii 1.0\nelement vertex 1\n{XYZ}element face 3000000000\n{FACE}"
         "end_header\n", ("3000000000", "simplify")),
        ("a.ply", "ply\nformat binary_little_endian 1.0\nelement face 1\n"
         "property list uint int vertex_indices\nend_header\n\xff\xff\xff\xff", ("cut off",)),
        ("a.ply", f"ply\nformat ascii 1.0\nelement vertex 2\n{XYZ}end_header\n0 0 0\n1 0 0\n",
         ("point cloud",)),
        ("a.ply", "ply\nformat ascii 1.0\nelement vertex x\nend_header\n", ("element vertex x",)),
        ("a.ply", "ply\nformat ascii 1.0\nelement vertex 1\nproperty list x\nend_header\n", ()),
        *[
            ("a.ply", f"ply\nformat {form} 1.0\nelement vertex 1\n{lines}end_header\n0 0 0\n",
             (word,))
            for form in FORMS
            for lines, word in (
                ("property list\n", "property list"),
                ("property list uchar\n", "property list uchar"),
                ("property float\n", "property float"),
                ("element face 1\n" + FACE, "'vertex' has no properties"),
                (f"{XYZ}element face 1\n", "'face' has no properties"),
                (f"{XYZ}element face 1\n{FACE.replace('uchar', 'float')}", "whole numbers"),
            )
        ],
        *[
            ("a.ply", ply_cube("ascii").replace(b"4 0 1 3 2", b"4 0 %s 3 2" % index), (word,))
            for index, word in (
                (b"1.5", "1.5"), (b"nan", "nan"), (b"inf", "inf"), (b"1e300", "1e+300"),
                (b"-1", "vertex -1"),
            )
        ],
        ("a.ply", "ply\nformat ascii 1.0\nelement vertex 1\nproperty list uchar float x\n"
         "property float y\nproperty float z\nelement face 1\n"
         f"{FACE}end_header\n1 0 0 0\n3 0 0 0\n", ("x, y and z",)),
        ("a.ply", f"ply\nformat ascii 1.0\nelement vertex 1\n{XYZ}{XYZ}end_header\n", ("twice",)),
        ("a.ply", f"ply4\nformat ascii 1.0\nelement vertex 1\n{XYZ}end_header\n", ("no PLY",)),
        ("a.ply", "ply\nformat odd 1.0\nend_header\n", ("unknown format",)),
        ("a.ply", "ply\n" + "comment x\n" * 20_000, ("header",)),
        ("a.gltf", "[1, 2]", ("no glTF",)),
        ("a.gltf", "{" * 5, ("broken",)),
        ("a.gltf", "[" * 200_000, ("broken",)),
        ("a.gltf", '{"asset": 3}', ("broken",)),
    ],
)  # fmt: skip
def test_what_is_no_whole_mesh_is_told_by_what_it_is(tmp_path, name, content, words) -> None:
    refused(file(tmp_path, name, content), *words)


def test_files_beyond_two_gigabytes_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.stl"
    with path.open("wb") as sparse:
        sparse.truncate((1 << 31) + 1)
    refused(path, "2147483648", "simplify")


def test_an_image_that_unfolds_to_gigabytes_is_refused(tmp_path: Path) -> None:
    """A PNG that says 60,000 x 60,000 pixels in a kilobyte."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**6)))
    file(tmp_path, "bomb.png", png)
    file(tmp_path, "a.mtl", "newmtl a\nmap_Kd bomb.png\n")
    refused(file(tmp_path, "a.obj", f"mtllib a.mtl\n{V}usemtl a\n{QUADS}"), "bomb.png", "pixels")


def test_a_broken_texture_of_any_format_is_named(tmp_path: Path, made: Gltf) -> None:
    """Missing ones are left out."""
    entry = made.triangle(material=0)
    entry["attributes"]["TEXCOORD_0"] = made.accessor([(0, 0), (1, 0), (0, 1)])
    made.tree["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
    made.tree["textures"], made.tree["images"] = [{"source": 0}], [{"uri": "skin.png"}]
    beside = made.glb(tmp_path).rename(tmp_path / "beside.glb")
    named = ply_cube("ascii").replace(b"comment x", b"comment TextureFile skin.png")
    ply = file(tmp_path, "a.ply", named)
    assert one(beside).surface.material.texture is None
    assert one(ply).surface.material is None
    made.tree["images"] = [{"bufferView": made.view(b"\x89PNG, cut off"), "mimeType": "image/png"}]
    refused(made.glb(tmp_path), "a texture inside it", "no image")
    whole = file(tmp_path, "whole.png", b"")
    Image.fromarray(np.full((8, 8, 3), 77, np.uint8)).save(whole)
    file(tmp_path, "skin.png", whole.read_bytes()[:-30])
    for path in (beside, ply):
        refused(path, "skin.png", "no image")
    file(tmp_path, "skin.png", whole.read_bytes())
    assert one(beside).surface.material.texture.shape == (8, 8, 3)


def test_a_glb_is_known_by_the_files_it_names(tmp_path: Path, made: Gltf) -> None:
    made.triangle()
    made.tree["images"] = [{"uri": "my%20skin.png"}, {"uri": "gone.png"}, {"uri": "x" * 5000}]
    path = made.glb(tmp_path)
    image = file(tmp_path, "my skin.png", b"x")
    assert companions(path) == [path, image]


@pytest.mark.parametrize("suffix", ["obj", "ply", "stl", "glb", "gltf"])
def test_companions_of_what_is_broken_or_missing(tmp_path: Path, suffix: str) -> None:
    assert companions(tmp_path / f"gone.{suffix}") == []
    path = file(tmp_path, f"a.{suffix}", b"glTF{")
    assert companions(path) == [path]


@pytest.mark.parametrize("others", [0, 1 << 21])
def test_second_copies_of_a_face_are_left_out(tmp_path: Path, others: int) -> None:
    """However many vertices there are; the first copy stays, whichever way round it is."""
    others += -others % 3
    faces = np.concatenate([[(0, 1, 2)], np.arange(3, 3 + others).reshape(-1, 3),
                            [(2, 1, 0), (1, 2, 0), (1, 1, 2), (0, 1, 3 + others)]])  # fmt: skip
    vertices = np.random.default_rng(1).random((4 + others, 3))
    path = tmp_path / "a.ply"
    double_ply(path, vertices, faces)
    found = one(path).surface.faces
    np.testing.assert_array_equal(found, np.delete(faces, [-4, -3, -2], axis=0))


def small_meshes(folder: Path, made: Gltf) -> dict[str, bytes]:
    entry = made.triangle(material=0, indices=made.accessor([0, 1, 2], "<u2"))
    entry["attributes"]["TEXCOORD_0"] = made.accessor([(0, 0), (1, 0), (0, 1)])
    entry["attributes"]["COLOR_0"] = made.accessor([(1, 0, 0)] * 3)
    made.tree["materials"] = [{"name": "m", "pbrMetallicRoughness": {"metallicFactor": 0.5}}]
    made.tree["nodes"][0]["rotation"] = [0, 0, 0, 1]
    return {
        "a.ply": ply_cube("ascii", mixed=True),
        "b.ply": ply_cube("binary_little_endian"),
        "c.ply": ply_cube("binary_big_endian", ("double", "int"), mixed=True),
        "a.obj": f"o x\n{V}vt 0 0\nvt 1 1\nusemtl m\n{MIXED}f -1 -2 -3 -4 -5\n".encode(),
        "a.stl": CUBE.export(file_type="stl"),
        "b.stl": CUBE.export(file_type="stl_ascii").encode(),
        "a.glb": made.glb(folder).read_bytes(),
    }


def test_bytes_changed_at_random_raise_nothing_but_asset_errors(tmp_path, made: Gltf) -> None:
    rng = np.random.default_rng(20)
    rounds, kinds = 150, np.frombuffer(b"0123456789-. /e\n\x00\xff\x7f\x80fnv{}[]\",:", np.uint8)
    refusals = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, whole in small_meshes(tmp_path, made).items():
            for i in range(rounds):
                raw = np.frombuffer(whole, np.uint8).copy()
                # Half of the changes hit the header, where they do most.
                reach = len(raw) if i % 2 else min(len(raw), 400)
                where = rng.integers(0, reach, rng.integers(1, 5))
                raw[where] = rng.choice(kinds, len(where))
                path = file(tmp_path, name, raw.tobytes())
                try:
                    read_pieces(path)
                except AssetError as fault:
                    refusals.append(str(fault))
                companions(path)
    assert rounds < len(refusals) < 7 * rounds
    assert not any("\n" in message for message in refusals)


def test_reading_a_mesh_loads_nothing_that_tells_what_it_is() -> None:
    code = "import sys, pipeline.catalog.meshfile; print('pipeline.catalog.parts' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- whole heads -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def face() -> tuple[np.ndarray, np.ndarray, Anchors]:
    """Skin of a person of ours: vertices in mm, triangles, anchors."""
    head = bare_head(person(3), "1_neutral")
    skin = head.surfaces["skin"]
    return skin.vertices, skin.triangles(), head.anchors


MOTIONS = [
    (1.0, (0, 0, 1), 0.0, "mm"), (1e-3, (1, 0, 0), 90.0, "m"), (0.1, (1, 2, -1), 200.0, "cm"),
    (1 / 25.4, (0, 1, 0), 180.0, "inch"),
]  # fmt: skip


def double_ply(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    head = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n"
        "property double x\nproperty double y\nproperty double z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.zeros(len(faces), np.dtype([("n", "u1"), ("v", "<i4", 3)]))
    rows["n"], rows["v"] = 3, faces
    path.write_bytes(head.encode() + vertices.astype("<f8").tobytes() + rows.tobytes())


def text_obj(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    with path.open("w") as out:
        out.writelines(f"v {x!r} {y!r} {z!r}\n" for x, y, z in vertices.tolist())
        out.writelines(f"f {a} {b} {c}\n" for a, b, c in (faces + 1).tolist())


def test_unit_axes_and_format_change_no_figure_of_the_fit(tmp_path: Path, face) -> None:
    vertices, faces, anchors = face
    entry = open_catalog().glasses["rectangle"]
    pair = entry.build(entry.typical())
    expected = None
    for i, (scale, axis, degrees, unit) in enumerate(MOTIONS):
        motion = compose(translation([300.0 * i, -40, 7]), rotation_about(axis, degrees))
        motion[:3] *= scale
        path = tmp_path / f"head{i}.{'obj' if i % 2 else 'ply'}"
        (text_obj if i % 2 else double_ply)(path, apply(motion, vertices), faces)
        moved = Anchors(*apply(motion, anchors.as_array()))
        write_sidecar(sidecar_path(path), moved, "head")
        head = load_head(path)
        assert head.unit == unit
        figures = fit(head, pair, 1.0).figures
        expected = expected or figures
        for name, value in expected.items():
            assert figures[name] == pytest.approx(value, rel=1e-6, abs=1e-6), name


def test_a_head_in_thousands_of_loose_pieces_is_one_surface(tmp_path: Path, face) -> None:
    vertices, faces, anchors = face
    loose = vertices[faces].reshape(-1, 3)
    path = tmp_path / "loose.obj"
    with path.open("w") as out:
        out.writelines(f"v {x:.5f} {y:.5f} {z:.5f}\n" for x, y, z in loose.tolist())
        for i in range(len(faces)):
            if i % 9 == 0:
                out.write(f"o piece {i}\n")
            out.write(f"f {3 * i + 1} {3 * i + 2} {3 * i + 3}\n")
    write_sidecar(sidecar_path(path), anchors, "head")
    head = load_head(path)
    assert list(head.surfaces) == ["skin"]
    assert len(head.surfaces["skin"].faces) == len(faces)


def test_eyes_known_by_material_alone_are_no_skin(tmp_path: Path, face) -> None:
    vertices, faces, anchors = face
    path = tmp_path / "head.obj"
    text_obj(path, vertices, faces)
    lines = path.read_text().splitlines(keepends=True)
    lines.insert(-1000, "usemtl M_ScleraLeft\n")
    path.write_text("".join(lines))
    write_sidecar(sidecar_path(path), anchors, "head")
    head = load_head(path)
    assert {name: len(s.faces) for name, s in head.surfaces.items()} == {
        "skin": len(faces) - 1000, "extra_1": 1000,
    }  # fmt: skip


def swapped(anchors: Anchors) -> Anchors:
    return Anchors(
        anchors.temple_right, anchors.temple_left, anchors.nose_right, anchors.nose_left
    )


@pytest.mark.parametrize("number", [0, 3, 11])
def test_swapped_sides_are_told_on_persons_and_nothing_else_is(tmp_path, number) -> None:
    head = bare_head(person(number), "2_mouth_open")
    skin = head.surfaces["skin"]
    for cut in (-400.0, 20.0):
        # The second is a mask: no back, no ears, and the temple points beyond its edge.
        middles = skin.vertices[skin.triangles()].mean(axis=1)
        faces = skin.triangles()[middles[:, 2] > cut]
        path = tmp_path / "head.ply"
        double_ply(path, skin.vertices, faces)
        write_sidecar(sidecar_path(path), swapped(head.anchors), "head")
        with pytest.raises(AssetError, match="left and right seem swapped"):
            load_head(path)
        write_sidecar(sidecar_path(path), head.anchors, "head")
        if cut < 0:
            load_head(path)
        else:
            with pytest.raises(AssetError, match=r"temple_\w+ lies \d+ mm off the mesh"):
                load_head(path)


def test_swapped_sides_are_told_on_every_design(tmp_path: Path) -> None:
    for name, entry in open_catalog().glasses.items():
        pair = entry.build(entry.typical())
        scene = trimesh.Scene()
        for part, surface in pair.parts.items():
            mesh = trimesh.Trimesh(surface.vertices, surface.triangles(), process=False)
            scene.add_geometry(mesh, node_name=part, geom_name=part)
        path = tmp_path / f"{name}.glb"
        scene.export(path)
        write_sidecar(sidecar_path(path), pair.anchors, "glasses")
        load_eyewear(path)
        write_sidecar(sidecar_path(path), swapped(pair.anchors), "glasses")
        with pytest.raises(AssetError, match="left and right seem swapped"):
            load_eyewear(path)


def test_points_in_another_unit_than_the_mesh(tmp_path: Path, face) -> None:
    vertices, faces, anchors = face
    path = tmp_path / "head.ply"
    double_ply(path, vertices, faces)
    for scale in (1e-3, 0.1, 10.0):
        write_sidecar(sidecar_path(path), Anchors(*(anchors.as_array() * scale)), "head")
        with pytest.raises(AssetError, match=r"head\.anchors\.yaml: .*(mesh)") as caught:
            load_head(path)
        assert "\n" not in str(caught.value)
