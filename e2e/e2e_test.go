// Package e2e runs clusterpair against real Kubernetes clusters: make e2e.
//
// The files of script/ are what users type. They share two clusters, source and
// destination. Each script has
//
//   - a namespace in both, $NS, which is the script's name with dashes
//   - the kubeconfigs of their administrators, source.kubeconfig and
//     destination.kubeconfig, the certificates of their authorities, source.crt and
//     destination.crt, and their URLs, $SOURCE and $DESTINATION
//   - a .sops.yaml that encrypts for $AGE, whose key is in $SOPS_AGE_KEY_FILE
//   - clusterpair, kubectl, sops and kustomize, and stork-24.3 with its flag
//     -kubeconfig, the double of Stork; what else make e2e builds is in $TOOLS
//   - the commands below: argocd, cluster, apiserver, create, flux, kubeconfig,
//     server, setup and transformers
//
// What several scripts begin with stands in setup/.
//
// What disturbs others, such as an API server that restarts, a ClusterPair that
// Stork cannot decode, or a look at all namespaces, is done in a cluster of the
// script's own.
package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/sync/errgroup"
)

// The clusters that scripts share, and the directories of what they run.
var (
	source, destination *cluster
	tools, built        string
)

func TestMain(m *testing.M) {
	code, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func runAll(m *testing.M) (code int, err error) {
	if tools = os.Getenv("CLUSTERPAIR_TOOLS"); tools == "" {
		if tools, err = filepath.Abs("../bin"); err != nil {
			return 0, err
		}
	}
	if _, err := os.Stat(filepath.Join(tools, "kube-apiserver")); err != nil {
		return 0, fmt.Errorf("%w: run make e2e", err)
	}
	built = os.Getenv("CLUSTERPAIR_E2E")
	if built == "" {
		return 0, enterNetwork()
	}
	remove, err := removeLater(built)
	if err != nil {
		return 0, err
	}
	defer remove()
	if err := serveNames(); err != nil {
		return 0, err
	}
	var starts errgroup.Group
	for name, c := range map[string]**cluster{"source": &source, "destination": &destination} {
		starts.Go(func() (err error) {
			*c, err = startCluster(name, name+".test", built, tools)
			return err
		})
	}
	err = starts.Wait()
	defer source.stop()
	defer destination.stop()
	if err != nil {
		return 0, err
	}
	code = m.Run()
	if err := tellAgreement(os.Stdout); err != nil {
		return 0, err
	}
	if code != 0 || len(ran) == 0 {
		return code, nil
	}
	return 0, summarize(os.Stdout)
}

// enterNetwork builds clusterpair and starts this process again in a network of
// its own, where all of 10.0.1.0/24 is this machine. Names are in an /etc/hosts
// of its own, too. It does not return but with an error.
func enterNetwork() error {
	dir, err := os.MkdirTemp("", "clusterpair-e2e-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-C", "..", "-o", filepath.Join(dir, "clusterpair"), "./cmd/clusterpair")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build clusterpair: %w\n%s", err, out)
	}
	for name, text := range map[string]string{"hosts": "127.0.0.1 localhost\n", "resolv.conf": "nameserver 127.0.0.1\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		return err
	}
	own := []string{"unshare", "--map-root-user", "--net", "--mount"}
	if exec.Command(unshare, append(own[1:], "true")...).Run() != nil {
		own = []string{"unshare", "--net", "--mount"} // no user namespaces here: root needs none
	}
	args := append(append(own, "sh", "-euc", `
		ip link set lo up
		ip address add 10.0.1.1/24 dev lo
		mount --bind "$CLUSTERPAIR_E2E/hosts" /etc/hosts
		if test -e /etc/resolv.conf; then mount --bind "$CLUSTERPAIR_E2E/resolv.conf" /etc/resolv.conf; fi
		exec "$0" "$@"`), os.Args...)
	return syscall.Exec(unshare, args, append(os.Environ(), "CLUSTERPAIR_E2E="+dir))
}

var (
	hostsMutex sync.Mutex
	hosts      int
)

// newHost gives a name an address of its own.
func newHost(name string) (address string, err error) {
	hostsMutex.Lock()
	defer hostsMutex.Unlock()
	hosts++
	address = fmt.Sprintf("10.0.1.%d", hosts)
	file, err := os.OpenFile("/etc/hosts", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	_, err = fmt.Fprintln(file, address, name)
	return address, err
}

// removeLater removes a directory when remove is called, and also when this
// process ends in another way.
func removeLater(dir string) (remove func(), err error) {
	// Its standard input ends with us. The servers may take a moment longer to die.
	cmd := exec.Command("sh", "-c", `cat; until rm -rf "$0"; do sleep 0.1; done`, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is not for it
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		stdin.Close()
		cmd.Wait()
	}, nil
}

func TestScripts(t *testing.T) {
	fixtures, err := filepath.Abs("../fixtures")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "script",
		UpdateScripts:       os.Getenv("UPDATE") != "",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("FIXTURES", fixtures)
			env.Setenv("TOOLS", tools)
			env.Setenv("PATH", strings.Join([]string{built, tools, env.Getenv("PATH")}, string(filepath.ListSeparator)))
			env.Setenv("HOME", filepath.Join(env.WorkDir, ".home"))
			env.Setenv("SOPS_AGE_KEY_FILE", filepath.Join(fixtures, "keys", "demo.agekey"))
			env.Setenv("AGE", "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs")
			if err := os.Mkdir(env.Getenv("HOME"), 0o700); err != nil {
				return err
			}
			rules := fmt.Sprintf("creation_rules:\n- age: [%s]\n", env.Getenv("AGE"))
			if err := os.WriteFile(filepath.Join(env.WorkDir, ".sops.yaml"), []byte(rules), 0o600); err != nil {
				return err
			}
			s := &script{clusters: make(map[string]*cluster), fluxes: make(map[string]*flux)}
			env.Values[scriptKey{}] = s
			// The directory is named script-NAME.
			name := strings.TrimPrefix(filepath.Base(env.WorkDir), "script-")
			if err := runs(name); err != nil {
				return err
			}
			env.Setenv("NS", strings.ReplaceAll(name, "_", "-"))
			for _, c := range []*cluster{source, destination} {
				if err := s.enter(env, c); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"argocd":       argocdCommand,
			"cluster":      clusterCommand,
			"apiserver":    apiserverCommand,
			"create":       createCommand,
			"flux":         fluxCommand,
			"kubeconfig":   kubeconfigCommand,
			"server":       serverCommand,
			"setup":        setupCommand,
			"transformers": transformersCommand,
		},
	})
}

// script is what a script has.
type script struct {
	clusters map[string]*cluster // by name
	fluxes   map[string]*flux    // by the name of the cluster
}

type scriptKey struct{}

func scriptOf(ts *testscript.TestScript) *script { return ts.Value(scriptKey{}).(*script) }

// environment is an Env before a script runs, and a TestScript while it does.
type environment interface {
	Getenv(string) string
	Setenv(string, string)
}

// enter gives a script its namespace in a cluster, NAME.kubeconfig, NAME.crt,
// which holds the authority, and the URL in $NAME.
func (s *script) enter(env environment, c *cluster) error {
	s.clusters[c.name] = c
	if err := c.request(http.MethodPost, "/api/v1/namespaces", fmt.Sprintf("metadata: {name: %s}", env.Getenv("NS"))); err != nil {
		return err
	}
	env.Setenv(strings.ToUpper(c.name), c.url)
	work := env.Getenv("WORK")
	admin, err := os.ReadFile(c.admin)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(work, c.name+".kubeconfig"), admin, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(work, c.name+".crt"), c.ca.pem(), 0o600)
}

// clusterCommand is cluster NAME [FLAG…]: starts a cluster that the script has
// to itself, with flags for kube-apiserver. It ends with the script.
func clusterCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 || scriptOf(ts).clusters[args[0]] != nil {
		ts.Fatalf("usage: cluster NEWNAME [FLAG...]")
	}
	c, err := startCluster(args[0], args[0]+"."+ts.Getenv("NS")+".test", built, tools, args[1:]...)
	ts.Defer(c.stop)
	ts.Check(err)
	ts.Check(scriptOf(ts).enter(ts, c))
}

// apiserverCommand is apiserver NAME start|stop: of a cluster that the script
// has to itself.
func apiserverCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: apiserver NAME start|stop")
	}
	c := clusterOf(ts, args[0])
	if c == source || c == destination {
		ts.Fatalf("other scripts use %s", c.name)
	}
	switch args[1] {
	case "start":
		ts.Check(c.startServer())
	case "stop":
		c.stopServer()
	default:
		ts.Fatalf("apiserver %s: start or stop", c.name)
	}
}

// createCommand is create CLUSTER PATH COUNT FILE: posts the YAML of FILE COUNT
// times to a PATH of the API, faster than kubectl does. In FILE, NUMBER becomes
// 0001, 0002 and so on.
func createCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: create CLUSTER PATH COUNT FILE")
	}
	c, text := clusterOf(ts, args[0]), ts.ReadFile(args[3])
	count, err := strconv.Atoi(args[2])
	ts.Check(err)
	var posts errgroup.Group
	posts.SetLimit(32)
	for i := range count {
		posts.Go(func() error {
			return c.request(http.MethodPost, args[1], strings.ReplaceAll(text, "NUMBER", fmt.Sprintf("%04d", i+1)))
		})
	}
	ts.Check(posts.Wait())
}

// kubeconfigCommand writes a kubeconfig FILE for a CLUSTER:
//
//	kubeconfig CLUSTER FILE token TOKENFILE
//	kubeconfig CLUSTER FILE certificate USER[,GROUP…] FROM TO
//
// The certificate is valid between two times that are given as durations from
// now, such as -48h.
func kubeconfigCommand(ts *testscript.TestScript, neg bool, args []string) {
	var user, fields string
	switch {
	case !neg && len(args) == 4 && args[2] == "token":
		user, fields = "token", fmt.Sprintf("{token: %s}", strings.TrimSpace(ts.ReadFile(args[3])))
	case !neg && len(args) == 6 && args[2] == "certificate":
		from, err := time.ParseDuration(args[4])
		ts.Check(err)
		to, err := time.ParseDuration(args[5])
		ts.Check(err)
		subject := strings.Split(args[3], ",")
		user = subject[0]
		cert, key, err := clusterOf(ts, args[0]).ca.client(time.Now().Add(from), time.Now().Add(to), user, subject[1:]...)
		ts.Check(err)
		fields = certificateUser(cert, key)
	default:
		ts.Fatalf("usage: kubeconfig CLUSTER FILE token TOKENFILE | certificate USER[,GROUP...] FROM TO")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), clusterOf(ts, args[0]).kubeconfig(user, fields), 0o600))
}

// setupCommand is setup NAME: lays the files of setup/NAME.txtar into the directory, and
// runs setup.sh, if it is one of them.
func setupCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: setup NAME")
	}
	archive, err := txtar.ParseFile(filepath.Join("setup", args[0]+".txtar"))
	ts.Check(err)
	for _, file := range archive.Files {
		if _, err := os.Stat(ts.MkAbs(file.Name)); err == nil {
			ts.Fatalf("setup %s has a %s, and so has the script", args[0], file.Name)
		}
		ts.Check(os.WriteFile(ts.MkAbs(file.Name), file.Data, 0o600))
		if file.Name == "setup.sh" {
			defer func() { ts.Check(ts.Exec("sh", "-eu", "setup.sh")) }()
		}
	}
}

func clusterOf(ts *testscript.TestScript, name string) *cluster {
	c := scriptOf(ts).clusters[name]
	if c == nil {
		ts.Fatalf("there is no cluster %s", name)
	}
	return c
}
