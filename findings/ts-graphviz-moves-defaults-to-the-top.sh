#!/usr/bin/env bash
# A DOT file that is read and written by ts-graphviz gives its later colours to all nodes.
#
# Package:   ts-graphviz 3.0.7 (npm), a reader and writer of DOT
# Input:     a digraph that sets a default for nodes after the first node, and again later
# Guess:     the statements keep their order: a default of DOT holds for the nodes that are
#            made after it (graphviz.org/doc/info/lang.html)
# Behaviour: defaults move to the top, and the last of them wins. What was made before it, or
#            under another default, looks different in the picture; nothing is said.
# Output:    digraph { node [ color = "red"; ]; "old"; "due"; "ended"; }
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
npm init -y > /dev/null
npm install --silent --no-audit --no-fund ts-graphviz@3.0.7 > /dev/null
cat > again.mjs <<'EOF2'
import { fromDot, toDot } from 'ts-graphviz';
const text = 'digraph { old; node [color=orange]; due; node [color=red]; ended }';
console.log(toDot(fromDot(text)).replace(/\s+/g, ' '));
EOF2
got=$(node again.mjs)
want='digraph { node [ color = "red"; ]; "old"; "due"; "ended"; }'
echo "$got"
[ "$got" = "$want" ] || { echo "changed: expected $want" >&2; exit 1; }
