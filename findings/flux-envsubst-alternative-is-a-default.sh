#!/usr/bin/env bash
# Flux's substitution reads ${VAR:+text}, bash's "text if VAR is set", as a default.
#
# Package:   github.com/fluxcd/pkg/envsubst 1.7.1 (Go), which postBuild.substitute of Flux's
#            Kustomizations evaluates manifests with
# Input:     ${NAME:+text}, and patterns in ${NAME/PATTERN/text}, as bash knows them
# Guess:     the same as in bash, or an error for what is not known
# Behaviour: ${NAME:+text} is taken for ${NAME:-text}: it gives the text where bash gives
#            nothing, and the value where bash gives the text. No error. A pattern of a
#            replacement is taken literally, while that of ${NAME#PATTERN} is a pattern.
# Output:    ${SET:+on}: flux "abc", bash "on"
#            ${UNSET:+on}: flux "on", bash ""
#            ${EMPTY:+on}: flux "on", bash ""
#            ${UNSET:-on}: flux "on", bash "on"
#            ${SET#?}: flux "bc", bash "bc"
#            ${SET/?/x}: flux "abc", bash "xbc"
#            ${SET/[ab]/x}: flux "abc", bash "xbc"
set -euo pipefail
dir=$(mktemp -d); trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT; cd "$dir"
cat > main.go <<'END'
package main

import (
	"fmt"
	"os"

	"github.com/fluxcd/pkg/envsubst"
)

func main() {
	text, err := envsubst.Eval(os.Args[1], func(name string) (string, bool) {
		value, set := map[string]string{"SET": "abc", "EMPTY": ""}[name]
		return value, set
	})
	if err != nil {
		text = err.Error()
	}
	fmt.Print(text)
}
END
export GOFLAGS= CGO_ENABLED=0
go mod init example.com/finding 2> /dev/null
go get github.com/fluxcd/pkg/envsubst@v1.7.1 2> /dev/null
go build -o eval .

SET=abc EMPTY=
unset UNSET
got=
for text in '${SET:+on}' '${UNSET:+on}' '${EMPTY:+on}' '${UNSET:-on}' '${SET#?}' '${SET/?/x}' '${SET/[ab]/x}'; do
	got+="$text: flux \"$(./eval "$text")\", bash \"$(set +u; eval "printf %s \"$text\"")\""$'\n'
done
want='${SET:+on}: flux "abc", bash "on"
${UNSET:+on}: flux "on", bash ""
${EMPTY:+on}: flux "on", bash ""
${UNSET:-on}: flux "on", bash "on"
${SET#?}: flux "bc", bash "bc"
${SET/?/x}: flux "abc", bash "xbc"
${SET/[ab]/x}: flux "abc", bash "xbc"
'
printf '%s' "$got"
[ "$got" = "$want" ] || { echo "changed: expected $want" >&2; exit 1; }
