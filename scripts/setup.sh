# shellcheck shell=bash
# Sourced by ./run and ./test.

say() { printf '%s\n' "$*" >&2; }

# make_venv: makes .venv where there is none.
make_venv() {
  local python=${PYTHON:-python3}
  [ ! -x .venv/bin/python ] || return 0
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    say "Python 3.11 or newer is needed; PYTHON=/path/to/python3.11 $0 names one that is not the first on PATH."
    return 1
  }
  # Debian keeps what venv needs in a package of its own.
  if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
      apt-get update -qq
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
    else
      say "This Python cannot make virtual environments; on Debian: sudo apt-get install python3-venv"
      return 1
    fi
  fi
  say "Making .venv ..."
  "$python" -m venv .venv
}

# install WHAT PIP-ARGUMENTS...: calls pip, unless it did so for WHAT since pyproject.toml and the lock file changed.
install() {
  local stamp=.venv/installed-$1
  shift
  if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ] || [ requirements-dev.lock -nt "$stamp" ]; then
    say "Installing ..."
    .venv/bin/python -m pip install -q --disable-pip-version-check "$@"
    touch "$stamp"
  fi
}
