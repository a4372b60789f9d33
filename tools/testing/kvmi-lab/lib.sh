# SPDX-License-Identifier: GPL-2.0
# Shared by the scripts of the lab; sourced, never run.
#
# Everything that is built lives below $B.  Steps are incremental: each one
# computes a key from the contents of what it uses (never from times alone,
# because a cache may outlive the checkout) and does nothing if that key is the
# one recorded after its last success.

LAB=$(cd "$(dirname "$0")" && pwd)
# A script in a directory below
[ -f "$LAB/lib.sh" ] || LAB=$(dirname "$LAB")
REPO=$(cd "$LAB/../../.." && pwd)
B=${KVMI_CACHE:-$REPO/build}
mkdir -p "$B" && B=$(cd "$B" && pwd) || exit 1

die() { echo "kvmi-lab: $*" >&2; exit 1; }
say() { printf '  %-9s %s\n' "$1" "$2"; }

# A value in the list of versions
version() { sed -n "s/^$1=//p" "$LAB/versions"; }

# The base is the kernel that all is about: BASE=, one of linux_series, by default the
# first, or what the cache was told to take instead.  $PATCHES is the directory of its
# patches.  For another one than the first, all that depends on the kernel has a cache of
# its own in the cache, where the rest is linked.  Scripts that make the rest set ANY_BASE.
FIRST_BASE=$(version linux_series)
FIRST_BASE=${FIRST_BASE%% *}
ASKED_BASE=${ASKED_BASE-$BASE}
[ -n "$BASE" ] || BASE=$(cat "$B/stamps/base" 2>/dev/null)
BASE=${BASE:-$FIRST_BASE}
case " $(version linux_series) " in
*" $BASE "*) ;;
*) die "BASE=$BASE: there are patches for $(version linux_series | sed 's/ / and /g')" ;;
esac
PATCHES=patches/linux
SHARED=$B
[ "$BASE" = "$FIRST_BASE" ] || PATCHES=patches/linux-$BASE
if [ "$BASE" != "$FIRST_BASE" ] && [ -z "$ANY_BASE" ]; then
	B=$B/base-$BASE
	mkdir -p "$B"
	for _d in apt bochs downloads qemu qemu-src tools; do
		[ -L "$B/$_d" ] || ln -sn "../$_d" "$B/$_d"
	done
	mkdir -p "$SHARED/apt" "$SHARED/downloads" "$SHARED/tools"
fi
export BASE ASKED_BASE
JOBS=${JOBS:-$(nproc)}
LOGS=$B/logs
mkdir -p "$LOGS" "$B/stamps" "$B/locks"

# The system's own python, not one that a version manager put first in PATH:
# QEMU's configure makes a virtual environment from whatever it is given.
PYTHON=${PYTHON:-/usr/bin/python3}
[ -x "$PYTHON" ] || PYTHON=$(command -v python3)
# What the user tells our make, e.g. M=vmx, is not for those that scripts call: to the
# kernel's that is a module's directory.  Nor is what the user's shell has for them.
for _v in $(printf '%s\n' "$MAKEFLAGS" | tr ' ' '\n' | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)[:+?!]*=.*/\1/p') \
	ARCH ARGS C CHECK CROSS_COMPILE KBUILD_EXTMOD KBUILD_OUTPUT KCONFIG_CONFIG LDFLAGS LLVM M MO O \
	OUTPUT STEPS SUBARCH T TARGETS V W; do
	case $_v in
	# Ours, which the scripts tell each other
	BASE|KVMI_CACHE|KVMI_MIRROR|LINUX|QEMU_SRC|BOCHS|MESON|GUEST|CRASH|JOBS|PYTHON|BUSYBOX|QEMU_DATA) ;;
	CONFIG|KERNEL_OUT|SUBJECT_PREFIX|REROLL|PATH) ;;
	*) unset "$_v" ;;
	esac
done
unset _v MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL GNUMAKEFLAGS MAKEFILES

mkdir -p "$B/tools/bin"
[ "$(readlink "$B/tools/bin/python3")" = "$PYTHON" ] || ln -sfn "$PYTHON" "$B/tools/bin/python3"
PATH=$B/tools/bin:$PATH:/usr/sbin:/sbin

# key_of: the key of what is given as arguments (strings) and stdin
key_of() { { printf '%s\n' "$@"; cat; } | sha256sum | cut -c1-32; }

# hash_files FILE...: contents and names, for use in a key
hash_files() { sha256sum -- "$@" 2>/dev/null; }

stamp_ok() { [ "$(cat "$B/stamps/$1" 2>/dev/null)" = "$2" ]; }
stamp() { echo "$2" >"$B/stamps/$1.new" && mv "$B/stamps/$1.new" "$B/stamps/$1"; }
unstamp() { rm -f "$B/stamps/$1"; }

# One run of a step at a time per cache, however many makes there are
lock() {
	exec 9>"$B/locks/$1"
	flock -n 9 && return
	say wait "another run is at '$1' in $B"
	flock 9
}

# logged NAME COMMAND...: output goes to a log; a dot every few seconds shows
# life on a terminal or a CI console; the log's end is shown on failure.
logged() {
	_log=$LOGS/$1.log; _name=$1; shift
	_t0=$(date +%s)
	( exec 9>&-; exec nice "$@" ) >"$_log" 2>&1 &
	_pid=$!
	_n=0
	while kill -0 $_pid 2>/dev/null; do
		sleep 0.2
		_n=$((_n + 1))
		[ $((_n % 100)) -ne 0 ] || say '...' "$_name: $(($(date +%s) - _t0)) s, $(tail -n 1 "$_log" 2>/dev/null | cut -c1-60)"
	done
	if wait $_pid; then
		say done "$_name ($(($(date +%s) - _t0)) s)"
	else
		tail -n 25 "$_log" >&2
		die "$_name failed; the whole log is $_log"
	fi
}

# series_of WHAT: the versions that fit; of Linux, the base that is asked for
series_of() { [ "$1" = linux ] && echo "$BASE" || version "$1_series"; }

# known_exports MAIL: what checkpatch (stdin) says about it, but for exports right below
# DEFINE_STATIC_KEY_DEFERRED_FALSE(): it does not know that this defines what is exported
known_exports() {
	awk -F: 'NR == FNR { line[FNR] = $0; next }
		!(/EXPORT_SYMBOL/ && line[$2 - 1] ~ /DEFINE_STATIC_KEY_DEFERRED_/)' "$1" -
}

# fits WHAT VERSION: does it begin as the list of versions has it?
fits() {
	for _series in $(series_of "$1"); do
		case $2 in "$_series"|"$_series"[!0-9]*) return 0 ;; esac
	done
	return 1
}

# kernel_version: that of the tree whose Makefile is stdin
kernel_version() { awk '/^(VERSION|PATCHLEVEL|SUBLEVEL) = / { v = v (v == "" ? "" : ".") $3 } END { print v }'; }

# what_fits WHAT NAME VERSION: for a message, how what is there goes with the list
what_fits() {
	case $1 in
	linux)
		for _v in $(version linux_tested); do
			! fits linux "$_v" || break
		done
		echo "$2 $3; $PATCHES is for $BASE, and was tested with $_v" ;;
	*)	echo "$2 $3; patches/$1 is for $(version "$1_series" | sed 's/ /, /g')" ;;
	esac
}
