package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
)

//go:embed assets
var files embed.FS

// assets are the style sheet, the script and the icon, which hold nothing about any run.
type assets struct {
	// Style, Script and Icon are their addresses, which change with what they hold.
	Style, Script, Icon string
	version             string
}

var assetTypes = map[string]string{
	"style.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml",
}

func loadAssets(path string) (assets, error) {
	sum := sha256.New()
	for _, name := range []string{"style.css", "page.js", "icon.svg"} {
		data, err := fs.ReadFile(files, "assets/"+name)
		if err != nil {
			return assets{}, fmt.Errorf("web: %w", err)
		}
		sum.Write(data)
	}
	version := hex.EncodeToString(sum.Sum(nil))[:16]
	root := path + "/assets/" + version + "/"
	return assets{Style: root + "style.css", Script: root + "page.js", Icon: root + "icon.svg", version: version}, nil
}

func loadPages() (*template.Template, error) {
	pages, err := template.ParseFS(files, "assets/*.html")
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	return pages.Option("missingkey=error"), nil
}

func (c *Channel) asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	kind, ok := assetTypes[name]
	data, err := fs.ReadFile(files, "assets/"+name)
	if !ok || err != nil || r.PathValue("version") != c.assets.version {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(data)
}

// styleHash is what a policy calls the style of a drawing, so that it alone is let in.
func styleHash(svg []byte) string {
	_, rest, _ := bytes.Cut(svg, []byte("<style>"))
	style, _, _ := bytes.Cut(rest, []byte("</style>"))
	sum := sha256.Sum256(style)
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
