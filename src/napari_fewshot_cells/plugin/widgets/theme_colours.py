"""Our own colours, adapted to napari's theme so that they are readable on light and dark backgrounds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from napari.utils.theme import get_theme
from qtpy.QtGui import QColor

READABLE = 4.5
"""Contrast of small text on its background that WCAG AA requires."""

_DONE, _WARNING, _ERROR, _LINE = "#3a9d5d", "#c98a1b", "#c8443c", "#4482e0"
_HINT_CONTRAST = 5.0  # small print: weaker than text (13 and more), but easy to read


@dataclass(frozen=True)
class Colours:
    """Colours as ``#rrggbb``: napari's text and background, small print, three kinds of message, lines."""

    text: str
    ground: str
    hint: str
    done: str
    warning: str
    error: str
    line: str


def colours_of(theme: str) -> Colours:
    """The colours for a napari theme, including custom themes."""
    napari = get_theme(theme)
    text, ground, table = (
        QColor(*colour.as_rgb_tuple(alpha=False)).name()
        for colour in (napari.text, napari.background, napari.foreground)
    )
    return Colours(
        text=text,
        ground=ground,
        hint=readable(_between(text, ground, 0.5), ground, text, _HINT_CONTRAST),
        done=readable(_DONE, table, text),
        warning=readable(_WARNING, table, text),
        error=readable(_ERROR, table, text),
        line=readable(_LINE, ground, text, 3.0),
    )


def style_sheet(colours: Colours) -> str:
    """The style sheet of the panel and its dialogs."""
    return f"""
QLabel#hint, QPushButton#subheading {{ color: {colours.hint}; }}
QLabel#guide {{ background: rgba(68, 130, 224, 50); border-radius: 4px; }}
QPushButton#heading, QPushButton#subheading {{
    text-align: left; background: transparent; border: none; padding: 2px 0px; margin: 0px;
}}
QPushButton#heading {{ font-weight: bold; color: {colours.text}; }}
QPushButton#heading:hover, QPushButton#subheading:hover {{ background: rgba(128, 128, 128, 50); }}
QPushButton#primary {{
    background: #2f6fd0; color: white; font-weight: bold; padding: 9px 6px; border-radius: 4px;
}}
QPushButton#primary:hover {{ background: #3a78d6; }}
QPushButton#primary:pressed {{ background: #245ab0; }}
QPushButton#primary:disabled {{ background: rgba(128, 128, 128, 50); color: {colours.hint}; }}
"""


def contrast(one: str, other: str) -> float:
    """WCAG contrast of two colours: 1 for equal colours, 21 for black and white."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@lru_cache
def readable(colour: str, ground: str, text: str, least: float = READABLE) -> str:
    """The colour, moved towards the text colour only as far as its contrast to the ground requires."""
    steps = (_between(colour, text, part / 20) for part in range(20))
    return next((step for step in steps if contrast(step, ground) >= least), text)


def _between(one: str, other: str, part: float) -> str:
    pairs = zip(_channels(one), _channels(other), strict=True)
    return QColor(*(round(a + part * (b - a)) for a, b in pairs)).name()


def _channels(colour: str) -> tuple[int, int, int]:
    parsed = QColor(colour)
    return parsed.red(), parsed.green(), parsed.blue()


def _luminance(colour: str) -> float:
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (value / 255 for value in _channels(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
