// Command stork says what a Kubernetes API server, and Stork behind it, make of
// ClusterPairs: an oracle for tests, without a cluster and without a network.
//
// It reads documents from its standard input, each as a JSON string of YAML,
// and answers each with a line of JSON, a [verdict].
//
// With -kubeconfig it is a double of Stork instead, which serves the
// ClusterPairs of a cluster until it is interrupted.
//
// Stork's module cannot be had from the Go module proxy, so that its ClusterPair is declared
// here once more; all that can go wrong with one is in client-go, which is the
// real one. go.mod has the release that Stork 23.2 to 24.3 vendors, 2.9.mod
// that of Stork 2.9, and next.mod a current one: what newer releases of Stork
// vendor is not public.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	kjson "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	sigsjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// ClusterPair and what it holds are declared as in
// https://github.com/libopenstorage/stork/blob/9dc3204614b26c0091e0d4829c41dd3972b692f0/pkg/apis/stork/v1alpha1/clusterpair.go
type ClusterPair struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              ClusterPairSpec   `json:"spec"`
	Status            ClusterPairStatus `json:"status,omitempty"`
}

// ClusterPairSpec is the part that users write.
type ClusterPairSpec struct {
	Config          api.Config        `json:"config"`
	Options         map[string]string `json:"options"`
	PlatformOptions PlatformSpec      `json:"platformOptions"`
}

// PlatformSpec is about the makers of Kubernetes.
type PlatformSpec struct {
	Rancher *RancherSpec `json:"rancher,omitempty"`
}

// RancherSpec is about Rancher.
type RancherSpec struct {
	ProjectMappings map[string]string `json:"projectMappings,omitempty"`
}

// ClusterPairStatus is the part that Stork writes.
type ClusterPairStatus struct {
	SchedulerStatus string `json:"schedulerStatus"`
	StorageStatus   string `json:"storageStatus"`
	RemoteStorageID string `json:"remoteStorageId"`
}

// ClusterPairList is what Stork's informers read.
type ClusterPairList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterPair `json:"items"`
}

// DeepCopyObject is what the informers' cache gives out.
func (p *ClusterPair) DeepCopyObject() runtime.Object {
	c := *p
	p.ObjectMeta.DeepCopyInto(&c.ObjectMeta)
	p.Spec.Config.DeepCopyInto(&c.Spec.Config)
	return &c // options are not changed here
}

// DeepCopyObject makes it a runtime.Object.
func (l *ClusterPairList) DeepCopyObject() runtime.Object {
	c := *l
	return &c
}

var groupVersion = schema.GroupVersion{Group: "stork.libopenstorage.org", Version: "v1alpha1"}

func main() {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "KUBECONFIG"} {
		os.Unsetenv(name)
	}
	kubeconfig := flag.String("kubeconfig", "", "serve the ClusterPairs of this cluster")
	namespace := flag.String("namespace", "", "serve those of one namespace only")
	patience := flag.Int("controller-cache-sync-timeout", 2, "end if it cannot read them within these `minutes`")
	flag.Parse()
	err := errors.New("usage: stork [-kubeconfig FILE [-namespace NAMESPACE] [-controller-cache-sync-timeout MINUTES]]")
	switch {
	case flag.NArg() > 0:
	case *kubeconfig != "":
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		err = runDouble(ctx, *kubeconfig, *namespace, time.Duration(*patience)*time.Minute)
	default:
		err = run(os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "stork:", err)
		os.Exit(1)
	}
}

func run(stdin io.Reader, stdout io.Writer) error {
	scheme := runtime.NewScheme()
	scheme.AddKnownTypes(groupVersion, &ClusterPair{}, &ClusterPairList{})
	in, out := json.NewDecoder(bufio.NewReader(stdin)), json.NewEncoder(stdout)
	for {
		var text string
		if err := in.Decode(&text); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := out.Encode(judge(scheme, text)); err != nil {
			return err
		}
	}
}

// verdict is what becomes of a ClusterPair. Of the errors at most one is there,
// as nothing comes after it.
type verdict struct {
	// YAML is why kubectl cannot turn the document into JSON.
	YAML string `json:"yaml,omitempty"`
	// API is why the API server refuses it.
	API string `json:"api,omitempty"`
	// Decode is why Stork cannot read it, nor any other ClusterPair.
	Decode string `json:"decode,omitempty"`
	// Panic is what ends Stork's process.
	Panic string `json:"panic,omitempty"`
	// Client is why Stork can make no client of it: its status stays empty.
	Client string `json:"client,omitempty"`
	// Request is why Stork's client sends nothing.
	Request string `json:"request,omitempty"`

	// URL is what Stork asks for, and Dialled the address to which it connects.
	// They are empty for an exec user: no command is run.
	URL     string `json:"url,omitempty"`
	Dialled string `json:"dialled,omitempty"`
	// Sent are the fields of the active user whose values Stork uses, and Unsent
	// those that it read and does not use.
	Sent   []string `json:"sent,omitempty"`
	Unsent []string `json:"unsent,omitempty"`
	// Lost are the fields that are not there any more, or are another value,
	// after Stork has written its status. Dropped are those of them that are
	// empty, and that Stork therefore leaves out, and what is the same bytes in
	// another base64: they do no harm and yet differ from the file for ever.
	Lost    []string `json:"lost,omitempty"`
	Dropped []string `json:"dropped,omitempty"`
	// Storage is "none", or "pair", or why pairing fails.
	Storage string `json:"storage,omitempty"`
}

func judge(scheme *runtime.Scheme, text string) (v verdict) {
	defer func() {
		if p := recover(); p != nil {
			v.Panic = fmt.Sprint(p)
		}
	}()
	stored, err := admit(text, &v)
	if err != nil {
		return v
	}
	codec := kjson.NewSerializerWithOptions(kjson.DefaultMetaFactory, scheme, scheme, kjson.SerializerOptions{})
	decoder := serializer.NewCodecFactory(scheme).WithoutConversion().DecoderToVersion(codec, groupVersion)
	list := fmt.Appendf(nil, `{"apiVersion":%q,"kind":"ClusterPairList","metadata":{},"items":[%s]}`, groupVersion, stored)
	object, err := runtime.Decode(decoder, list)
	if err != nil {
		v.Decode = err.Error()
		return v
	}
	// Events and the second way by which Stork reads a pair have no list around it.
	if _, err := runtime.Decode(decoder, stored); err != nil {
		v.Decode = err.Error()
		return v
	}
	pair := object.(*ClusterPairList).Items[0].DeepCopyObject().(*ClusterPair)

	written, err := runtime.Encode(codec, pair)
	if err != nil {
		v.Panic = "cannot be written: " + err.Error()
		return v
	}
	var before, after any
	if err := errors.Join(json.Unmarshal(stored, &before), json.Unmarshal(written, &after)); err != nil {
		v.Panic = err.Error()
		return v
	}
	v.compare("", before, after)
	v.Storage = storage(pair.Spec.Options)
	v.connect(&pair.Spec.Config)
	return v
}

// admit is the API server: a CustomResourceDefinition without a schema, which
// checks metadata only.
func admit(text string, v *verdict) (stored []byte, err error) {
	defer func() {
		if err != nil && v.YAML == "" {
			v.API = err.Error()
		}
	}()
	asJSON := []byte(text)
	if !json.Valid(asJSON) {
		if asJSON, err = yaml.YAMLToJSON(asJSON); err != nil {
			v.YAML = err.Error()
			return nil, err
		}
	}
	var object map[string]any
	if err := sigsjson.UnmarshalCaseSensitivePreserveInts(asJSON, &object); err != nil {
		return nil, err
	}
	if object["apiVersion"] != groupVersion.String() || object["kind"] != "ClusterPair" {
		return nil, errors.New("another apiVersion or kind")
	}
	metadata, err := json.Marshal(object["metadata"])
	if err != nil {
		return nil, err
	}
	var meta metav1.ObjectMeta
	unknown, err := sigsjson.UnmarshalStrict(metadata, &meta)
	if err != nil {
		return nil, err
	}
	if meta.ResourceVersion != "" || len(meta.ManagedFields) > 0 {
		return nil, errors.New("metadata.resourceVersion and metadata.managedFields are the server's to set")
	}
	for _, err := range unknown { // refused on demand, dropped otherwise
		v.Lost = append(v.Lost, ".metadata: "+err.Error())
	}
	if errs := validation.ValidateObjectMetaAccessor(&meta, true, validation.NameIsDNSSubdomain, field.NewPath("metadata")); len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	if object["metadata"], err = runtime.DefaultUnstructuredConverter.ToUnstructured(&meta); err != nil {
		return nil, err
	}
	if stored, err = json.Marshal(object); err != nil {
		return nil, err
	}
	if len(stored) > 3<<19 {
		return nil, errors.New("etcd takes no request of more than 1.5 MiB")
	}
	return stored, nil
}

// anotherMode is of storage: the driver pairs as with Default.
const anotherMode = "another mode"

// storage is what the controller and the Portworx driver make of the options.
// https://github.com/libopenstorage/stork/blob/9dc3204614b26c0091e0d4829c41dd3972b692f0/pkg/migration/controllers/clusterpair.go#L120
// https://github.com/libopenstorage/stork/blob/9dc3204614b26c0091e0d4829c41dd3972b692f0/drivers/volume/portworx/portworx.go#L2486
func storage(options map[string]string) string {
	_, ok := options["token"]
	if !ok {
		if len(options) > 0 {
			return "none, and taken for two fabrics on failover"
		}
		return "none"
	}
	if port, ok := options["port"]; ok {
		if n, err := strconv.ParseUint(port, 10, 32); err != nil || n == 0 || n > 65535 {
			return "no port"
		}
	}
	if mode, ok := options["mode"]; ok && !slices.Contains([]string{"Default", "DisasterRecovery", "OneTimeMigration"}, mode) {
		return anotherMode
	}
	for _, key := range []string{"ip", "token"} {
		if options[key] == "" || strings.ContainsFunc(options[key], func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return "no " + key
		}
	}
	if location, ok := options["backuplocation"]; ok && len(validation.NameIsDNSSubdomain(location, false)) > 0 {
		return "no backup location"
	}
	return "pair"
}

// connect does what Stork's controller does to learn the destination's
// version, up to the moment when it would open a connection.
func (v *verdict) connect(config *api.Config) {
	r, err := clientcmd.NewNonInteractiveClientConfig(*config, config.CurrentContext, &clientcmd.ConfigOverrides{},
		clientcmd.NewDefaultClientConfigLoadingRules()).ClientConfig()
	if err != nil {
		v.Client = err.Error()
		return
	}
	var sent *http.Request
	r.Dial = func(_ context.Context, _, address string) (net.Conn, error) {
		v.Dialled = address
		return nil, errors.New("as far as it goes")
	}
	r.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(q *http.Request) (*http.Response, error) {
			sent = q
			return next.RoundTrip(q)
		})
	})
	// As discovery does. kubernetes.NewForConfig makes many clients, all alike.
	r.NegotiatedSerializer = serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion()
	client, err := rest.UnversionedRESTClientFor(r)
	if err != nil {
		v.Client = err.Error()
		return
	}
	tlsConfig, err := rest.TLSConfigFor(r)
	if err != nil {
		v.Client = err.Error()
		return
	}
	user := config.AuthInfos[config.Contexts[config.CurrentContext].AuthInfo]
	if user != nil && user.Exec != nil { // which must not be run here
		v.exec(user)
		return
	}
	err = client.Get().AbsPath("/version").Do(context.Background()).Error()
	if v.Dialled == "" {
		v.Request = err.Error()
		return
	}
	v.URL = sent.URL.String()
	if _, port, err := net.SplitHostPort(v.Dialled); err != nil || len(port) > 5 || len(port) == 5 && port > "65535" || port == "0" {
		v.Request = "no such port"
	}
	if user == nil {
		return
	}
	use := func(name string, set, used bool) {
		switch {
		case set && used:
			v.Sent = append(v.Sent, name)
		case set:
			v.Unsent = append(v.Unsent, name)
		}
	}
	secure := sent.URL.Scheme == "https"
	use("token", user.Token != "", secure && sent.Header.Get("Authorization") == "Bearer "+user.Token)
	name, password, ok := sent.BasicAuth()
	use("username", user.Username+user.Password != "", secure && ok && name == user.Username && password == user.Password)
	certificate := false
	if tlsConfig != nil && tlsConfig.GetClientCertificate != nil {
		c, err := tlsConfig.GetClientCertificate(nil)
		certificate = err == nil && len(c.Certificate) > 0
	}
	use("client-certificate-data", len(user.ClientCertificateData) > 0, secure && certificate)
	use("client-key-data", len(user.ClientKeyData) > 0, secure && certificate)
	use("act-as", user.Impersonate != "", secure && sent.Header.Get("Impersonate-User") == user.Impersonate)
	use("act-as-groups", len(user.ImpersonateGroups) > 0, secure && slices.Equal(sent.Header.Values("Impersonate-Group"), user.ImpersonateGroups))
	use("act-as-uid", uid(user) != "", secure && sent.Header.Get("Impersonate-Uid") == uid(user))
	extra := make(map[string][]string) // as the destination's API server reads it
	for name, values := range sent.Header {
		if key, ok := strings.CutPrefix(strings.ToLower(name), "impersonate-extra-"); ok {
			if decoded, err := url.PathUnescape(key); err == nil {
				key = decoded
			}
			extra[key] = append(extra[key], values...)
		}
	}
	for key, values := range user.ImpersonateUserExtra {
		use("act-as-user-extra", true, len(values) > 0 && secure && slices.Equal(extra[key], values))
	}
}

// exec judges a user whose credential a command gives out.
func (v *verdict) exec(user *api.AuthInfo) {
	if f := reflect.ValueOf(user.Exec).Elem().FieldByName("InteractiveMode"); f.IsValid() && f.String() == "Always" {
		v.Request = "standard input is not a terminal"
		return
	}
	if user.Token+user.Username+user.Password != "" || len(user.ClientCertificateData) > 0 {
		v.Unsent = []string{"exec"}
		return
	}
	v.Sent = []string{"exec"}
}

// uid is the user's act-as-uid, which client-go has known since 0.23.
func uid(user *api.AuthInfo) string {
	if f := reflect.ValueOf(user).Elem().FieldByName("ImpersonateUID"); f.IsValid() {
		return f.String()
	}
	return ""
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }

// compare notes what stands in a file and not in what Stork writes.
func (v *verdict) compare(path string, before, after any) {
	switch b := before.(type) {
	case map[string]any:
		a, ok := after.(map[string]any)
		if ok {
			for key := range b {
				v.compare(path+"."+key, b[key], a[key])
			}
			return
		}
	case []any:
		a, ok := after.([]any)
		if ok && len(a) == len(b) {
			for i := range b {
				v.compare(fmt.Sprintf("%s[%d]", path, i), b[i], a[i])
			}
			return
		}
	}
	switch {
	case reflect.DeepEqual(before, after):
	case empty(before) && empty(after), sameBytes(before, after):
		v.Dropped = append(v.Dropped, path)
	default:
		v.Lost = append(v.Lost, path)
	}
}

func empty(x any) bool {
	switch x := x.(type) {
	case nil:
		return true
	case string:
		return x == ""
	case bool:
		return !x
	case []any:
		return len(x) == 0
	case map[string]any:
		for _, value := range x {
			if !empty(value) {
				return false
			}
		}
		return true
	}
	return false
}

func sameBytes(x, y any) bool {
	var a, b []byte
	x1, err := json.Marshal(x)
	y1, err2 := json.Marshal(y)
	return err == nil && err2 == nil && json.Unmarshal(x1, &a) == nil && json.Unmarshal(y1, &b) == nil && string(a) == string(b)
}
