"""Options that several commands share, and the kinds of their values.

What belongs together reaches a command as one value: `assets` and `render`, not what they are
made of.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]
_DEVICES = ("auto", "cpu", "cuda", "optix", "hip", "oneapi", "metal")


class _Path(click.Path):
    """An absolute path, unless told with links and `..` resolved; '' is a slip, not this folder."""

    def __init__(self, resolve: bool = True) -> None:
        super().__init__(path_type=Path, resolve_path=resolve)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if value == "":
            self.fail("a path is expected, got ''", param, ctx)
        return Path(os.path.abspath(str(super().convert(value, param, ctx))))


class _Shard(click.ParamType):
    """I/N: two numbers with 1 <= I <= N."""

    name = "shard"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        number, slash, of = str(value).partition("/")
        if slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) <= 10**6:
            return int(number), int(of)
        self.fail(f"I/N with 1 <= I <= N is expected, such as 1/8, got {value!r}", param, ctx)


#: Before the example in a command's help.
EXAMPLE = "\b\nExample:\n  "

PATH = _Path()
#: A mesh's sidecar lies beside it, even where the mesh is a link.
MESH = _Path(resolve=False)
SHARD = _Shard()

device_option = click.option(
    "--device", type=click.Choice(_DEVICES), default="cpu", show_default=True,
    help="What Cycles computes on; only the CPU gives the same bits every time.",
)  # fmt: skip
threads_option = click.option(
    "--threads", type=click.IntRange(1, 1024), metavar="N",
    help="Threads of each worker  [default: all cores, shared among the workers]",
)  # fmt: skip
_INSTEAD = "in place of the built-in ones"
_FOLDERS = {
    "heads": f"Folder of meshes of heads, each with NAME.anchors.yaml, {_INSTEAD}.",
    "glasses": f"Folder of meshes of glasses, each with NAME.anchors.yaml, {_INSTEAD}.",
    "hdri": f"Folder of .hdr and .exr worlds, {_INSTEAD}.",
    "backgrounds": "Folder of .jpg, .png and .webp photos to stand behind the subject.",
}
_RENDER = (
    click.option("--size", type=click.IntRange(16, 8192), help="Width and height in pixels."),
    click.option("--spp", type=click.IntRange(1, 65536), help="Samples per pixel."),
    click.option("--denoise/--no-denoise", default=None, help="Denoise the RGB layers."),
)


def in_order(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """A decorator that adds options in the order in which they are to be listed."""
    return lambda command: functools.reduce(lambda so_far, add: add(so_far), options[::-1], command)


scene_options = in_order(
    click.option(
        "--scene", default="portrait", show_default=True, metavar="NAME|FILE",
        help="A scene's name or a recipe of your own.",
    ),
    click.option(
        "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True,
        help="The same seed draws the same samples.",
    ),
)  # fmt: skip
machine_options = in_order(threads_option, device_option)


def asset_options(command: Command) -> Command:
    """Folders of the user's, as `assets`: a `pipeline.jobs.AssetFolders`."""

    @functools.wraps(command)
    def packed(*args: Any, **given: Any) -> Any:
        # Takes longer to import than `--help` may.
        from pipeline.jobs import AssetFolders

        folders = {kind: given.pop(kind) for kind in _FOLDERS}
        return command(*args, assets=AssetFolders(**folders), **given)

    return in_order(
        *(
            click.option(f"--{kind}", type=PATH, metavar="DIR", help=told)
            for kind, told in _FOLDERS.items()
        )
    )(packed)


def render_options(command: Command) -> Command:
    """What is in place of a recipe's `render`, as `render`: None leaves what that says."""

    @functools.wraps(command)
    def packed(*args: Any, **given: Any) -> Any:
        render = {key: given.pop(key) for key in ("size", "spp", "denoise")}
        return command(*args, render=render, **given)

    return in_order(*_RENDER)(packed)
