# shellcheck shell=sh
# What the lab's shell scripts share. Sourced, with lab= set to this directory.

: "${lab:?}"
top=$(cd "$lab/.." && pwd)
build=$top/build
cache=$build/cache
BASE=${BASE:-6.12}
# What is made of another base than the usual one is in directories whose names end with this.
other=
[ "$BASE" = 6.12 ] || other=-$BASE
linux=$build/linux$other
# What lab/machine/boot can boot.
machines="powernv8 powernv9 powernv9-hash powernv10 pseries"
# For a kernel with FLAVOUR=nohz: CPU 1 is left to the guest that computes there.
tickless="nohz_full=1 isolcpus=1 rcu_nocbs=1 irqaffinity=0"

cross=powerpc64le-linux-gnu-
ccache=
! command -v ccache >/dev/null || ccache="ccache "
# To trust the compiler's list of headers saves a preprocessor's run for each file: a
# build from nothing takes 30 % less.
export CCACHE_DEPEND=1

say() { printf '%s\n' "$*" >&2; }

# die WHAT [ADVICE]: say what failed, on what, and what to do; end.
die()
{
	say "error: $1"
	[ $# -lt 2 ] || say "       $2"
	exit 1
}

# kmake SOURCE OUT ARGUMENTS...: the kernel's make, for POWER unless ARGUMENTS say otherwise.
# Equal relative names of SOURCE and OUT let builds share what ccache has; LOCALVERSION=
# keeps the state of the git tree out of the version.
kmake()
{
	ksource=$1 kout=$2
	shift 2
	CCACHE_BASEDIR=${CCACHE_BASEDIR-$build} CCACHE_NOHASHDIR=1 make -s -C "$ksource" \
		O="$kout" ARCH=powerpc CROSS_COMPILE="$ccache$cross" LOCALVERSION= "$@"
}

# complaints: what a kernel says when something is wrong with itself, by the selftests'
# list; a regular expression a line.
complaints()
{
	list=$top/tools/testing/selftests/kvm/lib/powerpc/cases.c
	sed -n '/ complaints\[\] = {/,/^};/s/^\t"\(.*\)",$/\1/p' "$list" | grep . ||
		die "there are no complaints in $list" "lab/lib.sh looks for complaints[]"
}

# Everything generated lives in build/, which git is told to ignore from inside.
make_build()
{
	mkdir -p "$cache" "$build/log"
	[ -e "$build/.gitignore" ] || echo '*' >"$build/.gitignore"
}

# base_field N: field N of the line of lab/tree/base that is in use.
base_field()
{
	awk -v base="$BASE" -v n="$1" '$1 == base { print $n }' "$lab/tree/base"
}

# need_space MIB WHAT [DIRECTORY]: stop before starting what the disk cannot hold.
need_space()
{
	free=$(df -Pm "${3:-$build}" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge "$1" ] ||
		die "$2 needs $1 MiB in ${3:-$build}, where $free MiB are free" \
		    "free some space there"
}

# step TEXT COMMAND...: run a long step, say what it is and how long it took.
step()
{
	text=$1
	shift
	say "==> $text"
	began=$(date +%s)
	"$@" || die "$text: failed"
	say "    $text: $(($(date +%s) - began)) s"
}

# need_root WHAT: stop before WHAT where nobody can be root.
need_root()
{
	[ "$(id -u)" -ne 0 ] || return 0
	command -v sudo >/dev/null ||
		die "$1 needs root, and there is no sudo" "run \"make setup\" as root once"
	sudo true ||
		die "$1 needs root, and sudo refuses" "run \"make setup\" as root once"
}

# as_root COMMAND...: the few things that only root can do; after need_root.
as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# alone NAME: from here to its end, no other script that says this NAME runs. Parts of
# "make check" run side by side.
alone()
{
	exec 9>"$build/.$1.lock"
	flock 9
}

# state [PATH...]: a name for what is in the expanded tree, edits included, of the base
# and of this repository; of the tree in PATHs only.
state()
{
	{
		git -C "$linux" rev-parse refs/lab/base
		git -C "$linux" diff refs/lab/base -- "$@"
		[ $# -gt 0 ] || (cd "$top" &&
			git ls-files -z --cached --others --exclude-standard |
			xargs -0 sha256sum 2>/dev/null)
	} | sha256sum | cut -c 1-16
}

# kept KEY COMMAND...: what COMMAND says. If nothing failed, that is kept by KEY, which
# names all that COMMAND reads, and is said again the next time.
kept()
{
	kept=$cache/kept/$1
	shift
	if [ -e "$kept" ]; then
		cat "$kept"
		echo "# said before, of the same files by the same tools: $kept"
		return 0
	fi
	mkdir -p "$cache/kept"
	"$@" >"$kept.$$" 2>&1 || {
		cat "$kept.$$"
		rm -f "$kept.$$"
		return 1
	}
	mv "$kept.$$" "$kept"
	cat "$kept"
}

# tools FILE...: a name for these files and for the packages that the lab uses.
tools()
{
	{
		cat "$@"
		grep -v '^#' "$lab/apt/packages" | xargs dpkg-query -W 2>/dev/null
	} | sha256sum | cut -c 1-16
}

# logged NAME COMMAND...: run with its output in build/log/NAME.log.
logged()
{
	log=$build/log/$1.log
	shift
	"$@" >"$log" 2>&1 || {
		tail -n 20 "$log" >&2
		die "failed: $*" "the whole log is $log"
	}
}

# fetched NAME WHAT COMMAND...: as logged, of a COMMAND that fetches WHAT.
fetched()
{
	log=$build/log/$1.log what=$2
	shift 2
	"$@" >"$log" 2>&1 || {
		grep '^E:' "$log" | head -n 3 >&2
		die "cannot fetch $what" "is the network up? (the whole log is $log)"
	}
}
