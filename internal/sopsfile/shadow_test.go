package sopsfile

import (
	"fmt"
	"strings"
	"testing"
)

func TestShadowed(t *testing.T) {
	const a, b = "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs", "age1968pf0ts9pxk969yvyc9jfpf4htmanylzzlsrp0ufw02sg3jn42q5sjp5n"
	for _, tt := range []struct {
		first, second string
		want          bool
	}{
		{`^clusters/c00`, `^clusters/c003/`, true},
		{``, `^clusters/c003/`, true},
		{`^clusters/c003/`, `^clusters/c004/`, false},
		{`^clusters/c00`, `^clusters/c00`, false}, // the second is a copy
	} {
		rules, err := ParseRules(fmt.Appendf(nil, "creation_rules:\n- path_regex: %s\n  age: %s\n- path_regex: %s\n  age: %s\n", tt.first, a, tt.second, b), "/r/.sops.yaml")
		if err != nil {
			t.Fatal(err)
		}
		got := rules.Shadowed()
		if (len(got) > 0) != tt.want {
			t.Errorf("%s before %s: %v", tt.first, tt.second, got)
		}
		if tt.want && (got[0].Line != 4 || got[0].ByLine != 2 || strings.Join(got[0].Extra, " ") != a) {
			t.Errorf("%s before %s: %+v", tt.first, tt.second, got[0])
		}
	}
	rules, err := ParseRules(fmt.Appendf(nil, "creation_rules:\n- {path_regex: ^clusters/c00, age: %s}\n- {path_regex: ^clusters/c003/, age: %s}\n", a, b), "/r/.sops.yaml")
	if err != nil {
		t.Fatal(err)
	}
	shadow := rules.Shadowed()[0]
	for file, want := range map[string]bool{"/r/clusters/c003/a.yaml": true, "/r/clusters/c004/a.yaml": false, "/r/other.yaml": false} {
		if got := rules.Takes(shadow, file); got != want {
			t.Errorf("%s: %v", file, got)
		}
	}
	// One that lets fewer read than the later one takes nothing from anybody.
	rules, err = ParseRules(fmt.Appendf(nil, "creation_rules:\n- {path_regex: ^clusters/, age: %s}\n- {path_regex: ^clusters/c003/, age: '%s,%s'}\n", a, a, b), "/r/.sops.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := rules.Shadowed(); len(got) > 0 {
		t.Errorf("%+v", got)
	}
}
