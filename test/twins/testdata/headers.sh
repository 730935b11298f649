# Where the guest's compilers look for headers, told by headers of the same name everywhere.
set -e
mkdir /tmp/headers && cd /tmp/headers
local=/usr/local/include
triplet=$(gcc -print-multiarch)
mkdir -p $local/"$triplet" named system after
n=0
for dir in $local $local/"$triplet" named system after; do
	n=$((n + 1))
	for header in stddef.h stdio.h cstdio; do
		printf '#define FOUND_%s 1\n#include_next <%s>\n' $n $header >$dir/$header
	done
	echo "#define ONLY_$n" >$dir/only.h
done
printf '#include <stddef.h>\n#include <stdio.h>\n#include <only.h>\nint x;\n' >a.c
printf '#include <cstdio>\n#include <stddef.h>\n#include <only.h>\n#include <vector>\nint x;\n' >a.cc

look() {
	echo "$C_INCLUDE_PATH $*"
	"$@"
}
try() {
	look gcc -E a.c
	look gcc -E -dM a.c
	look gcc -M -isystem system -idirafter after a.c
	look g++ -M a.cc
	look g++ -E a.cc
	look g++ -E -dM -isystem system -idirafter after a.cc
	look g++ -M -nostdinc++ a.c
}
try
export C_INCLUDE_PATH=named CPLUS_INCLUDE_PATH=named:
try
