# Shared by scripts/check, scripts/test and scripts/demo; sourced, with CHECKOUT set. Needs bash.
#
# Makes a virtual environment, installing what is missing on a fresh Debian or Ubuntu machine when run as root.

PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
# what is made here must be readable for the unprivileged user that PostgreSQL runs as
umask 022

if [ -z "${BARMAN_TEST_CACHE:-}" ]; then
    if [ "$(id -u)" = 0 ]; then
        BARMAN_TEST_CACHE=/var/cache/barman-test
    else
        BARMAN_TEST_CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/barman-test"
    fi
fi
export BARMAN_TEST_CACHE

say() { printf '== %s\n' "$*" >&2; }
die() { printf 'ERROR: %s\n' "$*" >&2; exit 1; }

# Whether every user can reach $1.
is_open_to_all() {
    local step
    step="$(readlink -f "$1")"
    while [ "$step" != / ]; do
        [ -d "$step" ] && [ -z "$(find "$step" -maxdepth 0 -perm -0001)" ] && return 1
        step="$(dirname "$step")"
    done
    return 0
}

# Whether $1 is a Python that can make virtual environments and that the unprivileged user can run, too.
is_usable_python() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1 || return 1
    [ "$(id -u)" != 0 ] || is_open_to_all "$("$1" -c 'import os, sys; print(os.path.realpath(sys.executable))')"
}

find_python() {
    local candidate
    for candidate in ${BARMAN_TEST_PYTHON:-} python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        if command -v "$candidate" >/dev/null && is_usable_python "$candidate"; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

# apt_install PACKAGE...: as root, without questions; fails quietly where there is no apt.
apt_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    say "installing $*"
    apt-get update -q >/dev/null 2>&1 || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >/dev/null 2>&1
}

# Other users must be able to read the checkout; where they cannot, or where nothing can be written, go on in a copy.
# Sets CHECKOUT.
open_checkout() {
    local copy="$BARMAN_TEST_CACHE/checkout"
    if [ -w "$CHECKOUT" ] && { [ "$(id -u)" != 0 ] || is_readable_by_all "$CHECKOUT"; }; then
        return
    fi
    say "other users cannot read $CHECKOUT: going on in the copy $copy"
    rm -rf "$copy"
    mkdir -p "$copy"
    tar -C "$CHECKOUT" --exclude=./.git --exclude=./.venv -cf - . | tar -C "$copy" --no-same-owner -xf -
    chmod -R a+rX "$copy"
    CHECKOUT="$copy"
}

is_readable_by_all() {
    is_open_to_all "$1" && [ -z "$(find "$1/barman" "$1/tests" ! -perm -0004 -print -quit)" ]
}

# make_environment NAME EXTRAS: a virtual environment in the cache with this checkout installed; sets PYTHON.
# It is kept, and brought up to date when the project's requirements have changed.
make_environment() {
    local base="$BARMAN_TEST_CACHE/$1" python mark
    python="$(find_python)" || {
        apt_install python3 python3-venv ca-certificates || true
        python="$(find_python)" || die "no Python >= 3.10 with venv and ensurepip here; on Debian and Ubuntu: apt-get install python3 python3-venv"
    }
    mkdir -p "$base"
    PYTHON="$base/bin/python"
    mark="$CHECKOUT $2 $("$python" -V) $(cksum < "$CHECKOUT/pyproject.toml")"
    [ "$(cat "$base/made-for" 2>/dev/null)" = "$mark" ] && is_usable_python "$PYTHON" && return
    say "making the Python environment $base"
    "$python" -m venv --clear "$base"
    # compat: the checkout is a line in a .pth file; the finder that is made otherwise would double the start of every program
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
        --config-settings editable_mode=compat -e "$CHECKOUT$2" || die "the Python packages could not be installed"
    printf '%s\n' "$mark" > "$base/made-for"
}
