"""How a command ends: its exit status, and one line for what went wrong."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

import click

from pipeline.errors import EyeglassError


def guarded(action: Callable[[], object]) -> NoReturn:
    """Runs an action and exits: with the status it returns, or with a line for what it raises.

    SIGINT and SIGTERM interrupt it, which ends in status 130; a second one ends it at once.
    """
    # OpenCV prints what it thinks of a broken file; we say it in one line.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        status = action()
    except click.exceptions.Abort:
        leave(130, "Interrupted.")
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(0)
    except click.ClickException as error:
        leave(2, f"Error: {' '.join(error.format_message().split())}")
    except EyeglassError as error:
        leave(2, f"Error: {' '.join(str(error).split())}")
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        where = error.filename or "standard output"
        leave(2, f"Error: {where}: {error.strerror or type(error).__name__}")
    except KeyboardInterrupt:
        leave(130, "Interrupted.")
    else:
        sys.exit(status if isinstance(status, int) else 0)


def _interrupt(number: int, frame: object) -> NoReturn:
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, _leave_at_once)
    raise KeyboardInterrupt


def _leave_at_once(number: int, frame: object) -> NoReturn:
    os._exit(130)


def leave(status: int, message: str) -> NoReturn:
    """Ends the program with a line on standard error."""
    click.echo(message, err=True)
    sys.exit(status)
