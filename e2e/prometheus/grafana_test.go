package prometheus

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// TestGrafana: the dashboard has each field that Grafana's own schema demands, each of its kind,
// and none that the schema does not have, which Grafana would drop without a word.
func TestGrafana(t *testing.T) {
	printed, err := exec.Command("go", "run", "-C", "../..", "./cmd/clusterpair", "install", "--watch", "-o", "dashboard").Output()
	if err != nil {
		t.Fatal(err)
	}
	plugins.RegisterDefaultPlugins()
	if err := judge(printed); err != nil {
		t.Fatal(err)
	}
	for from, to := range mistakes {
		changed := strings.Replace(string(printed), from, to, 1)
		if changed == string(printed) {
			t.Errorf("the dashboard has no %s", from)
		} else if judge([]byte(changed)) == nil {
			t.Errorf("%s in place of %s is not seen", to, from)
		}
	}
}

// mistakes are changes of the dashboard that the schema has to find.
var mistakes = map[string]string{
	`"editable": true`:                 `"editible": true`,
	`"schemaVersion": `:                `"schema": `,
	`"refresh": "1m"`:                  `"refresh": 60`,
	`"templating": {`:                  `"variables": {`,
	`"annotations": {`:                 `"annotation": {`,
	`"query": "prometheus"`:            `"queries": "prometheus"`,
	`"type": "state-timeline"`:         `"type": "statetimeline"`,
	`"title": "Missing perm`:           `"titel": "Missing perm`,
	`"gridPos": {`:                     `"gridPos": {"z": 1,`,
	`"h": 5`:                           `"h": "5"`,
	`"expr": `:                         `"expression": `,
	`"legendFormat": `:                 `"legend": `,
	`"format": "table"`:                `"format": 1`,
	`            "type": "prometheus"`: `            "type": "promotheus"`, // of a query
	`"uid": "${datasource}"`:           `"name": "${datasource}"`,
	`"unit": "d"`:                      `"unit": 1`,
	`"defaults": {`:                    `"defaults": {"units": "s",`,
	`"mode": "absolute"`:               `"modes": "absolute"`,
	`"steps": [`:                       `"steps": [{"colour": "red"}, `,
	`"overrides": []`:                  `"overrides": [{}]`,
	`"id": "byName"`:                   `"name": "byName"`,
	`"id": "mappings"`:                 `"id": "mapping"`,
	`"text": "no"`:                     `"texts": "no"`,
	`"type": "value"`:                  `"type": "values"`,
	`"id": "organize"`:                 `"ids": "organize"`,
	// What a panel shows has a schema of its own for each type.
	`"type": "stat"`:             `"options": {"graph": "none"}, "type": "stat"`,
	`"type": "table"`:            `"options": {"header": true}, "type": "table"`,
	`"type": "timeseries"`:       `"options": {"legends": {}}, "type": "timeseries"`,
	`"min": 0`:                   `"custom": {"line": 1}, "min": 0`,
	`"title": "Whether the dest`: `"options": {"merge": true}, "title": "Whether the dest`,
}

// judge is the schema's verdict on a dashboard, and on what its library takes as it comes: plugins
// that it does not know, and how fields are shown.
func judge(text []byte) error {
	var errs cog.BuildErrors
	add := func(path string, err error) {
		if err != nil {
			errs = append(errs, cog.MakeBuildErrors(path, err)...)
		}
	}
	add("dashboard", dashboard.NewDashboard().UnmarshalJSONStrict(text)) // it keeps not all that it reads
	board := dashboard.NewDashboard()
	add("dashboard", json.Unmarshal(text, board))
	add("dashboard", board.Validate())
	var raw struct {
		Panels []struct {
			FieldConfig json.RawMessage
			Targets     []json.RawMessage
		}
	}
	add("dashboard", json.Unmarshal(text, &raw))
	if len(errs) > 0 {
		return errs
	}
	for i, p := range board.Panels {
		path := fmt.Sprintf("panels[%d]", i)
		if _, known := cog.ConfigForPanelcfgVariant(p.Panel.Type); !known {
			add(path, fmt.Errorf("there is no panel %s", p.Panel.Type))
		}
		for _, target := range raw.Panels[i].Targets {
			query, err := cog.UnmarshalDataquery(target, "")
			add(path, err)
			if _, unknown := query.(variants.UnknownDataquery); unknown {
				add(path, errors.New("there is no such source of data"))
			}
		}
		var config dashboard.FieldConfigSource
		add(path, config.UnmarshalJSONStrict(raw.Panels[i].FieldConfig))
		for _, o := range config.Overrides {
			for _, property := range o.Properties {
				field, err := json.Marshal(map[string]any{property.Id: property.Value})
				add(path, err)
				add(path, new(dashboard.FieldConfig).UnmarshalJSONStrict(field))
			}
		}
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}
