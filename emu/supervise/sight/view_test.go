package sight

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo/tiny"
	"binproxy/emu/resolve"
	"binproxy/emu/sys"
)

// guestABI is an ABI that none of our hosts runs.
var guestABI = arch.Get("s390x")

// tree is a root directory.
type tree struct{ dir string }

func newTree(t *testing.T) tree {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755)) // for other users, too
	for _, name := range []string{"bin", "dir/sub", "farm", "-"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	for name, f := range map[string]struct {
		text string
		mode os.FileMode
	}{
		"bin/tool":   {string(tiny.Program(guestABI)), 0o755},
		"bin/script": {"#! bin/tool an argument\n", 0o755},
		"bin/secret": {string(tiny.Program(guestABI)), 0o700},
		"bin/unread": {string(tiny.Program(guestABI)), 0o711},
		"plain":      {"text", 0o644},
		"self":       {"binproxy", 0o755},
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(f.text), 0o600))
		require.NoError(t, os.Chmod(path, f.mode))
	}
	for name, target := range map[string]string{
		"absolute": "/bin/tool", "relative": "dir/../bin/tool", "above": "../../bin/tool", "loop": "loop", "dangling": "/nowhere",
		"dir/up": "..", "farm/tool": "../self", "farm/aside": "tool", "farm/none": "/self",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o755))
	return tree{dir}
}

func (d tree) open(t *testing.T, name string) int {
	t.Helper()
	fd, err := sys.Openat(unix.AT_FDCWD, filepath.Join(d.dir, name), unix.O_PATH)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// name returns the name of an open file in the tree.
func (d tree) name(s *Sight, fd int) string {
	path, _ := s.PathOf(fd)
	name, _ := filepath.Rel(d.dir, path)
	return name
}

// sights are the two ways to look: by the kernel, and name by name.
func sights(t *testing.T, test func(t *testing.T, s *Sight)) {
	t.Helper()
	for _, walks := range []bool{false, true} {
		t.Run(fmt.Sprint("walks ", walks), func(t *testing.T) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			proc, err := sys.OpenProc()
			require.NoError(t, err)
			defer unix.Close(proc)
			self, err := sys.Openat(proc, "self/fd", unix.O_PATH|unix.O_DIRECTORY)
			require.NoError(t, err)
			defer unix.Close(self)
			s, err := New(proc, self)
			require.NoError(t, err)
			s.walks = walks
			test(t, s)
		})
	}
}

// view returns a view of the tree, from one of its directories.
func (d tree) view(t *testing.T, s *Sight, dir string) *View {
	t.Helper()
	v := &View{sight: s, tid: unix.Gettid(), stance: Stance{ids: s.ids}, Follow: true}
	v.Root, v.dir = d.open(t, "."), d.open(t, dir)
	t.Cleanup(func() { v.Last.close() })
	return v
}

func TestOpen(t *testing.T) {
	d := newTree(t)
	sights(t, func(t *testing.T, s *Sight) {
		for _, c := range []struct {
			dir, path string
			want      string // the file
			errno     syscall.Errno
		}{
			{".", "/bin/tool", "bin/tool", 0},
			{".", "bin/tool", "bin/tool", 0},
			{"dir/sub", "../../bin/tool", "bin/tool", 0},
			{".", "/../../bin/./tool", "bin/tool", 0},
			{".", "../bin/tool", "bin/tool", 0},
			{".", "/absolute", "bin/tool", 0},
			{".", "relative", "bin/tool", 0},
			{".", "/above", "bin/tool", 0},
			{"dir", "up/bin/tool", "bin/tool", 0},
			{".", "/loop", "", unix.ELOOP},
			{".", "/dangling", "", unix.ENOENT},
			{".", "nowhere", "", unix.ENOENT},
			{".", "/bin/tool/", "", unix.ENOTDIR},
			{".", "/bin/tool/x", "", unix.ENOTDIR},
			{".", "/dir", "", unix.EACCES},
			{".", "/fifo", "", unix.EACCES},
			{".", "/" + string(make([]byte, 256)), "", unix.EINVAL},
		} {
			v := d.view(t, s, c.dir)
			file, errno := v.Open(c.path)
			require.Equal(t, c.errno, errno, c.path)
			if errno != 0 {
				continue
			}
			require.Equal(t, c.want, d.name(s, v.Last.FD), c.path)
			require.Equal(t, resolve.File{Path: c.path, Head: file.Head}, file)
			require.False(t, v.ByFD || v.Doubt, c.path)
			require.Len(t, file.Head, min(resolve.HeadSize, int(v.Last.Stat.Size)))
		}
		v := d.view(t, s, ".")
		v.Follow = false
		_, errno := v.Open("absolute")
		require.Equal(t, unix.EACCES, errno, "a link that is not followed is no file")
	})
}

// A process that changes its root finds files as it will then: its links lead through the new
// root, and its working directory is in it.
func TestAhead(t *testing.T) {
	d := newTree(t)
	t.Chdir(filepath.Join(d.dir, "dir"))
	sights(t, func(t *testing.T, s *Sight) {
		for _, c := range []struct {
			root, dir, path string
			want            string // the file
			errno           syscall.Errno
		}{
			{d.dir, "", "/absolute", "bin/tool", 0},
			{d.dir, "", "absolute", "bin/tool", 0},
			{d.dir, "", "/above", "bin/tool", 0},
			{d.dir, "", "../../bin/tool", "bin/tool", 0},
			{d.dir, "dir/sub", "../../absolute", "bin/tool", 0},
			{d.dir, "/dir/up/dir", "../bin/tool", "bin/tool", 0},
			{d.dir, "", d.dir + "/bin/tool", "", unix.ENOENT},
			{d.dir, "", "/dangling", "", unix.ENOENT},
			{"", "", "../bin/tool", "bin/tool", 0},
			{"", "", d.dir + "/relative", "bin/tool", 0},
			{"", "sub", "../../bin/tool", "bin/tool", 0},
			{"", d.dir, "bin/tool", "bin/tool", 0},
		} {
			v, err := s.Ahead(c.root, c.dir)
			require.NoError(t, err)
			_, errno := v.Open(c.path)
			require.Equal(t, c.errno, errno, c.path)
			if errno == 0 {
				require.Equal(t, c.want, d.name(s, v.Last.FD), c.path)
			}
			v.Close()
		}
		_, err := s.Ahead(d.dir, "nowhere")
		require.ErrorIs(t, err, unix.ENOENT)
		_, err = s.Ahead(d.dir+"/plain", "")
		require.ErrorIs(t, err, unix.ENOTDIR)
	})
}

// What the kernel certainly refuses is refused. If the kernel may refuse a file, or someone has it
// open for writing, the view says to ask. A file that may not be executed, as far as we know, is
// never handed over.
func TestDoubt(t *testing.T) {
	d := newTree(t)
	sights(t, func(t *testing.T, s *Sight) {
		v := d.view(t, s, ".")
		v.stance.doubt = true // in another user namespace
		_, errno := v.Open("/plain")
		require.Zero(t, errno)
		require.True(t, v.Doubt, "nobody may execute it")
		require.True(t, v.Unproven)
		if os.Geteuid() == 0 {
			_, errno = d.view(t, s, ".").Open("/plain")
			require.Equal(t, unix.EACCES, errno)
		}

		f, err := os.OpenFile(filepath.Join(d.dir, "bin/tool"), os.O_WRONLY, 0)
		require.NoError(t, err)
		v = d.view(t, s, ".")
		_, errno = v.Open("/bin/tool")
		require.NoError(t, f.Close())
		require.Zero(t, errno)
		require.True(t, v.Doubt, "ETXTBSY")
	})
}

// The rights of the other user count, not ours.
func TestStance(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, which looks as another user")
	}
	d := newTree(t)
	sights(t, func(t *testing.T, s *Sight) {
		for _, c := range []struct {
			path  string
			errno syscall.Errno
			byFD  bool
		}{{"/bin/tool", 0, false}, {"/bin/secret", unix.EACCES, true}, {"/bin/unread", 0, true}} {
			v := d.view(t, s, ".")
			v.stance = Stance{ids: sys.FileIDs{UID: 65534, GID: 65534}, differ: true}
			_, errno := v.Open(c.path)
			require.Equal(t, c.errno, errno, c.path)
			require.False(t, v.Doubt, c.path)
			require.Equal(t, c.byFD, v.ByFD, c.path)
			require.Equal(t, !c.byFD, v.Leads(c.path, v.Last.FD), c.path)
		}
		require.NoError(t, unix.Access(filepath.Join(d.dir, "bin/secret"), unix.R_OK), "the ids are ours again")
	})
}

// The interpreter of a script is found from the working directory, wherever the script's path
// started.
func TestResolve(t *testing.T) {
	d := newTree(t)
	t.Chdir(d.dir)
	sights(t, func(t *testing.T, s *Sight) {
		v := d.view(t, s, "bin")
		v.First = "/dev/fd/7/script"
		r := resolve.Resolver{Guest: func(a *arch.ABI) bool { return a == guestABI }}
		plan, errno := r.Resolve(v, resolve.Request{Path: "script"})
		require.Zero(t, errno)
		require.Equal(t, guestABI, plan.ABI)
		require.Equal(t, []string{"bin/tool", "an argument", "/dev/fd/7/script"}, plan.Prefix)
		require.Equal(t, "bin/tool", plan.File.Path)
		require.Equal(t, "bin/tool", d.name(s, v.Last.FD))
	})
}

// A path that leads to binproxy itself stands for what Behind returns for the last link that has a
// name of its own.
func TestBehind(t *testing.T) {
	d := newTree(t)
	sights(t, func(t *testing.T, s *Sight) {
		require.NoError(t, unix.Stat(filepath.Join(d.dir, "self"), &s.own))
		var asked []string
		s.Behind = func(path string) string {
			asked = append(asked, path)
			return map[string]string{"/farm/tool": "/bin/tool"}[path]
		}
		for path, want := range map[string]string{"/farm/tool": "bin/tool", "/farm/aside": "bin/tool", "/farm/none": "self", "/self": "self"} {
			v := d.view(t, s, ".")
			file, errno := v.Open(path)
			require.Zero(t, errno, path)
			require.Equal(t, want, d.name(s, v.Last.FD), path)
			if want == "bin/tool" {
				require.Equal(t, "/bin/tool", file.Path)
			}
		}
		require.Subset(t, []string{"/farm/tool", "/farm/none"}, asked)
	})
}

// Names that stand for each other in a circle stand for nothing.
func TestBehindInCircle(t *testing.T) {
	d := newTree(t)
	require.NoError(t, os.Symlink("/self", filepath.Join(d.dir, "dir/a")))
	require.NoError(t, os.Symlink("a", filepath.Join(d.dir, "dir/aside-a")))
	sights(t, func(t *testing.T, s *Sight) {
		require.NoError(t, unix.Stat(filepath.Join(d.dir, "self"), &s.own))
		asked := 0
		s.Behind = func(path string) string {
			require.Less(t, asked, 100)
			asked++
			return filepath.Dir(path) + "/aside-" + filepath.Base(path)
		}
		v := d.view(t, s, ".")
		_, errno := v.Open("/dir/a")
		require.Zero(t, errno)
		require.Equal(t, "self", d.name(s, v.Last.FD))
		require.NotZero(t, asked)
	})
}

// /proc/self is the thread's, and a guest's program there is the guest's file, not the emulator.
func TestProc(t *testing.T) {
	d := newTree(t)
	t.Chdir(d.dir)
	sights(t, func(t *testing.T, s *Sight) {
		tid := unix.Gettid()
		open := func(path string) *View {
			v, err := s.View(tid, path, unix.AT_FDCWD)
			require.NoError(t, err)
			t.Cleanup(v.Close)
			_, errno := v.Open(path)
			require.Zero(t, errno, path)
			return v
		}
		v := open(fmt.Sprintf("/proc/%d/exe", tid))
		exe, err := os.Readlink("/proc/self/exe")
		require.NoError(t, err)
		path, err := s.PathOf(v.Last.FD)
		require.NoError(t, err)
		require.Equal(t, exe, path)

		tool := d.open(t, "bin/tool")
		s.Guest = func(pid int) int {
			if pid == tid {
				own, err := unix.Dup(tool)
				require.NoError(t, err)
				return own
			}
			return -1
		}
		for _, path := range []string{"/proc/self/exe", fmt.Sprintf("/proc/%d/exe", tid), "/dev/fd/../exe"} {
			v := open(path)
			require.Equal(t, "bin/tool", d.name(s, v.Last.FD), path)
			require.True(t, v.ByFD, path)
		}
		require.Equal(t, "bin/tool", d.name(s, open("/proc/thread-self/cwd/bin/tool").Last.FD))
		require.Equal(t, "bin/tool", d.name(s, open("bin/tool").Last.FD))
	})
}

// A file named by a descriptor has a path of its own while it exists.
func TestByDescriptor(t *testing.T) {
	d := newTree(t)
	sights(t, func(t *testing.T, s *Sight) {
		gone := filepath.Join(d.dir, "gone")
		for _, c := range []struct{ name, want string }{{"bin/tool", "/bin/tool"}, {"gone", "/dev/fd/7"}} {
			require.NoError(t, os.WriteFile(gone, nil, 0o755))
			v := d.view(t, s, c.name)
			require.NoError(t, os.Remove(gone))
			v.First = "/dev/fd/7"
			file, errno := v.Open("")
			require.Zero(t, errno)
			require.Equal(t, c.want, file.Path)
			require.True(t, v.ByFD)
			require.Equal(t, filepath.Base(c.name), s.NameOf(v.Last.FD))
		}
	})
}

func TestLeadsAndCommand(t *testing.T) {
	d := newTree(t)
	sights(t, func(t *testing.T, s *Sight) {
		v := d.view(t, s, ".")
		tool := d.open(t, "bin/tool")
		require.True(t, v.Leads("/absolute", tool))
		require.False(t, v.Leads("bin/tool", tool), "a relative path may lead anywhere later on")
		require.False(t, v.Leads("/bin/script", tool))
		require.False(t, v.Leads("/nowhere", tool))
		inside, err := v.Inside(tool)
		require.NoError(t, err)
		require.Equal(t, "/bin/tool", inside)
		_, err = v.Inside(s.Self)
		require.Error(t, err)

		require.Equal(t, "/bin", v.Command("relative:/nowhere:/dir:/bin:/farm", "tool"))
		require.Empty(t, v.Command("/bin", "nothing"))
	})
}

func TestGlance(t *testing.T) {
	d := newTree(t)
	t.Chdir(d.dir)
	sights(t, func(t *testing.T, s *Sight) {
		fd, known := s.Glance(unix.Gettid(), "plain", unix.AT_FDCWD)
		require.Equal(t, !s.walks, known)
		if known {
			require.Equal(t, "plain", d.name(s, fd))
			unix.Close(fd)
		}
		fd, known = s.Glance(unix.Gettid(), filepath.Join(d.dir, "nowhere"), unix.AT_FDCWD)
		require.Equal(t, []any{-1, !s.walks}, []any{fd, known})
		// The kernel's path, which leads out of the directory.
		for _, path := range []string{"/proc/version", "absolute"} {
			fd, known = s.Glance(unix.Gettid(), path, unix.AT_FDCWD)
			require.Equal(t, []any{-1, false}, []any{fd, known}, path)
		}
	})
}

// Whatever ids a thread had taken on, it returns to its own.
func TestReturn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	runtime.LockOSThread()
	proc, err := sys.OpenProc()
	require.NoError(t, err)
	defer unix.Close(proc)
	s, err := New(proc, proc)
	require.NoError(t, err)
	before, err := s.Status("thread-self")
	require.NoError(t, err)
	s.assume(Stance{ids: sys.FileIDs{UID: 65534, GID: 65534}, differ: true})
	during, err := s.Status("thread-self")
	require.NoError(t, err)
	require.Equal(t, 65534, during.UID)
	s.Return()
	after, err := s.Status("thread-self")
	require.NoError(t, err)
	require.Equal(t, before.FileIDs, after.FileIDs)
	runtime.UnlockOSThread()
}
