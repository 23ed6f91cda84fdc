package gitops

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/remedykit/remedy/actions"
)

// defaultMaxClone is Options.MaxClone when it is 0.
const defaultMaxClone = 256 << 20

// perObject is what an object takes in memory beside its content.
const perObject = 512

// A bounded keeps a clone in memory. A pack is looked through before it is unpacked: a few kilobytes can hold gigabytes.
type bounded struct {
	*memory.Storage
	left, max uint64
}

func newBounded(most int64) *bounded {
	return &bounded{memory.NewStorage(), uint64(most), uint64(most)}
}

// PackfileWriter is what go-git writes what it fetches to, where there is one.
func (b *bounded) PackfileWriter() (io.WriteCloser, error) { return &pack{to: b}, nil }

func (b *bounded) tooLarge() error {
	return actions.Permanent(fmt.Errorf("gitops: the newest commit of the repository takes more than %d bytes: keep what plans change in a smaller repository, or raise Options.MaxClone", b.max))
}

// A pack is unpacked when it is closed.
type pack struct {
	to       *bounded
	data     bytes.Buffer
	tooLarge bool
}

// Write throws away what is too much: go-git waits for a server that cannot send the rest.
func (p *pack) Write(data []byte) (int, error) {
	if p.tooLarge = p.tooLarge || uint64(p.data.Len()+len(data)) > p.to.left; p.tooLarge {
		p.data = bytes.Buffer{}
		return len(data), nil
	}
	return p.data.Write(data)
}

func (p *pack) Close() error {
	switch {
	case p.tooLarge:
		return p.to.tooLarge()
	case p.data.Len() == 0: // go-git says so
		return nil
	}
	if err := p.count(); err != nil {
		return err
	}
	parser, err := packfile.NewParserWithStorage(packfile.NewScanner(bytes.NewReader(p.data.Bytes())), p.to)
	if err == nil {
		_, err = parser.Parse()
	}
	return err
}

// count takes what the objects of the pack say that they take from what is left.
func (p *pack) count() error {
	s := packfile.NewScanner(bytes.NewReader(p.data.Bytes()))
	_, n, err := s.Header()
	if err != nil {
		return err
	}
	take := func(size uint64) error {
		if size > p.to.left {
			return p.to.tooLarge()
		}
		p.to.left -= size
		return nil
	}
	for range n {
		h, err := s.NextObjectHeader()
		if err != nil {
			return err
		}
		if err := cmp.Or(take(perObject), take(uint64(h.Length))); err != nil {
			return err
		}
		if !h.Type.IsDelta() {
			continue
		}
		length, err := made(s)
		if err := cmp.Or(err, take(length)); err != nil {
			return err
		}
	}
	return nil
}

// made is how long that is what a delta makes. It begins with the length of what it is made from.
func made(s *packfile.Scanner) (uint64, error) {
	r, err := s.ReadObject()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	b := bufio.NewReader(r)
	if _, err := binary.ReadUvarint(b); err != nil {
		return 0, err
	}
	length, err := binary.ReadUvarint(b)
	if err == nil {
		_, err = io.Copy(io.Discard, b) // to the next object
	}
	return length, err
}
