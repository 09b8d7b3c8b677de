"""Why an action is disabled, in words for the user; None if it is enabled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..layers.planes import shows_channels
from .session import CANCELLING, FINE_TUNING, FINISHING

if TYPE_CHECKING:
    from .session import Session


def reason_new_annotation_disabled(session: Session) -> str | None:
    """Why the chosen image cannot get a new annotation layer."""
    if session.image is None:
        return "Open an image first."
    if session.annotation is not None:
        return (
            f"'{session.image.name}' already has an annotation layer. To make another, choose 'none' first."
        )
    return None


def reason_brush_disabled(session: Session) -> str | None:
    """Why nothing can be painted on the chosen image."""
    if session.image is None:
        return "Open an image first."
    if session.annotation is None:
        return "Make a new annotation layer first, or choose one."
    return reason_display_disabled(session)


def reason_whole_image_disabled(session: Session) -> str | None:
    """Why *Whole image annotated* cannot be set for the chosen image."""
    return None if session.annotation is not None else "Make a new annotation layer first, or choose one."


def reason_fine_tune_disabled(session: Session) -> str | None:
    """Why no training can start."""
    if not session.annotations.images:
        return "Open an image first."
    if not session.annotations.items():
        return "Make a new annotation layer and paint a few cells and some background first."
    if session.start is None and not session.loading:
        return "There is no network to start from. Install napari-fewshot-cells again."
    return reason_running(session) or reason_display_disabled(session)


def reason_keep_disabled(session: Session) -> str | None:
    """Why no training can be stopped and kept."""
    if session.running == FINISHING:
        return "Stopping after the current step."
    return None if session.running == FINE_TUNING else "No training is running."


def reason_cancel_disabled(session: Session) -> str | None:
    """Why nothing can be cancelled."""
    if session.running == CANCELLING:
        return "Stopping after the current step."
    return None if session.busy else "Nothing is running."


def reason_predict_disabled(session: Session) -> str | None:
    """Why nothing can be predicted in the viewer."""
    if session.image is None:
        return "Open an image first."
    if session.model is None:
        return "Fine-tune first, or choose one of your models."
    return reason_running(session) or reason_display_disabled(session)


def reason_batch_disabled(session: Session) -> str | None:
    """Why no folder can be predicted now."""
    if session.model is None:
        return "Fine-tune first, or choose one of your models."
    return reason_running(session)


def reason_continue_disabled(session: Session) -> str | None:
    """Why training cannot continue from the last model."""
    return None if session.model else "Fine-tune first, or choose one of your models."


def reason_running(session: Session) -> str | None:
    """Why no job can start."""
    if session.busy:
        return f"Wait until {session.running} is done, or press Cancel."
    return "Wait a moment: PyTorch is loading." if session.loading else None


def reason_display_disabled(session: Session) -> str | None:
    """Why the viewer shows no plane to work on."""
    if session.viewer.dims.ndisplay == 3:
        return "The viewer shows 3-D. Switch to 2-D with the cube below the layer list."
    if session.image is not None and shows_channels(session.image, session.viewer.dims):
        return (
            f"The viewer shows the channels of '{session.image.name}' as rows or columns. "
            "Press the roll button below the layer list until it shows the image."
        )
    return None
