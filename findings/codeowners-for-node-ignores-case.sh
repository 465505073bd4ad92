#!/usr/bin/env bash
# Packages of npm that read CODEOWNERS find owners for paths of another case.
#
# Packages:  codeowners 5.1.1, codeowners-utils 1.0.2, @snyk/github-codeowners 1.1.0 (npm)
# Input:     a CODEOWNERS file with /Docs/ and /clusters/EAST/, and paths in lower case
# Guess:     no owner, since GitHub documents that the case of such paths counts
# Behaviour: all three find the owner of the path in upper case, since the library that
#            matches for them takes a pattern without regard to case unless it is told
#            otherwise. A check that each file has an owner passes, and GitHub asks nobody
#            to review it.
# Output:    codeowners docs/a.md: @writers
#            codeowners clusters/east/pair.yaml: @east
#            codeowners-utils docs/a.md: @writers
#            codeowners-utils clusters/east/pair.yaml: @east
#            @snyk/github-codeowners docs/a.md: @writers
#            @snyk/github-codeowners clusters/east/pair.yaml: @east
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
git init -q .
echo '{}' > package.json
npm install --silent --no-audit --no-fund codeowners@5.1.1 codeowners-utils@1.0.2 @snyk/github-codeowners@1.1.0
printf '/Docs/ @writers\n/clusters/EAST/ @east\n' > CODEOWNERS
cat > owners.js <<'END'
const { readFileSync } = require("fs");
const Codeowners = require("codeowners");
const utils = require("codeowners-utils");
const { OwnershipEngine } = require("@snyk/github-codeowners/dist/lib/ownership");
const own = new Codeowners(process.cwd());
const entries = utils.parse(readFileSync("CODEOWNERS", "utf8"));
const engine = OwnershipEngine.FromCodeownersFile("CODEOWNERS");
const tell = (name, path, owners) => console.log(`${name} ${path}: ${owners.join(" ") || "nobody"}`);
const paths = ["docs/a.md", "clusters/east/pair.yaml"];
for (const p of paths) tell("codeowners", p, own.getOwner(p));
for (const p of paths) tell("codeowners-utils", p, utils.matchFile(p, entries)?.owners ?? []);
for (const p of paths) tell("@snyk/github-codeowners", p, engine.calcFileOwnership(p));
END
node owners.js | tee got
diff got - <<'END'
codeowners docs/a.md: @writers
codeowners clusters/east/pair.yaml: @east
codeowners-utils docs/a.md: @writers
codeowners-utils clusters/east/pair.yaml: @east
@snyk/github-codeowners docs/a.md: @writers
@snyk/github-codeowners clusters/east/pair.yaml: @east
END
