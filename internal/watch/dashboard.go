package watch

import "clusterpair.dev/internal/report"

// dashboard is a dashboard of Grafana. The titles of rules are those of the catalogue.
func dashboard() object {
	titles := object{}
	for i, r := range told() {
		titles[r.ID] = object{"index": i, "text": report.Plain(r.Title)}
	}
	panels := []any{
		stat("Pairs", "count(clusterpair_stork_status)", 0, nil),
		stat("Work", "sum(clusterpair_up) or vector(0)", 6, nil),
		stat("Ready in vain", `count(clusterpair_up == 0 and on (namespace, name) clusterpair_stork_status{scheduler="Ready"}) or vector(0)`, 12, 1),
		stat("Stalling Stork", "sum(clusterpair_stork_stalled) or vector(0)", 18, 1),
		wrong(titles),
		panel("timeseries", "Days until the credential ends", 0, 14, 12, 9, target("bottomk(20, (clusterpair_credential_expires_seconds - time()) / 86400)", "{{namespace}}/{{name}}", false), object{"unit": "d", "min": 0}),
		panel("state-timeline", "Whether the destination takes the credential", 12, 14, 12, 9, target("clusterpair_up", "{{namespace}}/{{name}}", false), object{
			"mappings": []any{object{"type": "value", "options": object{"0": object{"text": "no", "color": "red"}, "1": object{"text": "yes", "color": "green"}}}},
		}),
		panel("timeseries", "How long checks take", 0, 23, 12, 8, target("histogram_quantile(0.9, sum by (le) (rate(clusterpair_check_duration_seconds_bucket[15m])))", "90 % within", false), object{"unit": "s", "min": 0}),
		panel("timeseries", "Missing permissions", 12, 23, 12, 8, target("clusterpair_permissions_missing > 0", "{{namespace}}/{{name}}", false), object{"min": 0}),
	}
	for i, p := range panels {
		p.(object)["id"] = i + 1
	}
	return object{
		"title": "ClusterPairs", "uid": "clusterpair-watch", "tags": []string{"clusterpair", "stork"}, "schemaVersion": 39, "version": 1, "editable": true,
		"time": object{"from": "now-24h", "to": "now"}, "refresh": "1m",
		"annotations": object{"list": []any{}},
		"templating":  object{"list": []any{object{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}}},
		"panels":      panels,
	}
}

var dataSource = object{"type": "prometheus", "uid": "${datasource}"}

func target(expr, legend string, now bool) object {
	t := object{"refId": "A", "expr": expr, "legendFormat": legend, "datasource": dataSource}
	if now {
		t["instant"], t["range"], t["format"] = true, false, "table"
	}
	return t
}

func panel(kind, title string, x, y, width, height int, query, defaults object, overrides ...any) object {
	if overrides == nil {
		overrides = []any{}
	}
	return object{
		"type": kind, "title": title, "datasource": dataSource, "targets": []any{query},
		"gridPos":     object{"x": x, "y": y, "w": width, "h": height},
		"fieldConfig": object{"defaults": defaults, "overrides": overrides},
	}
}

// stat is a number, red from a value on if there is one.
func stat(title, expr string, x int, red any) object {
	steps := []any{object{"color": "green", "value": nil}}
	if red != nil {
		steps = append(steps, object{"color": "red", "value": red})
	}
	return panel("stat", title, x, 0, 6, 5, target(expr, "", false), object{"thresholds": object{"mode": "absolute", "steps": steps}})
}

// wrong is a table of what is wrong, with the titles of rules in place of their names.
func wrong(titles object) object {
	query := target("max by (namespace, name, severity, rule) (clusterpair_rule_broken) == 1", "", true)
	table := panel("table", "What is wrong", 0, 5, 24, 9, query, object{}, override("rule", "mappings", []any{object{"type": "value", "options": titles}}))
	hidden := object{"Time": true, "Value": true}
	table["transformations"] = []any{object{"id": "organize", "options": object{"excludeByName": hidden}}}
	return table
}

func override(field, property string, value any) object {
	return object{"matcher": object{"id": "byName", "options": field}, "properties": []any{object{"id": property, "value": value}}}
}
