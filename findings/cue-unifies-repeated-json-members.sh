#!/usr/bin/env bash
# CUE makes one object of two JSON members of one name.
#
# Packages:  cuelang.org/go 0.17.1 (the command cue); beside it the json of Python, which
#            takes the last member, as most parsers do
# Input:     {"spec": {"mode": "Sync"}, "spec": {"port": 9001}, "name": "east", "name": "east"},
#            which RFC 8259 allows and calls unpredictable
# Guess:     an error about the second member, or the last one wins
# Behaviour: the two objects are unified: spec has both fields. cue vet passes, and what it
#            has checked is an object that no reader of JSON sees. Members that differ are
#            an error, those that are equal are none.
# Output:    python: {"spec": {"port": 9001}, "name": "east"}
#            cue: {"spec":{"mode":"Sync","port":9001},"name":"east"}
#            cue vet: 0
#            cue vet, two names: 1
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
GOBIN=$dir go install cuelang.org/go/cmd/cue@v0.17.1
echo '{"spec": {"mode": "Sync"}, "spec": {"port": 9001}, "name": "east", "name": "east"}' > object.json
echo '{"name": "east", "name": "west", "spec": {"mode": "Sync", "port": 9001}}' > two.json
echo '#Object: {name!: string, spec!: {mode!: string, port!: int}}' > schema.cue
vet() { ./cue vet -c -d '#Object' schema.cue "$1" > errors 2>&1 && echo 0 || echo "$?"; }
{
	echo "python: $(python3 -c 'import json; print(json.dumps(json.load(open("object.json"))))')"
	echo "cue: $(./cue export object.json --out json | tr -d ' \n')"
	echo "cue vet: $(vet object.json)"
	echo "cue vet, two names: $(vet two.json)"
} | tee got
diff got - <<'END'
python: {"spec": {"port": 9001}, "name": "east"}
cue: {"spec":{"mode":"Sync","port":9001},"name":"east"}
cue vet: 0
cue vet, two names: 1
END
