// Go code with functions that have no body (linkname) needs an assembly file in its package, on
// every architecture.
