#!/usr/bin/env bash
# Run a command on a virtual screen where there is xvfb-run (Linux), else on the screen there is.
# Qt's "offscreen" platform will not do: the canvas is drawn by OpenGL.
set -euo pipefail
if command -v xvfb-run >/dev/null; then
    exec env -u WAYLAND_DISPLAY QT_QPA_PLATFORM=xcb xvfb-run -a -s "-screen 0 1400x900x24" "$@"
fi
exec "$@"
