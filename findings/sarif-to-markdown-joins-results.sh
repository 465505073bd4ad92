#!/usr/bin/env bash
# sarif-to-markdown shows the message of one result for all of its rule, and leaves out rules
# that name no level.
#
# Package:   @security-alert/sarif-to-markdown 1.11.1 (npm)
# Input:     a log of SARIF 2.1.0 with two results of one rule, an error and a note, and an
#            error of a rule without defaultConfiguration, which is optional
# Guess:     three lines, with the level that each result has
# Behaviour: the results are grouped by rule: the second is a place below the message and the
#            level of the first. The third is not shown at all, under no heading.
# Output:    - **[ERROR]** **[firm]**  `the token is in clear`
#                - https://github.com/o/r/blob/main/a.yaml#L3
#                - https://github.com/o/r/blob/main/b.yaml#L4
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
echo '{}' > package.json
npm install --silent --no-audit --no-fund @security-alert/sarif-to-markdown@1.11.1
cat > results.sarif <<'END'
{"version": "2.1.0", "runs": [{
  "tool": {"driver": {"name": "linter", "rules": [
    {"id": "firm", "defaultConfiguration": {"level": "error"}, "shortDescription": {"text": "firm"}},
    {"id": "plain", "shortDescription": {"text": "plain"}}]}},
  "results": [
    {"ruleId": "firm", "ruleIndex": 0, "message": {"text": "the token is in clear"},
     "locations": [{"physicalLocation": {"artifactLocation": {"uri": "a.yaml"}, "region": {"startLine": 3}}}]},
    {"ruleId": "firm", "ruleIndex": 0, "level": "note", "message": {"text": "the token is old"},
     "locations": [{"physicalLocation": {"artifactLocation": {"uri": "b.yaml"}, "region": {"startLine": 4}}}]},
    {"ruleId": "plain", "ruleIndex": 1, "level": "error", "message": {"text": "the server is unknown"},
     "locations": [{"physicalLocation": {"artifactLocation": {"uri": "c.yaml"}, "region": {"startLine": 5}}}]}]}]}
END
cat > convert.js <<'END'
const { sarifToMarkdown } = require("@security-alert/sarif-to-markdown");
const log = JSON.parse(require("fs").readFileSync("results.sarif", "utf8"));
const pages = sarifToMarkdown({ title: "t", owner: "o", repo: "r", branch: "main", sourceRoot: "" })(log);
console.log(pages.map((page) => page.body).join("\n"));
END
node convert.js > page.md
got=$(sed '/^## Rules/,$d' page.md | grep -E '\*\*\[|https://' || true)
want='- **[ERROR]** **[firm]**  `the token is in clear`
    - https://github.com/o/r/blob/main/a.yaml#L3
    - https://github.com/o/r/blob/main/b.yaml#L4'
printf '%s\n' "$got"
[ "$got" = "$want" ] || { echo "changed: expected $want" >&2; exit 1; }
