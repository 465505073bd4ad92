// Package cluster is the only view of live clusters.
//
// [New] makes a [Client] of one cluster, and [Choice.Client] of one that kubectl's flags
// name. A Client tells of ClusterPairs, of Secrets and of what a credential may do.
// Nothing that a Client returns or says
// in an error holds the credential that it was made with.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/klog/v2"

	"clusterpair.dev/internal/launch"
	"clusterpair.dev/internal/report"
)

// Client talks to one cluster. It is safe for concurrent use.
type Client struct {
	config  *rest.Config
	rest    *rest.RESTClient
	dynamic *dynamic.DynamicClient // over rest
	watches *dynamic.DynamicClient // without the time limit of a request
	longest int64                  // of an answer, in bytes

	mu      sync.Mutex
	secrets []string      // what no message may hold
	offset  time.Duration // of the server's clock
}

// New makes a client from what clientcmd has loaded. It does not talk to the
// cluster yet.
func New(config *rest.Config) (*Client, error) {
	silence()
	config = dynamic.ConfigFor(config)
	config.GroupVersion = &schema.GroupVersion{}
	config.QPS = -1 // the server's own fairness is limit enough
	config.WarningHandlerWithContext = rest.NoWarnings{}
	if config.ExecProvider != nil { // client-go starts it with the environment of this process
		config.ExecProvider = config.ExecProvider.DeepCopy()
		for _, name := range launch.Blank(os.Environ()) {
			config.ExecProvider.Env = append(config.ExecProvider.Env, api.ExecEnvVar{Name: name})
		}
	}
	c := &Client{config: config, longest: maxAnswer}
	c.keep(config.BearerToken, config.Password)
	c.keep(urlSecrets(config.Host)...)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return guard{c, next} })
	var err error
	if c.rest, err = rest.UnversionedRESTClientFor(config); err != nil {
		return nil, c.wrap(err)
	}
	c.dynamic = dynamic.New(c.rest)
	endless := rest.CopyConfig(config)
	endless.Timeout = 0
	watches, err := rest.UnversionedRESTClientFor(endless)
	if err != nil {
		return nil, c.wrap(err)
	}
	c.watches = dynamic.New(watches)
	return c, nil
}

// silence keeps client-go from logging: errors to standard error, and requests
// with their headers if somebody asks for them.
var silence = sync.OnceFunc(func() { klog.SetSlogLogger(slog.New(slog.DiscardHandler)) })

// Server is the URL of the cluster, as messages show it: without what in it may
// be a credential.
func (c *Client) Server() string { return report.URL(c.config.Host) }

// urlSecrets are the parts of a URL that no message may hold, as they stand there
// and as they are decoded.
func urlSecrets(raw string) []string {
	u, err := url.Parse(raw)
	if err != nil {
		return nil
	}
	secrets := []string{u.RawQuery}
	for _, values := range u.Query() {
		secrets = append(secrets, values...)
	}
	if password, ok := u.User.Password(); ok {
		secrets = append(secrets, password, url.QueryEscape(password), url.PathEscape(password))
	} else if u.User != nil {
		secrets = append(secrets, u.User.Username()) // a token alone
	}
	return slices.DeleteFunc(secrets, func(s string) bool { return len(s) < 4 }) // a word of any message
}

// Verified tells whether the cluster proves who it is: a credential that came
// over a connection that anybody may have answered is not to be trusted.
func (c *Client) Verified() bool { return !c.config.Insecure }

// maxAnswer is how much of an answer is read, in bytes. A page of ClusterPairs
// has 500 of some kilobytes each; etcd holds none over 1.5 MiB.
const maxAnswer = 64 << 20

// guard stands next to the wire: it knows what credential goes out, wherever it
// came from, keeps a server from filling the memory with its answer, and from
// sending the client and its credential to another one.
type guard struct {
	client *Client
	next   http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (g guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, credential, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok {
		g.client.keep(credential)
	}
	response, err := g.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		g.client.mu.Lock()
		g.client.offset = time.Until(date)
		g.client.mu.Unlock()
	}
	// No API server redirects what clusterpair asks for. http.Client would follow,
	// and client-go add the credential to each request.
	if response.StatusCode/100 == 3 {
		response.Body.Close()
		return nil, errRedirected
	}
	if r.URL.Query().Get("watch") != "" {
		return response, nil
	}
	response.Body = &limitedBody{response.Body, g.client.longest}
	return response, nil
}

// WrappedRoundTripper lets client-go look through g.
func (g guard) WrappedRoundTripper() http.RoundTripper { return g.next }

// ahead is how far the clock of the server goes before this machine's, as of its
// last answer.
func (c *Client) ahead() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset
}

// keep takes what must not be said.
func (c *Client) keep(secrets ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range secrets {
		if s != "" && !slices.Contains(c.secrets, s) {
			c.secrets = append(c.secrets, s)
		}
	}
}

type limitedBody struct {
	io.ReadCloser
	left int64
}

var (
	errAnswerTooLarge = errors.New("the answer is larger than any of an API server")
	errRedirected     = errors.New("it redirects to another place, as no API server does")
)

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errAnswerTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// pageSize is how many objects are asked for at a time, and secretsPage how many
// Secrets: those of Helm have up to 1 MiB.
const (
	pageSize    = 500
	secretsPage = 100
)

// list visits the objects of a resource with the labels of a selector, as pages does.
func (c *Client) list(ctx context.Context, resource schema.GroupVersionResource, namespace, selector string, visit func([]byte) error) (version string, err error) {
	return c.pages(ctx, resource, namespace, map[string]string{"labelSelector": selector}, visit)
}

// pages visits the objects of a resource page by page, each as JSON that is the
// visitor's only while it runs, and returns the resource version to watch from.
// An empty namespace stands for all of them. query holds selectors.
func (c *Client) pages(ctx context.Context, resource schema.GroupVersionResource, namespace string, query map[string]string, visit func([]byte) error) (version string, err error) {
	path := resourcePath(resource, namespace)
	token, limit := "", pageSize
	if resource == secrets {
		limit = secretsPage
	}
	for {
		var body []byte
		err := c.try(ctx, func() (err error) {
			request := c.rest.Get().AbsPath(path).Param("limit", strconv.Itoa(limit))
			if token != "" {
				request.Param("continue", token)
			}
			for key, value := range query {
				if value != "" {
					request.Param(key, value)
				}
			}
			body, err = answer(request.Do(ctx))
			return err
		})
		// A list that outlives the history of etcd goes on with what is there now.
		var status apierrors.APIStatus
		if apierrors.IsResourceExpired(err) && errors.As(err, &status) && token != "" && status.Status().Continue != "" {
			token = status.Status().Continue
			continue
		}
		if errors.Is(err, errAnswerTooLarge) && limit > 25 {
			limit /= 4
			continue
		}
		if err != nil {
			return "", err
		}
		var page struct {
			Metadata metav1.ListMeta   `json:"metadata"`
			Items    []json.RawMessage `json:"items"`
		}
		if json.Unmarshal(body, &page) != nil {
			return "", fmt.Errorf("%s answers GET %s with something that is no list", c.Server(), path)
		}
		for _, item := range page.Items {
			if err := visit(item); err != nil {
				return "", err
			}
		}
		if token = page.Metadata.Continue; token == "" {
			return page.Metadata.ResourceVersion, nil
		}
	}
}

// answer is the body of a response, or the error that the server says.
func answer(r rest.Result) ([]byte, error) {
	if err := r.Error(); err != nil { // unlike Raw's it has the server's own words
		return nil, err
	}
	return r.Raw()
}

func resourcePath(r schema.GroupVersionResource, namespace string) string {
	path := "/apis/" + r.Group + "/" + r.Version
	if r.Group == "" {
		path = "/api/" + r.Version
	}
	if namespace != "" {
		path += "/namespaces/" + namespace
	}
	return path + "/" + r.Resource
}

// try does what a server may refuse for a moment: one that restarts, or has too
// much to do. It ends with the first answer that is final, or with ctx.
func (c *Client) try(ctx context.Context, do func() error) error {
	backoff := wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 5}
	for {
		err := do()
		if err == nil || ctx.Err() != nil || backoff.Steps == 0 || !transient(err) {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return c.wrap(err)
		}
		select {
		case <-time.After(backoff.Step()):
		case <-ctx.Done():
		}
	}
}

func transient(err error) bool {
	return utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) || utilnet.IsProbableEOF(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsServerTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsTimeout(err)
}
