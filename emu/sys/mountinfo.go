package sys

import (
	"strconv"
	"strings"
)

// Unescape decodes the escapes of /proc/PID/mountinfo for white space and backslashes: "\040" is a
// space (proc(5)).
func Unescape(field string) string {
	var b strings.Builder
	for i := 0; i < len(field); i++ {
		if field[i] == '\\' && i+3 < len(field) {
			if c, err := strconv.ParseUint(field[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(field[i])
	}
	return b.String()
}
