package executor

import "slices"

// writers serialises steps that write the same object.
type writers struct {
	holder int32   // the step that runs, -1 for none
	queue  []int32 // steps that could run, ascending; the first is in ready while there is no holder
	ran    []int32 // steps that have started, in order
}

// enqueue adds a ready step to its group. Of several the earliest in the document goes first.
func (m *machine) enqueue(i int32) {
	w := &m.writers[m.info[i].group]
	at, _ := slices.BinarySearch(w.queue, i)
	w.queue = slices.Insert(w.queue, at, i)
	if w.holder >= 0 || at > 0 {
		return
	}
	if len(w.queue) > 1 {
		m.ready.remove(m.info[w.queue[1]].rank)
	}
	m.ready.add(m.info[i].rank)
}

// dequeue removes a step that will not run from its group.
func (m *machine) dequeue(i int32) {
	if m.info[i].group < 0 {
		return
	}
	w := &m.writers[m.info[i].group]
	if at, ok := slices.BinarySearch(w.queue, i); ok {
		if at == 0 {
			w.queue = w.queue[1:]
		} else {
			w.queue = slices.Delete(w.queue, at, at+1)
		}
		if at == 0 && w.holder < 0 && len(w.queue) > 0 {
			m.ready.add(m.info[w.queue[0]].rank)
		}
	}
}

// hold gives the group of a step that starts to it.
func (m *machine) hold(i int32) {
	if g := m.info[i].group; g >= 0 {
		w := &m.writers[g]
		w.holder = i
		w.queue = w.queue[1:]
		w.ran = append(w.ran, i)
	}
}

func (m *machine) letGo(i int32) {
	if g := m.info[i].group; g >= 0 {
		w := &m.writers[g]
		w.holder = -1
		if len(w.queue) > 0 {
			m.ready.add(m.info[w.queue[0]].rank)
		}
	}
}

// withdraw has a step let go of its group as if it had not started.
func (m *machine) withdraw(i int32) {
	if g := m.info[i].group; g >= 0 {
		w := &m.writers[g]
		if at := slices.Index(w.ran, i); at >= 0 {
			w.ran = slices.Delete(w.ran, at, at+1)
		}
		m.letGo(i)
	}
}
