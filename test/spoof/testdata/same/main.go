// Command same opens files, and prints what it then learns of each by its descriptor and by its
// path.
package main

import (
	"fmt"
	"os"
)

func main() {
	for _, path := range os.Args[1:] {
		f, err := os.Open(path)
		if err != nil {
			fmt.Println(err)
			continue
		}
		open, err := f.Stat()
		if err != nil {
			fmt.Println(err)
			continue
		}
		named, err := os.Stat(path)
		fmt.Println(path, os.SameFile(open, named), open.Size(), open.Mode(), open.ModTime().Equal(named.ModTime()), err)
	}
}
