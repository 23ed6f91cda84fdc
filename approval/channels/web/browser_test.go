package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// chromium starts one, with a profile of its own.
func chromium(t *testing.T) context.Context {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium (Debian's package chromium): the pages are not tried in a browser")
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(),
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("hide-scrollbars", true), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("force-color-profile", "srgb"), chromedp.WSURLReadTimeout(time.Minute))
	t.Cleanup(cancel)
	return tab(t, ctx)
}

// tab opens one, or the first of a browser.
func tab(t *testing.T, ctx context.Context) context.Context {
	t.Helper()
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx))
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	require.NoError(t, chromedp.Do(ctx, steps...))
}

func get[T any](t *testing.T, ctx context.Context, a chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(ctx, a)
	require.NoError(t, err)
	return v
}

// command sends the browser one of its own.
func command[P, R any](c cdp.Command[P, R], p P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, p)
		return err
	})
}

// signed has the browser be somebody, as one that has signed in at the proxy is.
func signed(s *site, who, groups string) chromedp.Action[chromedp.Void] {
	return chromedp.Steps(
		command(network.SetCookie, network.SetCookieParams{Name: "who", Value: who, URL: s.url}),
		command(network.SetCookie, network.SetCookieParams{Name: "groups", Value: groups, URL: s.url}))
}

func scheme(name string) chromedp.Action[chromedp.Void] {
	return command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
}

// says waits until a part of the page says something, also when the page changes meanwhile.
func says(selector, want string) chromedp.Action[chromedp.Void] {
	return eventually(fmt.Sprintf(`(document.querySelector(%q)?.innerText ?? "").includes(%q)`, selector, want))
}

// eventually waits until something holds.
func eventually(expression string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			holds, err := chromedp.Evaluate[bool](expression)(ctx, t)
			if holds && err == nil {
				return nil
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("it does not hold in time that %s: %v", expression, err)
			}
		}
	})
}

// early runs a script in every page before the page's own.
func early(script string) chromedp.Action[chromedp.Void] {
	return command(page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
}

// frames are what the pages within a page hold.
func frames(t *testing.T, ctx context.Context) (all string) {
	t.Helper()
	do(t, ctx, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		tree, err := cdp.Call(ctx, t, page.GetFrameTree, cdp.Empty{})
		if err != nil {
			return err
		}
		for _, f := range tree.FrameTree.ChildFrames {
			all += f.Frame.URL + " " + f.Frame.UnreachableURL + "\n"
		}
		return nil
	}))
	return all
}

// jsonText writes a text as JSON does.
func jsonText(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// violations are what axe-core finds wrong with the page, a line each.
func violations(t *testing.T, ctx context.Context, axe string) []string {
	t.Helper()
	get(t, ctx, chromedp.Evaluate[bool](axe+"\n;true"))
	return get(t, ctx, chromedp.Evaluate[[]string](`axe.run(document, {resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
		.then(r => r.violations.map(v => v.id + ": " + v.help + " " + v.nodes.map(n => n.target.join(" ") + " (" + (n.any[0]?.message ?? "") + ")").join(", ")))`,
		chromedp.EvalAwaitPromise))
}

// axeCore is the accessibility checker's source.
func axeCore(t *testing.T) string {
	t.Helper()
	path := os.Getenv("REMEDY_AXE")
	if path == "" {
		cache, err := os.UserCacheDir()
		require.NoError(t, err)
		path = filepath.Join(cache, "remedy-web", "node_modules", "axe-core", "axe.min.js")
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Skip("there is no axe-core (npm install --prefix ~/.cache/remedy-web axe-core, or REMEDY_AXE names its axe.min.js): accessibility is not checked")
	}
	return string(source)
}

// keep writes a picture of the page into docs when REMEDY_DOCS is set.
func keep(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	png := get(t, ctx, chromedp.CaptureScreenshot())
	if os.Getenv("REMEDY_DOCS") != "" {
		require.NoError(t, os.WriteFile(filepath.Join("docs", name+".png"), png, 0o644))
	}
}
