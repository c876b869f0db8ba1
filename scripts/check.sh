# shellcheck shell=sh disable=SC2154  # root and cache come from ./fulmar
# Everything but the tests that a change must pass. Sourced by ./fulmar; after scripts/tools.sh.

deny_version=0.20.2

step() { say "check: $*"; }

check_all() {
    cd "$root" || die 1 "cannot go to $root"
    { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1 ||
        die 69 "rustfmt and clippy are missing" \
            "install them with: rustup component add rustfmt clippy (or your platform's packages)" "then run this again"

    step "Cargo.lock is up to date"
    cargo metadata --locked --format-version 1 >/dev/null ||
        die 1 "Cargo.lock does not fit the manifests: run cargo check and commit it"
    step "format"
    cargo fmt --all --check || die 1 "run: cargo fmt --all"
    check_lengths
    check_scripts
    check_arrows
    step "lints"
    cargo clippy --locked --workspace --all-targets -- -D warnings
    step "lints, without RocksDB"
    cargo clippy --locked -p fulmar-state -p fulmar-coordinator -p fulmar --no-default-features --all-targets -- -D warnings
    # The workspace has every feature on; whoever takes the coordinator alone has not.
    step "lints, the coordinator on ZooKeeper alone"
    cargo clippy --locked -p fulmar-coordinator --features zookeeper,testing --all-targets -- -D warnings
    cargo clippy --locked -p fulmar-coordinator --features zookeeper-tls --all-targets -- -D warnings
    step "documentation"
    RUSTDOCFLAGS="${RUSTDOCFLAGS:-} -Dwarnings" cargo doc --locked --workspace --no-deps
    check_deny
    say "check: all passed"
}

# Files one can read in one go (STYLE: split by 500).
check_lengths() {
    step "no source file over 500 lines"
    long=$(find state coordinator engine examples property-tests docs -name target -prune -o -name '*.rs' -print |
        while read -r file; do
            lines=$(wc -l <"$file")
            [ "$lines" -le 500 ] || echo "$file has $((lines)) lines"
        done)
    [ -z "$long" ] || die 1 "$long" "split what is longer than 500 lines"
}

check_scripts() {
    step "scripts"
    for script in fulmar scripts/*.sh; do sh -n "$script"; done
    # shellcheck disable=SC2046  # a list of words
    if have shellcheck || try_install $(packages_for shellcheck); then
        shellcheck -x fulmar scripts/*.sh .ci/run
    else
        say "check: shellcheck is not there and was left out"
    fi
}

# crates_of PACKAGE[/FEATURES]: sets `tree` to all that it depends on, with its default features and FEATURES.
crates_of() {
    case $1 in
    */*) tree=$(cargo tree --locked -q -p "${1%%/*}" --features "${1#*/}" -e normal --prefix none --format '{p}') ;;
    *) tree=$(cargo tree --locked -q -p "$1" -e normal --prefix none --format '{p}') ;;
    esac
    tree=$(printf '%s\n' "$tree" | sed 's/ .*//' | sort -u)
    [ -n "$tree" ] || die 1 "cargo tree says nothing about $1"
}

# no_arrow PACKAGE[/FEATURES] CRATE…: PACKAGE must not depend on any CRATE.
no_arrow() {
    package=$1
    shift
    crates_of "$package"
    for crate in "$@"; do
        if printf '%s\n' "$tree" | grep -qx "$crate"; then
            die 1 "$package must not depend on $crate (layers: state <- coordinator <- engine <- examples)"
        fi
    done
}

check_arrows() {
    step "crate arrows"
    no_arrow fulmar-state fulmar-coordinator fulmar fulmar-examples fulmar-property-tests fulmar-docs tokio
    no_arrow fulmar-coordinator rocksdb librocksdb-sys fulmar fulmar-examples fulmar-property-tests fulmar-docs tokio \
        zookeeper-client rustls
    # Whoever wants the election and the lock alone compiles no store and, without TLS, no cryptography.
    no_arrow fulmar-coordinator/zookeeper rocksdb librocksdb-sys fulmar rustls aws-lc-rs aws-lc-sys
    no_arrow fulmar-coordinator/zookeeper-tls rocksdb librocksdb-sys fulmar
    no_arrow fulmar fulmar-examples fulmar-property-tests fulmar-docs
}

check_deny() {
    deny=$(command -v cargo-deny || true)
    if [ -z "$deny" ]; then
        deny=$cache/tools/bin/cargo-deny
        if [ "$("$deny" --version 2>/dev/null)" != "cargo-deny $deny_version" ]; then
            say "building cargo-deny $deny_version, once for this machine: about three minutes on two cores"
            # Beside our own objects, not among them: it shares no crate with us.
            (
                unset CARGO_BUILD_BUILD_DIR
                cd "$cache" || exit
                cargo install --quiet --locked cargo-deny --version "$deny_version" --root "$cache/tools" --force
            )
        fi
    fi
    step "licences, bans, sources"
    # The advisory database comes over the network and changes by itself: it belongs in a scheduled run, not in a check.
    "$deny" --log-level error check --hide-inclusion-graph bans licenses sources
}
