package journal

import "os"

// FailSync makes the disk fail.
func (f *Files) FailSync(err error) { f.sync = func(*os.File) error { return err } }
