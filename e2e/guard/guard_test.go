package guard

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/cel-go/cel"
	admissionv1 "k8s.io/api/admission/v1"
	v1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apiserver/pkg/admission"
	admissioncel "k8s.io/apiserver/pkg/admission/plugin/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"
)

// oldest is the first release of Kubernetes that has these policies without a gate.
const oldest = "1.30"

// policy is a compiled policy.
type policy struct {
	v1.ValidatingAdmissionPolicy
	evaluator admissioncel.ConditionEvaluator
}

type expression struct{ name, text string }

func (e expression) GetName() string       { return e.name }
func (e expression) GetExpression() string { return e.text }
func (e expression) ReturnTypes() []*cel.Type {
	if e.name != "" {
		return []*cel.Type{cel.AnyType, cel.DynType}
	}
	return []*cel.Type{cel.BoolType}
}

// policies are those that clusterpair prints, by name, compiled as a release of the API server
// does it.
func policies(t *testing.T, release string) map[string]*policy {
	t.Helper()
	return compiled(t, printed(t), release)
}

func printed(t *testing.T) []byte {
	t.Helper()
	text, err := exec.Command("go", "run", "-C", "../..", "./cmd/clusterpair", "schema", "-o", "admission").Output()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func compiled(t *testing.T, text []byte, release string) map[string]*policy {
	t.Helper()
	all := make(map[string]*policy)
	for documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		var p policy
		if err := errors.Join(err, yaml.Unmarshal(document, &p.ValidatingAdmissionPolicy)); err != nil {
			t.Fatal(err)
		}
		if p.Kind != "ValidatingAdmissionPolicy" {
			continue
		}
		compiler, err := admissioncel.NewCompositedCompiler(environment.MustBaseEnvSet(version.MustParseGeneric(release)))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range p.Spec.Variables {
			if r := compiler.CompileAndStoreVariable(expression{v.Name, v.Expression}, admissioncel.OptionalVariableDeclarations{}, environment.NewExpressions); r.Error != nil {
				t.Errorf("%s, variable %s: %v", p.Name, v.Name, r.Error)
			}
		}
		var validations []admissioncel.ExpressionAccessor
		for _, v := range p.Spec.Validations {
			validations = append(validations, expression{"", v.Expression})
		}
		p.evaluator = compiler.CompileCondition(validations, admissioncel.OptionalVariableDeclarations{}, environment.NewExpressions)
		for _, err := range p.evaluator.CompilationErrors() {
			t.Errorf("%s: %v", p.Name, err)
		}
		all[p.Name] = &p
	}
}

// judge returns the messages of what the policy refuses in an object that was another before,
// or is new, and what that costs.
func (p *policy) judge(t *testing.T, object, before map[string]any) (refused []string, cost int64) {
	t.Helper()
	kind := schema.GroupVersionKind{Group: "stork.libopenstorage.org", Version: "v1alpha1", Kind: "ClusterPair"}
	attributes := admission.NewAttributesRecord(&unstructured.Unstructured{Object: object}, nil, kind, "app", "west",
		schema.GroupVersionResource{Group: kind.Group, Version: kind.Version, Resource: "clusterpairs"}, "", admission.Create, nil, false, nil)
	versioned := &admission.VersionedAttributes{Attributes: attributes, VersionedKind: kind, VersionedObject: admission.NewLazyObject(&unstructured.Unstructured{Object: object})}
	if before != nil {
		versioned.VersionedOldObject = admission.NewLazyObject(&unstructured.Unstructured{Object: before})
	}
	results, left, err := p.evaluator.ForInput(context.Background(), versioned, &admissionv1.AdmissionRequest{}, admissioncel.OptionalVariableBindings{}, nil, celconfig.RuntimeCELCostBudget)
	if err != nil {
		t.Fatalf("%s: %v", p.Name, err)
	}
	for i, r := range results {
		switch {
		case r.Error != nil:
			t.Fatalf("%s: %v\n%s", p.Name, r.Error, p.Spec.Validations[i].Expression)
		case r.EvalResult.Value() != true:
			refused = append(refused, p.Spec.Validations[i].Message)
		}
	}
	return refused, celconfig.RuntimeCELCostBudget - left
}

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	object, err := Object(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return object
}

// TestAgreesWithStork: what a Stork cannot decode is refused, in the words of a rule, and what
// every Stork decodes is not, but for ciphertext and a null entry that is in no use yet.
func TestAgreesWithStork(t *testing.T) {
	decodes := policies(t, oldest)["clusterpair-decodes"]
	accepted, refused := 0, 0
	for _, v := range verdicts(t) {
		pair := object(t, v.Text)
		messages, _ := decodes.judge(t, pair, nil)
		switch {
		case len(messages) == 0 && v.Undecoded != "":
			t.Errorf("accepted, and Stork says %s:\n%s", v.Undecoded, v.Text)
		case len(messages) > 0 && v.Undecoded == "" && !MayRefuse(pair):
			t.Errorf("Stork decodes it, and it is refused: %s\n%s", messages, v.Text)
		case len(messages) > 0:
			refused++
		default:
			accepted++
		}
		if before, _ := decodes.judge(t, pair, pair); len(before) > 0 {
			t.Errorf("an update without a change is refused: %s\n%s", before, v.Text)
		}
	}
	t.Logf("%d pairs accepted, %d refused", accepted, refused)
	if accepted < 500 || refused < 500 {
		t.Errorf("%d pairs accepted, %d refused", accepted, refused)
	}
}

// verdicts are those of all pairs of the oracle, and of thousands of mutants.
var verdicts = sync.OnceValue(func() func(*testing.T) []Verdict {
	var all []Verdict
	return func(t *testing.T) []Verdict {
		t.Helper()
		if all == nil {
			var err error
			if all, err = Verdicts(filepath.Join(t.TempDir(), "verdicts.json"), "../.."); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
})()

// handwritten are the conditions of the misuse policy that are not of the schema, by rule:
// what validate says of the same, and changes of the condition that would be wrong.
var handwritten = map[string]struct {
	said    *regexp.Regexp
	changes [][2]string
}{
	"ca-invalid":          {regexp.MustCompile(`^certificate-authority-data holds no certificate in PEM.*\[ca-invalid\]$`), ofPEM},
	"certificate-invalid": {regexp.MustCompile(`^(the client certificate is no PEM|the client key is no private key in PEM).*\[certificate-invalid\]$`), ofPEM},
	"server-invalid": {regexp.MustCompile(`^(server is plain http|server does not begin with https|the cluster has no server).*\[server-invalid\]$`),
		[][2]string{{`^(?i)https://`, `^(?i)https?://`}, {`^(?i)https://`, `^https://`}, {`^(?i)https://`, `.`}, {`matches("^(?i)https://")`, `matches("^x")`}}},
	"tls-skipped": {regexp.MustCompile(`^insecure-skip-tls-verify .*\[(tls-skipped|ca-invalid)\]$`),
		[][2]string{{`["insecure-skip-tls-verify"] != true`, `["insecure-skip-tls-verify"] == true`}, {`["insecure-skip-tls-verify"] != true`, `["insecure-skip-tls-verify"] != false`}, {`"insecure-skip-tls-verify" in`, `"insecure-tls" in`}}},
	"exec-credential": {regexp.MustCompile(`^.*exec user.*\[exec-credential\]$`),
		[][2]string{{`m["exec"] == null`, `m["exec"] != null`}, {`m["exec"] == null`, `true`}}},
	"basic-auth": {regexp.MustCompile(`\[basic-auth\]$`),
		[][2]string{{`["username", "password"]`, `["username"]`}, {`["username", "password"]`, `["password"]`}, {`["username", "password"]`, `["username", "password", "token"]`}, {`m[f] == null || m[f] == ""`, `m[f] == null`}}},
}

// ofPEM are changes by which the policy would see PEM where there is none, or none where there is some.
var ofPEM = [][2]string{{`"LS0tLS1CRU", `, ``}, {`"0tLS0tQkVH", `, ``}, {`"tLS0tLUJFR", `, ``}, {`"LS0tLS1CRU"`, `"LS0tLS1"`},
	{`, "\n"`, ``}, {`, "\r"]`, `]`}, {` == "" || ["LS0t`, ` == "a" || ["LS0t`}, {`.exists(p`, `.all(p`}}

// besides is what validate says of data that is no PEM when it knows what it is, and of which field the
// text does not say.
var besides = regexp.MustCompile(`^(what kubectl config view prints instead of the data|encoded in base64 twice).*\[bad-base64\]$`)

// dataOf are the fields of clusters, or of users, that a rule about PEM is about.
var dataOf = map[string][]string{
	"ca-invalid":          {"clusters", "certificate-authority-data"},
	"certificate-invalid": {"users", "client-certificate-data", "client-key-data"},
}

// noPEM tells whether data of one of the fields, in one line, has no PEM. What is wrong with PEM that
// begins there validate alone tells.
func noPEM(pair map[string]any, entries string, fields ...string) bool {
	all, _, _ := unstructured.NestedMap(pair, "spec", "config", entries)
	for _, entry := range all {
		for _, field := range fields {
			values, _ := entry.(map[string]any)
			text, _ := values[field].(string)
			data, _ := base64.StdEncoding.DecodeString(text)
			if len(data) > 0 && !bytes.Contains(data, []byte("-----BEG")) && !strings.ContainsAny(text, "\r\n") {
				return true
			}
		}
	}
	return false
}

// TestMisuseAgrees: of what every Stork decodes the misuse policy says no more than validate. By
// the conditions that are not of the schema it says as much, too, where the pair holds one cluster
// and one user, those that count. Each change of these conditions would be seen.
func TestMisuseAgrees(t *testing.T) {
	var cases []Verdict
	for _, v := range verdicts(t) {
		if pair := object(t, v.Text); v.Undecoded == "" && !MayRefuse(pair) {
			cases = append(cases, v)
		}
	}
	text := printed(t)
	misuse := compiled(t, text, oldest)["clusterpair-misuse"]
	fired := make(map[string]int)
	for _, v := range cases {
		for _, d := range disagreements(t, misuse, v, fired) {
			t.Errorf("%s; validate says %q of\n%s", d, v.Found, v.Text)
		}
	}
	for rule, condition := range handwritten {
		if fired[rule] < 10 || fired[rule] > len(cases)/2 {
			t.Errorf("%s is said of %d of %d pairs", rule, fired[rule], len(cases))
		}
		for _, change := range condition.changes {
			if bytes.Count(text, []byte(change[0])) == 0 {
				t.Errorf("%s: there is no %s", rule, change[0])
				continue
			}
			changed := compiled(t, bytes.ReplaceAll(text, []byte(change[0]), []byte(change[1])), oldest)["clusterpair-misuse"]
			if !slices.ContainsFunc(cases, func(v Verdict) bool { return len(disagreements(t, changed, v, fired)) > 0 }) {
				t.Errorf("%s: %s in place of %s is not seen", rule, change[1], change[0])
			}
		}
	}
}

// unjudged is what validate says where it looks no further: YAML that is no JSON, and a value of a wrong
// kind, which every Stork decodes only if it is null.
var unjudged = regexp.MustCompile(`\[(value-type|config-not-object|still-encrypted|null-entry)\]$`)

// disagreements tells where the misuse policy says something else of a pair than validate. It counts
// the rules that the policy says.
func disagreements(t *testing.T, misuse *policy, v Verdict, fired map[string]int) (all []string) {
	pair := object(t, v.Text)
	messages, _ := misuse.judge(t, pair, nil)
	for _, m := range messages {
		rule := m[strings.LastIndex(m, "[")+1 : strings.LastIndex(m, "]")]
		fired[rule]++
		condition, byHand := handwritten[rule]
		says := func(found string) bool {
			return strings.HasSuffix(found, "["+rule+"]") || byHand && condition.said.MatchString(found) || unjudged.MatchString(found) || besides.MatchString(found)
		}
		if !slices.ContainsFunc(v.Found, says) && (!byHand || single(pair)) {
			all = append(all, "the policy says "+m)
		}
	}
	for rule, condition := range handwritten {
		due := slices.ContainsFunc(v.Found, condition.said.MatchString)
		says := slices.ContainsFunc(messages, func(m string) bool { return strings.Contains(m, "["+rule+"]") })
		if fields := dataOf[rule]; fields != nil {
			if due = noPEM(pair, fields[0], fields[1:]...); says && !due {
				all = append(all, "the policy sees no PEM where some begins")
			}
		}
		if due && !says {
			all = append(all, "the policy does not say "+rule)
		}
	}
	return all
}

func single(pair map[string]any) bool {
	clusters, _, _ := unstructured.NestedMap(pair, "spec", "config", "clusters")
	users, _, _ := unstructured.NestedMap(pair, "spec", "config", "users")
	contexts, _, _ := unstructured.NestedMap(pair, "spec", "config", "contexts")
	current, _, _ := unstructured.NestedString(pair, "spec", "config", "current-context")
	context, _ := contexts[current].(map[string]any)
	cluster, _ := context["cluster"].(string)
	user, _ := context["user"].(string)
	return len(clusters) == 1 && len(users) == 1 && clusters[cluster] != nil && users[user] != nil
}

// TestMisuse: each bad fixture of the schema is refused by one of the policies in the words of its
// rule, and no good one.
func TestMisuse(t *testing.T) {
	all := policies(t, oldest)
	// What the API server itself judges, and what does no harm.
	elsewhere := []string{"duplicate-key", "drifting-field", "metadata-invalid", "pair-kind", "pair-name", "pair-namespace", "server-set-field", "many-mistakes"}
	files, err := filepath.Glob("../../schema/testdata/ClusterPair/*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rule, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".yaml"), "_")
		if slices.Contains(elsewhere, rule) || strings.Contains(file, "value-type_") {
			continue // the others of value-type_ are about YAML itself
		}
		var messages []string
		for text := range strings.SplitSeq(string(data), "\n---\n") {
			if strings.HasPrefix(text, "-") || strings.Contains(text, ".inf") || strings.Contains(text, ": !") {
				continue // no object, or nothing that JSON can say
			}
			for _, p := range all {
				refused, _ := p.judge(t, object(t, text), nil)
				messages = append(messages, refused...)
			}
		}
		if _, err := os.Stat(strings.TrimSuffix(file, ".yaml") + ".out"); err == nil {
			if !strings.Contains(strings.Join(messages, "\n"), "["+rule+"]") {
				t.Errorf("%s: %q", file, messages)
			}
			continue
		}
		for _, m := range messages { // by code of the validator, which is not the schema's
			if !strings.Contains(m, "[exec-credential]") && !strings.Contains(m, "[basic-auth]") && !strings.Contains(m, "[certificate-invalid]") {
				t.Errorf("%s: %s", file, m)
			}
		}
	}
}

// TestSchedules: what stops Stork by a schedule is refused by its policy and told by validate, which
// judge by one table; nothing else is. What stops it was tried with Stork's own controllers, of 24.3.
func TestSchedules(t *testing.T) {
	all := policies(t, oldest)
	const schedule, policy, namespaced = "MigrationSchedule", "SchedulePolicy", "NamespacedSchedulePolicy"
	for text, rule := range map[string]string{
		schedule + `: {spec: {schedulePolicyName: a, suspend: null, template: {spec: {clusterPair: w, namespaces: [a], selectors: {a: b}, includeVolumes: false}}}}`: "",
		schedule + `: {spec: {later: 1}, status: {items: {Interval: [{name: a, status: Failed, finishTimestamp: null}]}, applicationActivated: false}}`:              "",
		schedule + `: {spec: null, status: {items: null}}`:                                                             "",
		schedule + `: {spec: {suspend: "false"}}`:                                                                      "value-type",
		schedule + `: {spec: {schedulePolicyName: 5}}`:                                                                 "value-type",
		schedule + `: {spec: {template: []}}`:                                                                          "value-type",
		schedule + `: {spec: {template: {spec: {includeVolumes: "no"}}}}`:                                              "value-type",
		schedule + `: {spec: {template: {spec: {namespaces: a}}}}`:                                                     "value-type",
		schedule + `: {spec: {template: {spec: {namespaces: [1]}}}}`:                                                   "value-type",
		schedule + `: {spec: {template: {spec: {selectors: {a: 1}}}}}`:                                                 "value-type",
		schedule + `: {status: {items: {Interval: [null]}}}`:                                                           "null-entry",
		schedule + `: {status: {items: {Interval: [a]}}}`:                                                              "null-entry",
		policy + `: {policy: {interval: {intervalMinutes: 30, retain: 2}, daily: null}}`:                               "",
		policy + `: {policy: {weekly: {day: Sunday, time: "1:00AM", options: {a: b}}}}`:                                "",
		policy + `: {policy: {interval: {intervalMinutes: "30"}}}`:                                                     "value-type",
		policy + `: {policy: {daily: {time: 100}}}`:                                                                    "value-type",
		policy + `: {policy: {monthly: {date: "1", time: "1:00AM"}}}`:                                                  "value-type",
		policy + `: {policy: {weekly: {options: {a: true}}}}`:                                                          "value-type",
		policy + `: {policy: []}`:                                                                                      "value-type",
		namespaced + `: {policy: {interval: {retain: 1.5}}}`:                                                           "value-type",
		policy + `: {metadata: {name: default-migration-policy}, policy: {daily: {time: "1:00AM"}}}`:                   "schedule-policy",
		policy + `: {metadata: {name: default-migration-policy}}`:                                                      "schedule-policy",
		policy + `: {metadata: {name: default-migration-policy}, policy: {interval: {intervalMinutes: 5}}}`:            "",
		namespaced + `: {metadata: {name: default-migration-policy, namespace: a}, policy: {daily: {time: "1:00AM"}}}`: "",
		schedule + `: {spec: {schedulePolicyName: "ENC[AES256_GCM,data:AAAA,iv:AAAA,tag:AAAA,type:str]"}}`:             "still-encrypted",
		policy + `: {policy: {daily: {time: "ENC[AES256_GCM,data:AAAA,iv:AAAA,tag:AAAA,type:str]"}}}`:                  "still-encrypted",
	} {
		kind, rest, _ := strings.Cut(text, ": ")
		full := "apiVersion: stork.libopenstorage.org/v1alpha1\nkind: " + kind + "\n" + strings.TrimSuffix(strings.TrimPrefix(rest, "{"), "}")
		full = "{" + strings.ReplaceAll(full, "\n", ", ") + "}"
		if !strings.Contains(full, "metadata:") {
			full = strings.TrimSuffix(full, "}") + ", metadata: {name: a, namespace: b}}"
		}
		name := "clusterpair-schedule-policies"
		if kind == schedule {
			name = "clusterpair-schedules"
		}
		refused, _ := all[name].judge(t, object(t, full), nil)
		if got := strings.Join(refused, "\n"); rule == "" && got != "" || !strings.Contains(got, rule) {
			t.Errorf("%s: the policy says %q, not %q", text, got, rule)
		}
		if again, _ := all[name].judge(t, object(t, full), object(t, full)); len(again) > 0 {
			t.Errorf("%s: an update without a change is refused: %q", text, again)
		}
		file := filepath.Join(t.TempDir(), "object.yaml")
		if err := os.WriteFile(file, []byte(full+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		said, _ := exec.Command("go", "run", "-C", "../..", "./cmd/clusterpair", "validate", file).CombinedOutput()
		if stops := strings.Contains(string(said), "["+rule+"]"); rule != "" && rule != "still-encrypted" && !stops || rule == "" && strings.Contains(string(said), "stops Stork") {
			t.Errorf("%s: validate says %s", text, said)
		}
	}
}

// TestCost: of a pair of 64 KiB, in whatever of its fields, each policy costs less than a
// hundredth of what the API server gives it, also when the pair is changed.
func TestCost(t *testing.T) {
	const size = 64 << 10
	var pairs []map[string]any
	for _, shape := range [][]int{{1, 1}, {4, 4}, {16, 16}, {64, 64}} {
		clusters, contexts, users := map[string]any{}, map[string]any{}, map[string]any{}
		each := size/shape[0]/4 - 200
		data := strings.Repeat("QUJD", max(each, 40)/4)
		for i := range shape[0] {
			name := fmt.Sprint("n", i)
			clusters[name] = map[string]any{"server": "https://west.example.com:6443", "certificate-authority-data": data}
			contexts[name] = map[string]any{"cluster": name, "user": name}
			users[name] = map[string]any{"client-certificate-data": data, "client-key-data": data, "token": data}
		}
		pairs = append(pairs, pair(clusters, contexts, users))
	}
	token := map[string]any{"a": map[string]any{"token": strings.Repeat("a", size)}}
	ca := map[string]any{"a": map[string]any{"server": "https://west.example.com", "certificate-authority-data": strings.Repeat("QUJD", size/4)}}
	pairs = append(pairs, pair(map[string]any{}, map[string]any{}, token), pair(ca, map[string]any{}, map[string]any{}))
	for name, p := range policies(t, oldest) {
		var costs []int64
		for _, pair := range pairs {
			changed := (&unstructured.Unstructured{Object: pair}).DeepCopy().Object
			unstructured.SetNestedField(changed, "other", "spec", "config", "current-context")
			for _, before := range []map[string]any{nil, changed} {
				_, cost := p.judge(t, pair, before)
				costs = append(costs, cost)
			}
		}
		slices.Sort(costs)
		worst := costs[int(math.Ceil(0.99*float64(len(costs))))-1]
		t.Logf("%s: %d", name, costs)
		if worst > celconfig.RuntimeCELCostBudget/100 {
			t.Errorf("%s costs %d of %d", name, worst, celconfig.RuntimeCELCostBudget)
		}
	}
}

func pair(clusters, contexts, users map[string]any) map[string]any {
	return map[string]any{
		"apiVersion": "stork.libopenstorage.org/v1alpha1", "kind": "ClusterPair", "metadata": map[string]any{"name": "west", "namespace": "app"},
		"spec": map[string]any{"options": map[string]any{}, "config": map[string]any{"clusters": clusters, "contexts": contexts, "users": users, "current-context": "n0"}},
	}
}
