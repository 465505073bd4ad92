package render

import "testing"

func TestRestyled(t *testing.T) {
	const rendered = "metadata:\n  name: a\n  labels:\n    day: \"7\"\nspec:\n- one\n"
	for name, c := range map[string]struct {
		before string
		want   bool
	}{
		"the same":               {rendered, false},
		"line ends":              {"metadata:\r\n  name: a\r\n  labels:\r\n    day: \"7\"\r\nspec:\r\n- one\r\n", true},
		"flow and another order": {"{spec: [one], metadata: {labels: {'day': '7'}, name: 'a'}}", true},
		"another value":          {"metadata:\n  name: b\n  labels:\n    day: \"7\"\nspec:\n- one\n", false},
		"another type":           {"metadata:\n  name: a\n  labels:\n    day: 7\nspec:\n- one\n", false},
		"a key more":             {rendered + "status: {}\n", false},
		"an item more":           {rendered + "- two\n", false},
		"no YAML":                {"metadata: [", false},
		"two documents":          {rendered + "---\n" + rendered, false},
	} {
		if got := Restyled([]byte(c.before), []byte(rendered)); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if Restyled(nil, []byte(rendered)) || Restyled([]byte(rendered), nil) {
		t.Error("a file that is not there has a layout")
	}
}
