#!/usr/bin/env bash
# A parser of Prometheus' text format makes one histogram of two, and drops the first.
#
# Package:   parse-prometheus-text-format 1.1.1 (npm)
# Input:     one histogram with two sets of labels, as client libraries write it
# Guess:     two metrics, each with its labels and its buckets
# Behaviour: one metric without labels, which has the buckets of the set that stands
#            last; the first set, the sums and the counts are gone, without an error.
#            Gauges and counters keep their sets of labels apart.
# Output:    [{"buckets":{"0.5":"5","+Inf":"6"}}]
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
npm init -y > /dev/null
npm install --silent --no-audit --no-fund parse-prometheus-text-format@1.1.1 > /dev/null

cat > metrics.txt <<'EOF'
# TYPE probe_seconds histogram
probe_seconds_bucket{cluster="east",le="0.5"} 1
probe_seconds_bucket{cluster="east",le="+Inf"} 2
probe_seconds_sum{cluster="east"} 3
probe_seconds_count{cluster="east"} 2
probe_seconds_bucket{cluster="west",le="0.5"} 5
probe_seconds_bucket{cluster="west",le="+Inf"} 6
probe_seconds_sum{cluster="west"} 9
probe_seconds_count{cluster="west"} 6
EOF
cat > parse.mjs <<'EOF'
import fs from 'node:fs';
import parse from 'parse-prometheus-text-format';
console.log(JSON.stringify(parse(fs.readFileSync('metrics.txt', 'utf8'))[0].metrics));
EOF
got=$(node parse.mjs)
want='[{"buckets":{"0.5":"5","+Inf":"6"}}]'
echo "$got"
[ "$got" = "$want" ] || { echo "changed: expected $want" >&2; exit 1; }
