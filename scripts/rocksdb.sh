# shellcheck shell=sh disable=SC2154  # root and cache come from ./fulmar
# RocksDB, compiled once per version, platform and flags into the cache; every build then links that archive.
# Sourced by ./fulmar, which provides say, die, root and cache; after scripts/tools.sh.

# The archive depends on all of this, and on nothing else that we know of.
rocksdb_inputs() {
    sed -n '/^rocksdb *=/p' "$root/Cargo.toml"
    sed -e '/^ *#/d' -e '/^ *$/d' "$root/.cargo/config.toml"
    for name in RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CC CXX CFLAGS CXXFLAGS ROCKSDB_CXX_STD; do
        eval "value=\${$name-}"
        # shellcheck disable=SC2154  # set by the line above
        [ -z "$value" ] || echo "$name=$value"
    done
}

rocksdb_folder() {
    version=$(sed -n '/^name = "librocksdb-sys"$/{n;s/^version = "\(.*\)"$/\1/p;}' "$root/Cargo.lock")
    [ -n "$version" ] || die 1 "Cargo.lock names no librocksdb-sys"
    host=$(rustc -vV | sed -n 's/^host: //p')
    sum=$(rocksdb_inputs | cksum | cut -d ' ' -f 1)
    echo "$cache/rocksdb/$version-$host-$sum"
}

# need_rocksdb: sets ROCKSDB_LIB_DIR and ROCKSDB_STATIC, building the archive if need be.
need_rocksdb() {
    if [ -n "${ROCKSDB_LIB_DIR:-}" ]; then
        [ -e "$ROCKSDB_LIB_DIR/librocksdb.a" ] || [ -n "${ROCKSDB_STATIC:-}" ] ||
            say "ROCKSDB_LIB_DIR has no librocksdb.a: linking a shared RocksDB from there"
        [ ! -e "$ROCKSDB_LIB_DIR/librocksdb.a" ] || export ROCKSDB_STATIC="${ROCKSDB_STATIC:-1}"
        export ROCKSDB_LIB_DIR
        return
    fi
    folder=$(rocksdb_folder)
    [ -f "$folder/lib/librocksdb.a" ] || build_rocksdb "$folder"
    export ROCKSDB_LIB_DIR="$folder/lib" ROCKSDB_STATIC=1
}

# Says now and then how far the compiler is; cargo itself is silent for the whole of it.
rocksdb_progress() {
    # The last sleep outlives the loop: it must not hold the launcher's output open.
    while sleep 30 >/dev/null 2>&1; do
        done_=$(find "$1" -name '*.o' -path '*librocksdb-sys*' 2>/dev/null | wc -l)
        say "RocksDB: $((done_)) of about 350 files compiled"
    done
}

# Two launchers at once: cargo's own lock on the build folder makes the second wait, and then it finds all done.
# Interrupted: with ccache, the next run takes up what was compiled; without, it begins again.
build_rocksdb() {
    cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
    have ccache || try_install ccache || say "without ccache an interrupted build of RocksDB begins again"
    say "building RocksDB, once for this machine: about $((26 / cores + 1)) minutes on $cores cores, seconds if ccache has it"
    work=$1.build
    mkdir -p "$work" "$1/lib"
    rocksdb_progress "$work" &
    progress=$!
    trap 'kill $progress 2>/dev/null' EXIT
    trap 'kill $progress 2>/dev/null; exit 130' INT
    trap 'kill $progress 2>/dev/null; exit 143' TERM
    status=0
    (
        cd "$root"
        if have ccache; then
            if have gcc && have g++; then
                export CC="ccache ${CC:-gcc}" CXX="ccache ${CXX:-g++}"
            else
                export CC="ccache ${CC:-cc}" CXX="ccache ${CXX:-c++}"
            fi
        fi
        unset CARGO_BUILD_BUILD_DIR ROCKSDB_STATIC
        # Debug information would make the archive ten times as large.
        export CARGO_PROFILE_RELEASE_DEBUG=false
        exec cargo build --release -p librocksdb-sys --target-dir "$work"
    ) || status=$?
    kill "$progress" 2>/dev/null || true
    trap - EXIT INT TERM
    [ "$status" = 0 ] || die "$status" "RocksDB could not be built; what was compiled is kept for the next try"
    archive=$(find "$work" -name librocksdb.a | head -n 1)
    [ -n "$archive" ] || die 1 "the build of RocksDB left no librocksdb.a under $work"
    # Renamed into place: a reader sees the whole archive or none.
    cp "$archive" "$1/lib/.librocksdb.a.$$"
    mv -f "$1/lib/.librocksdb.a.$$" "$1/lib/librocksdb.a"
    rocksdb_inputs >"$1/BUILT-WITH"
}
