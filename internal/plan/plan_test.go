package plan

import (
	"fmt"
	"strings"
	"testing"
)

func TestExcess(t *testing.T) {
	config := func(unchanged, removed int) Config {
		c := Config{Name: "east", Unchanged: unchanged}
		for i := range removed {
			c.Removed = append(c.Removed, fmt.Sprintf("rendered/apps/p%d.yaml", i))
		}
		return c
	}
	for _, tt := range []struct {
		configs []Config
		allowed int
		want    string // what the finding says; empty for none
	}{
		{[]Config{config(5, 0)}, -1, ""},
		{[]Config{config(0, 1)}, -1, ""},
		{[]Config{config(0, 2)}, -1, "2 of 2 pairs of config east would be removed, and a run removes 1 pair without being asked"},
		{[]Config{config(1, 3)}, -1, "3 of 4 pairs"},
		{[]Config{config(17, 2)}, -1, "2 of 19 pairs"},
		{[]Config{config(18, 2)}, -1, ""},
		{[]Config{config(90, 10)}, -1, ""},
		{[]Config{config(90, 11)}, -1, "a run removes 10 pairs without being asked"},
		{[]Config{config(1, 3)}, 3, ""},
		{[]Config{config(1, 3)}, 2, "--remove 2 allows fewer"},
		{[]Config{config(1, 1)}, 0, "--remove 0 allows fewer"},
		{[]Config{config(1, 2), config(1, 2)}, 3, "--remove 3 allows fewer"},
		{[]Config{config(1, 2), config(1, 2)}, 4, ""},
		{[]Config{config(9, 1), config(9, 1)}, -1, ""},
	} {
		var said []string
		for _, f := range Excess(tt.configs, tt.allowed, "clusterpair generate -f .") {
			said = append(said, f.Message)
			all := 0
			for _, c := range tt.configs {
				all += len(c.Removed)
			}
			if want := fmt.Sprintf("clusterpair generate -f . --remove %d", all); !strings.HasSuffix(f.Hint, want) {
				t.Errorf("hint %q does not end in %q", f.Hint, want)
			}
		}
		if text := strings.Join(said, "\n"); tt.want == "" && text != "" || !strings.Contains(text, tt.want) {
			t.Errorf("%v, allowed %d: %q, want %q", tt.configs, tt.allowed, text, tt.want)
		}
	}
	lost := func(clusters ...string) Config {
		c := config(5, 2)
		c.Lost = clusters
		return c
	}
	for _, tt := range []struct {
		config Config
		want   string
	}{
		{config(5, 2), "east: +0 ~0 -2, 5 unchanged"},
		{lost("west", "west"), "east: +0 ~0 -2 (to west), 5 unchanged"},
		{lost("a", "b", "c", "d"), "east: +0 ~0 -2 (to a, b, c and 1 more), 5 unchanged"},
	} {
		if got := tt.config.String(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
