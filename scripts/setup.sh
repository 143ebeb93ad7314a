# Sourced by ./run and ./test: makes .venv, once; and again after pyproject.toml or the lock file has changed.

say() { printf '%s\n' "$*" >&2; }

# make_venv STAMP PIP-ARGUMENTS...: the environment holds what the arguments install; STAMP remembers that it does.
make_venv() {
  local stamp=.venv/$1 python=${PYTHON:-python3}
  shift
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    say "Python 3.11 or newer is needed; PYTHON=/path/to/python3.11 $0 names one that is not the first on PATH."
    return 1
  }
  if [ ! -x .venv/bin/python ]; then
    # Debian keeps venv in a package of its own.
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
      if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
      else
        say "This Python cannot make virtual environments; on Debian: sudo apt-get install python3-venv"
        return 1
      fi
    fi
    say "Making .venv ..."
    "$python" -m venv .venv
  fi
  if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ] || [ requirements-dev.lock -nt "$stamp" ]; then
    say "Installing ..."
    local arguments
    # "then" separates one call of pip from the next.
    while [ $# -gt 0 ]; do
      arguments=()
      while [ $# -gt 0 ] && [ "$1" != then ]; do arguments+=("$1"); shift; done
      [ $# -eq 0 ] || shift
      .venv/bin/python -m pip install -q --disable-pip-version-check "${arguments[@]}"
    done
    touch "$stamp"
  fi
}
