package identity

// numbers reads the numbers at the start of a release: "4.15.0-112-generic" gives 4, 15, 0. There
// must be a first; a missing one of the others is 0.
func numbers(release string) (n [3]uint32, ok bool) {
	for i := range n {
		digits := 0
		for digits < len(release) && release[digits] >= '0' && release[digits] <= '9' {
			n[i] = min(n[i]*10+uint32(release[digits]-'0'), 1<<16)
			digits++
		}
		if digits == 0 {
			return n, i > 0
		}
		release = release[digits:]
		if release == "" || release[0] != '.' {
			return n, true
		}
		release = release[1:]
	}
	return n, true
}

// versionCode is a release's LINUX_VERSION_CODE, whose last number stops at 255 (linux/Makefile);
// false for a release without numbers.
func versionCode(release string) (uint32, bool) {
	n, ok := numbers(release)
	return n[0]<<16 | min(n[1], 255)<<8 | min(n[2], 255), ok
}

// Above reports whether a release is above the kernel's own, by its first two numbers: programs
// that trust it may use system calls that are missing. It is false where one of them has no
// numbers.
func Above(release, kernel string) bool {
	a, ok := numbers(release)
	k, known := numbers(kernel)
	return ok && known && (a[0] > k[0] || a[0] == k[0] && a[1] > k[1])
}
