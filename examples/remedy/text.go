package main

import (
	"strings"
	"unicode"
)

// A style colours a text.
type style func(palette, string) string

func plain(_ palette, s string) string { return s }

// A text is one line in pieces of different style.
type text struct{ pieces []piece }

type piece struct {
	style style
	s     string
}

func (t *text) add(s style, words string) *text {
	t.pieces = append(t.pieces, piece{s, words})
	return t
}

// cut is the line in colour, cut to a number of cells.
func (t *text) cut(width int, p palette) string {
	var b strings.Builder
	for i, piece := range t.pieces {
		need := cells(piece.s)
		if need > width || need == width && i < len(t.pieces)-1 {
			b.WriteString(piece.style(p, fit(piece.s, width)))
			break
		}
		b.WriteString(piece.style(p, piece.s))
		width -= need
	}
	return b.String()
}

// fit makes s take up exactly n cells, with an ellipsis where it was longer.
func fit(s string, n int) string {
	if w := cells(s); w <= n {
		return s + strings.Repeat(" ", n-w)
	}
	var b strings.Builder
	used := 0
	for _, r := range s {
		if used+runeCells(r) > n-1 {
			break
		}
		b.WriteRune(r)
		used += runeCells(r)
	}
	if n > 0 {
		b.WriteString("…")
		used++
	}
	return b.String() + strings.Repeat(" ", max(0, n-used))
}

// cells is how many cells of a terminal a text takes up.
func cells(s string) int {
	n := 0
	for _, r := range s {
		n += runeCells(r)
	}
	return n
}

func runeCells(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r >= 0x1100 && r <= 0x115F, r >= 0x2E80 && r <= 0xA4CF, r >= 0xAC00 && r <= 0xD7A3, r >= 0xF900 && r <= 0xFAFF,
		r >= 0xFE30 && r <= 0xFE6F, r >= 0xFF00 && r <= 0xFF60, r >= 0xFFE0 && r <= 0xFFE6, r >= 0x1F300 && r <= 0x1FAFF,
		r >= 0x20000 && r <= 0x3FFFD:
		return 2
	}
	return 1
}
