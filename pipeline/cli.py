"""The command line `eyeglass`: its commands, in the order in which they are told."""

from __future__ import annotations

import click

from pipeline import __version__
from pipeline.commands import datasets, making, meshes
from pipeline.exits import guarded


def main() -> None:
    """Entry point. A user's mistake is one line on standard error and exit status 2."""
    guarded(lambda: commands.main(standalone_mode=False))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="eyeglass")
def commands() -> None:
    """Synthetic training data for eyeglasses.

    The same face with and without glasses, with and without their shadow, and exact masks.

    \b
    Example:
      eyeglass generate --count 4 --out portraits
    """


for _command in (
    making.generate,
    making.preview,
    making.plan,
    making.merge,
    making.status,
    making.render,
    meshes.fit,
    meshes.annotate,
    meshes.assets,
    datasets.export,
    datasets.check,
    datasets.report,
    making.bench,
):
    commands.add_command(_command)


if __name__ == "__main__":
    main()
