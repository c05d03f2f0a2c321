#!/usr/bin/env bash
# Seconds of each of a newcomer's first steps: an empty virtual environment, the installation of the wheel, the first
# block of Python in README.md, and the explorer, which is started, answers over HTTP and is stopped.
#
#     benchmarks/first_hour.sh [WHEEL]
#
# Without WHEEL, it is built from this checkout first, which is not counted. PYTHON selects the interpreter. Without a
# GPU, PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu avoids several GB of CUDA libraries. The times depend on
# the network, on pip's cache (PIP_NO_CACHE_DIR=1 switches it off) and on other work of the machine; the processor time,
# the sum of all cores, depends on the last much less.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT

if [ $# -gt 0 ]; then
    wheel=$(realpath "$1")
else
    "$python" -m venv "$work/build"
    "$work/build/bin/pip" wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work" "$root"
    wheel=$(echo "$work"/latentsdf-*.whl)
fi
# The first block of Python in README.md, as a newcomer copies it.
awk '/^```python$/ { copying = 1; next } /^```$/ && copying { exit } copying' "$root/README.md" > "$work/five_lines.py"
[ -s "$work/five_lines.py" ] || { echo "README.md has no block of Python" >&2; exit 1; }
unset PYTHONPATH
cd "$work"

step() { # NAME COMMAND...: run a command, and print the seconds that it took
    local name=$1 TIMEFORMAT='%R %U %S'
    shift
    { time "$@" > "$work/log" 2>&1; } 2> "$work/seconds" || { cat "$work/log" >&2; echo "$name failed" >&2; exit 1; }
    awk -v name="$name" '{ printf "%-38s %6.1f s, %6.1f s of processor time\n", name, $1, $2 + $3 }' "$work/seconds"
}

answers() { # start the explorer and wait until its page is there
    local port
    port=$("$work/env/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    "$work/env/bin/latentsdf" view furniture --port "$port" > "$work/server.log" 2>&1 &
    server=$!
    for _ in $(seq 600); do
        if "$work/env/bin/python" -c "
import sys, urllib.request
page = urllib.request.urlopen('http://127.0.0.1:$port/', timeout=2).read()
sys.exit(b'<html' not in page.lower())" 2> /dev/null; then
            kill "$server"
            wait "$server" 2> /dev/null || true
            server=
            return 0
        fi
        kill -0 "$server" 2> /dev/null || break
        sleep 0.2
    done
    cat "$work/server.log"
    return 1
}

echo "load: $(uptime | sed "s/.*average[s]*: //")"
first=$(date +%s)
step "empty virtual environment" "$python" -m venv "$work/env"
step "pip install latentsdf[cpu,view]" "$work/env/bin/pip" install --quiet --disable-pip-version-check \
    --prefer-binary -c "$root/constraints.txt" "$wheel[cpu,view]"
step "README's first lines" "$work/env/bin/python" "$work/five_lines.py"
step "the same again" "$work/env/bin/python" "$work/five_lines.py"
step "latentsdf view furniture answers" answers
echo "all: $(($(date +%s) - first)) s"
