package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// cluster is a Kubernetes cluster without nodes: an API server, its etcd and the
// controllers that tests need.
type cluster struct {
	name, host, address string

	tools string   // directory of kube-apiserver and the others
	dir   string   // of its files
	flags []string // of kube-apiserver, beyond ours

	url     string
	ca      *authority
	admin   string // path of a kubeconfig
	client  *http.Client
	running []*process
	server  *process // one of those
}

// startCluster starts a cluster with Stork's CustomResourceDefinitions, and
// returns when it is ready. Its files go below dir. The caller stops it, also
// after an error.
func startCluster(name, host, dir, tools string, flags ...string) (*cluster, error) {
	c := &cluster{name: name, host: host, tools: tools, dir: filepath.Join(dir, host), flags: flags, url: "https://" + host + ":6443"}
	if err := c.start(); err != nil {
		return c, fmt.Errorf("cluster %s: %w", name, err)
	}
	return c, nil
}

func (c *cluster) start() (err error) {
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		return err
	}
	if c.address, err = newHost(c.host); err != nil {
		return err
	}
	if err := c.writeFiles(); err != nil {
		return err
	}
	if err := c.startEtcd(); err != nil {
		return err
	}
	if err := c.startServer(); err != nil {
		return err
	}
	// Those that ServiceAccounts, their tokens, deletion and the roles that are
	// the sum of others cannot do without.
	if _, err := c.run("kube-controller-manager", "--kubeconfig="+c.admin, "--leader-elect=false", "--secure-port=0",
		"--controllers=serviceaccount-controller,serviceaccount-token-controller,garbage-collector-controller,namespace-controller,clusterrole-aggregation-controller",
		"--service-account-private-key-file="+c.file("service-accounts.key"), "--root-ca-file="+c.file("ca.crt"),
		"--kube-api-qps=200", "--kube-api-burst=200"); err != nil {
		return err
	}
	return c.install("crds")
}

// install brings the CustomResourceDefinitions of a directory.
func (c *cluster) install(crds string) error {
	for _, args := range [][]string{
		{"apply", "--server-side", "-f", crds},
		{"wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"},
	} {
		cmd := exec.Command(filepath.Join(c.tools, "kubectl"), append(args, "--kubeconfig="+c.admin)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("kubectl %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}

func (c *cluster) file(name string) string { return filepath.Join(c.dir, name) }

func (c *cluster) writeFiles() error {
	var err error
	if c.ca, err = newAuthority(c.name); err != nil {
		return err
	}
	from, to := time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)
	cert, key, err := c.ca.server(from, to, c.host, c.address, "kubernetes.default.svc")
	if err != nil {
		return err
	}
	accountsCert, accountsKey, err := c.ca.server(from, to) // the key is what counts
	if err != nil {
		return err
	}
	adminCert, adminKey, err := c.ca.client(from, to, "admin", "system:masters")
	if err != nil {
		return err
	}
	c.admin = c.file("admin.kubeconfig")
	for name, data := range map[string][]byte{
		"ca.crt": c.ca.pem(), "server.crt": cert, "server.key": key,
		"service-accounts.crt": accountsCert, "service-accounts.key": accountsKey,
		"admin.kubeconfig": c.kubeconfig("admin", certificateUser(adminCert, adminKey)),
	} {
		if err := os.WriteFile(c.file(name), data, 0o600); err != nil {
			return err
		}
	}
	pair, err := tls.X509KeyPair(adminCert, adminKey)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(c.ca.cert)
	c.client = &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}},
	}
	return nil
}

// kubeconfig is one for a user, whose fields are given.
func (c *cluster) kubeconfig(user string, fields string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: %[1]s
  cluster:
    server: %[2]s
    certificate-authority-data: %[3]s
contexts:
- name: %[1]s
  context: {cluster: %[1]s, user: %[4]s}
current-context: %[1]s
users:
- name: %[4]s
  user: %[5]s
`, c.name, c.url, base64.StdEncoding.EncodeToString(c.ca.pem()), user, fields)
}

func certificateUser(cert, key []byte) string {
	return fmt.Sprintf("{client-certificate-data: %s, client-key-data: %s}",
		base64.StdEncoding.EncodeToString(cert), base64.StdEncoding.EncodeToString(key))
}

func (c *cluster) startEtcd() error {
	client, peer := "http://"+c.address+":2379", "http://"+c.address+":2380"
	_, err := c.run("etcd", "--data-dir="+c.file("etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer)
	return err
}

// startServer starts the API server, and returns when it is ready.
func (c *cluster) startServer() error {
	server, err := c.run("kube-apiserver", append([]string{
		"--etcd-servers=http://" + c.address + ":2379",
		"--bind-address=" + c.address, "--advertise-address=" + c.address, "--secure-port=6443",
		"--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24",
		"--tls-cert-file=" + c.file("server.crt"), "--tls-private-key-file=" + c.file("server.key"), "--client-ca-file=" + c.file("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + c.file("service-accounts.crt"),
		"--service-account-signing-key-file=" + c.file("service-accounts.key"),
		"--authorization-mode=RBAC",
	}, c.flags...)...)
	if err != nil {
		return err
	}
	c.server = server
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := c.request(http.MethodGet, "/readyz", "")
		if err == nil {
			return nil
		}
		select {
		case <-server.ended:
			return fmt.Errorf("kube-apiserver ended: %s", server.lastLines())
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("kube-apiserver does not get ready: %w", err)
		}
	}
}

// stopServer stops the API server. Left alone it would wait a minute for those
// who watch.
func (c *cluster) stopServer() { c.server.stop(time.Second) }

// stop ends all processes at once.
func (c *cluster) stop() {
	for _, p := range c.running {
		p.stop(0)
	}
}

// request is one of the administrator's, with a body in YAML. PATCH is server-side
// apply.
func (c *cluster) request(method, path, body string) error {
	_, err := c.ask(method, path, body)
	return err
}

// get reads an object or a list.
func (c *cluster) get(path string, into any) error {
	answer, err := c.ask(http.MethodGet, path, "")
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, into)
}

// ask sends a request; once more where the server asks for that, as it does while
// the storage of a new CRD begins.
func (c *cluster) ask(method, path, body string) (answer []byte, err error) {
	for range 100 {
		var status int
		if answer, status, err = c.askOnce(method, path, body); status != http.StatusTooManyRequests {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return answer, err
}

func (c *cluster) askOnce(method, path, body string) (answer []byte, status int, err error) {
	q, err := http.NewRequest(method, c.url+path, strings.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	q.Header.Set("Content-Type", "application/yaml")
	if method == http.MethodPatch {
		q.Header.Set("Content-Type", "application/apply-patch+yaml")
	}
	r, err := c.client.Do(q)
	if err != nil {
		return nil, 0, err
	}
	defer r.Body.Close()
	answer, err = io.ReadAll(r.Body)
	if err == nil && r.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, r.Status, answer)
	}
	return answer, r.StatusCode, err
}

// process is a server that runs until it is stopped.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed at its end
}

// run starts a server of the cluster. It logs into a file, and takes nothing from
// the environment of those who test, such as their keys.
func (c *cluster) run(name string, args ...string) (*process, error) {
	return c.runIn(c.dir, filepath.Join(c.tools, name), []string{"KUBECONFIG=" + c.admin, "HOME=" + c.dir, "TMPDIR=" + c.dir}, args...)
}

// runIn starts a program in a directory, where it logs into a file. It ends with the
// cluster.
func (c *cluster) runIn(dir, path string, env []string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(dir, filepath.Base(path)+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{cmd: exec.Command(path, args...), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = dir, env, log, log
	if err := startMortal(p.cmd); err != nil {
		return nil, err
	}
	go func() {
		p.cmd.Wait() // how it ended stands in its log
		close(p.ended)
	}()
	c.running = append(c.running, p)
	return p, nil
}

// stop asks the process to end, and kills it unless it does in time.
func (p *process) stop(patience time.Duration) {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.cmd.Process.Kill()
		<-p.ended
	}
}

// lastLines of its log say why it ended.
func (p *process) lastLines() []byte {
	log, err := os.ReadFile(p.cmd.Stderr.(*os.File).Name())
	if err != nil {
		return []byte(err.Error())
	}
	lines := bytes.SplitAfter(log, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-10):], nil)
}

// startMortal starts a process that the kernel kills when this one ends, in
// whatever way. It does so when the thread ends that started it: hence one
// thread that never does.
func startMortal(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true, // Ctrl-C is for the tests
		Pdeathsig: syscall.SIGKILL,
	}
	started := make(chan error)
	mortals <- func() { started <- cmd.Start() }
	return <-started
}

var mortals = func() chan func() {
	starts := make(chan func())
	go func() {
		runtime.LockOSThread()
		for start := range starts {
			start()
		}
	}()
	return starts
}()
