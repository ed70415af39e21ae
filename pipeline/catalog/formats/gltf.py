"""glTF 2.0: .glb and .gltf, as the specification of Khronos has it.

Read are meshes with their node transforms, skins as posed in the file, morph targets by their
default weights, sparse and quantised accessors, Draco, texture transforms and base colours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from pipeline.catalog.formats.gltfdata import (
    DRACO,
    FAULTS,
    Buffers,
    check_required,
    index,
    opened,
    scaled,
)
from pipeline.catalog.formats.polygons import (
    Indices,
    check_face_count,
    check_indices,
    strip_triangles,
)
from pipeline.catalog.formats.texture import read_texture
from pipeline.catalog.piece import Piece
from pipeline.errors import AssetError
from pipeline.geometry import FloatArray, Material, Surface
from pipeline.transforms import apply

_TRIANGLES, _STRIP, _FAN = 4, 5, 6
_MAX_OBJECTS = 20_000
_MAX_DEPTH = 1_000


def read_gltf(path: Path) -> list[Piece]:
    """One piece for every primitive with faces of every node of the scene.

    Textures beside the file that are missing are left out. Raises AssetError for files cut off or
    broken, extensions that are required and not read here, accessors that do not fit their
    buffers, and textures that are there and cannot be read.
    """
    try:
        tree, chunk = opened(path)
        check_required(tree, path)
        return _Gltf(path, tree, chunk).pieces()
    except FAULTS as fault:
        text = " ".join(f"{type(fault).__name__} {fault}".split())[:120]
        raise AssetError(f"{path}: broken glTF: {text}; save the mesh again") from None


@dataclass(frozen=True, eq=False)
class _Primitive:
    """A primitive before the node's transform: what all instances share.

    used: (v,) int64, which elements of the file's accessors its vertices are. arrays: attributes
    of those vertices by name, (v, w) float64. targets: accessors of its morph targets.
    """

    used: Indices
    arrays: Mapping[str, FloatArray]
    faces: Indices
    targets: list[int]


class _Gltf:
    """One file; its methods raise what broken JSON makes Python raise, or AssetError."""

    def __init__(self, path: Path, tree: dict, chunk: bytes) -> None:
        self.path, self.tree = path, tree
        self.data = Buffers(path, tree, chunk)
        self.material = lru_cache(maxsize=None)(self._material)
        self.primitive = lru_cache(maxsize=None)(self._primitive)

    def pieces(self) -> list[Piece]:
        nodes = self.tree.get("nodes", [])
        worlds = dict(self._worlds())
        used = [index(nodes[i]["mesh"]) for i in worlds if "mesh" in nodes[i]]
        if sum(len(self.tree["meshes"][mesh]["primitives"]) for mesh in used) > _MAX_OBJECTS:
            raise AssetError(f"{self.path}: more than {_MAX_OBJECTS} objects; join them")
        found: list[Piece] = []
        total = 0
        for number, world in worlds.items():
            node = nodes[number]
            if "mesh" not in node:
                continue
            mesh = self.tree["meshes"][index(node["mesh"])]
            name = f"{node.get('name', '')} {mesh.get('name', '')}".strip()
            for place, given in enumerate(mesh["primitives"]):
                if given.get("mode", _TRIANGLES) not in (_TRIANGLES, _STRIP, _FAN):
                    continue
                primitive = self.primitive(index(node["mesh"]), place)
                total += len(primitive.faces)
                check_face_count(total, self.path)
                weights = node.get("weights", mesh.get("weights", []))
                points = self._morphed(primitive, weights)
                if "skin" in node and "JOINTS_0" in primitive.arrays:
                    points = self._skinned(points, primitive, node["skin"], worlds)
                    flip = False
                else:
                    points = apply(world, points)
                    flip = bool(np.linalg.det(world[:3, :3]) < 0)
                found.append(self._piece(name, given, primitive, points, flip))
        return found

    def _piece(
        self, name: str, given: dict, primitive: _Primitive, points: FloatArray, flip: bool
    ) -> Piece:
        faces = primitive.faces[:, ::-1] if flip else primitive.faces
        label, material, opacity = "", None, 1.0
        uv = None
        if "material" in given:
            label, material, opacity, place = self.material(index(given["material"]))
            uv = self._uv(primitive, material, place)
        attributes = {}
        colours = primitive.arrays.get("COLOR_0")
        if colours is not None:
            attributes["color"] = np.clip(colours[:, :3], 0, 1).astype(np.float32)
        surface = Surface(points, faces, uv, attributes, material)
        return Piece(name, label, surface, opacity)

    def _uv(
        self, primitive: _Primitive, material: Material | None, place: dict
    ) -> NDArray[np.float32] | None:
        """Texture coordinates, v up, as the base colour's texture info moves them."""
        moved = place.get("extensions", {}).get("KHR_texture_transform", {})
        coordinates = moved.get("texCoord", place.get("texCoord", 0))
        uv = primitive.arrays.get(f"TEXCOORD_{coordinates}")
        if uv is None or material is None:
            return None
        turn = float(moved.get("rotation", 0.0))
        cos, sin = np.cos(turn), np.sin(turn)
        uv = uv[:, :2] * np.array(moved.get("scale", (1.0, 1.0)))
        uv = uv @ np.array([[cos, -sin], [sin, cos]]) + np.array(moved.get("offset", (0.0, 0.0)))
        return np.stack([uv[:, 0], 1.0 - uv[:, 1]], axis=1).astype(np.float32)

    def _worlds(self) -> Iterator[tuple[int, FloatArray]]:
        """Number and matrix of every node of the scene, parents first."""
        nodes = self.tree.get("nodes", [])
        scenes = self.tree.get("scenes", [])
        if scenes:
            roots = scenes[index(self.tree.get("scene", 0))].get("nodes", [])
        else:
            children = {child for node in nodes for child in node.get("children", [])}
            roots = [i for i in range(len(nodes)) if i not in children]
        queue = [(index(root), np.eye(4), 0) for root in roots]
        seen: set[int] = set()
        while queue:
            number, parent, depth = queue.pop()
            if number in seen or depth > _MAX_DEPTH:
                raise AssetError(f"{self.path}: broken glTF: node {number} has two parents")
            seen.add(number)
            node = nodes[number]
            world = parent @ _local(node)
            yield number, world
            queue += [(index(child), world, depth + 1) for child in node.get("children", [])]

    def _primitive(self, mesh: int, place: int) -> _Primitive:
        given = self.tree["meshes"][mesh]["primitives"][place]
        mode = given.get("mode", _TRIANGLES)
        wanted = {
            name: accessor
            for name, accessor in given["attributes"].items()
            if name.startswith(("POSITION", "TEXCOORD_", "COLOR_0", "JOINTS_0", "WEIGHTS_0"))
        }
        packed = given.get("extensions", {}).get(DRACO)
        if packed is not None:
            arrays, faces = self._draco(packed, wanted)
        else:
            arrays = {name: self.data.accessor(number) for name, number in wanted.items()}
            count = len(arrays["POSITION"])
            if "indices" in given:
                flat = self.data.accessor(given["indices"]).reshape(-1).astype(np.int64)
            else:
                flat = np.arange(count)
            faces = _faces(flat, mode)
        points = arrays["POSITION"]
        if any(len(array) != len(points) for array in arrays.values()):
            raise ValueError("attributes of a primitive differ in length")
        check_indices(faces.ravel(), len(points), "vertex", self.path)
        used, local = np.unique(faces, return_inverse=True)
        chosen = {name: array[used] for name, array in arrays.items()}
        targets = [t["POSITION"] for t in given.get("targets", []) if "POSITION" in t]
        return _Primitive(used, chosen, local.reshape(-1, 3), targets)

    def _morphed(self, primitive: _Primitive, weights: list[float]) -> FloatArray:
        points = primitive.arrays["POSITION"]
        for weight, target in zip(weights, primitive.targets, strict=False):
            if weight:
                points = points + float(weight) * self.data.accessor(target)[primitive.used]
        return points

    def _draco(self, packed: dict, wanted: dict) -> tuple[dict[str, NDArray], Indices]:
        import DracoPy

        blob = self.data.view(packed["bufferView"])
        try:
            mesh = DracoPy.decode(bytes(blob))
        except Exception:  # its C++ raises several kinds
            raise AssetError(
                f"{self.path}: its Draco data cannot be decoded; decompress it first: "
                "npx @gltf-transform/cli copy IN.glb OUT.glb"
            ) from None
        by_id = {attribute["unique_id"]: attribute["data"] for attribute in mesh.attributes}
        arrays = {}
        for name, number in wanted.items():
            if name in packed["attributes"]:
                array = np.asarray(by_id[packed["attributes"][name]])
                arrays[name] = scaled(array, self.tree["accessors"][number])
            else:
                arrays[name] = self.data.accessor(number)
        return arrays, np.asarray(mesh.faces, dtype=np.int64)

    def _skinned(
        self, points: FloatArray, primitive: _Primitive, skin: int, worlds: Mapping[int, FloatArray]
    ) -> FloatArray:
        """Points in the scene: joints carry them, the node's own transform counts for nothing."""
        given = self.tree["skins"][index(skin)]
        joints = [index(joint) for joint in given["joints"]]
        carried = np.stack([worlds[joint] for joint in joints])
        if "inverseBindMatrices" in given:
            inverse = self.data.accessor(given["inverseBindMatrices"]).reshape(-1, 4, 4)
            carried = carried @ inverse[: len(joints)].transpose(0, 2, 1)
        chosen = primitive.arrays["JOINTS_0"].astype(np.int64)
        weights = primitive.arrays["WEIGHTS_0"]
        check_indices(chosen.ravel(), len(joints), "joint", self.path)
        moved = np.zeros_like(points)
        for joint, weight in zip(chosen.T, weights.T, strict=True):
            matrices = carried[joint]
            placed = np.einsum("nij,nj->ni", matrices[:, :3, :3], points) + matrices[:, :3, 3]
            moved += weight[:, None] * placed
        # Weights are to sum to one; quantised ones do only nearly.
        return moved / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)

    def _material(self, number: int) -> tuple[str, Material, float, dict]:
        """Name, material, opacity and the texture info of the base colour."""
        given = self.tree["materials"][number]
        extensions = given.get("extensions", {})
        pbr = given.get("pbrMetallicRoughness", {})
        place = pbr.get("baseColorTexture", {})
        factor = pbr.get("baseColorFactor", (1.0, 1.0, 1.0, 1.0))
        glossy = extensions.get("KHR_materials_pbrSpecularGlossiness")
        if glossy is not None:
            place = glossy.get("diffuseTexture", {})
            factor = glossy.get("diffuseFactor", (1.0, 1.0, 1.0, 1.0))
            rough = 1.0 - float(glossy.get("glossinessFactor", 1.0))
            pbr = {"metallicFactor": 0.0, "roughnessFactor": rough}
        red, green, blue, alpha = (min(max(float(f), 0.0), 1.0) for f in factor)
        blended = given.get("alphaMode") == "BLEND"
        opacity = min(alpha, 0.5 if alpha == 1.0 else 1.0) if blended else 1.0
        transmission = extensions.get("KHR_materials_transmission", {})
        ior = extensions.get("KHR_materials_ior", {}).get("ior", 1.5)
        material = Material(
            base_color=(red, green, blue),
            metallic=float(pbr.get("metallicFactor", 1.0)),
            roughness=float(pbr.get("roughnessFactor", 1.0)),
            transmission=float(transmission.get("transmissionFactor", 0.0)),
            # Files switch refraction off by 1, which no lens is made of.
            ior=float(ior) if ior >= 1.2 else 1.5,
            texture=self._texture(place),
        )
        return str(given.get("name", "")), material, opacity, place

    def _texture(self, place: dict) -> NDArray[np.uint8] | None:
        if "index" not in place:
            return None
        given = self.tree["textures"][index(place["index"])]
        webp = given.get("extensions", {}).get("EXT_texture_webp", {})
        source = webp.get("source", given.get("source"))
        if source is None:
            return None
        image = self.tree["images"][index(source)]
        if "bufferView" in image:
            return read_texture(bytes(self.data.view(image["bufferView"])), self.path)
        if image["uri"].startswith("data:"):
            return read_texture(self.data.resource(image["uri"]), self.path)
        return read_texture(self.path.parent / unquote(image["uri"]), self.path)


def _local(node: dict) -> FloatArray:
    """The matrix of a node in its parent: given, or T R S."""
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    matrix = np.eye(4)
    if "rotation" in node:
        quaternion = np.array(node["rotation"], dtype=np.float64)
        x, y, z, w = quaternion / max(float(np.linalg.norm(quaternion)), 1e-12)
        matrix[:3, :3] = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    matrix[:3, :3] *= np.array(node.get("scale", (1, 1, 1)), dtype=np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def _faces(flat: Indices, mode: int) -> Indices:
    if mode == _STRIP:
        return strip_triangles(flat)
    if mode == _FAN:
        first = np.full(max(len(flat) - 2, 0), flat[0] if len(flat) else 0)
        return np.stack([first, flat[1:-1], flat[2:]], axis=1)
    return flat.reshape(-1, 3)
