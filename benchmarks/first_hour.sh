#!/usr/bin/env bash
# Seconds of each of a newcomer's first steps: an empty virtual environment, the installation of the wheel, the first
# block of Python in README.md, and the explorer, which is started, answers over HTTP and is stopped.
#
#     benchmarks/first_hour.sh [WHEEL]
#
# Without WHEEL, it is built from this checkout first, which is not counted. Neither is the download of the packages,
# which depends on the network and the package index; its time is printed, and the installation is then from the files.
# One `pip install` from the index takes about the time of both. PIP_NO_COMPILE=1 leaves it to the first import to
# compile Python files to byte code, and so only those that are used. PYTHON selects the interpreter. Without a GPU,
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu avoids several GB of CUDA libraries. The times depend on other
# work of the machine; the processor time, the sum of all cores, depends on it much less.
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
unset PYTHONPATH NUMBA_CACHE_DIR
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
"$python" -m venv "$work/downloads"
step "pip download, not counted" "$work/downloads/bin/pip" download --quiet --disable-pip-version-check \
    --prefer-binary -c "$root/constraints.txt" --dest "$work/wheels" "$wheel[cpu,view]"
first=$(date +%s)
step "empty virtual environment" "$python" -m venv "$work/env"
# Without the configuration of this machine, whose indices pip would read again.
step "pip install latentsdf[cpu,view]" env PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS="$work/wheels" \
    "$work/env/bin/pip" install --quiet --disable-pip-version-check --no-index \
    -c "$root/constraints.txt" "$wheel[cpu,view]"
step "README's first lines" "$work/env/bin/python" "$work/five_lines.py"
step "latentsdf view furniture answers" answers
echo "all: $(($(date +%s) - first)) s"
step "afterwards, README's first lines again" "$work/env/bin/python" "$work/five_lines.py"
