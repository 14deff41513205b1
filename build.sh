#!/usr/bin/env bash
# build.sh: build, try, test and measure pilotfish.
#
#   ./build.sh run                     build it and run the main job on a small example that explains itself
#   ./build.sh test [NAME]             fetch the test servers, build the release binaries, run every test;
#                                      NAME: one file of tests/ (without .rs), or a part of a test's name
#   ./build.sh test-aarch64 [NAME...]  the tests with the aarch64 binary, under an emulator (some of it is part of
#                                      `test`); NAME: lib, the library's own, or a file of tests/ (without .rs)
#   ./build.sh build [x86_64|aarch64]  the release binary: target/dist/ARCH/pilotfish (x86_64 if not said)
#   ./build.sh check                   formatting, clippy and documentation, warnings are errors
#   ./build.sh size [N]                the binary's bytes against the limit, and where they are; fails if over;
#                                      N: the largest N functions too
#   ./build.sh image                   a container image: by docker, podman or buildah if one of them works,
#                                      else an OCI layout written by hand: target/dist/image and image.tar
#   ./build.sh bench [NAME]            the benchmarks of tests/bench
#   ./build.sh fuzz [TARGET [SECONDS]] the fuzz targets of tests/fuzz, guided by coverage, 60 seconds each if not said;
#                                      what they learn stays in target/fuzz/TARGET/corpus; an input that fails is
#                                      named. TARGET all: each of them. SECONDS 0: what is known once more, no search.
#                                      Needs a C++ compiler
#   ./build.sh servers [NAME...]       fetch the real servers the tests run against: target/servers
#                                      (Debian or Ubuntu packages, unpacked, nothing is installed, no root)
#   ./build.sh help                    this text
#
# Needs: a Debian or Ubuntu machine, bash, and rustup (https://rustup.rs) with a C compiler and openssl for tests. The
# toolchain of rust-toolchain.toml, its sources and the musl targets are added by rustup when missing; an emulator
# for aarch64 and the test servers come from the machine's own apt mirror. All of it is rerunnable, works from any
# folder, and writes under target/ only.
#
# A plain `cargo build` and `cargo test` work too; only the release recipe lives here. For rustls's cryptography out of ring
# in place of ours, which needs a C compiler: `cargo build --release --features ring`.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$root"
dist=$root/target/dist
# A folder of its own: the flags of the release recipe would make every plain `cargo build` start over.
release_dir=$root/target/release-build
# The whole file, nothing left out; the charter's limit.
limit=1000000
# What `run`, `test` and `bench` start; the release itself is the x86_64 file.
native=$(uname -m)

say() { printf 'build.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
usage() { sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "$root/build.sh"; }

# --- the toolchain ----------------------------------------------------------------------------------------------

need_rust() {
  [ -z "${rust_ready:-}" ] || return 0
  PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
  command -v rustup >/dev/null || die "rustup is not installed; see https://rustup.rs"
  channel=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml)
  if ! rustup run "$channel" rustc --version >/dev/null 2>&1; then
    say "installing Rust $channel"
    rustup toolchain install "$channel" --profile minimal -c rustfmt -c clippy -c rust-src >&2 ||
      die "rustup cannot install Rust $channel (is the network there?)"
  fi
  export RUSTUP_TOOLCHAIN=$channel
  sysroot=$(rustc --print sysroot)
  need_component rustfmt "$sysroot/bin/rustfmt"
  need_component clippy "$sysroot/bin/cargo-clippy"
  need_component rust-src "$sysroot/lib/rustlib/src/rust/library/std"
  need_target "$native"
  rust_ready=yes
}
need_component() { # NAME WHAT-IT-BRINGS
  [ -e "$2" ] && return
  say "adding $1"
  rustup component add --toolchain "$channel" "$1" >&2 || die "rustup cannot add the component $1 to Rust $channel"
}
need_target() { # ARCH; for the C library and start files of musl, which come with it
  [ -e "$sysroot/lib/rustlib/$1-unknown-linux-musl" ] && return
  say "adding the target $1-unknown-linux-musl"
  rustup target add --toolchain "$channel" "$1-unknown-linux-musl" >&2 ||
    die "rustup cannot add the target $1-unknown-linux-musl to Rust $channel"
}
need_cc() {
  command -v cc >/dev/null || die "a C compiler is not installed (tests are linked by cc): apt-get install gcc libc6-dev"
}
need_openssl() {
  command -v openssl >/dev/null || die "openssl is not installed (tests make certificates with it): apt-get install openssl"
}
# In CI a Cargo.lock that does not fit is an error; at a desk cargo may bring it up to date.
locked() { if [ -n "${CI:-}" ] && [ -e Cargo.lock ]; then echo --locked; fi; }

# --- the release recipe -------------------------------------------------------------------------------------------
# Why each flag is there (sizes: ureq + serde_json + upon in one program, x86_64, 370,192 bytes with all of them).
# The standard library is built anew with the program, without its backtrace printer and unwinder, for size.
# RUSTC_BOOTSTRAP lets the pinned stable compiler take the -Z flags: the compiler is the one that was tested.
release_flags=(
  -Zunstable-options
  -Cpanic=immediate-abort     # no panic message, no formatting for one; src/ has no panics, by lint
  -Zlocation-detail=none      # no file names and line numbers of panics
  -Zfmt-debug=none            # nothing is printed by Debug (clippy sees to it): 13,400 bytes less than `shallow`
  -Cforce-unwind-tables=no
  -Clinker=rust-lld           # comes with the toolchain: neither gcc nor a cross compiler is needed
  -Clinker-flavor=gnu-lld
  -Clink-self-contained=yes   # musl's libc.a and start files come with the target
  -Clink-arg=--icf=all        # functions with the same code become one
  -Clink-arg=--pack-dyn-relocs=relr
  -Clink-arg=--hash-style=gnu
  -Cllvm-args=-enable-machine-outliner=always # sequences of instructions that repeat become functions: 1.5 %
)
# What LLVM does for speed even where size is asked for, left undone, and its layout of blocks by size: 37,000 bytes of
# 738,720. Behind each, what the file is larger without it. All of them choose between equally correct code; a loop may
# compute a constant anew at each turn, or read it from the stack.
llvm_args=(
  apply-ext-tsp-for-size     # 8,000: blocks in the order that needs the fewest jumps
  disable-machine-licm       # 6,300: constants and addresses are not kept in registers (and these saved) for a loop's sake
  disable-constant-hoisting  # 2,200
  min-jump-table-entries=12  # 2,700: a match of fewer numbers is comparisons
  disable-lsr                # 1,900: no second counter beside a loop's own
  enable-load-pre=false      # 1,400: a load is not copied into other branches
  inline-max-stacksize=256   # 5,000: large frames stay apart, as offsets in small ones are short
  max-store-memcpy=2         # 4,000: what is larger than 32 bytes is copied by a call
  optsize-jump-table-density=75 # 1,000: few jump tables with gaps
  x86-disable-avoid-SFB      # 1,300: a copy is not cut up to suit stores before it
  sink-insts-to-avoid-spills # 1,200
  split-spill-mode=size      # 1,000
  tail-merge-size=2          # 600: the same last two instructions are shared, too
  opt-disable=gvn,licm,tailcallelim # 5,000: what is in a register once is read again where that is shorter
  inline-call-penalty=32     # 1,500: what takes little more room than its call
  disable-machine-cse        # 600
  max-store-memset=2         # 450: what is larger is cleared by a call
  disable-early-taildup      # 200: blocks are not copied in front of jumps
  enable-misched=false       # 100: instructions in the order they were made in repeat more often
)
# RUSTFLAGS stand in place of those of .cargo/config.toml, so they are said again.
mapfile -t backends < <(sed -n "s/^ *'\(--cfg=.*\)',\$/\1/p" .cargo/config.toml)
[ ${#backends[@]} -gt 0 ] || die "cannot read the --cfg lines of .cargo/config.toml"
release_flags+=("${backends[@]}")
for arg in "${llvm_args[@]}"; do release_flags+=("-Cllvm-args=-$arg"); done
# A static PIE with RELRO: a position-dependent file is 960 bytes smaller, one without RELRO 150; both are worth keeping in
# a program that reads from the network.
# Tried in vain:
# -Zinline-mir=no and no vectorizing (nothing), -Cllvm-args=-inline-threshold=0 (900).
# max-store-memcpy=1 gives 6,400 more and a render takes a tenth longer. -Zvirtual-function-elimination: rustc cannot read
# what it wrote. Of LLVM: newgvn, gvn-hoist, gvn-sink, ir-outliner, machine-outliner-reruns, sink-common-insts, x86-cmov-converter=false
# (200 bytes at most, or larger). enable-ipra gives 4,000, but has few users on x86.

build() { # ARCH
  local arch=${1:-x86_64} target spec
  case $arch in x86_64 | aarch64) ;; *) die "cannot build for '$arch': say x86_64 or aarch64" ;; esac
  need_rust
  need_target "$arch"
  target=$arch-unknown-linux-musl
  say "building pilotfish for $arch (a first build takes about a minute on two cores)"
  mkdir -p "$dist/$arch" "$release_dir"
  (
    unset CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET CARGO_BUILD_RUSTFLAGS
    export RUSTC_BOOTSTRAP=1 RUSTFLAGS="${release_flags[*]} --remap-path-prefix=$root=/pilotfish"
    export CARGO_TARGET_DIR=$release_dir
    spec=$target
    # For aarch64 rustc makes a static file position-dependent: its own description of the target with the one word that
    # x86_64's has. Cargo writes to a folder of the file's name, so nothing else is different.
    if [ "$arch" = aarch64 ]; then
      spec=$release_dir/$target.json
      rustc -Zunstable-options --print target-spec-json --target "$target" |
        sed 's/^  "\(position-independent-executables": true\)/&,\n  "static-\1/' >"$spec"
    fi
    # The linker's map says where each byte of this very file comes from: `size` reads it.
    # shellcheck disable=SC2046
    cargo rustc $(locked) --release --bin pilotfish --target "$spec" \
      -Zjson-target-spec -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size -- "-Clink-arg=-Map=$release_dir/$arch.map"
  ) || die "the $arch build failed"
  # The type in the ELF header (elf(5)), ET_DYN: the kernel chooses where it is loaded.
  [ "$(od -An -tu1 -j16 -N1 "$release_dir/$target/release/pilotfish")" -eq 3 ] || die "the $arch file is not position-independent"
  # Renamed into place: a test may be running the old one.
  cp "$release_dir/$target/release/pilotfish" "$dist/$arch/.pilotfish.new"
  mv "$dist/$arch/.pilotfish.new" "$dist/$arch/pilotfish"
  say "target/dist/$arch/pilotfish: $(stat -c %s "$dist/$arch/pilotfish") bytes"
}

check() {
  need_rust
  need_cc
  say "cargo fmt --check"
  cargo fmt --check || die "not formatted: run cargo fmt"
  say "cargo clippy"
  # shellcheck disable=SC2046
  cargo clippy $(locked) --all-targets -- -D warnings || die "clippy has something to say"
  # rustls's cryptography out of ring in place of ours must go on fitting; the release never has it.
  say "cargo check --features ring"
  # shellcheck disable=SC2046
  cargo check $(locked) --quiet --features ring || die "it does not compile with the feature ring"
  say "cargo doc"
  # shellcheck disable=SC2046
  RUSTDOCFLAGS="-D warnings" cargo doc $(locked) --no-deps --quiet || die "the documentation has warnings"
  say "check: all well"
}

size() {
  local file=$dist/x86_64/pilotfish bytes
  build x86_64
  bytes=$(stat -c %s "$file")
  size_report "$release_dir/x86_64.map" "${1:-0}"
  echo
  echo "pilotfish x86_64: $bytes bytes of $limit, $((limit - bytes)) left"
  [ "$bytes" -le "$limit" ] || die "the binary is $((bytes - limit)) bytes over the limit of $limit"
}

# Reads lld's map: one line per input section, `VMA LMA SIZE ALIGN FILE:(.text.SYMBOL)`, numbers in hex.
size_report() { # MAP N
  local demangle=cat
  if command -v c++filt >/dev/null; then demangle="c++filt"; fi
  awk '
    function hex(s,  i, v) { v = 0; s = tolower(s); for (i = 1; i <= length(s); i++) v = v * 16 + index("0123456789abcdef", substr(s, i, 1)) - 1; return v }
    NF == 5 && $5 ~ /^\.[a-z]/ { print "section", hex($3), "-", $5; out = $5; next }
    match($0, /:\(\..*\)$/) {
      sym = substr($0, RSTART + 2, RLENGTH - 3); file = $5; sub(/:\(.*/, "", file)
      if (out == ".text" || out == ".rodata" || out == ".data.rel.ro") {
        if (file ~ /libc-?[0-9a-z]*\.(a|rlib)\(/ ) file = "musl"
        else if (match(file, /lib[a-z_0-9]+-[0-9a-f]+\.rlib/)) { file = substr(file, RSTART + 3, RLENGTH - 3); sub(/-[0-9a-f]+\.rlib$/, "", file) }
        else file = "-"
        sub(/^\.(text|rodata)\.(unlikely\.|hot\.|cold\.|cst[0-9]*)?/, "", sym)
        print out, hex($3), file, sym
      }
    }' "$1" | $demangle | sed 's/\[[0-9a-f]*\]//g' | awk '
    # The crate a symbol belongs to: of `<T as Trait>::f` the type, unless that is a bare letter, then the trait.
    function crate(s,  t) {
      if (s ~ /^</) {
        t = s; sub(/^<+/, "", t); sub(/^(&|mut |\*const |\*mut |\[|\(|dyn )+/, "", t); sub(/^<+/, "", t)
        if (t ~ /^[A-Z][A-Za-z]* as / || t ~ /^[a-z0-9]+ as / || t !~ /^[a-z_0-9]+::/) { if (match(s, / as /)) t = substr(s, RSTART + 4); sub(/^<+/, "", t) }
        s = t
      }
      if (match(s, /^[a-z_][a-z_0-9]*::/)) return substr(s, 1, RLENGTH - 2)
      return "(other)"
    }
    $1 == "section" { section[$4] += $2; next }
    {
      n = $2; o = $1; file = $3; $1 = $2 = $3 = ""; sub(/^ +/, ""); s = $0
      if (o != ".text") next
      print 4, n, s
      c = crate(s)
      if (c == "(other)" && file != "-") c = file
      bytes[c] += n
      if (c == "pilotfish") {
        room[match(s, /pilotfish::[a-z_0-9]+::/) ? substr(s, RSTART + 11, RLENGTH - 13) : "main"] += n
      }
    }
    END {
      for (k in section) if (section[k] >= 200) printf "1 %9d %s\n", section[k], k
      for (k in bytes) if (bytes[k] >= 200) printf "2 %9d %s\n", bytes[k], k
      for (k in room) printf "3 %9d %s\n", room[k], k
    }' | sort -k1,1n -k2,2nr | awk -v top="$2" '
    $1 == 4 && ++functions > top { next }
    $1 != last { print (NR > 1 ? "\n" : "") ($1 == 1 ? "bytes by section (in memory)" : $1 == 2 ? "code by crate" : $1 == 3 ? "code of pilotfish by room" : "largest functions"); last = $1 }
    { n = $2; $1 = $2 = ""; sub(/^ +/, ""); printf "%9d  %s\n", n, $0 }'
}
# --- tests and benchmarks -----------------------------------------------------------------------------------------

servers() { "$root/tests/servers.sh" "$@" || die "the test servers could not be fetched (see above)"; }

# What the tests are told: the release binary is what they start, and where the servers are.
test_env() {
  export PILOTFISH_BIN=$dist/$native/pilotfish PILOTFISH_SERVERS=${PILOTFISH_SERVERS:-$root/target/servers}
}

# Everything that is tested with the release binary, with aarch64's under an emulator instead. What is there natively
# stays so: the test harness, the servers, the app. The library's own tests are built for aarch64 as a whole, of the
# release's instructions, as most of them need no other process: cryptography above all.
emulated=$root/target/emulated
emulator() {
  local qemu version
  [ -z "${emulator_ready:-}" ] || return 0
  if ! qemu=$(command -v qemu-aarch64-static); then
    servers qemu
    qemu=${PILOTFISH_SERVERS:-$root/target/servers}/bin/qemu
  fi
  build aarch64
  rm -rf "$emulated"
  mkdir -p "$emulated/bin" "$emulated/lib"
  # By pilotfish's name, which is then the process's as well.
  cp "$qemu" "$emulated/lib/pilotfish"
  cp "$dist/aarch64/pilotfish" "$emulated/lib/aarch64"
  PILOTFISH_EMULATOR=$emulated/lib/pilotfish PILOTFISH_PROGRAM=$emulated/lib/aarch64 \
    rustc --edition 2024 --target "$native-unknown-linux-musl" -O -Cpanic=abort -Cstrip=symbols \
    -o "$emulated/bin/pilotfish" tests/apps/emulated.rs || die "what starts the emulator could not be built"
  # Said to link and run only after it ran.
  version=$("$emulated/bin/pilotfish" --version) || die "the aarch64 binary does not run"
  say "aarch64 under qemu: $version"
  emulator_ready=yes
}

# Tests whose code is this processor's, with the aarch64 binary: FILE of tests/.
test_emulated() { # FILE
  local name skip=()
  for name in $(beyond_emulator "$1"); do skip+=(--skip "$name"); done
  (
    export PILOTFISH_BIN=$emulated/bin/pilotfish PILOTFISH_EMULATED=$emulated/lib
    # shellcheck disable=SC2046
    cargo test $(locked) --no-fail-fast --test "$1" -- --exact "${skip[@]}"
  )
}

# Tests whose code is aarch64's: the crate's own, or of a file of tests/ that calls the library.
test_aarch64_code() { # WHAT-OF-CARGO-TEST... [-- PART-OF-A-NAME...]
  local flags=() flag name skip=()
  # All of the release's flags but those that take panics away, which is how a test fails.
  for flag in "${release_flags[@]}"; do
    case $flag in -Cpanic=* | -Zlocation-detail=* | -Zfmt-debug=* | -Cforce-unwind-tables=*) ;; *) flags+=("$flag") ;; esac
  done
  if [ "$1" = --lib ]; then
    for name in $(beyond_emulator lib); do skip+=(--skip "$name"); done
  fi
  [[ " $* " == *" -- "* ]] || set -- "$@" --
  (
    unset CARGO_ENCODED_RUSTFLAGS RUSTFLAGS CARGO_BUILD_TARGET CARGO_BUILD_RUSTFLAGS
    export RUSTC_BOOTSTRAP=1 CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="${flags[*]}"
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER=$emulated/lib/pilotfish
    # In parts, on all processors: the whole program at once is what the release binary is.
    export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
    # shellcheck disable=SC2046
    cargo test $(locked) --release --target aarch64-unknown-linux-musl "$@" "${skip[@]}"
  )
}

# What the emulator cannot do, and what says nothing about a processor and takes minutes under one: FILE TEST REASON. Prints the
# tests of one FILE.
beyond_emulator() { # FILE
  awk -v file="$1" '$1 == file { print $2 }' <<'LIST'
supervision the_stop_signal_is_the_one_asked_for a real-time signal: qemu gives the program's another number outside
supervision world::a_start_without_room_for_a_process_is_said_and_tried_again qemu starts a thread, which there is no room for
confd one_failing_reload_loses_no_other_and_daemons_it_started_live_on qemu refuses to make the program a subreaper: it is one from its start, and so here too, where it is not to be one
coreos the_article_word_for_word the process is to be called confd: an emulated one has the name of the emulator's file
etcd_faults without_a_majority_the_last_good_file_stays a young app in sigwait(3) is known by the number of the system call, which is the other processor's for a native app: it is told five seconds later
lib state::tests::every_short_sequence_keeps_the_invariants pure decisions, all sequences of them: minutes
LIST
}

test_aarch64() { # [NAME]
  local name failed=() begin
  [ "$native" = x86_64 ] || die "on $native ./build.sh test is this already"
  need_rust
  need_cc
  need_openssl
  servers
  test_env
  emulator
  if [ $# -eq 0 ]; then
    # Those that start pilotfish, and those that are made of it.
    # shellcheck disable=SC2046
    set -- lib tls_crypto http_beside_ureq $(grep -lE 'pilotfish\(\)|pilotfish_bin\(\)|^mod kv;|PILOTFISH_BIN' tests/*.rs |
      sed 's,.*/,,; s,\.rs$,,')
  fi
  for name; do
    begin=$SECONDS
    case $name in
      lib) test_aarch64_code --lib ;;
      tls_crypto | http_beside_ureq) test_aarch64_code --test "$name" ;;
      *)
        [ -e "tests/$name.rs" ] || die "there are no tests called '$name': say lib or a file of tests/ (without .rs)"
        test_emulated "$name"
        ;;
    esac || failed+=("$name")
    say "aarch64: $name took $((SECONDS - begin)) s"
  done
  [ ${#failed[@]} -eq 0 ] || die "tests failed on aarch64: ${failed[*]}"
}

# The part of it that is done with each `test`: handshakes of the release binary. All of it would be half an hour more.
smoke_aarch64() {
  emulator
  test_emulated tls_doors || die "a test failed with the aarch64 binary"
}

run_tests() { # [NAME]
  need_rust
  need_cc
  need_openssl
  servers
  build "$native"
  test_env
  if [ $# -eq 0 ]; then
    [ "$("$PILOTFISH_BIN" --version | wc -l)" = 1 ] || die "the binary does not say its version"
    [ "$native" = aarch64 ] || smoke_aarch64
  fi
  say "cargo test"
  # shellcheck disable=SC2046
  if [ $# -gt 0 ] && [ -e "tests/$1.rs" ]; then
    cargo test $(locked) --test "$1" || die "a test failed"
  else
    cargo test $(locked) --no-fail-fast -- "$@" || die "a test failed"
  fi
}

bench() { # [NAME]
  local name
  need_rust
  need_cc
  servers consul tini
  build "$native"
  test_env
  [ -n "$(ls tests/bench/*.rs 2>/dev/null)" ] || die "there is no benchmark in tests/bench"
  for name in "${@:-}"; do
    # shellcheck disable=SC2046,SC2086
    cargo bench $(locked) ${name:+--bench $name} $([ -n "$name" ] || echo --benches) || die "a benchmark failed"
  done
}

# --- fuzzing ------------------------------------------------------------------------------------------------------

fuzz_targets=(go_template upon_template erb_template functions toml yaml json json5 regex http tls tls_keys)

fuzz() { # [TARGET [SECONDS]]
  local out=$root/target/fuzz name=${1:-all} seconds=${2:-60} failed=()
  [[ $seconds =~ ^[0-9]+$ ]] || die "cannot fuzz for '$seconds': say a number of seconds"
  [ "$name" = all ] || [[ " ${fuzz_targets[*]} " == *" $name "* ]] ||
    die "there is no fuzz target '$name': say all or one of ${fuzz_targets[*]}"
  [ "$native" = x86_64 ] || die "the fuzz targets are built for x86_64 only"
  need_rust
  need_cc
  command -v c++ >/dev/null || die "there is no C++ compiler: apt-get install g++"
  say "building the fuzz targets"
  # Counters for the fuzzer; assertions and overflow checks come with the crate's own profile. Only code for the target
  # is built with these flags: build scripts have nobody to count for.
  (
    unset CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET CARGO_BUILD_RUSTFLAGS
    export CARGO_TARGET_DIR=$out/build
    export RUSTFLAGS="${backends[*]} --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
      -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
    # shellcheck disable=SC2046
    cargo build $(locked) --quiet --release --manifest-path tests/fuzz/Cargo.toml --target x86_64-unknown-linux-gnu --bins
  ) || die "the fuzz targets could not be built"
  [ "$name" = all ] && set -- "${fuzz_targets[@]}" || set -- "$name"
  for name; do fuzz_one "$name" "$seconds" || failed+=("$name"); done
  [ ${#failed[@]} -eq 0 ] || die "fuzzing failed: ${failed[*]} (see above)"
}

fuzz_one() { # TARGET SECONDS
  local out=$root/target/fuzz home=$root/target/fuzz/$1 dict=$root/tests/fuzz/dict/$1 limit=(-max_total_time="$2") code=0 input
  mkdir -p "$home/corpus" "$home/seeds"
  rm -f "$home"/crash-* "$home"/timeout-* "$home"/oom-*
  [ "$2" -gt 0 ] || limit=(-runs=0)
  say "fuzzing $1 for $2 s: target/fuzz/$1/log"
  PILOTFISH_FUZZ_SEEDS=$home/seeds "$out/build/x86_64-unknown-linux-gnu/release/$1" "$home/corpus" "$home/seeds" \
    "tests/fuzz/seeds/$1" "${limit[@]}" -timeout=10 -rss_limit_mb=0 -max_len=4096 -artifact_prefix="$home/" \
    -print_final_stats=1 $([ ! -e "$dict" ] || echo "-dict=$dict") >"$home/log" 2>&1 || code=$?
  awk -v target="$1" '/^#[0-9]+.* cov: / { for (i = 1; i < NF; i++) { if ($i == "cov:") cov = $(i + 1); if ($i == "corp:") corpus = $(i + 1) } }
    /^stat::number_of_executed_units/ { n = $2 }
    END { sub("/.*", "", corpus); printf "%s: %d executions, %d places in the code reached, %d inputs kept\n", target, n, cov, corpus }' "$home/log"
  [ "$code" -ne 0 ] || return 0
  grep -a -A4 -m1 -E "panicked|ERROR: libFuzzer|cannot" "$home/log" >&2 || tail -20 "$home/log" >&2
  input=$(ls "$home"/crash-* "$home"/timeout-* "$home"/oom-* 2>/dev/null | head -1)
  say "$1 failed on ${input:-no input: see its log}"
  [ -z "$input" ] || say "again: PILOTFISH_FUZZ_SHOW=1 $out/build/x86_64-unknown-linux-gnu/release/$1 $input"
  return 1
}

# --- the main job, shown ------------------------------------------------------------------------------------------

# Prints what pilotfish and the app say until a line holds PATTERN; each line has to come within the deadline.
expect() { # PATTERN SECONDS
  local line
  while IFS= read -r -t "$2" line <&3; do
    printf '  | %s\n' "$line"
    [[ $line != *"$1"* ]] || return 0
  done
  die "run: no line with '$1' came within $2 seconds; this is as far as it got"
}
step() { printf '\n%s\n' "$*"; }
# Also when a step failed: TERM first, so that the app goes too.
end_run() { # HOME
  if [ -n "${pilotfish_pid:-}" ] && kill -TERM "$pilotfish_pid" 2>/dev/null; then
    timeout 12 tail --pid="$pilotfish_pid" -f /dev/null || kill -KILL "$pilotfish_pid" 2>/dev/null || true
  fi
  rm -rf "$1"
}

run() {
  local home pid line code=0
  build "$native"
  home=$(mktemp -d)
  # shellcheck disable=SC2064
  trap "end_run '$home'" EXIT
  mkdir -p "$home/keys/upstreams"
  printf 'Hello' >"$home/keys/greeting"
  printf '8080' >"$home/keys/port"
  printf '10.0.0.1:80' >"$home/keys/upstreams/1"
  printf '10.0.0.2:80' >"$home/keys/upstreams/2"
  cat >"$home/app.conf.upon" <<'TEMPLATE'
greeting = {{ getv("/greeting") }}
listen = {{ getv("/port") }}
{% for server in getvs("/upstreams/*") -%}
upstream = {{ server }}
{% endfor -%}
TEMPLATE

  step "1. A folder of keys is the source (Consul would do the same: --source consul://127.0.0.1:8500):"
  (cd "$home/keys" && grep -r . . | LC_ALL=C sort | sed 's,^\./,  /,; s,:, = ,')
  step "2. A template turns them into the app's file:"
  sed 's/^/  /' "$home/app.conf.upon"
  step "3. pilotfish renders the file, then starts the app, a shell script that shows its configuration:"
  echo "  \$ pilotfish --source dir:KEYS --template app.conf.upon:app.conf -- demo.sh app.conf"
  exec 3< <(exec "$dist/$native/pilotfish" --source "dir:$home/keys" --template "$home/app.conf.upon:$home/app.conf" \
    -- "$root/tests/apps/demo.sh" "$home/app.conf" 2>&1 </dev/null)
  pid=$!
  pilotfish_pid=$pid
  expect "app: ready" 20
  grep -qx 'greeting = Hello' "$home/app.conf" || die "run: the file does not hold the greeting"

  step "4. A key changes; the file is swapped as a whole and the app gets SIGHUP:"
  echo "  \$ echo 'Good morning' > KEYS/greeting"
  cp "$home/app.conf" "$home/before"
  printf 'Good morning' >"$home/new"
  mv "$home/new" "$home/keys/greeting"
  expect "greeting = Good morning" 20
  expect "app: ready" 20
  diff -U0 --label before --label after "$home/before" "$home/app.conf" | sed 's/^/  /' || true

  step "5. SIGTERM ends the app, then pilotfish, with the app's exit code:"
  kill -TERM "$pid"
  expect "app: bye" 20
  while IFS= read -r -t 20 line <&3; do printf '  | %s\n' "$line"; done
  wait "$pid" || code=$?
  exec 3<&-
  [ "$code" -eq 0 ] || die "run: pilotfish ended with $code, not with the app's 0"
  unset pilotfish_pid
  step "Done: one render, one reload, one clean end, by a static binary of $(stat -c %s "$dist/$native/pilotfish") bytes."
}

# --- the container image ------------------------------------------------------------------------------------------

image() {
  local tool tag=pilotfish:latest
  build x86_64
  for tool in docker podman buildah; do
    command -v "$tool" >/dev/null || continue
    # Installed is not enough: a docker without its daemon, a podman without user namespaces.
    timeout 30 "$tool" info >/dev/null 2>&1 || continue
    say "building the image with $tool"
    local verb=(build)
    [ "$tool" != buildah ] || verb=(bud --isolation chroot)
    if "$tool" "${verb[@]}" -t "$tag" -f scratch-image/Dockerfile . >&2; then
      say "image $tag, built by $tool"
      return
    fi
    say "$tool could not do it"
  done
  oci_layout
}

# An image is a tar file, a JSON file about it, and a JSON file about both, each under the name of its sha256
# (OCI image-spec, image-layout.md). The manifest.json beside them is what `docker load` reads.
oci_layout() {
  local out=$dist/image stage layer config manifest
  say "no image builder works here: writing the OCI layout by hand"
  stage=$(mktemp -d)
  rm -rf "$out"
  mkdir -p "$out/blobs/sha256"
  cp "$dist/x86_64/pilotfish" "$stage/pilotfish"
  chmod 755 "$stage/pilotfish"
  tar -C "$stage" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf "$out/layer" pilotfish
  rm -rf "$stage"
  layer=$(blob "$out/layer")
  printf '{"architecture":"amd64","os":"linux","config":{"Entrypoint":["/pilotfish"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created_by":"build.sh image"}]}' \
    "$layer" >"$out/config"
  config=$(blob "$out/config")
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:%s","size":%s}]}' \
    "$config" "$(stat -c %s "$out/blobs/sha256/$config")" "$layer" "$(stat -c %s "$out/blobs/sha256/$layer")" >"$out/manifest"
  manifest=$(blob "$out/manifest")
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"platform":{"architecture":"amd64","os":"linux"},"annotations":{"org.opencontainers.image.ref.name":"latest","io.containerd.image.name":"pilotfish:latest"}}]}' \
    "$manifest" "$(stat -c %s "$out/blobs/sha256/$manifest")" >"$out/index.json"
  printf '{"imageLayoutVersion":"1.0.0"}' >"$out/oci-layout"
  printf '[{"Config":"blobs/sha256/%s","RepoTags":["pilotfish:latest"],"Layers":["blobs/sha256/%s"]}]' "$config" "$layer" >"$out/manifest.json"
  tar -C "$out" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf "$dist/image.tar" .
  say "target/dist/image: skopeo copy oci:target/dist/image:latest ..., or: docker load < target/dist/image.tar"
}
blob() { # FILE: moves it to its place, prints its digest
  local digest
  digest=$(sha256sum "$1" | cut -d' ' -f1)
  mv "$1" "$(dirname "$1")/blobs/sha256/$digest"
  echo "$digest"
}

# --- the entry -----------------------------------------------------------------------------------------------------

command=${1:-help}
[ $# -eq 0 ] || shift
case $command in
  run) run ;;
  test) run_tests "$@" ;;
  test-aarch64) test_aarch64 "$@" ;;
  build) build "$@" ;;
  check) check ;;
  size) size "$@" ;;
  image) image ;;
  bench) bench "$@" ;;
  fuzz) fuzz "$@" ;;
  servers) servers "$@" ;;
  help | -h | --help) usage ;;
  *) usage >&2; exit 64 ;;
esac
