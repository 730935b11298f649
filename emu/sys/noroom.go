package sys

import "errors"

// ErrNoRoom is what RoomForThreads and RoomForChild give.
var ErrNoRoom = errors.New("the limit of processes (--pids-limit, ulimit -u) leaves no room for the handful of threads that this program starts: raise it")
