#!/usr/bin/env bash
# Redis' own test suite (Debian's source package of redis 7.0, BSD) against the door of a real cluster.
#
#   tests/redis-suite.sh [UNIT...]           for example unit/type/list
#
# It fetches the source package and installs tcl when they are missing (on Debian). What is skipped stands in
# tests/redis-suite.skip, each with a reason. It tells how many cases passed, by unit, and how long that took; it fails
# when too few did, when a unit does not end in its time, and, after all units, when README.md tells other counts.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
understudy=${UNDERSTUDY:-$here/target/release/understudy}
folder=${SUITE_FOLDER:-$here/target/redis-suite}
share_min=${SHARE_MIN:-95} # of the cases that ran, in percent
unit_seconds_max=300
timing_cases=3 # so many hang on a clock or on who is scheduled when, and may pass or not
all_units=(unit/type/{string,incr,list,set,hash,zset} unit/{keyspace,scan,expire,multi,pubsub})
units=("$@")
[ ${#units[@]} -gt 0 ] || units=("${all_units[@]}")
SECONDS=0

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
need() { command -v "$1" > /dev/null || as_root apt-get install -y -q "$2" > /dev/null; }
need tclsh tcl
need redis-cli redis-tools

fetch() {
    mkdir -p "$folder"
    cd "$folder"
    if ! ls redis_7.*.orig.tar.gz > /dev/null 2>&1; then
        if ! apt-get source --print-uris redis > /dev/null 2>&1; then
            local lists=/etc/apt/sources.list.d
            if [ -f $lists/debian.sources ]; then
                sed 's/^Types: deb$/Types: deb-src/' $lists/debian.sources \
                    | as_root tee $lists/understudy-src.sources > /dev/null
            else
                sed -n 's/^deb /deb-src /p' /etc/apt/sources.list | as_root tee $lists/understudy-src.list > /dev/null
            fi
            as_root apt-get update -q > /dev/null
        fi
        apt-get source -q --download-only redis > /dev/null
    fi
    ls -d redis-7.*/ > /dev/null 2>&1 || tar xzf redis_7.*.orig.tar.gz
}
[ -f "$folder/redis-7.0.15/tests/test_helper.tcl" ] || (fetch)
cd "$folder"/redis-7.*/

# One unit after the other, each with a fresh cluster, so that one that hangs does not spoil the rest.
failed=0
total_ok=0
total_bad=0
skip=$(mktemp)
trap 'rm -f "$skip"' EXIT
sed -n '/^[^#]/p' "$here/tests/redis-suite.skip" > "$skip"
printf '%-20s %6s %6s\n' unit passed failed
for unit in "${units[@]}"; do
    log=$folder/$(basename "$unit").log
    ready=$(mktemp -u)
    mkfifo "$ready"
    "$understudy" serve --door 0 --servers 2 > "$ready" 2> "$folder/cluster.log" < /dev/null &
    cluster=$!
    read -r _ < "$ready"
    rm -f "$ready"
    # Events come by a way of their own, and may come later than that it is ready.
    port=
    for _ in {1..50}; do
        port=$(sed -n 's/.*the door is open at 127.0.0.1:\([0-9]*\).*/\1/p' "$folder/cluster.log")
        [ -z "$port" ] || break
        sleep 0.1
    done
    timeout $unit_seconds_max ./runtest --host 127.0.0.1 --port "$port" --durable --ignore-encoding --ignore-digest \
        --tags "-needs:debug -needs:repl -needs:save -needs:config-maxmemory -needs:reset -slow" \
        --skipfile "$skip" --single "$unit" > "$log" 2>&1 || true
    kill -TERM "$cluster"
    wait "$cluster" || { echo "the cluster ended badly: see $folder/cluster.log"; failed=1; }
    ok=$(grep -c '\[.*ok.*\]' "$log" || true)
    # At the end each failure is told once more, behind stars.
    bad=$(grep -v '^\*\*\*' "$log" | grep -c '\[.*\(err\|exception\|timeout\).*\]:' || true)
    grep -q 'All tests passed\|Test suite.*terminated\|The End' "$log" || bad=$((bad + 1))
    printf '%-20s %6d %6d\n' "$unit" "$ok" "$bad"
    total_ok=$((total_ok + ok))
    total_bad=$((total_bad + bad))
done
all=$((total_ok + total_bad))
printf '%-20s %6d %6d   (%d skipped by name; %d s)\n' all "$total_ok" "$total_bad" "$(wc -l < "$skip")" "$SECONDS"
if [ "$all" -eq 0 ] || [ $((100 * total_ok)) -lt $((share_min * all)) ] || [ "$failed" -ne 0 ]; then
    echo "less than $share_min % passed, or a cluster ended badly: the logs are in $folder"
    exit 1
fi
if [ "${units[*]}" = "${all_units[*]}" ]; then
    read -r told_all told_ok < <(sed -n 's/.*of \([0-9]*\) cases \([0-9]*\) pass.*/\1 \2/p' "$here/README.md") || true
    if [ "${told_all:-0}" -ne "$all" ] || [ $((${told_ok:-0} - total_ok)) -gt $timing_cases ]; then
        echo "README.md says that of ${told_all:-?} cases ${told_ok:-?} pass: it is $all and $total_ok"
        exit 1
    fi
fi
