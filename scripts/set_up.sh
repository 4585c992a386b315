#!/usr/bin/env bash
# Make .venv with everything Genba needs: `make` calls this once, and again when pyproject.toml or constraints.txt change.
#
#   PYTHON=python3.12       which interpreter to make the environment from (3.11 or newer)
#   TORCH_INDEX=URL         where to take torch from, e.g. https://download.pytorch.org/whl/cpu for the small CPU build
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\033[1m[set-up]\033[0m %s\n' "$*"; }
stop() { printf '[set-up] %s\n' "$*" >&2; exit 1; }

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
    if command -v "$candidate" >/dev/null && is_new_enough "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  stop "no Python 3.11 or newer found (looked for: ${PYTHON:-python3.11 python3.12 python3.13 python3}; python3 is" \
    "$(python3 --version 2>&1 || echo absent)). Install one (Debian 12, Ubuntu 24.04: apt install python3" \
    "python3-venv) or name it: make PYTHON=/path/to/python3.11"
}

# --- what pip cannot install
python="$(find_python)"
missing_packages="$("$python" scripts/system_libraries.py)"
if [ -n "$missing_packages" ]; then
  # shellcheck disable=SC2086
  set -- $missing_packages
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "the simulators need system packages, installing with apt-get: $*"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } \
      >/dev/null || say "apt-get failed; going on without: rendering or SUMO may not start"
  else
    say "system packages are missing that rendering and SUMO need. Install them with:"
    say "    sudo apt-get install -y $*"
    say "going on without: what needs them will say so"
  fi
fi

# --- the environment
if [ -e .venv ] && ! .venv/bin/python -c '' 2>/dev/null; then
  stop ".venv exists but its Python does not start; remove it (rm -r .venv) and run make again"
fi
if [ ! -e .venv ]; then
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    stop "$python cannot make environments. Install its venv package (Debian, Ubuntu: apt install python3-venv)"
  say "making .venv with $python ($("$python" --version))"
  "$python" -m venv .venv
fi
is_new_enough .venv/bin/python || stop ".venv has $(.venv/bin/python --version), 3.11 or newer is needed; remove it and run make again"

# Torch first and alone: it is the largest by far, and its version decides what else fits.
torch="$(grep '^torch==' constraints.txt)"
say "installing $torch (the largest part; TORCH_INDEX=https://download.pytorch.org/whl/cpu takes the small CPU build)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} \
  -c constraints.txt "$torch"
say "installing Genba and the other packages at the versions of constraints.txt"
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'

# Compiled here, so that the first episode does not wait for it: numba keeps what it compiles beside the code.
say "compiling the simulators' inner loops, once (about half a minute)"
for first in "vehicle/intersection@1 gap" "factory/shortage@1 search_in_deadline"; do
  # shellcheck disable=SC2086
  set -- $first
  .venv/bin/genba bench run "$1" --policy "$2" --episodes 1 --workers 0 >/dev/null 2>.venv/first.log ||
    say "$1 does not start here: $(tail -n 1 .venv/first.log)"
done
touch .venv/.set-up
say "ready: .venv/bin/genba"
