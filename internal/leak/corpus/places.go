package corpus

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
)

// render writes a credential into a file, nil if that has no sense. value gives
// what stands in the place of a secret.
type render func(c credential, value func(field) any) []byte

// place is where a credential may stand, in one or several forms.
type place struct {
	name, extension, format string
	forms                   []render
}

type object = map[string]any

func meta(name string) object { return object{"name": name, "namespace": "dr"} }

// fields are the fields of a credential as they stand beside each other.
func fields(c credential, value func(field) any) object {
	m := object{}
	for _, f := range c.public {
		m[f.name] = f.value
	}
	for _, f := range c.secrets {
		m[f.name] = value(f)
	}
	return m
}

// whole is the object that the credential is part of, or its fields.
func whole(c credential, value func(field) any) object {
	if c.object != nil {
		return c.object(value)
	}
	return fields(c, value)
}

// texts are the fields as text, as a Secret or ConfigMap has them.
func texts(c credential, value func(field) any, encode bool) object {
	m := fields(c, value)
	for key, v := range m {
		text, _ := v.(string)
		if v == nil {
			continue
		}
		if encode {
			text = base64.StdEncoding.EncodeToString([]byte(text))
		}
		m[key] = text
	}
	return m
}

// pair is a ClusterPair with the kubeconfig of a credential, or the fields.
func pair(c credential, value func(field) any) object {
	o := whole(c, value)
	if o["kind"] != "Config" {
		return o
	}
	config := object{"current-context": o["current-context"]}
	for _, part := range []string{"clusters", "contexts", "users"} {
		byName := object{}
		for _, item := range o[part].([]any) {
			item := item.(object)
			byName[item["name"].(string)] = item[strings.TrimSuffix(part, "s")]
		}
		config[part] = byName
	}
	return object{"apiVersion": "stork.libopenstorage.org/v1alpha1", "kind": "ClusterPair", "metadata": meta("west"), "spec": object{"config": config, "options": object{}}}
}

func secretOf(part string, values object) object {
	return object{"apiVersion": "v1", "kind": "Secret", "metadata": meta("west"), part: values}
}

// yamlOf is a form that writes a document around something.
func yamlOf(document func(c credential, value func(field) any) object) render {
	return func(c credential, value func(field) any) []byte { return asYAML(document(c, value)) }
}

var places = []place{
	{"Secret, data", ".yaml", "yaml", []render{
		yamlOf(func(c credential, v func(field) any) object { return secretOf("data", texts(c, v, true)) }),
		yamlOf(func(c credential, v func(field) any) object {
			return secretOf("data", object{"value": base64.StdEncoding.EncodeToString(asYAML(whole(c, v)))})
		}),
	}},
	{"Secret, stringData", ".yaml", "yaml", []render{
		yamlOf(func(c credential, v func(field) any) object { return secretOf("stringData", texts(c, v, false)) }),
		yamlOf(func(c credential, v func(field) any) object {
			return secretOf("stringData", object{"west.conf": string(asYAML(whole(c, v)))})
		}),
	}},
	{"Secret, JSON", ".yaml", "yaml", []render{
		yamlOf(func(c credential, v func(field) any) object {
			return secretOf("stringData", object{"config": string(asJSON(whole(c, v)))})
		}),
		yamlOf(func(c credential, v func(field) any) object {
			return secretOf("data", object{"config": base64.StdEncoding.EncodeToString(asJSON(whole(c, v)))})
		}),
	}},
	{"ConfigMap, text", ".yaml", "yaml", []render{
		yamlOf(func(c credential, v func(field) any) object {
			return object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("west"), "data": object{"west.yaml": string(asYAML(whole(c, v)))}}
		}),
		yamlOf(func(c credential, v func(field) any) object {
			return object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("west"), "data": object{"west.yaml": string(asYAML(pair(c, v)))}}
		}),
	}},
	{"HelmRelease, values", ".yaml", "yaml", []render{
		yamlOf(func(c credential, v func(field) any) object {
			return helmRelease(object{"resources": []any{pair(c, v)}})
		}),
		yamlOf(func(c credential, v func(field) any) object { return helmRelease(object{"west": fields(c, v)}) }),
	}},
	{"Helm values", ".yaml", "yaml", []render{
		yamlOf(func(c credential, v func(field) any) object { return object{"stork": object{"pair": pair(c, v)}} }),
		yamlOf(func(c credential, v func(field) any) object {
			return object{"replicas": 2, "image": object{"tag": "v1.2.3"}, "west": fields(c, v)}
		}),
	}},
	{"Crossplane Object", ".yaml", "yaml", []render{
		yamlOf(func(c credential, v func(field) any) object { return crossplane(pair(c, v)) }),
		yamlOf(func(c credential, v func(field) any) object {
			return crossplane(secretOf("stringData", texts(c, v, false)))
		}),
	}},
	{"ManifestWork", ".yaml", "yaml", []render{
		yamlOf(func(c credential, v func(field) any) object { return manifestWork(pair(c, v)) }),
		yamlOf(func(c credential, v func(field) any) object { return manifestWork(secretOf("data", texts(c, v, true))) }),
	}},
	{"ResourceSet", ".yaml", "yaml", []render{
		yamlOf(func(c credential, v func(field) any) object { return resourceSet(pair(c, v)) }),
		yamlOf(func(c credential, v func(field) any) object {
			return resourceSet(secretOf("stringData", texts(c, v, false)))
		}),
	}},
	{"List", ".yaml", "yaml", []render{
		yamlOf(func(c credential, v func(field) any) object {
			return object{"apiVersion": "v1", "kind": "List", "items": []any{secretOf("stringData", texts(c, v, false))}}
		}),
		yamlOf(func(c credential, v func(field) any) object {
			return object{"apiVersion": "v1", "kind": "List", "items": []any{object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": "dr"}}, secretOf("data", object{"config": base64.StdEncoding.EncodeToString(asJSON(whole(c, v)))})}}
		}),
	}},
	{"text in a text", ".yaml", "yaml", []render{
		yamlOf(func(c credential, v func(field) any) object {
			inner := secretOf("stringData", object{"config": string(asJSON(whole(c, v)))})
			return object{"apiVersion": "fleet.cattle.io/v1alpha1", "kind": "Bundle", "metadata": meta("west"), "spec": object{"resources": []any{object{"name": "west.yaml", "content": string(asYAML(inner))}}}}
		}),
		yamlOf(func(c credential, v func(field) any) object {
			inner := object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("west"), "data": object{"west.json": string(asJSON(whole(c, v)))}}
			return object{"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": meta("west"), "spec": object{"source": object{"helm": object{"values": string(asYAML(object{"extra": []any{inner}}))}}}}
		}),
	}},
	{"annotation", ".yaml", "yaml", []render{
		yamlOf(func(c credential, v func(field) any) object {
			last := string(asJSON(secretOf("data", texts(c, v, true))))
			m := meta("west")
			m["annotations"] = object{"kubectl.kubernetes.io/last-applied-configuration": last}
			return object{"apiVersion": "v1", "kind": "Secret", "metadata": m, "data": object{}}
		}),
		yamlOf(func(c credential, v func(field) any) object {
			m := meta("west")
			m["annotations"] = object{"example.com/backup": base64.StdEncoding.EncodeToString(asYAML(whole(c, v)))}
			return object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": m, "data": object{}}
		}),
	}},
	{"JSON file", ".json", "json", []render{
		func(c credential, v func(field) any) []byte { return asJSON(whole(c, v)) },
		func(c credential, v func(field) any) []byte {
			return asJSON(object{"west": fields(c, v), "replicas": 2})
		},
	}},
	{".env", ".env", "dotenv", []render{
		func(c credential, v func(field) any) []byte { return assignments(c, v, "") },
		func(c credential, v func(field) any) []byte {
			return fmt.Appendf(nil, "STAGE=dr\nWEST_B64=%s\n", base64.StdEncoding.EncodeToString(asYAML(whole(c, v))))
		},
	}},
	{"shell", ".sh", "binary", []render{
		func(c credential, v func(field) any) []byte {
			return append([]byte("#!/bin/sh\nset -eu\n"), assignments(c, v, "export ")...)
		},
		func(c credential, v func(field) any) []byte {
			return fmt.Appendf(nil, "#!/bin/sh\ncat > west.yaml <<'EOF'\n%sEOF\nkubectl apply -f west.yaml\n", asYAML(whole(c, v)))
		},
		func(c credential, v func(field) any) []byte {
			f := c.secrets[0]
			switch text, _ := v(f).(string); {
			case text == "" || strings.Contains(text, " ") || strings.Contains(text, "\n"):
				return nil
			case f.name == "token":
				return fmt.Appendf(nil, "#!/bin/sh\nkubectl --server=https://west.example.com:6443 --token=%s get nodes\ncurl -H \"Authorization: Bearer %s\" https://west.example.com:6443/version\n", text, text)
			case f.name == "password":
				return fmt.Appendf(nil, "#!/bin/sh\ncurl https://admin:%s@west.example.com:6443/version\n", text)
			}
			return nil
		},
	}},
	{"Markdown", ".md", "binary", []render{
		func(c credential, v func(field) any) []byte {
			return fmt.Appendf(nil, "# How to reach the cluster\n\nPut this into `west.yaml`:\n\n```yaml\n%s```\n\nThen run `kubectl get nodes`.\n", asYAML(whole(c, v)))
		},
		func(c credential, v func(field) any) []byte {
			return fmt.Appendf(nil, "# The cluster in the west\n\n    %s\n", strings.ReplaceAll(string(asYAML(fields(c, v))), "\n", "\n    "))
		},
	}},
	{"file without extension", "/", "binary", []render{
		func(c credential, v func(field) any) []byte { return asYAML(whole(c, v)) },
		func(c credential, v func(field) any) []byte {
			text, _ := v(c.secrets[0]).(string)
			if c.secrets[0].name == "tls.key" || c.secrets[0].name == "age.agekey" {
				return []byte("# made by hand\n" + text + "\n")
			}
			return asJSON(whole(c, v))
		},
	}},
}

func helmRelease(values object) object {
	return object{"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "metadata": meta("west"), "spec": object{"interval": "10m", "values": values}}
}

func crossplane(manifest object) object {
	return object{"apiVersion": "kubernetes.crossplane.io/v1alpha2", "kind": "Object", "metadata": object{"name": "west"}, "spec": object{"forProvider": object{"manifest": manifest}}}
}

func manifestWork(manifest object) object {
	return object{"apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork", "metadata": meta("west"), "spec": object{"workload": object{"manifests": []any{manifest}}}}
}

func resourceSet(manifest object) object {
	return object{"apiVersion": "fluxcd.controlplane.io/v1", "kind": "ResourceSet", "metadata": meta("west"), "spec": object{"resources": []any{manifest}}}
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9]`)

// assignments are the fields as variables of a shell.
func assignments(c credential, value func(field) any, prefix string) []byte {
	var b strings.Builder
	b.WriteString("# the cluster in the west\n")
	write := func(name, text string) {
		if strings.ContainsAny(text, " \n") {
			text = `"` + strings.ReplaceAll(strings.TrimSpace(text), "\n", `\n`) + `"`
		}
		fmt.Fprintf(&b, "%sWEST_%s=%s\n", prefix, strings.ToUpper(notInNames.ReplaceAllString(name, "_")), text)
	}
	for _, f := range c.public {
		write(f.name, f.value)
	}
	for _, f := range c.secrets {
		text, _ := value(f).(string)
		write(f.name, text)
	}
	return []byte(b.String())
}
