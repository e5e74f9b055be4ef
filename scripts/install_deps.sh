#!/usr/bin/env bash
# Installs what the project needs: system packages with apt (Debian 12; written for Ubuntu 24.04 as
# well, not verified there), Python packages into .venv inside the project. It can be run again at
# any time and does only what is missing.
set -euo pipefail

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib_output.sh
source "$project/scripts/lib_output.sh"

usage() {
  cat <<'TEXT'
usage: scripts/install_deps.sh [--dev] [--no-python]
  --dev         also what contributors need: clang-format, clang-tidy, doxygen, shellcheck,
                Google Benchmark, on Debian chromium
  --no-python   only the system packages
  --help        this text
Root or sudo is needed only when a system package is missing. Settings of pip and proxies (PIP_*,
http_proxy, ...) are honoured. CLARA_PYTHON names the Python (3.10 to 3.13) that makes .venv.
Exit codes: 0 ok, 1 an installation failed, 2 usage, an unsuitable system, or system packages are
missing and neither root nor sudo is there to install them.
TEXT
}

with_dev=false
with_python=true
while (($#)); do
  case $1 in
    --dev) with_dev=true ;;
    --no-python) with_python=false ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; fail 2 "unknown option $1" ;;
  esac
  shift
done

# Names are the same on Debian 12 and Ubuntu 24.04 (there most are in the section "universe").
packages=(
  g++ cmake ninja-build ccache pkg-config git ca-certificates
  libyaml-cpp-dev nlohmann-json3-dev libcli11-dev
  libpcre2-dev libutf8proc-dev libsentencepiece-dev zlib1g-dev libxxhash-dev libgloo-dev libsimdjson-dev
  libcurl4-openssl-dev libfaiss-dev libblas-dev liblapack-dev
  libgtest-dev libgmock-dev
)
dev_packages=(clang-format clang-tidy doxygen shellcheck libbenchmark-dev)
# The browser that tests the report's page; Ubuntu has it as a snap alone.
if grep -qx 'ID=debian' /etc/os-release 2>/dev/null; then
  dev_packages+=(chromium)
fi
if $with_dev; then
  packages+=("${dev_packages[@]}")
fi

venv=$project/.venv
requirements=$project/scripts/requirements.txt
# pip 25.1 and later go on with a broken-off download instead of starting it again.
pip_version=25.3

# The program that a package is wanted for, where any installation of it will do.
program_of() {
  case $1 in
    ninja-build) printf 'ninja\n' ;;
    g++ | cmake | ccache | pkg-config | git) printf '%s\n' "$1" ;;
    clang-format | clang-tidy | doxygen | shellcheck | chromium) printf '%s\n' "$1" ;;
    *) return 1 ;;
  esac
}

is_installed() {
  local program
  if [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; then
    return 0
  fi
  program=$(program_of "$1") && command -v "$program" >/dev/null
}

# usable_python PYTHON: has the right version and can make a virtual environment with pip in it.
usable_python() {
  "$1" -c 'import sys, venv, ensurepip
sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
  local candidate
  if [[ -n ${CLARA_PYTHON:-} ]]; then
    usable_python "$CLARA_PYTHON" && printf '%s\n' "$CLARA_PYTHON"
    return
  fi
  for candidate in python3 python3.13 python3.12 python3.11 python3.10 /usr/bin/python3; do
    if command -v "$candidate" >/dev/null && usable_python "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

# Runs a command as root; call it only after can_become_root.
as_root() {
  if ((EUID == 0)); then
    "$@"
  else
    sudo "$@"
  fi
}

can_become_root() {
  if ((EUID == 0)); then
    return 0
  fi
  command -v sudo >/dev/null || return 1
  # Without a terminal nobody can type a password.
  [[ -t 0 ]] || sudo -n true 2>/dev/null
}

apt_options=(-o Acquire::Retries=5 -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)

apt_get() {
  local settings=(DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1) name
  # sudo drops these from the environment.
  for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    [[ -z ${!name:-} ]] || settings+=("$name=${!name}")
  done
  as_root env "${settings[@]}" apt-get "${apt_options[@]}" "$@" </dev/null
}

# attempt TIMES COMMAND...: repeats a command that fails, with growing pauses.
attempt() {
  local times=$1 round
  shift
  for ((round = 1; round <= times; ++round)); do
    if "$@"; then
      return 0
    fi
    if ((round < times)); then
      warn "failed (attempt $round of $times), trying again in $((round * 5)) s: $1"
      sleep $((round * 5))
    fi
  done
  return 1
}

install_system_packages() {
  local missing=() package
  for package in "${packages[@]}"; do
    is_installed "$package" || missing+=("$package")
  done
  if $with_python && [[ ! -x $venv/bin/python ]] && ! find_python >/dev/null; then
    if [[ -n ${CLARA_PYTHON:-} ]]; then
      fail 2 "CLARA_PYTHON=$CLARA_PYTHON: expected a Python 3.10 to 3.13 with venv and ensurepip"
    fi
    missing+=(python3 python3-venv)
  fi
  if ((${#missing[@]} == 0)); then
    say "system packages: all ${#packages[@]} are installed"
    return
  fi

  if ! command -v apt-get >/dev/null; then
    fail 2 "this system has no apt-get. Install what these Debian packages provide, then run" \
      "this again: ${missing[*]}"
  fi
  if ! can_become_root; then
    fail 2 "${#missing[@]} system packages are missing, and neither root nor sudo is there to" \
      "install them. Have an administrator run this, then run scripts/install_deps.sh again:"$'\n' \
      " apt-get update && apt-get install --no-install-recommends ${missing[*]}"
  fi

  say "system packages: installing ${#missing[@]}: ${missing[*]}"
  # A broken source that none of these packages comes from must not stop the installation: whether
  # the packages can be had decides.
  attempt 3 apt_get update -q || warn "apt-get update failed; trying with the lists that are there"
  attempt 3 apt_get install -q -y --no-install-recommends "${missing[@]}" ||
    fail 1 "apt-get could not install: ${missing[*]}. Its messages are above (on Ubuntu the" \
      "section universe must be enabled)"
}

check_version() {
  local what=$1 wanted=$2 found=$3
  if [[ $(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1) != "$wanted" ]]; then
    fail 2 "$what: expected $wanted or later, found $found (Debian 12 is new enough)"
  fi
}

check_tools() {
  check_version cmake 3.25 "$(cmake --version | awk 'NR == 1 { print $3 }')"
  check_version g++ 12 "$(g++ -dumpfullversion)"
}

# Prints the pins that .venv does not hold; none is left when it prints nothing.
missing_pins() {
  local code=0
  "$venv/bin/python" "$project/scripts/check_python_packages.py" "$requirements" || code=$?
  ((code <= 1)) || fail 1 "$requirements could not be compared with .venv"
}

make_venv() {
  local python
  if [[ -x $venv/bin/python ]] && usable_python "$venv/bin/python"; then
    return
  fi
  python=$(find_python) || fail 2 "expected a Python 3.10 to 3.13 with venv and ensurepip, found" \
    "$(python3 --version 2>&1 || true). Install one, or name one with CLARA_PYTHON"
  say "Python packages: making .venv with $("$python" --version) ($python)"
  "$python" -m venv --clear "$venv"
}

pip_install() {
  PIP_DISABLE_PIP_VERSION_CHECK=1 "$venv/bin/python" -m pip install --no-input --no-deps \
    --only-binary :all: --no-compile --retries 10 "$@" </dev/null
}

# Package names as pip compares them.
normalised() { tr 'A-Z_.' 'a-z--'; }

# remove_remains PIN...: other versions and damaged installations of what is about to be installed.
# pip cannot uninstall what it was stopped in the middle of; new files then replace the old ones.
remove_remains() {
  local present pin name
  present=$("$venv/bin/python" -m pip list --format=freeze | sed 's/[=@ ].*//' | normalised)
  for pin in "$@"; do
    name=$(normalised <<<"${pin%%==*}")
    if grep -qxF -- "$name" <<<"$present"; then
      "$venv/bin/python" -m pip uninstall --yes --quiet "$name" </dev/null ||
        warn "the remains of $name are overwritten"
    fi
  done
}

install_pins() {
  attempt 3 pip_install --ignore-installed "$@" ||
    fail 1 "pip could not install $*; check the network and pip's settings, then run this again"
}

install_python_packages() {
  local missing pins=() small=() large=() pin needed_mb=300 free_mb
  make_venv
  missing=$(missing_pins)
  if [[ -z $missing ]]; then
    say "Python packages: all that scripts/requirements.txt names are in .venv"
    return
  fi
  mapfile -t pins <<<"$missing"

  # torch by itself: once it is there, a failure of another package does not load it again.
  for pin in "${pins[@]}"; do
    if [[ $pin == torch==* ]]; then
      large+=("$pin")
      needed_mb=2500
    else
      small+=("$pin")
    fi
  done
  free_mb=$(df -Pm "$project" | awk 'NR == 2 { print $4 }')
  ((free_mb >= needed_mb)) ||
    fail 1 "$project: $needed_mb MB of free disk space are needed, $free_mb MB are left"

  say "Python packages: installing ${#pins[@]} into .venv: ${pins[*]}"
  if ((${#large[@]})); then
    say "(about 640 MB are downloaded, 531 MB of them torch, and take 1.6 GB on disk)"
  fi
  if [[ $("$venv/bin/python" -m pip --version | awk '{ print $2 }') != "$pip_version" ]]; then
    attempt 3 pip_install --quiet "pip==$pip_version" ||
      fail 1 "pip could not be updated; check the network and pip's settings"
  fi
  remove_remains "${pins[@]}"
  if ((${#large[@]})); then install_pins "${large[@]}"; fi
  if ((${#small[@]})); then install_pins "${small[@]}"; fi

  missing=$(missing_pins)
  [[ -z $missing ]] ||
    fail 1 "still missing or damaged: ${missing//$'\n'/ }; delete $venv and run this again"
}

check_libtorch() {
  local torch_folder unresolved version
  torch_folder=$("$venv/bin/python" -c \
    'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])')
  unresolved=$(ldd "$torch_folder/lib/libtorch_cpu.so" | awk '/not found/ { print $1 }' | sort -u)
  [[ -z $unresolved ]] || fail 1 "libtorch_cpu.so is installed, but not what it needs: $unresolved"
  version=$(sed -n "s/^__version__ = '\(.*\)'/\1/p" "$torch_folder/version.py")
  say "LibTorch $version: installed, and all that libtorch_cpu.so needs is found"
}

if [[ $(uname -s)-$(uname -m) != Linux-x86_64 ]]; then
  fail 2 "expected Linux on x86_64 (what scripts/requirements.txt pins), found $(uname -s -m)"
fi
if [[ -r /etc/os-release ]]; then
  # shellcheck source=/dev/null
  system=$(source /etc/os-release && printf '%s %s' "${ID:-?}" "${VERSION_ID:-?}")
  case $system in
    'debian 12') ;;
    *) warn "this is $system; verified is Debian 12 only (written for Ubuntu 24.04 as well)" ;;
  esac
fi
install_system_packages
check_tools
if $with_python; then
  install_python_packages
  check_libtorch
fi
say "everything is installed ($SECONDS s)"
