"""The kinds of message that the panel shows, and its text when nothing runs."""

from __future__ import annotations

INFO, DONE, WARNING, ERROR = "info", "done", "warning", "error"

IDLE = "Nothing is running"
