package journal

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Files keeps records in a folder: a folder for each run, and in it a file for each process that had the run, or more when
// they grow, one record a line. Its folders and files are for their owner only.
//
// A process takes a run over by creating the file of the next number, which the file system lets one process do; only then
// it reads what was written before. A process that writes looks, once its records are durable and before it says so,
// whether such a file exists. So of a writer and a taker at least one sees the other: either the taker reads the
// writer's records, or the writer is refused. No lock is needed for that which a frozen process could hold.
//
// A process also holds a lock on the runs that it writes, which ends with it, and touches it now and then; only to tell
// others that it is alive.
type Files struct {
	root  *os.Root
	lease time.Duration
	keep  int
	full  int64                // the size at which a file is followed by another
	sync  func(*os.File) error // for tests of disks that fail

	mu      sync.Mutex // guards what follows
	writers map[string]*writer
	begun   int           // runs begun since old ones were removed
	stop    chan struct{} // ends the goroutine that touches; nil while nothing is held
}

// Options change how Files works. The zero Options is fine.
type Options struct {
	// Lease is how long a process that does not show signs of life keeps others from taking its runs over. Defaults to 30s.
	Lease time.Duration
	// Keep is how many finished runs are kept; older ones are removed when others begin. Defaults to 1000, -1 keeps all. A
	// run that has not finished is never removed.
	Keep int
}

// The defaults of Options.
const (
	DefaultLease = 30 * time.Second
	DefaultKeep  = 1000
)

// fullFile is large for an editor, and small for a tool that reads a file whole.
const fullFile = 16 << 20

// Open opens the journal in a folder, which is made when it is missing. Several processes may share it, on a local file
// system.
func Open(dir string, o Options) (*Files, error) {
	if o.Lease < 0 || o.Keep < -1 {
		return nil, errors.New("journal: Options.Lease cannot be negative, Options.Keep not below -1")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return &Files{
		root: root, lease: cmp.Or(o.Lease, DefaultLease), keep: cmp.Or(o.Keep, DefaultKeep), full: fullFile, sync: (*os.File).Sync, writers: map[string]*writer{},
	}, nil
}

// Close gives up all runs. Nothing may be written after it.
func (f *Files) Close() error {
	f.mu.Lock()
	runs := slices.Collect(func(yield func(string) bool) {
		for run := range f.writers {
			if !yield(run) {
				return
			}
		}
	})
	f.mu.Unlock()
	var errs []error
	for _, run := range runs {
		errs = append(errs, f.Release(run))
	}
	return errors.Join(append(errs, f.root.Close())...)
}

// A writer is a run that this process writes.
type writer struct {
	mu     sync.Mutex // guards what follows
	file   *os.File
	owner  *os.File // locked; nil when another, frozen process has the lock
	number int      // of the file
	size   int64    // of the file
	last   Record
	broken error // why nothing can be written any more
}

// Append is [Journal]'s. A crash in the middle of it may keep the first of several records.
func (f *Files) Append(ctx context.Context, records ...Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(records) == 0 {
		return errNothing
	}
	run := records[0].Run
	if !validRun(run) {
		return fmt.Errorf("journal: %q cannot be the id of a run", run)
	}
	w := f.writer(run)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil && records[0].Epoch <= w.last.Epoch {
		return w.broken
	}
	if w.file == nil || records[0].Epoch > w.last.Epoch {
		if err := f.take(ctx, w, records); err != nil {
			if w.file == nil {
				f.forget(run, w)
			}
			return err
		}
	} else if err := Follows(w.last, records); err != nil {
		return err
	}
	if err := f.write(w, records); err != nil {
		// Nobody knows what is on the disk now.
		w.broken = f.failed(run, err)
		return w.broken
	}
	w.last = records[len(records)-1]
	return nil
}

// failed says where something failed.
func (f *Files) failed(run string, err error) error {
	return fmt.Errorf("journal %s: run %s: %w", f.root.Name(), run, err)
}

func (f *Files) writer(run string) *writer {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.writers[run]
	if w == nil {
		w = &writer{}
		f.writers[run] = w
	}
	return w
}

// forget lets go of a run that this process does not write after all.
func (f *Files) forget(run string, w *writer) {
	if w.owner != nil {
		w.owner.Close()
		w.owner = nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.writers[run] == w {
		delete(f.writers, run)
	}
}

// take makes this process the writer of a run, if records follow on what is there.
func (f *Files) take(ctx context.Context, w *writer, records []Record) error {
	run := records[0].Run
	before, numbers, err := f.read(run)
	if err != nil && !errors.Is(err, ErrUnknownRun) {
		return err
	}
	if err := Follows(lastOf(before), records); err != nil {
		return err
	}
	fresh := len(before) == 0
	if err := f.makeFolder(run); err != nil {
		return f.failed(run, err)
	}
	if w.owner == nil {
		if w.owner, err = f.own(run); err != nil {
			return err
		}
	}
	number := 1
	if len(numbers) > 0 {
		number = numbers[len(numbers)-1] + 1
	}
	file, err := f.create(run, number)
	if errors.Is(err, ErrConflict) {
		return fmt.Errorf("%w: run %s", err, run)
	}
	if err != nil {
		return f.failed(run, err)
	}
	// From here on no former writer succeeds; what one wrote until now counts.
	after, _, err := f.read(run)
	if err != nil && !errors.Is(err, ErrUnknownRun) {
		file.Close()
		return err
	}
	if err := Follows(lastOf(after), records); err != nil {
		file.Close()
		return err
	}
	if w.file != nil {
		w.file.Close()
	}
	w.file, w.number, w.size, w.last, w.broken = file, number, 0, lastOf(after), nil
	f.touch()
	if fresh {
		f.retain(ctx)
	}
	return nil
}

// create makes the file of a number, which one process can.
func (f *Files) create(run string, number int) (*os.File, error) {
	file, err := f.root.OpenFile(path.Join(run, fileName(number)), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, ErrConflict
	}
	if err != nil {
		return nil, err
	}
	if err := f.syncFolder(run); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// write appends records, makes them durable, and looks whether the run is still this process's.
func (f *Files) write(w *writer, records []Record) error {
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	lines.SetEscapeHTML(false) // Data must come back byte for byte
	for i := range records {
		if err := lines.Encode(&records[i]); err != nil {
			return err
		}
	}
	run := records[0].Run
	if w.size >= f.full {
		next, err := f.create(run, w.number+1)
		if err != nil {
			return err
		}
		w.file.Close()
		w.file, w.number, w.size = next, w.number+1, 0
	}
	if _, err := w.file.Write(b.Bytes()); err != nil {
		return err
	}
	w.size += int64(b.Len())
	if err := f.sync(w.file); err != nil {
		return err
	}
	if _, err := f.root.Lstat(path.Join(run, fileName(w.number+1))); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = ErrConflict
		}
		return err
	}
	return nil
}

// Read is Journal's. What a crash left of a record that was being written is not one.
func (f *Files) Read(ctx context.Context, run string) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	records, _, err := f.read(run)
	if err == nil && len(records) == 0 {
		err = ErrUnknownRun
	}
	if err != nil {
		return nil, f.failed(run, err)
	}
	return records, nil
}

// read returns the records of a run, and the numbers of its files; with an error, the records before it.
func (f *Files) read(run string) (records []Record, numbers []int, err error) {
	if !validRun(run) {
		return nil, nil, ErrUnknownRun
	}
	entries, err := fs.ReadDir(f.root.FS(), run)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, ErrUnknownRun
	}
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if n, ok := numberOf(e.Name()); ok && e.Type().IsRegular() {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		file, err := f.root.Open(path.Join(run, fileName(n)))
		if err != nil {
			return nil, nil, err
		}
		more, err := decode(file, run)
		file.Close()
		if err != nil {
			return append(records, more...), nil, fmt.Errorf("%s: %w", fileName(n), err)
		}
		if len(more) > 0 { // what a former writer wrote after it had lost the run does not count
			if at := more[0].Seq - 1; at >= 0 && at < int64(len(records)) {
				records = records[:at]
			}
		}
		records = append(records, more...)
	}
	return records, numbers, nil
}

// decode reads the records of one file. Its last line may be torn.
func decode(r io.Reader, run string) ([]Record, error) {
	var records []Record
	for b := bufio.NewReader(r); ; {
		line, err := b.ReadBytes('\n')
		if err == io.EOF {
			return records, nil
		}
		if err != nil {
			return records, err
		}
		var rec Record
		if err = json.Unmarshal(line, &rec); err == nil && rec.Run != run {
			err = fmt.Errorf("it belongs to run %q", rec.Run)
		}
		if err != nil {
			return records, &BrokenError{Run: run, Seq: lastOf(records).Seq + 1, What: "was changed: " + err.Error()}
		}
		records = append(records, rec)
	}
}

// Runs is Journal's. A folder without a complete first record is not a run; one whose first record was changed has its
// folder's name and time.
func (f *Files) Runs(ctx context.Context) ([]Head, error) {
	entries, err := fs.ReadDir(f.root.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	var heads []Head
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !e.IsDir() || !validRun(e.Name()) {
			continue
		}
		records, _, err := f.read(e.Name()) // Read says what is wrong with it
		if broken, ok := errors.AsType[*BrokenError](err); ok && len(records) == 0 {
			first := Record{Run: e.Name(), Seq: broken.Seq}
			if info, err := e.Info(); err == nil {
				first.Time = info.ModTime()
			}
			records = []Record{first}
		}
		if len(records) == 0 {
			continue
		}
		heads = append(heads, Head{First: records[0], Last: lastOf(records)})
	}
	slices.SortStableFunc(heads, func(a, b Head) int {
		return cmp.Or(b.First.Time.Compare(a.First.Time), cmp.Compare(b.First.Run, a.First.Run))
	})
	return heads, nil
}

// Release is Journal's.
func (f *Files) Release(run string) error {
	f.mu.Lock()
	w := f.writers[run]
	delete(f.writers, run)
	if len(f.writers) == 0 && f.stop != nil {
		close(f.stop)
		f.stop = nil
	}
	f.mu.Unlock()
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	if w.file != nil {
		errs = append(errs, w.file.Close())
	}
	if w.owner != nil {
		errs = append(errs, w.owner.Close())
	}
	w.file, w.owner = nil, nil
	return errors.Join(errs...)
}

const ownerName = "owner"

// own takes the lock of a run. A process that has it and has shown no sign of life for the lease does not count: then
// there is no lock, and no error.
func (f *Files) own(run string) (*os.File, error) {
	name := path.Join(run, ownerName)
	file, err := f.root.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, f.failed(run, err)
	}
	free, err := tryLock(file)
	if err != nil {
		file.Close()
		return nil, f.failed(run, err)
	}
	if !free {
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return nil, f.failed(run, err)
		}
		if time.Since(info.ModTime()) >= f.lease {
			return nil, nil
		}
		who, _ := io.ReadAll(io.LimitReader(file, 20))
		return nil, fmt.Errorf("%w: process %s has run %s; wait until it ends, or end it", ErrHeld, bytes.TrimSpace(who), run)
	}
	text := []byte(strconv.Itoa(os.Getpid()) + "\n")
	if err = file.Truncate(0); err == nil {
		_, err = file.WriteAt(text, 0)
	}
	if err != nil {
		file.Close()
		return nil, f.failed(run, err)
	}
	return file, nil
}

// touch keeps what this process holds fresh, on one goroutine for all runs.
func (f *Files) touch() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stop != nil {
		return
	}
	stop := make(chan struct{})
	f.stop = stop
	go func() {
		ticker := time.NewTicker(f.lease / 4)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case now := <-ticker.C:
				f.mu.Lock()
				for run := range f.writers {
					_ = f.root.Chtimes(path.Join(run, ownerName), now, now) // a lease that lapses is no harm
				}
				f.mu.Unlock()
			}
		}
	}()
}

// makeFolder makes the folder of a run, durably.
func (f *Files) makeFolder(run string) error {
	switch err := f.root.Mkdir(run, 0o700); {
	case err == nil:
		return f.syncFolder(".")
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	return nil
}

func (f *Files) syncFolder(name string) error {
	dir, err := f.root.Open(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	return f.sync(dir)
}

// retain removes the oldest finished runs that are too many. It looks now and then only.
func (f *Files) retain(ctx context.Context) {
	f.mu.Lock()
	f.begun++
	due := f.keep >= 0 && (f.begun >= 64 || f.begun > f.keep)
	if due {
		f.begun = 0
	}
	f.mu.Unlock()
	if !due {
		return
	}
	heads, err := f.Runs(ctx)
	if err != nil {
		return
	}
	finished := 0
	for _, h := range heads {
		if h.Last.Kind != KindFinished {
			continue
		}
		if finished++; finished > f.keep {
			_ = f.root.RemoveAll(h.First.Run) // tried again when more runs have begun
		}
	}
}

func lastOf(records []Record) Record {
	if len(records) == 0 {
		return Record{}
	}
	return records[len(records)-1]
}

var runPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,63}$`)

func validRun(run string) bool { return runPattern.MatchString(run) && strings.Trim(run, ".") != "" }

func fileName(n int) string { return fmt.Sprintf("%06d.jsonl", n) }

func numberOf(name string) (int, bool) {
	text, ok := strings.CutSuffix(name, ".jsonl")
	n, err := strconv.Atoi(text)
	return n, ok && err == nil && n > 0 && fileName(n) == name
}
