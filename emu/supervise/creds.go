package supervise

// assume makes this thread look files up as the tracee does, and gives the way back.
func (s *supervisor) assume(t *tracee) func() {
	return func() {}
}
