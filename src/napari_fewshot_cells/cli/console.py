"""How a console command ends: one line on stderr and an exit code, for wrong usage and Ctrl-C too."""

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
"""What shells use for a program ended by Ctrl-C."""

EXIT_CODE = 2
"""Of wrong input and wrong usage."""
# Newer typer carries its own copy of click, older typer uses the common one: this is right with both.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def run(app: typer.Typer, name: str) -> NoReturn:
    """Run a command line and exit.

    Parameters
    ----------
    app : typer.Typer
    name : str
        Of the command, for usage messages.
    """
    _hush_the_decoders()
    limit_openmp_spinning()
    try:
        result = app(prog_name=name, standalone_mode=False)
    except _UsageError as error:
        message = " ".join(str(error.format_message()).split())  # type: ignore[attr-defined]
        typer.echo(f"error: {message} Try '{name} --help'.", err=True)
        sys.exit(EXIT_CODE)
    except OSError as error:  # a file of the user's that may not be read, a drive that is gone
        typer.echo(f"error: {error.filename or 'file system'}: {error.strerror or error}.", err=True)
        sys.exit(EXIT_CODE)
    except KeyboardInterrupt:  # only while modules are imported; see `stoppable`
        sys.exit(STOPPED)
    sys.exit(result if isinstance(result, int) else 0)


def _hush_the_decoders() -> None:
    """Keep what Pillow and tifffile mutter about damaged files off stderr: our one line says it."""
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

    Any other exception is a fault of ours and passes through unchanged.
    """
    try:
        yield
    except FewShotError as error:
        line = " ".join(str(error).split())  # a path or a library's text may hold line breaks
        typer.echo(f"error: {line}", err=True)
        raise typer.Exit(EXIT_CODE) from None
