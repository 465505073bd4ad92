#!/usr/bin/env bash
# cel-js fails on a guarded field: it evaluates both sides of ||, though not of &&.
#
# Package:   cel-js 0.8.2 (npm)
# Input:     !has(o.user) || o.user == 'x', the way in which policies of Kubernetes ask for
#            a field that may be absent
# Guess:     true for an object without the field
# Behaviour: the right side is evaluated although the left one decides, and what it raises is
#            what comes out. && and the conditional operator are lazy. The specification says that
#            an operand which decides absorbs the error of the other.
# Output:    !has(o.user) || o.user == 'x': Identifier "user" not found
#            has(o.user) && o.user == 'x': false
#            !has(o.user) ? true : o.user == 'x': true
#            has(o.user): false
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
echo '{"type": "module"}' > package.json
npm install --silent --no-audit --no-fund cel-js@0.8.2
cat > eval.js <<'END'
import { evaluate } from "cel-js";
try {
	process.stdout.write(String(evaluate(process.argv[2], { o: { token: "t" } })));
} catch (error) {
	process.stdout.write(error.message.split(" in context")[0]);
}
END
got=
for expression in "!has(o.user) || o.user == 'x'" "has(o.user) && o.user == 'x'" "!has(o.user) ? true : o.user == 'x'" "has(o.user)"; do
	got+="$expression: $(node eval.js "$expression")"$'\n'
done
want="!has(o.user) || o.user == 'x': Identifier \"user\" not found
has(o.user) && o.user == 'x': false
!has(o.user) ? true : o.user == 'x': true
has(o.user): false
"
printf '%s' "$got"
[ "$got" = "$want" ] || { echo "changed: expected $want" >&2; exit 1; }
