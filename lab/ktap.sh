# shellcheck shell=sh
# Results in KTAP, a line each: sourced by what prints some, here and in a machine
# (/ktap.sh). A script that does ends with "exit $bad".
n=0 bad=0

# passed NAME, skipped NAME WHY, failed NAME [TEXT]: a result, and what is said of it.
passed()
{
	n=$((n + 1))
	echo "ok $n $1"
}
skipped() { passed "$1 # SKIP $2"; }
failed()
{
	n=$((n + 1))
	# shellcheck disable=SC2034 # for who sources this
	bad=1
	echo "not ok $n $1"
	[ -z "${2:-}" ] || printf '%s\n' "$2" | head -n 40 | sed 's/^/# /'
}

# silent NAME TEXT: a checker passes when it has nothing to say.
silent()
{
	if [ -z "$2" ]; then passed "$1"; else failed "$1" "$2"; fi
}

# report NAME COMMAND...: passes when COMMAND does. Its output goes to a file: a program that
# it leaves running would keep a pipe open.
report()
{
	name=$1 said=${TMPDIR:-/tmp}/said.$$
	shift
	if "$@" >"$said" 2>&1 </dev/null; then
		passed "$name"
	else
		failed "$name" "$(cat "$said")"
	fi
	rm -f "$said"
}
