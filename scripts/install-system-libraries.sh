#!/usr/bin/env bash
# Install the system libraries that Qt, OpenGL and a virtual screen need on Debian and Ubuntu.
# Returns at once if all are installed. On other systems it only prints what is needed.
set -euo pipefail

packages=(
    # loaded by Qt and the napari canvas
    libglib2.0-0 libegl1 libgl1 libxkbcommon0 libdbus-1-3 libfontconfig1
    libxcb-cursor0 libxkbcommon-x11-0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0
    # a virtual screen
    xvfb xauth
)
if ! command -v python3 >/dev/null; then
    packages+=(python3 python3-venv)
fi
# further packages, as arguments (the environment script asks for python3-venv if it is missing)
packages+=("$@")

if [ "$(uname -s)" != Linux ]; then
    exit 0  # macOS and Windows include what Qt needs
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "Not a Debian or Ubuntu system: nothing installed. If Qt does not start, use your package manager to" >&2
    echo "install the equivalents of these Debian packages: ${packages[*]}" >&2
    exit 0
fi

installed() {
    # Newer releases renamed some libraries with the suffix t64 (64-bit time).
    local status
    for name in "$1" "$1t64"; do
        status=$(dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null || true)
        if grep -qx installed <<<"$status"; then return 0; fi
    done
    return 1
}

missing=()
for package in "${packages[@]}"; do
    installed "$package" || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "System libraries are missing, and there is no sudo here. As root, run:" >&2
        echo "    apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "Installing system libraries: ${missing[*]}"
${as_root[@]+"${as_root[@]}"} apt-get update -qq
${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
