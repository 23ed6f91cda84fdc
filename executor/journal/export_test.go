package journal

import "os"

// FullAt has files followed by others at a size.
func (f *Files) FullAt(size int64) { f.full = size }

// FailSync makes the disk fail.
func (f *Files) FailSync(err error) { f.sync = func(*os.File) error { return err } }
