package zstd

// fseTable is a finite-state entropy decoder: each state has a symbol, and says how many bits lead
// to the next state (RFC 8878, 4.1).
type fseTable struct {
	log    int
	states []fseState
}

type fseState struct {
	symbol uint8
	bits   uint8
	base   uint16
}

// mostSymbols bounds the symbols of every table here: match lengths have 53, Huffman weights fewer
// than 256.
const mostSymbols = 256

// newFSE makes the table of a distribution: how many of the 1<<log states each symbol has; -1 is
// one state with a full reset.
func newFSE(log int, shares []int16) (fseTable, error) {
	size := 1 << log
	t := fseTable{log, make([]fseState, size)}
	var next [mostSymbols]int
	high := size
	for s, share := range shares {
		next[s] = int(share)
		if share == -1 {
			high--
			t.states[high].symbol = uint8(s)
			next[s] = 1
		}
	}
	step, at := size>>1+size>>3+3, 0
	for s, share := range shares {
		for range share {
			t.states[at].symbol = uint8(s)
			for at = (at + step) & (size - 1); at >= high; at = (at + step) & (size - 1) {
			}
		}
	}
	if at != 0 {
		return t, wrong("a distribution that fills no table")
	}
	for i := range t.states {
		state := &t.states[i]
		n := next[state.symbol]
		next[state.symbol]++
		width := log - highest(n)
		state.bits, state.base = uint8(width), uint16(n<<width-size)
	}
	return t, nil
}

// readFSE reads a distribution and makes its table; used is how many bytes that took.
func readFSE(data []byte, mostLog, symbols int) (t fseTable, used int, err error) {
	f := forward{data: data}
	log := f.take(4) + 5
	if log > mostLog {
		return t, 0, wrong("a distribution that is too fine")
	}
	var shares []int16
	for left := 1 << log; left > 0; {
		if len(shares) >= symbols {
			return t, 0, wrong("a distribution of too many symbols")
		}
		share := f.share(left)
		if share < 0 {
			left--
		} else if left -= share; left < 0 {
			return t, 0, wrong("a distribution of more than all")
		}
		shares = append(shares, int16(share))
		if share == 0 {
			shares = append(shares, make([]int16, f.zeros())...)
		}
	}
	used, ok := f.used()
	if !ok || len(shares) > symbols {
		return t, 0, wrong("a distribution that does not end")
	}
	t, err = newFSE(log, shares)
	return t, used, err
}

// share reads one symbol's share of what is left: as few bits as can tell left+2 values apart, the
// small values with one fewer.
func (f *forward) share(left int) int {
	width := highest(left+1) + 1
	value := f.peek(width)
	low := 1<<(width-1) - 1
	short := 1<<width - 1 - (left + 1)
	if value&low < short {
		f.at += width - 1
		return value&low - 1
	}
	f.at += width
	if value > low {
		value -= short
	}
	return value - 1
}

// zeros reads how many symbols without a share follow one: threes, and what is not three.
func (f *forward) zeros() (n int) {
	for n < mostSymbols {
		more := f.take(2)
		n += more
		if more != 3 {
			break
		}
	}
	return n
}

// coder is a table and the state that it is in.
type coder struct {
	table *fseTable
	state int
}

func (c *coder) start(b *backward) { c.state = b.take(uint8(c.table.log)) }
func (c *coder) symbol() uint8     { return c.table.states[c.state].symbol }

func (c *coder) next(r *run) {
	s := &c.table.states[c.state]
	c.state = int(s.base) + r.take(s.bits)
}
