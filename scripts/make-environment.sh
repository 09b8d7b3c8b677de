#!/usr/bin/env bash
# Make the virtual environment .venv with everything needed to run, test and change the project.
# PYTHON=... chooses the interpreter (3.11 or newer).
set -euo pipefail
cd "$(dirname "$0")/.."

new_enough() {
    command -v "$1" >/dev/null && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

if [ ! -x .venv/bin/python ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if new_enough "$candidate"; then
            python=$candidate
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "Python 3.11 or newer is needed; none of these is new enough: ${PYTHON:-python3 python3.13 python3.12 python3.11}." >&2
        echo "Install one and run: make venv PYTHON=/path/to/python" >&2
        exit 1
    fi
    # Debian has venv in a separate package.
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        scripts/install-system-libraries.sh "python$version-venv"
    fi
    echo "Making the virtual environment .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi
pip=(.venv/bin/python -m pip --disable-pip-version-check)

# On Linux the plain torch of the package index brings gigabytes of CUDA. So the CPU build is requested by its full
# name, and no other can be installed instead. Elsewhere the plain one is the CPU (or Metal) build.
# An environment that already has a torch, perhaps with CUDA on purpose, keeps it.
if ! .venv/bin/python -c 'import importlib.metadata as m; m.version("torch")' 2>/dev/null; then
    torch="torch==2.13.0"
    if [ "$(uname -s)" = Linux ]; then
        torch="$torch+cpu"
    fi
    echo "Installing $torch (about 200 MB)"
    # First try the indexes configured on this machine; they answer quickly if they lack it.
    "${pip[@]}" install -qqq "$torch" 2>/dev/null ||
        "${pip[@]}" install -qq --retries 1 --timeout 10 \
            --extra-index-url https://download.pytorch.org/whl/cpu "$torch"
fi
echo "Installing napari-fewshot-cells and its dependencies"
"${pip[@]}" install -qq -e '.[test]'
