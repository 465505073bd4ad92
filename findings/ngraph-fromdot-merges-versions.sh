#!/usr/bin/env bash
# Releases 24.3 and 24.30 in a DOT file are two nodes for Graphviz, and one for ngraph.
#
# Package:   ngraph.fromdot 7.1.0 (npm), which reads DOT into a graph
# Input:     upgrades between releases, with numerals as node IDs
# Guess:     24.3 and 24.30 stay apart, and 24.3 with quotes and without is one node: an ID
#            of DOT is a text, and a numeral is one way to write it (graphviz.org/doc/info/lang.html)
# Behaviour: a numeral becomes a number of JavaScript. 24.3 and 24.30 are one node, and the
#            upgrade a loop; with quotes 24.3 is another node than without them.
# Output:    ids 24.3, links 24.3>24.3
#            ids 24.3 "24.3", links "24.3">24.3
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
npm init -y > /dev/null
npm install --silent --no-audit --no-fund ngraph.fromdot@7.1.0 > /dev/null
cat > read.mjs <<'EOF2'
import fromDot from 'ngraph.fromdot';
for (const text of ['digraph { 24.3 -> 24.30 }', 'digraph { 24.3; "24.3" -> 24.3 }']) {
  const graph = fromDot(text), ids = [], links = [];
  const shown = (id) => JSON.stringify(id);
  graph.forEachNode((n) => { ids.push(shown(n.id)); });
  graph.forEachLink((l) => { links.push(`${shown(l.fromId)}>${shown(l.toId)}`); });
  console.log(`ids ${ids.join(' ')}, links ${links.join(' ')}`);
}
EOF2
got=$(node read.mjs)
want='ids 24.3, links 24.3>24.3
ids 24.3 "24.3", links "24.3">24.3'
echo "$got"
[ "$got" = "$want" ] || { printf 'changed: expected\n%s\n' "$want" >&2; exit 1; }
