#!/usr/bin/env bash
# Run a command on a virtual screen if xvfb-run is installed (Linux), else on the real screen.
# Qt's "offscreen" platform will not do, because the canvas is drawn with OpenGL.
set -euo pipefail
if command -v xvfb-run >/dev/null; then
    exec env -u WAYLAND_DISPLAY QT_QPA_PLATFORM=xcb xvfb-run -a -s "-screen 0 1400x900x24" "$@"
fi
exec "$@"
