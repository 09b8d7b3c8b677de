"""The one place where an error of the user's becomes one line on stderr and exit code 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from ..base.errors import FewShotError

EXIT_CODE = 2


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
