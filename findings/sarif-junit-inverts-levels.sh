#!/usr/bin/env bash
# sarif-junit passes what SARIF calls a failure, and fails what it calls suppressed.
#
# Package:   sarif-junit 1.1.4 (npm)
# Input:     a log of SARIF 2.1.0 with four results: one whose level stands in its rule, one
#            with neither, one that is suppressed in the source, one of level note
# Guess:     the first two fail, as the level of a rule holds and "warning" is the default;
#            the suppressed one is skipped or passes
# Behaviour: only a level in the result itself counts. Without one a result is a test case
#            that passes. suppressions are not looked at, so a waived result fails.
# Output:    error of the rule: passes
#            warning by default: passes
#            suppressed: fails
#            note: passes
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
echo '{}' > package.json
npm install --silent --no-audit --no-fund sarif-junit@1.1.4
cat > results.sarif <<'END'
{"version": "2.1.0", "runs": [{
  "tool": {"driver": {"name": "linter", "rules": [
    {"id": "firm", "defaultConfiguration": {"level": "error"}},
    {"id": "plain"}]}},
  "results": [
    {"ruleId": "firm", "ruleIndex": 0, "message": {"text": "error of the rule"},
     "locations": [{"physicalLocation": {"artifactLocation": {"uri": "a.yaml"}}}]},
    {"ruleId": "plain", "ruleIndex": 1, "message": {"text": "warning by default"},
     "locations": [{"physicalLocation": {"artifactLocation": {"uri": "b.yaml"}}}]},
    {"ruleId": "plain", "ruleIndex": 1, "level": "error", "message": {"text": "suppressed"},
     "suppressions": [{"kind": "inSource", "status": "accepted"}],
     "locations": [{"physicalLocation": {"artifactLocation": {"uri": "c.yaml"}}}]},
    {"ruleId": "plain", "ruleIndex": 1, "level": "note", "message": {"text": "note"},
     "locations": [{"physicalLocation": {"artifactLocation": {"uri": "d.yaml"}}}]}]}]}
END
npx sarif-junit -i results.sarif -o results.xml > /dev/null
got=$(sed -n 's#.*<testcase .*name="\([^"]*\)".*/>#\1: passes#p; s#.*<testcase .*name="\([^"]*\)".*[^/]>#\1: fails#p' results.xml)
want='error of the rule: passes
warning by default: passes
suppressed: fails
note: passes'
printf '%s\n' "$got"
[ "$got" = "$want" ] || { echo "changed: expected $want" >&2; exit 1; }
