"""Reading YAML and JSON written by people: plain data, one-line errors, nothing that can unfold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import EyeglassError

#: Recipes, designs and sidecars are a page of text; anything larger is not one.
MAX_BYTES = 200_000
#: Lists and mappings inside one another; libyaml's composer would overflow its stack.
MAX_DEPTH = 100
#: libyaml's, where PyYAML was built with it: ten times as fast, and every command reads designs.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path, error: type[EyeglassError], max_bytes: int = MAX_BYTES) -> Any:
    """Plain data from a YAML file.

    Raises `error` with the path: unreadable, over `max_bytes`, broken, with aliases (a page of
    them can unfold to gigabytes), nested deeper than `MAX_DEPTH`, or with a key given twice.
    """
    return parse_yaml(read_text(path, max_bytes, error), str(path), error)


def parse_yaml(text: str, where: str, error: type[EyeglassError]) -> Any:
    """Plain data from YAML text, as `read_yaml`; `where` is named in errors."""
    try:
        _refuse_what_unfolds(text)
        return yaml.load(text, Loader=_PlainLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as fault:
        raise error(f"{where}: not valid YAML: {one_line(fault)}") from None


def read_json(path: Path, error: type[EyeglassError], max_bytes: int = MAX_BYTES) -> Any:
    """Plain data from a JSON file. Raises `error` with the path."""
    text = read_text(path, max_bytes, error)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise error(f"{path}: not valid JSON: {one_line(fault)}") from None


def read_text(path: Path, max_bytes: int, error: type[EyeglassError]) -> str:
    """UTF-8 text of a file of at most `max_bytes`. Raises `error` with the path."""
    try:
        with path.open("rb") as file:
            raw = file.read(max_bytes + 1)
        if len(raw) > max_bytes:
            raise error(f"{path}: larger than the {max_bytes} bytes that are read here")
        return raw.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        raise error(f"{path}: cannot be read: {one_line(fault)}") from None


def one_line(fault: BaseException) -> str:
    """An exception's message on one line, without the path that OSError repeats."""
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror
    return " ".join(str(fault).split()) or type(fault).__name__


def _refuse_what_unfolds(text: str) -> None:
    """Raises YAMLError for aliases and for deep nesting, before anything is composed."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"aliases are not allowed (line {_line(event)})")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise yaml.YAMLError(f"nested deeper than {MAX_DEPTH} levels (line {_line(event)})")


def _line(event_or_node: Any) -> int:
    return event_or_node.start_mark.line + 1


class _PlainLoader(_Loader):
    """A safe loader that refuses repeated keys."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for i, key in enumerate(keys) if key in keys[:i]), None)
        if twice is not None:
            raise yaml.YAMLError(f"key '{twice}' is given twice (mapping at line {_line(node)})")
        return super().construct_mapping(node, deep)
