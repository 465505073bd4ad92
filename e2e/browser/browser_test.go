// Package browser opens what clusterpair draws in the programs that it is for: a headless
// Chromium, Mermaid and Graphviz.
package browser

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// chromium is a running browser with one page, spoken to through pipes.
// https://chromedevtools.github.io/devtools-protocol/
type chromium struct {
	t       *testing.T
	out     io.Writer
	in      *bufio.Reader
	next    int
	session string
	// asked are the addresses that the page has asked for, and said what went wrong in it.
	asked, said []string
}

type message struct {
	ID     int             `json:"id,omitempty"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// start starts a browser, which ends with the test.
func start(t *testing.T) *chromium {
	t.Helper()
	program := "chromium-headless-shell"
	if _, err := exec.LookPath(program); err != nil {
		program = "chromium"
	}
	profile, err := os.MkdirTemp("", "clusterpair-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--headless", "--remote-debugging-pipe", "--hide-scrollbars", "--disable-gpu", "--disable-dev-shm-usage", "--force-color-profile=srgb", "--user-data-dir=" + profile}
	if os.Getuid() == 0 {
		args = append(args, "--no-sandbox")
	}
	cmd := exec.Command(program, args...)
	toBrowser, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromBrowser, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{toBrowser, theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	toBrowser.Close()
	theirs.Close()
	t.Cleanup(func() {
		ours.Close()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // with the processes of its pages
		_ = cmd.Wait()
		for range 100 { // they may still write
			if err = os.RemoveAll(profile); err == nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Error(err)
	})
	c := &chromium{t: t, out: ours, in: bufio.NewReaderSize(fromBrowser, 1<<20)}
	target := c.call("Target.createTarget", map[string]any{"url": "about:blank", "width": 1400, "height": 900})
	c.session = c.call("Target.attachToTarget", map[string]any{"targetId": target["targetId"], "flatten": true})["sessionId"].(string)
	for _, domain := range []string{"Page", "Runtime", "Network", "Log", "Accessibility"} {
		c.call(domain+".enable", nil)
	}
	return c
}

// call calls a method and waits for its result. What the browser says meanwhile is noted.
func (c *chromium) call(method string, params map[string]any) map[string]any {
	c.t.Helper()
	c.next++
	request := map[string]any{"id": c.next, "method": method}
	if params != nil {
		request["params"] = params
	}
	if c.session != "" {
		request["sessionId"] = c.session
	}
	text, err := json.Marshal(request)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.out.Write(append(text, 0)); err != nil {
		c.t.Fatal(err)
	}
	for {
		text, err := c.in.ReadBytes(0)
		if err != nil {
			c.t.Fatalf("%s: %v", method, err)
		}
		var m message
		if err := json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &m); err != nil {
			c.t.Fatal(err)
		}
		if m.ID != c.next {
			c.note(m)
			continue
		}
		if m.Error != nil {
			c.t.Fatalf("%s: %s", method, m.Error.Message)
		}
		var result map[string]any
		if err := json.Unmarshal(m.Result, &result); err != nil {
			c.t.Fatal(err)
		}
		return result
	}
}

func (c *chromium) note(m message) {
	switch m.Method {
	case "Network.requestWillBeSent":
		var p struct{ Request struct{ URL string } }
		_ = json.Unmarshal(m.Params, &p)
		c.asked = append(c.asked, p.Request.URL)
	case "Runtime.exceptionThrown", "Log.entryAdded":
		c.said = append(c.said, string(m.Params))
	}
}

// open opens a file and waits until an expression is true.
func (c *chromium) open(file, ready string) {
	c.t.Helper()
	c.asked, c.said = nil, nil
	c.call("Page.navigate", map[string]any{"url": "file://" + file})
	c.wait(ready)
}

func (c *chromium) wait(expression string) {
	c.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c.eval("document.readyState === 'complete' && !!("+expression+")") == true {
			return
		}
	}
	c.t.Fatalf("it never came: %s; %v", expression, c.said)
}

// eval is the value of an expression in the page.
func (c *chromium) eval(expression string) any {
	c.t.Helper()
	result := c.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true})
	if problem, wrong := result["exceptionDetails"]; wrong {
		c.t.Fatalf("%s: %v", expression, problem)
	}
	return result["result"].(map[string]any)["value"]
}

// key presses a key, which may have a text.
func (c *chromium) key(name, text string, modifiers int) {
	c.t.Helper()
	codes := map[string]int{"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "PageUp": 33, "PageDown": 34, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
	if name == "Enter" {
		text = "\r"
	}
	event := map[string]any{"type": "keyDown", "key": name, "code": name, "windowsVirtualKeyCode": codes[name], "modifiers": modifiers}
	if text != "" {
		event["text"] = text
	}
	c.call("Input.dispatchKeyEvent", event)
	event["type"] = "keyUp"
	delete(event, "text")
	c.call("Input.dispatchKeyEvent", event)
}

// write types a text, key by key.
func (c *chromium) write(text string) {
	for _, r := range text {
		c.key(string(r), string(r), 0)
	}
}

// point moves the pointer to a place of an element, from its upper left corner; click
// clicks there, or in the middle without one.
func (c *chromium) point(selector string, x, y float64) (atX, atY float64) {
	c.t.Helper()
	at := c.eval(fmt.Sprintf(`(() => { const e = document.querySelector(%q); e.scrollIntoView({block: "nearest"}); const b = e.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; })()`, selector)).([]any)
	number := func(i int) float64 { return at[i].(float64) }
	if x == 0 && y == 0 {
		x, y = number(2)/2, number(3)/2
	}
	atX, atY = number(0)+x, number(1)+y
	c.call("Input.dispatchMouseEvent", map[string]any{"type": "mouseMoved", "x": atX, "y": atY})
	return atX, atY
}

func (c *chromium) click(selector string, x, y float64) {
	c.t.Helper()
	atX, atY := c.point(selector, x, y)
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		c.call("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": atX, "y": atY, "button": "left", "clickCount": 1})
	}
}

// screenshot keeps what is seen in the directory SCREENSHOTS, if there is one.
func (c *chromium) screenshot(name string) {
	c.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	data, err := base64.StdEncoding.DecodeString(c.call("Page.captureScreenshot", map[string]any{"format": "png"})["data"].(string))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), data, 0o644)
	}
	if err != nil {
		c.t.Error(err)
	}
}

// text is that of an element.
func (c *chromium) text(selector string) string {
	c.t.Helper()
	text, _ := c.eval(fmt.Sprintf("document.querySelector(%q).innerText", selector)).(string)
	return strings.TrimSpace(text)
}
