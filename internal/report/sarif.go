package report

import (
	"bufio"
	"net/url"
	"path"
)

// The parts of SARIF 2.1.0 that a report fills.
// https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
type (
	sarifText struct {
		Text     string `json:"text"`
		Markdown string `json:"markdown,omitempty"`
	}
	sarifLevel struct {
		Level string `json:"level"`
	}
	sarifRule struct {
		ID               string      `json:"id"`
		ShortDescription sarifText   `json:"shortDescription"`
		FullDescription  sarifText   `json:"fullDescription"`
		Help             sarifText   `json:"help"`
		Default          *sarifLevel `json:"defaultConfiguration,omitempty"`
		Properties       *sarifTags  `json:"properties,omitempty"`
	}
	sarifTags struct {
		Tags []string `json:"tags"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Fingerprints map[string]string `json:"partialFingerprints"`
		Suppressions []sarifWaiver     `json:"suppressions,omitempty"`
		Properties   *sarifObject      `json:"properties,omitempty"`
	}
	sarifWaiver struct {
		Kind          string `json:"kind"`
		Status        string `json:"status"`
		Justification string `json:"justification"`
	}
	sarifObject struct {
		Object string `json:"object"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
)

// writeSARIF writes one run with the rules that have findings, so that a viewer
// can explain what it shows.
func writeSARIF(w *bufio.Writer, r *Report) {
	rules, index := sarifRules(r)
	// YAML columns count characters.
	w.WriteString(`{"$schema": "https://json.schemastore.org/sarif-2.1.0.json",
"version": "2.1.0",
"runs": [{"columnKind": "unicodeCodePoints",
"tool": {"driver": {"name": "clusterpair"`)
	if r.Version != "" {
		w.WriteString(`, "version": ` + JSONText(r.Version))
	}
	w.WriteString(",\n\"rules\": ")
	list := jsonList{w: w}
	for _, rule := range rules {
		list.add(rule)
	}
	list.end()
	w.WriteString("}},\n\"results\": ")
	list = jsonList{w: w}
	for e := range r.entries() {
		list.add(sarifResultOf(e, index[e.ruleName()]))
	}
	list.end()
	w.WriteString("}]}\n")
}

// sarifRules are the rules of the findings, in the catalogue's order, and where
// each stands in the list. A name that the catalogue does not know comes last.
func sarifRules(r *Report) ([]sarifRule, map[string]int) {
	index := make(map[string]int)
	var unknown []string
	for e := range r.entries() {
		name := e.ruleName()
		if _, again := index[name]; again {
			continue
		}
		index[name] = 0
		if _, known := RuleOf(name); !known {
			unknown = append(unknown, name)
		}
	}
	var rules []sarifRule
	for _, rule := range catalogue {
		if _, found := index[rule.ID]; !found {
			continue
		}
		index[rule.ID] = len(rules)
		rules = append(rules, sarifRule{
			ID:               rule.ID,
			ShortDescription: sarifText{Text: rule.Title},
			FullDescription:  sarifText{Text: Plain(rule.Consequence)},
			Help: sarifText{
				Text:     Plain(rule.Consequence + "\n\nFix: " + rule.Fix),
				Markdown: "**What happens:** " + rule.Consequence + "\n\n**Fix:** " + rule.Fix,
			},
			Default:    &sarifLevel{sarifLevelOf(rule.Severity)},
			Properties: &sarifTags{Tags: []string{rule.Group}},
		})
	}
	for _, name := range unknown {
		index[name] = len(rules)
		// GitHub asks for all three texts.
		help := sarifText{Text: "The message of the finding says what is wrong and what to do."}
		rules = append(rules, sarifRule{ID: name, ShortDescription: sarifText{Text: name}, FullDescription: help, Help: help})
	}
	return rules, index
}

func sarifResultOf(e entry, ruleIndex int) sarifResult {
	result := sarifResult{
		RuleID: e.ruleName(), RuleIndex: ruleIndex, Level: sarifLevelOf(e.Severity),
		Message: sarifText{Text: e.withHint()},
		// GitHub reads only primaryLocationLineHash, which its upload action
		// derives from the text of the line, and warns about any other value.
		Fingerprints: map[string]string{"clusterpair/v1": e.fingerprint},
	}
	location := sarifLocation{Physical: sarifPhysical{Artifact: sarifArtifact{URI: sarifURI(e.Position.File)}}}
	if e.Position.Line > 0 {
		location.Physical.Region = &sarifRegion{StartLine: e.Position.Line, StartColumn: e.Position.Column}
	}
	if e.Path != "" {
		location.Logical = []sarifLogical{{Name: e.Path, Kind: "property"}}
	}
	result.Locations = []sarifLocation{location}
	if e.Waived != "" {
		result.Suppressions = []sarifWaiver{{Kind: "inSource", Status: "accepted", Justification: e.Waived}}
	}
	if e.Object != "" {
		result.Properties = &sarifObject{Object: e.Object}
	}
	return result
}

func sarifLevelOf(s Severity) string {
	if s == Info {
		return "note"
	}
	return s.String()
}

// sarifURI is a file's name as a URI, relative to the root of the repository
// unless the name is absolute. What stands in no file is laid to the root,
// since GitHub refuses a file with a result that has no location.
func sarifURI(file string) string {
	name := cleanName(file)
	u := url.URL{Path: name}
	if name == "" {
		u.Path = "."
	} else if path.IsAbs(name) {
		u.Scheme = "file"
	}
	return u.String()
}
