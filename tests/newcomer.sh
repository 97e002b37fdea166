#!/usr/bin/env bash
# A newcomer on a bare Debian: does what the README's section Start says, command by command, and looks what comes of it.
#
# To be run by hand, as root (some ten minutes on a quiet machine with two cores, and 8 GB), with debootstrap installed:
#
#     tests/newcomer.sh FOLDER            a new folder for the Debian; it stays, for a look, until you remove it
#
# The commands are taken out of README.md, so this fails when they do. What it needs to know from outside:
#
#     SUITE, MIRROR       which Debian, and from where (bookworm, http://deb.debian.org/debian)
#     TOOLCHAIN           a folder with bin/cargo of Rust 1.95 or newer, where rustup cannot be reached
#     TESTS               more words for the README's `cargo test`, to run only some of them
#
# Everything happens in a mount and a process namespace of its own: nothing is mounted or running when it has ended.
set -euo pipefail

repository=$(cd "$(dirname "$0")/.." && pwd)
if [ -z "${NEWCOMER_INSIDE:-}" ]; then
    [ "$(id -u)" = 0 ] || { echo "newcomer: this has to be root, for debootstrap and namespaces" >&2; exit 1; }
    [ $# = 1 ] && [ ! -e "$1" ] || { echo "usage: $0 FOLDER, one that is not there yet" >&2; exit 2; }
    command -v debootstrap >/dev/null || { echo "newcomer: debootstrap is missing: apt-get install debootstrap" >&2; exit 1; }
    NEWCOMER_INSIDE=1 exec unshare --mount --pid --fork --kill-child --propagation private "$0" "$1"
fi
folder=$1
begun=$SECONDS
say() { printf '\n== %4d s  %s\n' $((SECONDS - begun)) "$*"; }
fail() { printf '\nnewcomer: %s\n' "$*" >&2; exit 1; }

# The n-th block of commands in the section Start.
block() {
    awk -v wanted="$1" '
        /^## / { inside = ($0 == "## Start") }
        inside && /^```sh$/ { number++; taken = (number == wanted); next }
        /^```$/ { taken = 0 }
        taken' "$repository/README.md"
}

say "a bare Debian"
debootstrap --variant=minbase "${SUITE:-bookworm}" "$folder" "${MIRROR:-http://deb.debian.org/debian}" >"$folder-debootstrap.log" 2>&1 ||
    fail "debootstrap: $(tail -n 3 "$folder-debootstrap.log")"
rm -f "$folder-debootstrap.log"
mount -t proc proc "$folder/proc"
mount --rbind /dev "$folder/dev"
mount -t tmpfs -o mode=1777 shm "$folder/dev/shm"
mount -t tmpfs -o mode=1777 tmp "$folder/tmp"
cp /etc/resolv.conf /etc/hosts "$folder/etc/"
# Certificates that this machine's administrator has added.
cp -r /usr/local/share/ca-certificates "$folder/usr/local/share/"
in_root() { chroot "$folder" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
in_root sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends sudo' >/dev/null
in_root useradd --create-home --shell /bin/bash newcomer
echo 'newcomer ALL=(ALL) NOPASSWD: ALL' >"$folder/etc/sudoers.d/newcomer"
# Nothing is to be had without the README's own `apt-get update`.
rm -rf "$folder"/var/lib/apt/lists/*
git clone -q --bare --no-hardlinks "$repository" "$folder/srv/understudy.git"
in_root chown -R newcomer: /srv/understudy.git
if [ -n "${TOOLCHAIN:-}" ]; then
    mkdir "$folder/opt/rust"
    mount --bind "$TOOLCHAIN" "$folder/opt/rust"
fi

# Runs commands as the newcomer, in one shell after the other: what one leaves in the environment the next finds.
as_newcomer() {
    local script="$folder/tmp/commands"
    {
        echo 'set -e; cd; [ -f .left ] && . ./.left; [ -d "${AT:-}" ] && cd "$AT"; set -x'
        cat
        echo '{ set +x; } 2>/dev/null; AT=$PWD; declare -p PATH AT >"$HOME/.left"'
    } >"$script"
    in_root su --login newcomer --whitelist-environment=REPOSITORY -c "REPOSITORY=/srv/understudy.git bash /tmp/commands"
}

say "what is needed once"
needed=$(block 1)
if [ -n "${TOOLCHAIN:-}" ]; then
    # shellcheck disable=SC2016
    needed=$(sed 's|^curl .*|export PATH=/opt/rust/bin:$PATH|' <<<"$needed")
fi
as_newcomer <<<"$needed"

say "the first command: the console, in a terminal"
start=$(block 2)
mkfifo "$folder/tmp/keys"
chmod 666 "$folder/tmp/keys"
screen="$folder/tmp/screen"
as_newcomer <<<"script --quiet --flush --return --command '$start' /tmp/screen </tmp/keys >/dev/null" &
console=$!
exec 3>"$folder/tmp/keys"
shows() { grep -aq -- "$1" "$screen" 2>/dev/null; }
wait_for() {
    until shows "$1"; do
        kill -0 "$console" 2>/dev/null || fail "the console ended before it showed '$1': $(tail -c 2000 "$screen")"
        sleep 0.5
    done
}
wait_for 'server 2 · BACKUP'
say "its first screen"
printf 'PUT color red\r' >&3
wait_for 'OK'
printf 'GET col' >&3
printf '\033[15~' >&3
wait_for 'server 2 · PRIMARY'
printf 'or\r' >&3
wait_for '"red"'
printf '\004' >&3
exec 3>&-
wait "$console" || fail "the console ended with status $?"
say "a PUT, a crash, a GET, and out"

say "the second command: the tests"
tests=$(block 3)
as_newcomer <<<"$tests ${TESTS:-} 2>&1 | tee /tmp/tests; exit \${PIPESTATUS[0]}" || fail "the tests failed"
grep -A9 'skipped' "$folder/tmp/tests" | tail -n 8 || true
[ -n "${TESTS:-}" ] || grep -q 'tests were skipped:' "$folder/tmp/tests" || fail "no word about what was skipped"
left=$(find "$folder/tmp" "$folder/dev/shm" -maxdepth 1 \( -name '*understudy*' -o -name '*segment*' -o -name 'ompi*' \))
[ -z "$left" ] || fail "the tests left behind: $left"

say "without MPI"
without=$(block 4)
as_newcomer <<<"printf 'PUT a 1\nGET a\n' | $without | tee /tmp/simulated"
printf 'OK\n1\n' | cmp - "$folder/tmp/simulated" || fail "the simulator answered something else"

say "completions"
as_newcomer <<<"$(block 5)"

say "passed: packages $(in_root du -sh /usr | cut -f1) in /usr, target/ $(du -sh "$folder/home/newcomer/understudy/target" | cut -f1)"
echo "1 passed, 0 failed"
