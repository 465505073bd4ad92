package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fluxcd/pkg/sourceignore"
	"github.com/rogpeppe/go-internal/testscript"
)

// flux is Flux on a cluster: its real kustomize-controller, and in place of the
// source-controller and the notification-controller a file server for artifacts
// and one that writes down events.
type flux struct {
	cluster   *cluster
	url       string   // of our server
	artifacts sync.Map // path → []byte
}

// fluxCommand is
//
//	flux CLUSTER start
//	flux CLUSTER artifact NAMESPACE/GITREPOSITORY DIR
//
// It starts Flux on a cluster that the script has to itself; its events are lines
// of CLUSTER.events. An artifact is what the source-controller makes of a commit:
// it lays DIR in a GitRepository, which may have been there before.
func fluxCommand(ts *testscript.TestScript, neg bool, args []string) {
	switch s := scriptOf(ts); {
	case !neg && len(args) == 2 && args[1] == "start":
		c := clusterOf(ts, args[0])
		if c == source || c == destination {
			ts.Fatalf("other scripts use %s", c.name)
		}
		f, err := startFlux(c, ts.MkAbs(c.name+".events"))
		ts.Check(err)
		s.fluxes[c.name] = f
	case !neg && len(args) == 4 && args[1] == "artifact" && s.fluxes[args[0]] != nil:
		namespace, name, _ := strings.Cut(args[2], "/")
		ts.Check(s.fluxes[args[0]].publish(namespace, name, ts.MkAbs(args[3])))
	default:
		ts.Fatalf("usage: flux CLUSTER start | artifact NAMESPACE/GITREPOSITORY DIR")
	}
}

// startFlux starts Flux on a cluster, with more flags for its controller, and returns
// when it is ready. It ends with the cluster.
func startFlux(c *cluster, events string, flags ...string) (*flux, error) {
	f := &flux{cluster: c, url: "http://" + c.host + ":8080"}
	if err := c.install(filepath.Join(c.tools, "flux-crds")); err != nil {
		return nil, err
	}
	if err := c.request(http.MethodPost, "/api/v1/namespaces", "metadata: {name: flux-system}"); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", c.address+":8080")
	if err != nil {
		return nil, err
	}
	go http.Serve(listener, f.handler(events)) // until the tests end
	controller, err := c.run("kustomize-controller", append([]string{"--events-addr=" + f.url + "/events",
		"--health-addr=" + c.address + ":9440", "--metrics-addr=0",
		// What waits for another Kustomization looks each second.
		"--requeue-dependency=1s"}, flags...)...)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		r, err := http.Get("http://" + c.address + ":9440/readyz")
		if err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return f, nil
			}
			err = fmt.Errorf("/readyz: %s", r.Status)
		}
		select {
		case <-controller.ended:
			return nil, fmt.Errorf("kustomize-controller ended: %s", controller.lastLines())
		default:
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("kustomize-controller does not get ready: %w", err)
		}
	}
}

// handler serves artifacts, and appends a line for each event to a file.
func (f *flux) handler(events string) http.Handler {
	var mutex sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			data, ok := f.artifacts.Load(r.URL.Path)
			if !ok {
				http.NotFound(w, r)
				return
			}
			w.Write(data.([]byte))
			return
		}
		var event struct {
			Severity, Reason, Message string
			InvolvedObject            struct{ Kind, Namespace, Name string }
		}
		if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		mutex.Lock()
		defer mutex.Unlock()
		if file, err := os.OpenFile(events, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
			o := event.InvolvedObject
			fmt.Fprintf(file, "%s %s/%s/%s %s: %q\n", event.Severity, o.Kind, o.Namespace, o.Name, event.Reason, event.Message)
			file.Close()
		}
	})
}

// publish makes a directory the artifact of a GitRepository.
func (f *flux) publish(namespace, name, dir string) error {
	_, err := f.publishAs("GitRepository", namespace, name, dir)
	return err
}

// sourceKinds are the objects that have artifacts: how the API calls many of one, and what
// one says of where it fetches.
var sourceKinds = map[string]struct{ plural, spec string }{
	"GitRepository": {"gitrepositories", "url: https://git.example.com/%s"},
	"OCIRepository": {"ocirepositories", "url: oci://registry.example.com/%s"},
	"Bucket":        {"buckets", "endpoint: s3.example.com, bucketName: %s"},
}

// publishAs makes a directory the artifact of an object of a kind, and returns its revision.
func (f *flux) publishAs(kind, namespace, name, dir string) (revision string, err error) {
	data, err := archive(dir)
	if err != nil {
		return "", err
	}
	commit := fmt.Sprintf("%x", sha1.Sum(data))
	revision = "main@sha1:" + commit
	path := fmt.Sprintf("/%s/%s/%s/%s.tar.gz", kind, namespace, name, commit)
	f.artifacts.Store(path, data)

	object := fmt.Sprintf("/apis/source.toolkit.fluxcd.io/v1/namespaces/%s/%s/%s", namespace, sourceKinds[kind].plural, name)
	const manager = "?force=true&fieldManager=source-controller"
	header := fmt.Sprintf("apiVersion: source.toolkit.fluxcd.io/v1\nkind: %s\nmetadata: {name: %s}\n", kind, name)
	// Suspended: no source-controller has to look for it.
	if err := f.cluster.request(http.MethodPatch, object+manager, header+fmt.Sprintf(
		"spec: {interval: 1h, suspend: true, "+sourceKinds[kind].spec+"}", name)); err != nil {
		return "", err
	}
	return revision, f.cluster.request(http.MethodPatch, object+"/status"+manager, header+fmt.Sprintf(
		"status: {artifact: {digest: 'sha256:%x', lastUpdateTime: %q, path: %s, revision: '%s', size: %d, url: %s}}",
		sha256.Sum256(data), time.Now().UTC().Format(time.RFC3339), path, revision, len(data), f.url+path))
}

// archive packs the files of a directory, but for those that a .sourceignore leaves out:
// by the library of source-controller, which does not run here. The same files make the
// same archive.
func archive(dir string) ([]byte, error) {
	domain := strings.Split(dir, string(filepath.Separator))
	patterns, err := sourceignore.LoadIgnorePatterns(dir, domain)
	if err != nil {
		return nil, err
	}
	leftOut := sourceignore.NewDefaultMatcher(patterns, domain)
	var b bytes.Buffer
	zipped := gzip.NewWriter(&b)
	packed := tar.NewWriter(zipped)
	if err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == ".git":
			return filepath.SkipDir
		case !entry.Type().IsRegular(), leftOut.Match(strings.Split(path, string(filepath.Separator)), false):
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if err := packed.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
			return err
		}
		_, err = packed.Write(data)
		return err
	}); err != nil {
		return nil, err
	}
	if err := packed.Close(); err != nil {
		return nil, err
	}
	err = zipped.Close()
	return b.Bytes(), err
}
