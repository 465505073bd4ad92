package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/plant"
	"clusterpair.dev/internal/project"
)

// TestContinuousIntegration runs the steps of examples/github and
// examples/gitlab as the runners do, on a repository that is fine and on one
// that is not. They take clusterpair from a server with the archive of a release.
func TestContinuousIntegration(t *testing.T) {
	r := servedRelease(t)
	env := os.Environ()
	temp := t.TempDir() // the archive is unpacked into it once
	fine, bad := t.TempDir(), t.TempDir()
	for _, dir := range []string{fine, bad} {
		if err := os.CopyFS(dir, os.DirFS("../../examples/kustomize")); err != nil {
			t.Fatal(err)
		}
	}
	pair := "apiVersion: stork.libopenstorage.org/v1alpha1\nkind: ClusterPair\nmetadata: {name: west, namespace: apps}\n" +
		"spec: {config: {users: {a: {token: " + plant.Value + "}}}}\n"
	if err := os.WriteFile(filepath.Join(bad, "clear.yaml"), []byte(pair), 0o600); err != nil {
		t.Fatal(err)
	}
	// A credential in a source is found by the check of names of all kinds alone.
	leaky := t.TempDir()
	if err := os.CopyFS(leaky, os.DirFS(fine)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(leaky, "key.go"), []byte("package x // AGE-SECRET-KEY-1Z5S4LE2QX8H720J7NGEMRHZUDDS3RVU407ZVNDRR54GVJZXTUUYQRUL4E0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{fine, bad, leaky} {
		for _, args := range [][]string{{"init", "-q"}, {"add", "."}} {
			if out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).CombinedOutput(); err != nil {
				t.Fatalf("git %s: %v\n%s", args, err, out)
			}
		}
	}

	t.Run("GitHub", func(t *testing.T) {
		action := readAction(t)
		checkWorkflow(t, action)
		inputs := map[string]string{"version": r.version, "pin": r.pin, "url": r.url, "sarif": "true"}

		printed, sarif, err := action.run(t, fine, temp, env, inputs)
		if err != nil || strings.Contains(printed, "::error") || len(sarifResults(t, sarif)) != 0 {
			t.Errorf("a repository that is fine: %v\n%s\n%s", err, printed, sarif)
		}
		printed, sarif, err = action.run(t, bad, temp, env, inputs)
		if err == nil || !strings.Contains(printed, "::error file=clear.yaml,line=2,") || !slices.Contains(sarifResults(t, sarif), "plaintext-credential") {
			t.Errorf("a ClusterPair in clear: %v\n%s\n%s", err, printed, sarif)
		}
		if printed, _, err = action.run(t, leaky, temp, env, inputs); err == nil || !strings.Contains(printed, "key.go:1:") {
			t.Errorf("a key in a source: %v\n%s", err, printed)
		}
		inputs["paths"], inputs["flags"] = "rendered secrets", "--strict --within 30d"
		if printed, _, err = action.run(t, fine, temp, env, inputs); err != nil {
			t.Errorf("paths and flags: %v\n%s", err, printed)
		}
		inputs["paths"] = "missing"
		if printed, _, err = action.run(t, bad, temp, env, inputs); err == nil || strings.Contains(printed, "::error") {
			t.Errorf("a path that is not there: %v\n%s", err, printed)
		}
	})

	t.Run("Script", func(t *testing.T) { released(t, r) })
	t.Run("PreCommit", func(t *testing.T) { releasedHooks(t, r, fine) })
	t.Run("GitLab", func(t *testing.T) {
		job := readJob(t, map[string]string{"version": r.version, "pin": r.pin, "url": r.url})
		env := append(slices.Clip(env), "CLUSTERPAIR_CACHE="+filepath.Join(temp, "gitlab"))
		for name, value := range job.Variables {
			env = append(env, name+"="+value)
		}
		run := func(dir string) (failures []string, err error) {
			cmd := exec.Command("sh", "-ec", strings.Join(slices.Concat(job.BeforeScript, job.Script), "\n"))
			cmd.Dir, cmd.Env = dir, env
			out, err := cmd.CombinedOutput()
			t.Logf("%s", out)
			var quality []struct {
				CheckName string `json:"check_name"`
				Location  struct{ Path string }
			}
			if err := json.Unmarshal([]byte(read(t, filepath.Join(dir, job.Artifacts.Reports.CodeQuality))), &quality); err != nil {
				t.Error(err)
			}
			for _, q := range quality {
				failures = append(failures, q.CheckName+" "+q.Location.Path)
			}
			var junit struct {
				XMLName xml.Name `xml:"testsuites"`
			}
			if err := xml.Unmarshal([]byte(read(t, filepath.Join(dir, job.Artifacts.Reports.JUnit))), &junit); err != nil {
				t.Error(err)
			}
			return failures, err
		}
		if failures, err := run(fine); err != nil || len(failures) > 0 {
			t.Errorf("a repository that is fine: %v, %s", err, failures)
		}
		if failures, err := run(bad); err == nil || !slices.Contains(failures, "plaintext-credential clear.yaml") {
			t.Errorf("a ClusterPair in clear: %v, %s", err, failures)
		}
		if _, err := run(leaky); err == nil {
			t.Error("a key in a source is not found")
		}
	})
}

// moduleProxy puts this module, as it lies in the work tree, beside the module
// proxy of the environment: as a version that nothing else has, and that leaves
// the module cache with the test.
func moduleProxy(t *testing.T) (version string, env []string) {
	t.Helper()
	files, err := moduleFiles()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(sum, "%s %d\n%s", name, len(files[name]), files[name])
	}
	version = fmt.Sprintf(project.Version()+"-test.%x.%d", sum.Sum(nil)[:6], os.Getpid())

	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		w, err := z.Create(project.Module() + "@" + version + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	proxy := t.TempDir()
	// In the names of files ! and a small letter stand for a capital one.
	// https://go.dev/ref/mod#module-cache
	escaped := filepath.FromSlash(regexp.MustCompile("[A-Z]").ReplaceAllStringFunc(project.Module(), func(c string) string { return "!" + strings.ToLower(c) }))
	versions := filepath.Join(proxy, escaped, "@v")
	if err := os.MkdirAll(versions, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"list":            []byte(version + "\n"),
		version + ".info": fmt.Appendf(nil, `{"Version": %q, "Time": "2026-01-01T00:00:00Z"}`, version),
		version + ".mod":  files["go.mod"],
		version + ".zip":  archive.Bytes(),
	} {
		if err := os.WriteFile(filepath.Join(versions, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	goEnv, err := goEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	env = os.Environ()
	for _, variable := range goEnv {
		name, value, _ := strings.Cut(variable, "=")
		switch name {
		case "GOMODCACHE":
			t.Cleanup(func() {
				os.RemoveAll(filepath.Join(value, escaped+"@"+version))
				versions := filepath.Join(value, "cache", "download", escaped, "@v")
				cached, _ := filepath.Glob(filepath.Join(versions, version+".*"))
				for _, path := range append(cached, filepath.Join(versions, "list")) {
					os.Remove(path)
				}
			})
		case "GOPROXY":
			value = "file://" + filepath.ToSlash(proxy) + "," + value
		case "GONOSUMDB":
			value = strings.TrimPrefix(value+","+project.Module(), ",")
		case "GOFLAGS":
			value += " -modcacherw" // so that it can be removed
		}
		env = append(env, name+"="+value)
	}
	return version, env
}

// action is examples/github/action.yml, in the fields of
// https://docs.github.com/en/actions/reference/workflows-and-actions/metadata-syntax
type action struct {
	Name, Description string
	Inputs            map[string]struct {
		Description, Default string
		Required             bool
	}
	Runs struct {
		Using string
		Steps []struct {
			Name, If, Uses, Shell, Run string
			Env, With                  map[string]string
		}
	}
}

var (
	inputExpression = regexp.MustCompile(`\$\{\{ inputs\.(\w+) \}\}`)
	pinnedAction    = regexp.MustCompile(`^[\w-]+/[\w/-]+@v\d+$`)
)

func readAction(t *testing.T) *action {
	t.Helper()
	a := new(action)
	decodeStrictly(t, "../../examples/github/action.yml", a)
	if a.Name == "" || a.Description == "" || a.Runs.Using != "composite" {
		t.Errorf("name, description and using: %q, %q, %q", a.Name, a.Description, a.Runs.Using)
	}
	for _, step := range a.Runs.Steps {
		switch {
		case (step.Uses == "") == (step.Run == ""):
			t.Errorf("step %q: either uses or run", step.Name)
		case step.Uses != "" && !pinnedAction.MatchString(step.Uses):
			t.Errorf("uses: %s", step.Uses)
		case step.Run != "" && step.Shell != "sh":
			t.Errorf("step %q has no shell", step.Name)
		case strings.Contains(step.Run, "${{"):
			t.Errorf("step %q: an expression in run is open to injection", step.Name)
		}
		for _, value := range step.Env {
			if m := inputExpression.FindStringSubmatch(value); m == nil {
				t.Errorf("step %q: env %s", step.Name, value)
			} else if _, ok := a.Inputs[m[1]]; !ok {
				t.Errorf("step %q: there is no input %s", step.Name, m[1])
			}
		}
	}
	return a
}

// checkWorkflow checks that workflow.yaml uses the action as it is.
func checkWorkflow(t *testing.T, a *action) {
	t.Helper()
	var w struct {
		Name        string
		On          map[string]any
		Permissions map[string]string
		Jobs        map[string]struct {
			RunsOn string `yaml:"runs-on"`
			Steps  []struct {
				Uses string
				With map[string]string
			}
		}
	}
	decodeStrictly(t, "../../examples/github/workflow.yaml", &w)
	if w.Permissions["contents"] != "read" || w.Permissions["security-events"] != "write" || len(w.On) != 2 {
		t.Errorf("permissions %v, on %v", w.Permissions, w.On)
	}
	steps := w.Jobs["validate"].Steps
	if len(steps) != 2 || !pinnedAction.MatchString(steps[0].Uses) || steps[1].Uses != "./.github/actions/clusterpair" {
		t.Fatalf("steps %v", steps)
	}
	for name := range steps[1].With {
		if _, ok := a.Inputs[name]; !ok {
			t.Errorf("the action has no input %s", name)
		}
	}
}

// run runs the steps of the action in a checkout, with temp as the runner's
// temporary directory: what they print, the SARIF file that is uploaded, and the
// error of the step that failed.
func (a *action) run(t *testing.T, checkout, temp string, env []string, inputs map[string]string) (printed, sarif string, err error) {
	t.Helper()
	paths := filepath.Join(t.TempDir(), "paths")
	var out bytes.Buffer
	for _, step := range a.Runs.Steps {
		expand := func(value string) string {
			value = strings.ReplaceAll(value, "${{ runner.temp }}", temp)
			return inputExpression.ReplaceAllStringFunc(value, func(expression string) string {
				name := inputExpression.FindStringSubmatch(expression)[1]
				if value, ok := inputs[name]; ok {
					return value
				}
				return a.Inputs[name].Default
			})
		}
		switch step.If {
		case "":
		case "inputs.sarif == 'true'":
			if expand("${{ inputs.sarif }}") != "true" {
				continue
			}
		default:
			t.Fatalf("step %q: if: %s", step.Name, step.If)
		}
		if path, ok := step.With["sarif_file"]; ok {
			sarif = read(t, expand(path))
		}
		if step.Run == "" {
			continue
		}
		cmd := exec.Command("sh", "-ec", step.Run)
		cmd.Dir, cmd.Stdout, cmd.Stderr = checkout, &out, &out
		added, err := os.ReadFile(paths)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		path := strings.Join(append(strings.Fields(string(added)), os.Getenv("PATH")), string(filepath.ListSeparator))
		cmd.Env = append(slices.Clip(env), "RUNNER_TEMP="+temp, "GITHUB_PATH="+paths, "PATH="+path)
		for name, value := range step.Env {
			cmd.Env = append(cmd.Env, name+"="+expand(value))
		}
		if err := cmd.Run(); err != nil {
			return out.String(), sarif, fmt.Errorf("step %q: %w", step.Name, err)
		}
	}
	return out.String(), sarif, nil
}

func sarifResults(t *testing.T, text string) []string {
	t.Helper()
	var sarif struct {
		Version string
		Runs    []struct{ Results []struct{ RuleID string } }
	}
	if err := json.Unmarshal([]byte(text), &sarif); err != nil || sarif.Version != "2.1.0" || len(sarif.Runs) != 1 {
		t.Fatalf("no SARIF: %v\n%s", err, text)
	}
	var rules []string
	for _, result := range sarif.Runs[0].Results {
		rules = append(rules, result.RuleID)
	}
	return rules
}

// job is the job of examples/gitlab/templates/clusterpair.yml, in the fields of
// https://docs.gitlab.com/ci/yaml/
type job struct {
	Image, Stage string
	Variables    map[string]string
	BeforeScript []string `yaml:"before_script"`
	Script       []string
	Artifacts    struct {
		When    string
		Reports struct{ CodeQuality, JUnit string }
	}
}

var componentInput = regexp.MustCompile(`\$\[\[ inputs\.(\w+) \]\]`)

// readJob reads the component as GitLab does, with these inputs.
// https://docs.gitlab.com/ci/inputs/
func readJob(t *testing.T, given map[string]string) *job {
	t.Helper()
	const file = "../../examples/gitlab/templates/clusterpair.yml"
	head, body, ok := strings.Cut(read(t, file), "\n---\n")
	var header struct {
		Spec struct {
			Inputs map[string]struct {
				Description string
				Default     *string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(head), &header); err != nil || !ok {
		t.Fatalf("%s has no header: %v", file, err)
	}
	body = componentInput.ReplaceAllStringFunc(body, func(expression string) string {
		name := componentInput.FindStringSubmatch(expression)[1]
		input, ok := header.Spec.Inputs[name]
		if value := given[name]; value != "" {
			return value
		}
		if !ok || input.Default == nil || input.Description == "" {
			t.Fatalf("input %s: %+v", name, input)
		}
		return *input.Default
	})
	var pipeline struct{ Clusterpair job }
	decoder := yaml.NewDecoder(strings.NewReader(body))
	decoder.KnownFields(true)
	if err := decoder.Decode(&pipeline); err != nil {
		t.Fatal(err)
	}
	j := &pipeline.Clusterpair
	if j.Image == "" || j.Stage == "" || j.Artifacts.When != "always" || len(j.Script) == 0 {
		t.Errorf("image %q, stage %q, artifacts %v, script %q", j.Image, j.Stage, j.Artifacts, j.Script)
	}
	// How it is used, in the same inputs.
	var use struct {
		Include []struct {
			Local  string
			Inputs map[string]string
		}
	}
	decodeStrictly(t, "../../examples/gitlab/.gitlab-ci.yml", &use)
	if len(use.Include) != 1 || !strings.HasSuffix(file, use.Include[0].Local) || use.Include[0].Inputs["pin"] == "" {
		t.Errorf(".gitlab-ci.yml: %+v", use)
	}
	return j
}

func decodeStrictly(t *testing.T, path string, into any) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(read(t, path)))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if err := decoder.Decode(new(any)); err != io.EOF {
		t.Fatalf("%s holds several documents", path)
	}
}
