"""Ends console commands, after wrong usage and Ctrl-C too, with one line on stderr and an exit code."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from ..base.errors import FewShotError
from ..base.host_process import limit_openmp_spinning

STOPPED = 130
"""Exit code after Ctrl-C, as in shells."""

WRONG_INPUT = 2
"""Exit code for wrong input and wrong usage."""
# New versions of typer bundle click, old ones import it: this base class is right for both.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def run(app: typer.Typer, name: str) -> NoReturn:
    """Run a command line, then exit.

    Parameters
    ----------
    app : typer.Typer
    name : str
        Name of the command, for usage messages.
    """
    _silence_decoders()
    limit_openmp_spinning()
    try:
        result = app(prog_name=name, standalone_mode=False)
    except _UsageError as error:
        message = " ".join(str(error.format_message()).split())  # type: ignore[attr-defined]
        typer.echo(f"error: {message} Try '{name} --help'.", err=True)
        sys.exit(WRONG_INPUT)
    except OSError as error:  # an unreadable file, a drive that was removed
        typer.echo(f"error: {error.filename or 'file system'}: {error.strerror or error}.", err=True)
        sys.exit(WRONG_INPUT)
    except KeyboardInterrupt:  # during imports only; later, `stoppable` handles it
        sys.exit(STOPPED)
    sys.exit(result if isinstance(result, int) else 0)


def _silence_decoders() -> None:
    """Silence Pillow and tifffile about damaged files: our one line reports them."""
    warnings.filterwarnings("ignore", module=r"(PIL|tifffile|imageio|skimage)\b")
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)


@contextmanager
def stoppable(consequence: str) -> Iterator[None]:
    """Turn Ctrl-C into one line on stderr, ``stopped: consequence``, and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"stopped: {consequence}", err=True)
        raise typer.Exit(STOPPED) from None


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn a `FewShotError` into ``error: ...`` on stderr and exit code 2.

    Works as a context manager and, because of `contextlib`, as a decorator below ``@app.command()``::

        @app.command()
        @one_line_errors()
        def predict(...): ...

    Any other exception is a bug and passes through unchanged.
    """
    try:
        yield
    except FewShotError as error:
        line = " ".join(str(error).split())  # a path or a library's message may contain line breaks
        typer.echo(f"error: {line}", err=True)
        raise typer.Exit(WRONG_INPUT) from None
