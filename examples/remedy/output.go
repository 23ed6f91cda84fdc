package main

import (
	"encoding/json"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// An output is written to from several goroutines. It remembers the first error, so that commands need not look at
// each write.
type output struct {
	mu  sync.Mutex // guards what follows
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(p)
	o.err = err
	return n, err
}

// writeJSON writes one value on lines of its own.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// seconds writes a duration as a number of seconds.
type seconds time.Duration

func (s seconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, time.Duration(s).Seconds(), 'f', -1, 64), nil
}

// terminalOf returns w when it is a terminal that understands cursor movements, else nil.
func terminalOf(w any) *os.File {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return f
}

// A palette colours text; the zero palette leaves it alone.
type palette struct{ on bool }

// newPalette colours on a terminal only, and never when NO_COLOR is set.
func newPalette(w io.Writer) palette {
	return palette{on: terminalOf(w) != nil && os.Getenv("NO_COLOR") == ""}
}

func (p palette) sgr(code, s string) string {
	if !p.on || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p palette) bold(s string) string   { return p.sgr("1", s) }
func (p palette) faint(s string) string  { return p.sgr("2", s) }
func (p palette) red(s string) string    { return p.sgr("31", s) }
func (p palette) green(s string) string  { return p.sgr("32", s) }
func (p palette) yellow(s string) string { return p.sgr("33", s) }
func (p palette) cyan(s string) string   { return p.sgr("36", s) }

// printable is s fit for one line of a terminal: what would be obeyed instead of shown becomes U+FFFD.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// printableLines is printable that keeps line ends.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	return strings.Join(lines, "\n")
}

// short writes a duration as people do: "2m30s", "1h", "0.3s". Tenths only below a minute.
func short(d time.Duration) string {
	if d < time.Minute {
		return strconv.FormatFloat(d.Round(100*time.Millisecond).Seconds(), 'f', -1, 64) + "s"
	}
	s := d.Round(time.Second).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// count is "1 step", "7 steps".
func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return strconv.Itoa(n) + " " + word + "s"
}

func didYouMean(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " (did you mean " + strings.Join(names, ", ") + "?)"
}

// writeWrapped writes a text in lines of about 100 characters, the first behind one indent, the others behind another.
func writeWrapped(w io.Writer, first, others, s string) {
	line := first
	for i, word := range strings.Fields(s) {
		switch {
		case i == 0:
			line += word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > 100:
			io.WriteString(w, line+"\n")
			line = others + word
		default:
			line += " " + word
		}
	}
	io.WriteString(w, line+"\n")
}

// A table aligns columns. Cells are plain; paint colours a padded cell.
type table struct {
	head  []string
	rows  [][]string
	paint func(row, column int, cell string) string
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(w io.Writer, p palette) {
	widths := make([]int, len(t.head))
	for c, cell := range t.head {
		widths[c] = utf8.RuneCountInString(cell)
	}
	for _, row := range t.rows {
		for c, cell := range row {
			widths[c] = max(widths[c], utf8.RuneCountInString(cell))
		}
	}
	line := func(row []string, paint func(c int, cell string) string) {
		var b strings.Builder
		for c, cell := range row {
			if c > 0 {
				b.WriteString("  ")
			}
			gap := widths[c] - utf8.RuneCountInString(cell)
			if c == 0 { // numbers
				b.WriteString(strings.Repeat(" ", gap))
			}
			b.WriteString(paint(c, cell))
			if c > 0 && c < len(row)-1 {
				b.WriteString(strings.Repeat(" ", gap))
			}
		}
		io.WriteString(w, strings.TrimRight(b.String(), " ")+"\n")
	}
	line(t.head, func(_ int, cell string) string { return p.bold(cell) })
	for r, row := range t.rows {
		line(row, func(c int, cell string) string {
			if t.paint == nil {
				return cell
			}
			return t.paint(r, c, cell)
		})
	}
}
