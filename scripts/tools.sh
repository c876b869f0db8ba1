# shellcheck shell=sh disable=SC2154  # root and cache come from ./fulmar
# What the builds need from the machine: found, installed by the platform's package manager, or named exactly.
# Sourced by ./fulmar, which provides say, die, root and cache.

rust_minimum=1.89

have() { command -v "$1" >/dev/null 2>&1; }

manager() {
    for m in apt-get dnf pacman apk brew; do
        if have "$m"; then
            echo "$m"
            return
        fi
    done
}

# packages_for NEED: this platform's names.
packages_for() {
    case "$(manager)/$1" in
    apt-get/c) echo gcc g++ libc6-dev ;;
    apt-get/libclang) echo clang libclang-dev ;;
    apt-get/rust) echo rustc cargo ;;
    dnf/c) echo gcc gcc-c++ ;;
    dnf/libclang) echo clang clang-devel ;;
    dnf/rust) echo rust cargo ;;
    pacman/c) echo gcc ;;
    pacman/libclang) echo clang ;;
    apk/c) echo build-base linux-headers ;;
    apk/libclang) echo clang clang-dev ;;
    apk/rust) echo rust cargo ;;
    brew/c | brew/libclang) echo llvm ;;
    # What the package "zookeeper" needs to run, without that package's desktop Java.
    apt-get/zookeeper) echo libzookeeper-java default-jre-headless ;;
    brew/zookeeper) echo zookeeper ;;
    */ccache) echo ccache ;;
    */shellcheck) case $(manager) in dnf) echo ShellCheck ;; *) echo shellcheck ;; esac ;;
    */rust) echo rust ;;
    esac
}

# install_command PACKAGES…: what to type on this platform, without the rights.
install_command() {
    case $(manager) in
    apt-get) echo "apt-get install -y --no-install-recommends $*" ;;
    dnf) echo "dnf install -y $*" ;;
    pacman) echo "pacman -S --needed --noconfirm $*" ;;
    apk) echo "apk add $*" ;;
    brew) echo "brew install $*" ;;
    *) return 1 ;;
    esac
}

# with_rights COMMAND…: runs it as root, or as it is for brew; its output is not the program's.
with_rights() {
    if [ "$(manager)" = brew ] || [ "$(id -u)" = 0 ]; then
        DEBIAN_FRONTEND=noninteractive "$@" >&2
    else
        sudo -n env DEBIAN_FRONTEND=noninteractive "$@" >&2
    fi
}

may_install() {
    [ "${FULMAR_INSTALL:-yes}" != no ] && [ -n "$(manager)" ] || return 1
    [ "$(manager)" = brew ] || [ "$(id -u)" = 0 ] || { have sudo && sudo -n true 2>/dev/null; }
}

# try_install PACKAGES…: fails when it may not or cannot.
try_install() {
    may_install || return 1
    say "installing $* ($(manager))"
    case $(manager) in
    apt-get)
        set -- apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"
        # Package lists may be missing or old: fetch them only if the packages are not found without.
        with_rights "$@" || { with_rights apt-get -qq -o DPkg::Lock::Timeout=300 update && with_rights "$@"; }
        ;;
    dnf) with_rights dnf -q install -y "$@" ;;
    pacman) with_rights pacman -S --needed --noconfirm "$@" ;;
    apk) with_rights apk add --quiet "$@" ;;
    brew) with_rights brew install --quiet "$@" ;;
    esac
}

# need WHAT PACKAGES…: installs them, or says what to type and ends.
need() {
    what=$1
    shift
    if [ -n "$*" ] && try_install "$@"; then return; fi
    if command=$(install_command "$@"); then
        [ "$(manager)" = brew ] || [ "$(id -u)" = 0 ] || command="sudo $command"
        die 69 "$what is missing and could not be installed; packages: $*" "install it with: $command" \
            "then run this again"
    fi
    die 69 "$what is missing, and this platform's package manager is not known here" \
        "install a C and C++ compiler (C++20), libclang with its headers, and Rust $rust_minimum or newer, then run this again"
}

# rust_new_enough: is `rustc` there and of the minimum version?
rust_new_enough() {
    have rustc && have cargo || return 1
    version=$(rustc --version 2>/dev/null) || return 1
    version=${version#rustc }
    major=${version%%.*}
    minor=${version#*.}
    minor=${minor%%.*}
    [ "$major" -gt "${rust_minimum%%.*}" ] || [ "$minor" -ge "${rust_minimum#*.}" ]
}

# Toolchains come from the platform if it has a new enough one. rustup is never run behind the user's back.
need_rust() {
    if rust_new_enough; then return; fi
    if [ -x "${CARGO_HOME:-${HOME:-}/.cargo}/bin/cargo" ]; then
        PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
        if rust_new_enough; then return; fi
    fi
    found="none is installed"
    have rustc && found="found: $(rustc --version 2>&1 | head -n 1)"
    if ! have rustup && platform_rust_new_enough; then
        # shellcheck disable=SC2046  # a list of words
        try_install $(packages_for rust) || true
        hash -r
        if rust_new_enough; then return; fi
    fi
    if have rustup; then
        die 69 "Rust $rust_minimum or newer is needed ($found)" \
            "install it with: rustup toolchain install stable && rustup default stable" "then run this again"
    fi
    die 69 "Rust $rust_minimum or newer is needed ($found), and this platform's packages have no such version here" \
        "install rustup (https://rustup.rs, or your platform's package \"rustup\")" \
        "then type: rustup toolchain install stable && rustup default stable" "then run this again"
}

# Debian and its relatives keep one version for years: ask before installing an old one for nothing.
platform_rust_new_enough() {
    [ "$(manager)" = apt-get ] || return 0
    candidate=$(apt-cache policy rustc 2>/dev/null | sed -n 's/^ *Candidate: //p')
    candidate=${candidate#*:}
    case $candidate in
    1.*) ;;
    *) return 1 ;;
    esac
    minor=${candidate#1.}
    [ "${minor%%.*}" -ge "${rust_minimum#*.}" ]
}

need_c() {
    if { have cc || have gcc || have clang; } && { have c++ || have g++ || have clang++; }; then return; fi
    # shellcheck disable=SC2046  # a list of words
    need "a C and C++ compiler" $(packages_for c)
}

# bindgen loads libclang when it reads RocksDB's C header.
libclang_found() {
    for folder in "${LIBCLANG_PATH:-}" /usr/lib/llvm-*/lib /usr/lib/llvm*/lib /usr/lib64/llvm*/lib /usr/lib /usr/lib64 \
        /usr/lib/*-linux-gnu /usr/local/lib /Library/Developer/CommandLineTools/usr/lib \
        /Applications/Xcode.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/lib; do
        for file in "$folder"/libclang.so* "$folder"/libclang-*.so* "$folder"/libclang.dylib; do
            [ -e "$file" ] && return
        done
    done
    # Homebrew keeps its own out of the way; bindgen must be told.
    for folder in /opt/homebrew/opt/llvm/lib /usr/local/opt/llvm/lib /home/linuxbrew/.linuxbrew/opt/llvm/lib; do
        if [ -e "$folder/libclang.dylib" ] || [ -e "$folder/libclang.so" ]; then
            export LIBCLANG_PATH="$folder"
            return
        fi
    done
    return 1
}

need_libclang() {
    if libclang_found; then return; fi
    # shellcheck disable=SC2046  # a list of words
    need "libclang" $(packages_for libclang)
    libclang_found || say "libclang is still not found; set LIBCLANG_PATH to its folder if the build says so"
}

# zookeeper_found: sets zookeeper_classpath, the one place that knows where ZooKeeper's jars are.
zookeeper_found() {
    for bin in "${JAVA_HOME:-/none}/bin" /opt/homebrew/opt/openjdk/bin /usr/local/opt/openjdk/bin \
        /home/linuxbrew/.linuxbrew/opt/openjdk/bin; do
        # macOS has a program of this name that only says where to get one.
        if java -version >/dev/null 2>&1; then break; fi
        if [ -x "$bin/java" ]; then PATH=$bin:$PATH; fi
    done
    java -version >/dev/null 2>&1 || return 1
    zookeeper_classpath=${FULMAR_ZOOKEEPER_CLASSPATH:-}
    [ -z "$zookeeper_classpath" ] || return 0
    # The manifest of Debian's names the other jars it needs, but for those that log and that speak TLS.
    jars=/usr/share/java
    if [ -e "$jars/zookeeper.jar" ]; then
        zookeeper_classpath=$jars/zookeeper.jar:$jars/slf4j-simple.jar:$jars/netty-codec.jar
        return
    fi
    for jars in /opt/homebrew/opt/zookeeper/libexec/lib /usr/local/opt/zookeeper/libexec/lib \
        /home/linuxbrew/.linuxbrew/opt/zookeeper/libexec/lib; do
        if [ -d "$jars" ]; then
            zookeeper_classpath="$jars/*"
            return
        fi
    done
    return 1
}

# The tests of a power loss trace a run; where nothing can be traced they say that they are left out.
want_strace() {
    if have strace || [ "$(uname -s)" != Linux ]; then return; fi
    try_install strace || say "strace is not there: the tests of a power loss are left out"
}

need_zookeeper() {
    if zookeeper_found; then return; fi
    packages=$(packages_for zookeeper)
    if [ -n "${FULMAR_ZOOKEEPER_CLASSPATH:-}" ]; then
        die 69 "ZooKeeper's jars are named by FULMAR_ZOOKEEPER_CLASSPATH, but there is no Java to run them" \
            "install a Java 11 or newer, then run this again"
    elif [ -z "$packages" ]; then
        die 69 "ZooKeeper is missing, and this platform has no package of it" \
            "unpack a release from https://zookeeper.apache.org, install a Java 11 or newer, and name the release's jars:" \
            "export FULMAR_ZOOKEEPER_CLASSPATH='/where/it/is/lib/*'" "then run this again"
    fi
    # shellcheck disable=SC2086  # a list of words
    need "ZooKeeper (a Java program)" $packages
    zookeeper_found || die 69 "ZooKeeper was installed ($packages) but its jars are not found" \
        "name them by FULMAR_ZOOKEEPER_CLASSPATH, with a java in PATH, then run this again"
}

# trim_cache: objects of clones that are long gone would fill the disk; registry crates are compiled again in minutes.
trim_cache() {
    limit=$((${FULMAR_CACHE_GIB:-20} * 1024 * 1024))
    [ "$(cache_size)" -gt "$limit" ] || return 0
    # Most of it is what incremental builds keep for each clone.
    rm -rf "$cache"/build/*/incremental
    [ "$(cache_size)" -gt "$limit" ] || return 0
    say "$cache/build is larger than ${FULMAR_CACHE_GIB:-20} GiB (FULMAR_CACHE_GIB): emptied, it fills again"
    mv "$cache/build" "$cache/build.old.$$" && rm -rf "$cache"/build.old.*
}

# cache_size: KiB of what was built.
cache_size() {
    size=$(du -sk "$cache/build" 2>/dev/null | cut -f 1)
    echo "${size:-0}"
}
