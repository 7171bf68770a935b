# SPDX-License-Identifier: Apache-2.0
# Sourced by ./demo and ./check: installs what is missing on Debian 12, configures, builds.
# Needs: $top (the checkout).  Leaves: $build with the programs, and the link ./cab.

packages="gcc g++ make autoconf automake pkg-config python3 python3-venv
    llvm-22-dev libprotobuf-c-dev protobuf-c-compiler libopenblas-dev libjansson-dev libssl-dev
    libjpeg62-turbo-dev libevent-dev libnghttp2-dev libsqlite3-dev libseccomp-dev zlib1g-dev
    curl openssl"

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }

# Name of a package's files may be there without the package (other systems):
# only what dpkg does not know is installed.
install_packages() {
    missing=
    for p in $packages; do
        dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
    done
    [ -z "$missing" ] && return 0
    say "installing with apt:$missing"
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq &&
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# build_in DIR CONFIGURE-FLAGS...
build_in() {
    dir=$1; shift
    mkdir -p "$dir"
    [ -x "$top/configure" ] && [ "$top/configure" -nt "$top/configure.ac" ] ||
        (cd "$top" && autoreconf -fi >"$dir/autoreconf.log" 2>&1) ||
        { cat "$dir/autoreconf.log" >&2; return 1; }
    [ -f "$dir/Makefile" ] && [ "$dir/Makefile" -nt "$top/configure" ] ||
        (cd "$dir" && "$top/configure" -q "$@") || return 1
    make -s -C "$dir" -j"$(nproc)" >"$dir/build.log" 2>&1 ||
        { grep -E 'error|warning|Error' "$dir/build.log" | head -30 >&2; return 1; }
}

setup() {
    install_packages || { say "apt could not install everything; see above"; return 1; }
    build=$top/build
    build_in "$build" || { say "the build failed: $build/build.log"; return 1; }
    ln -sf build/cab "$top/cab"
}
