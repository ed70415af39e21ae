"""Croissant 1.1 metadata (mlcommons.org/croissant/1.1): what files there are and what they hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = "croissant.json"

#: The context that the format defines.
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def write(
    folder: Path,
    about: Mapping[str, Any],
    distribution: list[dict[str, Any]],
    record_sets: list[dict[str, Any]],
) -> None:
    """Writes `croissant.json`. about: name, description, license and other keys of schema.org."""
    metadata = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        **about,
        "distribution": distribution,
        "recordSet": record_sets,
    }
    text = json.dumps(metadata, indent=1, ensure_ascii=False)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def file_object(folder: Path, name: str, mime: str) -> dict[str, Any]:
    """A file of an export's folder, with its checksum."""
    with (folder / name).open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return hashed_file(name, mime, sha256)


def hashed_file(name: str, mime: str, sha256: str) -> dict[str, Any]:
    """A file whose checksum is known."""
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "encodingFormat": mime,
        "sha256": sha256,
    }


def file_set(
    name: str, includes: str, mime: str, inside: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Files that a glob finds; inside: the archives to look in."""
    found = {
        "@type": "cr:FileSet",
        "@id": f"{name}-files",
        "name": f"{name}-files",
        "encodingFormat": mime,
        "includes": includes,
    }
    return {**found, "containedIn": [{"@id": file["@id"]} for file in inside]} if inside else found


def images(files: Mapping[str, Any]) -> dict[str, Any]:
    """Records of a `file_set` of pictures: their names and what is in them."""
    return records(files["@id"].removesuffix("-files"), files, {
        "file": Column("sc:Text", {"fileProperty": "filename"}),
        "image": Column("sc:ImageObject", {"fileProperty": "content"}),
    })  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A field of a record set: its type, where it is in the source, and what to do with that."""

    kind: str
    extract: Mapping[str, str]
    transform: Mapping[str, str] | None = None


def records(name: str, source: Mapping[str, Any], columns: Mapping[str, Column]) -> dict[str, Any]:
    """A record set of a file or a set of files."""
    where = "fileSet" if source["@type"] == "cr:FileSet" else "fileObject"
    fields = []
    for key, column in columns.items():
        found: dict[str, Any] = {where: {"@id": source["@id"]}, "extract": column.extract}
        if column.transform:
            found["transform"] = column.transform
        fields.append({
            "@type": "cr:Field", "@id": f"{name}/{key}", "name": key,
            "dataType": column.kind, "source": found,
        })  # fmt: skip
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields}
