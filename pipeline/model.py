"""What specs and recipes are made of: strict immutable data, and one line about a fault in it."""

from __future__ import annotations

import difflib
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

Finite = Annotated[float, Field(allow_inf_nan=False)]
NonNegative = Annotated[float, Field(allow_inf_nan=False, ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
#: Of tuples, which JSON and YAML have as lists.
FromList = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)


class Frozen(BaseModel):
    """Immutable, strict about unknown keys and kinds: the base of specs and recipes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def first_fault(error: ValidationError, model: type[BaseModel]) -> str:
    """One line about the first fault of a validation: `$.path: what is wrong`.

    An unknown key is answered with the nearest known one. Faults in several alternatives of one
    value (a number, or a range, or ...) are joined with "or".
    """
    faults = error.errors(include_url=False)
    for fault in faults:
        if fault["type"] == "extra_forbidden":
            known = _known_keys(model, fault["loc"][:-1])
            key = str(fault["loc"][-1])
            if key not in known:
                return f"{_path(fault['loc'])}: unknown key{_nearest(key, known)}"
    # What a validator of ours says is nearer to the point than what other alternatives lack.
    ours = [fault for fault in faults if fault["type"] == "value_error"]
    first = (ours or faults)[0]
    path = _path(first["loc"])
    if not ours and any(
        "Normal" in str(fault["loc"]) for fault in faults if _path(fault["loc"]).startswith(path)
    ):
        expected = (
            "a number, [low, high], {mean, std, low, high}, {values: [...]} or {mix: [...]} is "
            "expected"
        )
        return f"{path}: {expected} (got {_shown(first['input'])})"
    here = [first] if ours else [fault for fault in faults if _path(fault["loc"]) == path]
    message = " or ".join(dict.fromkeys(fault["msg"] for fault in here))
    message = message.removeprefix("Value error, ")
    return f"{path}: {message[0].lower()}{message[1:]} (got {_shown(first['input'])})"


def _path(loc: tuple[int | str, ...]) -> str:
    """`$.camera.yaw_deg[0]` without the names pydantic gives to a union's alternatives."""
    text = "$"
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.isidentifier() and not part[0].isupper() and part not in _ALTERNATIVES:
            text += f".{part}"
        elif part[0].isdigit():
            text += f".{part}"
    return text


_ALTERNATIVES = frozenset({"float", "int", "str", "bool", "tuple", "list", "dict", "literal"})


def _known_keys(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Keys that may stand at `loc` below `model`, in any of the alternatives there."""
    models = [model]
    for part in loc:
        fields = [m.model_fields[part] for m in models if part in m.model_fields]
        if fields:
            models = [found for field in fields for found in _models_in(field.annotation)]
    return list(dict.fromkeys(key for m in models for key in m.model_fields))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    found: list[type[BaseModel]] = []
    for argument in getattr(annotation, "__args__", ()):
        found += _models_in(argument)
    return found


def _nearest(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if close:
        return f", did you mean '{close[0]}'?"
    return f"; known here: {', '.join(known)}" if known else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
