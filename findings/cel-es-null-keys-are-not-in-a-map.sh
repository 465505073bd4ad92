#!/usr/bin/env bash
# CEL for JavaScript does not find a key of a map whose value is null.
#
# Packages:  @bufbuild/cel 0.6.1 (npm); beside it github.com/google/cel-go 0.29.2 (Go), which
#            evaluates the policies of Kubernetes' API server
# Input:     expressions over {'user': null}, as a kubeconfig has it for a name that somebody
#            has left empty
# Guess:     the key is in the map; has() may differ
# Behaviour: neither "in" nor has() finds the key, also in a literal without any input, while
#            size(), map() and all() count it, and its value is null. cel-go finds it. A
#            policy that is tried in JavaScript so ends otherwise than in the API server.
# Output:    'user' in {'user': null}: js false, go true
#            has({'user': null}.user): js false, go true
#            {'user': null}.user == null: js true, go true
#            size({'user': null}): js 1, go 1
#            {'user': null}.all(k, k != 'user'): js false, go false
set -euo pipefail
dir=$(mktemp -d); trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT; cd "$dir"
echo '{"type": "module"}' > package.json
npm install --silent --no-audit --no-fund @bufbuild/cel@0.6.1
cat > eval.js <<'END'
import { run } from "@bufbuild/cel";
process.stdout.write(String(run(process.argv[2], {})));
END
cat > main.go <<'END'
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/google/cel-go/cel"
)

func main() {
	env, err := cel.NewEnv()
	if err != nil {
		log.Fatal(err)
	}
	ast, issues := env.Compile(os.Args[1])
	if issues.Err() != nil {
		log.Fatal(issues.Err())
	}
	program, err := env.Program(ast)
	if err != nil {
		log.Fatal(err)
	}
	value, _, err := program.Eval(cel.NoVars())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(value.Value())
}
END
export GOFLAGS= CGO_ENABLED=0
go mod init example.com/finding 2> /dev/null
go get github.com/google/cel-go/cel@v0.29.2 2> /dev/null
go build -o eval .

got=
for expression in "'user' in {'user': null}" "has({'user': null}.user)" "{'user': null}.user == null" "size({'user': null})" "{'user': null}.all(k, k != 'user')"; do
	got+="$expression: js $(node eval.js "$expression"), go $(./eval "$expression")"$'\n'
done
want="'user' in {'user': null}: js false, go true
has({'user': null}.user): js false, go true
{'user': null}.user == null: js true, go true
size({'user': null}): js 1, go 1
{'user': null}.all(k, k != 'user'): js false, go false
"
printf '%s' "$got"
[ "$got" = "$want" ] || { echo "changed: expected $want" >&2; exit 1; }
