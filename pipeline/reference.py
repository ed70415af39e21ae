"""The README's command reference, from the commands themselves.

python -m pipeline.reference      writes it into the README of the checkout
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from pipeline.cli import commands
from pipeline.errors import EyeglassError

BEGIN, END = "<!-- commands:begin -->", "<!-- commands:end -->"
README = Path(__file__).resolve().parent.parent / "README.md"


def reference() -> str:
    """Markdown of all commands: a sentence, examples that run, and a table of what they take."""
    return "\n".join(_section(name, command) for name, command in commands.commands.items())


def examples(command: click.Command) -> list[str]:
    """The command lines that a command's help shows, as they would be typed."""
    text = f"{command.help or ''}\n{command.epilog or ''}"
    return [line.strip() for line in text.splitlines() if line.startswith("  eyeglass ")]


def sentences(command: click.Command) -> list[str]:
    """Paragraphs of a command's help, each on one line, without its examples."""
    text = inspect.cleandoc(command.help or "").partition("\b")[0]
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]


def with_reference(readme: str) -> str:
    """A README with the text between the two marks replaced by `reference()`.

    Raises EyeglassError if the marks are not there, once each and in order.
    """
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise EyeglassError(f"README.md: expected one line '{BEGIN}' and one line '{END}'")
    before, _, rest = readme.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise EyeglassError(f"README.md: '{BEGIN}' must stand before '{END}'")
    return f"{before}{BEGIN}\n\n{reference()}\n{END}{after}"


def main() -> None:
    """Writes the reference into the README of the checkout. Raises EyeglassError without one."""
    if not README.is_file():
        raise EyeglassError(f"{README}: no such file; an installed package has no README beside it")
    README.write_text(with_reference(README.read_text(encoding="utf-8")), encoding="utf-8")


def _section(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"eyeglass {name}")
    arguments = [p.make_metavar(context) for p in command.params if isinstance(p, click.Argument)]
    lines = [f"### `{' '.join([context.command_path, *arguments])}`", ""]
    for sentence in sentences(command):
        lines += [sentence, ""]
    lines += ["```sh", *examples(command), "```", ""]
    rows = list(_rows(command, context))
    if rows:
        lines += ["| option | meaning |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _rows(command: click.Command, context: click.Context) -> Iterator[str]:
    """What `--help` says of each option, as rows of a table."""
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record is not None:
            option, meaning = (" ".join(cell.split()).replace("|", "\\|") for cell in record)
            yield f"| `{option}` | {meaning} |"


if __name__ == "__main__":
    main()
