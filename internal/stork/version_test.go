package stork

import "testing"

func TestParse(t *testing.T) {
	for release, want := range map[string]Version{
		"24.3": {24, 3}, "v24.3": {24, 3}, "24.3.2": {24, 3}, "v24.3.2": {24, 3},
		"2.9.0": {2, 9}, "v2.8.1.1": {2, 8}, "v2.11.2-rc1": {2, 11}, "24.3.2-rc1": {24, 3}, "24.10": {24, 10}, "2024.3": {2024, 3},
	} {
		v, ok := Parse(release)
		if v != want || !ok {
			t.Errorf("%s: got %v, %v", release, v, ok)
		}
		if again, ok := Parse(v.String()); again != v || !ok {
			t.Errorf("%s is written %s and read as %v", release, v, again)
		}
	}
	for _, release := range []string{
		"", "v", "24", "24.", ".3", "24.3.", "24.3.garbage", "24.3-garbage", "24.3.2-rc", "24.3.2-rcx", "24.3.2-rc1-rc1", "24.3-beta1", "-1.-5", "24.+3", " 24.3", "24.3 ",
		"24.3\n", "vv24.3", "V24.3", "24.3.1.2.3", "24.3.2+build", "24,3", "24.33333", "٢٤.٣", "master", "latest",
	} {
		if v, ok := Parse(release); ok || v.Known() {
			t.Errorf("%q is taken for %v", release, v)
		}
	}
}

func TestReleasesDiffer(t *testing.T) {
	type answers struct{ storage, takes, asynchronous, client, spells, admin bool }
	for release, want := range map[string]answers{
		"":       {},
		"2.8":    {storage: true, client: true, spells: true},
		"2.9":    {takes: true, client: true, spells: true},
		"2.12":   {takes: true, client: true, spells: true},
		"23.2":   {takes: true, spells: true},
		"23.10":  {takes: true, spells: true},
		"23.11":  {asynchronous: true, spells: true},
		"24.3.2": {asynchronous: true, spells: true},
		"24.4":   {asynchronous: true},
		"25.1":   {asynchronous: true},
		"25.4.1": {asynchronous: true},
		"25.5":   {asynchronous: true, admin: true},
		"26.1":   {asynchronous: true, admin: true},
	} {
		v, _ := Parse(release)
		got := answers{v.PairsStorage(), v.TakesMode(), v.ModeIsAsynchronous(), v.HasOldClient(), v.SpellsInteractiveMode(), v.AdminPairSuffices()}
		if got != want {
			t.Errorf("Stork %s: got %+v, want %+v", release, got, want)
		}
	}
}
