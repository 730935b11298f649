package supervise

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/identity"
	"binproxy/emu/loader"
	"binproxy/emu/packages"
	"binproxy/emu/resolve"
	"binproxy/emu/supervise/launch"
	"binproxy/emu/supervise/sight"
	"binproxy/emu/supervise/stack"
	"binproxy/emu/supervise/tracee"
	"binproxy/emu/sys"
	"binproxy/emu/twin"
)

// A twin runs in place of a guest program, as the emulator does: the caller gets a descriptor,
// here of the twins' loader, and the new stack starts with the loader's arguments. The loader
// opens the twin and its libraries by path, so they must be visible in the caller's root. A static
// twin needs no loader. If anything is not as required, the emulator runs the program.

// Twins says which native programs may stand in for the guest's.
type Twins struct {
	Set      *twin.Set                // nil: only note which programs could have a twin
	Off      []string                 // programs and sets without twins
	Original func(path string) string // the name before a farm put it aside; nil for path
}

// twins is the supervisor's state for them.
type twins struct {
	matcher *twin.Matcher
	place   string // the set's directory, in the root
	mount   bool   // whether it must be mounted there
	loader  executable
	files   map[*twin.Twin]*twinFile
}

// twinFile is an open twin. A static one is executed itself; of others only the descriptor is
// known.
type twinFile struct {
	executable
	static bool
}

// via is what is executed for a twin that is open.
func (t *twins) via(one *twin.Twin) *executable {
	if file := t.files[one]; file.static {
		return &file.executable
	}
	return &t.loader
}

// openTwins prepares what all twins share. If that is not complete there are no twins, and a debug
// line says so.
func (s *supervisor) openTwins() {
	c := s.config.Twins
	s.twins = &twins{files: map[*twin.Twin]*twinFile{}}
	set := c.Set
	if set != nil {
		if err := s.checkTwins(set); err != nil {
			if s.config.Debug {
				s.say("no twins: %v", err)
			}
			set = nil
		}
	}
	s.twins.matcher = twin.NewMatcher(set, c.Off)
}

func (s *supervisor) checkTwins(set *twin.Set) (err error) {
	if err := set.Check(); err != nil {
		return err
	}
	kernel, err := identity.Kernel()
	if err != nil {
		return err
	}
	// Loaders believe what uname tells them.
	for _, release := range []string{kernel.Release, s.config.Identity.Release} {
		if err := set.CheckKernel(release); err != nil {
			return err
		}
	}
	if set.Loader != "" {
		if s.twins.loader, err = s.openExecutable(filepath.Join(set.Dir, set.Loader)); err != nil {
			return err
		}
	}
	s.twins.place = set.Dir
	if root := s.config.Root; root != "" {
		if root, err = filepath.EvalSymlinks(root); err != nil {
			return err
		}
		if root, err = filepath.Abs(root); err != nil {
			return err
		}
		inside, ok := strings.CutPrefix(set.Dir, strings.TrimSuffix(root, "/")+"/")
		s.twins.place, s.twins.mount = "/"+inside, !ok
		if !ok {
			s.twins.place = launch.TwinsPlace
		}
	}
	s.twins.loader.path = filepath.Join(s.twins.place, set.Loader)
	return nil
}

// placeTwins makes the place of the twins in the root, and returns a function that removes it.
// Without the place there are no twins.
func (s *supervisor) placeTwins() (back func()) {
	if s.twins == nil || !s.twins.mount {
		return func() {}
	}
	back, err := launch.PlaceTwins(s.config.Root)
	if err != nil {
		s.say("no twins: %v; they would be mounted there, unless the root has them itself", err)
		s.twins.mount = false
		return func() {}
	}
	return back
}

// twinFor finds the twin for the program that a tracee is about to exec, for resolve; nil if no
// rule is asked.
func (e *exec) twinFor(req request, v *sight.View) func(resolve.Plan) *resolve.Twin {
	s := e.s
	if s.twins == nil || e.call.ABI != tracee.ABI64 {
		return nil
	}
	return func(plan resolve.Plan) *resolve.Twin {
		e.verdict = s.judge(v, plan)
		if e.verdict.Rule == nil {
			return nil
		}
		found, why := s.fit(e.t, e.verdict, plan, req, v)
		if e.why = why; why != "" {
			s.debug(e.t.TID(), "exec %s: no twin: %s", req.path, why)
			return nil
		}
		return found
	}
}

// judge returns the matcher's verdict on the file that v found last.
func (s *supervisor) judge(v *sight.View, plan resolve.Plan) *twin.Verdict {
	id := idOf(&v.Last.Stat)
	if verdict := s.twins.matcher.Known(id); verdict != nil {
		return verdict
	}
	var root unix.Stat_t
	path, err := v.Inside(v.Last.FD)
	if err != nil || unix.Fstat(v.Root, &root) != nil {
		return &twin.Verdict{}
	}
	if original := s.config.Twins.Original; original != nil {
		path = original(path)
	}
	fd, err := unix.FcntlInt(uintptr(v.Last.Reader), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return &twin.Verdict{}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	return s.twins.matcher.Judge(twin.Guest{ID: id, ABI: plan.ABI, Path: path, File: f, Root: packages.RootFD(v.Root), RootID: twin.ID{Dev: root.Dev, Ino: root.Ino}})
}

func idOf(st *unix.Stat_t) twin.ID {
	return twin.ID{Dev: st.Dev, Ino: st.Ino, Size: st.Size, Changed: st.Ctim.Nano(), Mtime: st.Mtim.Nano()}
}

// fit makes a verdict's twin ready for this exec, or says why it cannot run.
func (s *supervisor) fit(t *task, verdict *twin.Verdict, plan resolve.Plan, req request, v *sight.View) (*resolve.Twin, string) {
	if verdict.Twin == nil {
		return nil, verdict.Why
	}
	call, hides, err := s.twinCall(t, plan, req, v)
	if err != nil {
		return nil, err.Error()
	}
	edit, why := verdict.Fit(call)
	if why != "" {
		return nil, why
	}
	open, err := s.openTwin(verdict.Twin)
	if err != nil {
		verdict.Twin, verdict.Why = nil, err.Error()
		return nil, verdict.Why
	}
	if !v.Leads(open.path, open.fd) {
		return nil, open.path + " is not visible in its root"
	}
	found := &resolve.Twin{File: open.path, First: edit.First, Replace: edit.Replace, Last: edit.Last, Env: edit.Env}
	if !open.static {
		found.Loader, found.Libraries = s.twins.loader.path, filepath.Dir(s.twins.loader.path)
		if hides {
			found.Preload = filepath.Join(s.twins.place, twin.UnhideName)
		}
	}
	return found, ""
}

// openTwin opens a twin's file, once.
func (s *supervisor) openTwin(t *twin.Twin) (*twinFile, error) {
	if open := s.twins.files[t]; open != nil {
		return open, nil
	}
	set := s.config.Twins.Set
	if err := set.CheckFile(t.File); err != nil {
		return nil, err
	}
	path, open := filepath.Join(set.Dir, t.Path), &twinFile{}
	interp, err := loader.Of(path)
	if err != nil {
		return nil, err
	}
	open.static = interp == ""
	switch {
	case open.static:
		open.executable, err = s.openExecutable(path)
	case set.Loader == "":
		err = fmt.Errorf("the twins in %s have no loader", set.Dir)
	default:
		open.fd, err = sys.Open(path, unix.O_PATH)
	}
	if err != nil {
		return nil, err
	}
	open.path = filepath.Join(s.twins.place, t.Path)
	s.twins.files[t] = open
	return open, nil
}

// twinCall reads the arguments and the environment of the exec. hides reports whether they contain
// something that the twin's loader must not see.
func (s *supervisor) twinCall(t *task, plan resolve.Plan, req request, v *sight.View) (c twin.Call, hides bool, err error) {
	budget := stack.NewBudget(stackLimit(t.TID()))
	args, err := budget.Strings(req.argv, t)
	if err != nil {
		return c, false, err
	}
	c.Args = append(c.Args, plan.Prefix[1:]...)
	c.Args = append(c.Args, args[min(1, len(args)):]...)
	if c.Env, err = budget.Strings(req.envp, t); err != nil {
		return c, false, err
	}
	for _, entry := range c.Env {
		if _, ok := twin.Hidden(entry); ok {
			hides = true
		}
	}
	for _, p := range s.preloads(v, c.Env, plan.ABI) {
		// judged as the guest would get it
		if own, other := p.of(false); own {
			c.Env[p.index] = "LD_PRELOAD=" + c.Env[p.index][preloadLength:]
		} else if other {
			c.Env[p.index] = ""
		}
	}
	c.Find, c.Has, c.Dir = v.Command, v.Has, s.twins.place
	return c, hides, nil
}

// stackLimit is the limit of a process's stack. It is unlimited if it cannot be read, as for a
// process with other ids.
func stackLimit(pid int) uint64 {
	limit := unix.Rlimit{Cur: unix.RLIM_INFINITY}
	_ = unix.Prlimit(pid, unix.RLIMIT_STACK, nil, &limit)
	return limit.Cur
}

// withoutTwin serves the exec of a twin's loader that the kernel refused: the emulator gets the
// guest's program instead.
func (e *exec) withoutTwin(refused unix.Errno) error {
	e.verdict.Twin, e.verdict.Why = nil, fmt.Sprintf("%s: %v", e.via.path, refused)
	e.s.debug(e.t.TID(), "exec %s: no twin: %s", e.name, e.verdict.Why)
	if _, err := e.takeBack(); err != nil {
		return err
	}
	e.why, e.plan.Twin, e.via, e.guest.emulator = e.verdict.Why, nil, &e.emulator.executable, e.emulator
	if err := e.t.SetRegisters(e.regs); err != nil {
		return err
	}
	return e.hand(e.req, tracee.Leaving)
}
