# SPDX-License-Identifier: GPL-2.0
# The part of `series` that composes the posting, and what is done with it;
# sourced, never run.

OUT=$B/series
T=

# ------------------------------------------------------------- compose

# Files of the overlay that the entry in FILE adds, in order: those it names,
# and below each "dir/" those that no entry names.
files_of() {
	sed '1,/^---files---$/d; s/[[:space:]]*#.*//; /^[[:space:]]*$/d' "$P/$1" |
	while read -r path; do
		case $path in
		*/) awk -v d="$path" 'index($0, d) == 1' "$T/overlay" | grep -vxFf "$T/named" || : ;;
		*) echo "$path" ;;
		esac
	done
}

check_files() {
	local name f
	awk '$1 == "files" { print $2 }' "$T/entries" >"$T/messages"
	awk '$1 == "add" { print $2 }' "$T/entries" >"$T/added"
	cp "$T/added" "$T/named"
	while read -r name; do
		grep -q '^---files---$' "$P/$name" || die "patches/linux/$name has no line '---files---'"
		sed '1,/^---files---$/d; s/[[:space:]]*#.*//; /\/$/d; /^[[:space:]]*$/d' "$P/$name" >>"$T/named"
	done <"$T/messages"
	while read -r name; do
		files_of "$name" | while read -r f; do echo "$f $name"; done
	done <"$T/messages" >"$T/unsorted"
	sed 's/.*/& &/' "$T/added" | sort - "$T/unsorted" >"$T/placed"
	while read -r f name; do
		grep -qxF "$f" "$T/overlay" || die "patches/linux/$name names $f, which is not there"
	done <"$T/placed"
	awk '{ print $1 }' "$T/placed" | uniq -d >"$T/twice"
	[ ! -s "$T/twice" ] || die "$(head -n 1 "$T/twice") is in two patches of patches/linux/series"
	awk '{ print $1 }' "$T/placed" | comm -13 - "$T/overlay" >"$T/missing"
	[ ! -s "$T/missing" ] || die "in no patch of patches/linux/series (a 'files' entry must name them): $(tr '\n' ' ' <"$T/missing")"
	check_grown
}

# What the entry in FILE grows
grown_by() {
	sed -n 's,^+++ b/,,p' "$P/$1"
}

# A file grows towards its state in the repository, and not beyond
check_grown() {
	local kind name
	while read -r kind name; do
		[ "$kind" != grow ] || grown_by "$name" | sed "s/\$/ $name/"
	done <"$T/entries" >"$T/grown-by"
	awk -v placed="$T/placed" -v grown="$T/grown-by" '
		{ at[$2] = NR }
		END {
			while ((getline line < placed) > 0) {
				split(line, f, " ")
				last[f[1]] = f[2]
			}
			while ((getline line < grown) > 0) {
				split(line, f, " ")
				if (!(f[1] in last))
					print f[2] " is about " f[1] ", which is not in the repository: if it exists upstream, fold a hook"
				else if (at[last[f[1]]] < at[f[2]])
					print f[2] " grows " f[1] ", which has its last state in " last[f[1]] " already"
			}
		}' "$T/entries" >"$T/wrong"
	[ ! -s "$T/wrong" ] || die "patches/linux/$(head -n 1 "$T/wrong")"
}

# Author of what is made here: who runs this
as_me() {
	export GIT_AUTHOR_NAME=$ME_NAME GIT_AUTHOR_EMAIL=$ME_EMAIL GIT_AUTHOR_DATE=${REPO_DATE:-2000-01-01T00:00:00Z}
}

# Each file is read once: somebody may be editing
read_overlay() {
	local f
	while read -r f; do
		f=$(source_of "$f")
		echo "$f" >&3
		[ -x "$f" ] && echo 100755 || echo 100644
	done <"$T/overlay" >"$T/modes" 3>"$T/sources"
	git hash-object -w --no-filters --stdin-paths <"$T/sources" >"$T/hashes"
	paste -d' ' "$T/modes" "$T/hashes" | paste - "$T/overlay" >"$T/blobs"
}

add_files() { # to $GIT_INDEX_FILE
	files_of "$1" >"$T/adding"
	add_listed "$T/adding"
}

add_listed() { # FILE: the paths in it
	awk -F'\t' 'NR == FNR { want[$1] = 1; next } $2 in want' "$1" "$T/blobs" |
		git update-index --add --index-info
}

# The entry of /MAINTAINERS into the kernel's, at its place in the alphabet,
# with who posts as the one to mail
add_maintainers() {
	awk -v me="$ME_NAME <$ME_EMAIL>" '
		NF { print }
		NR == 1 { print "M:\t" me }' "$REPO/MAINTAINERS" >"$T/entry"
	git show base:MAINTAINERS >"$T/theirs"
	# Not all of the list is sorted: go behind the greatest title before ours
	awk -v entry="$T/entry" '
		FNR == 1 { list = 0; prev = "-" }
		/^Maintainers List$/ { list = 1 }
		list && prev == "" && !/^[A-Z]:/ && /^[0-9A-Z]/ {
			title = $0 ""
			if (NR == FNR && title < name && title > best)
				best = title
			if (NR > FNR && behind) {
				printf "%s\n", text
				behind = 0
			} else if (NR > FNR && title == best) {
				behind = 1
			}
		}
		NR > FNR { print }
		{ prev = $0 }
		BEGIN {
			while ((getline line < entry) > 0)
				text = text line "\n"
			name = substr(text, 1, index(text, "\n") - 1)
		}' "$T/theirs" "$T/theirs" >"$T/maintainers"
	grep -qxF "$(head -n 1 "$T/entry")" "$T/maintainers" || die "found no place for the entry in the kernel's MAINTAINERS"
	echo "100644 $(git hash-object -w "$T/maintainers")	MAINTAINERS" | git update-index --index-info
}

sign() {
	git interpret-trailers --if-exists addIfDifferent --no-divider \
		--trailer "Signed-off-by: $ME_NAME <$ME_EMAIL>" <"$T/message" >"$T/signed"
	mv "$T/signed" "$T/message"
}

die_nobody() { die "git config user.name and user.email are not set in $REPO: they go into From and Signed-off-by"; }

# All postings as commits on base.  $T/postings gets "COVER FIRST LAST" (FIRST
# excluded), $T/commits "ENTRY COMMIT", refs/kvmi/series the last commit.
compose() {
	local kind name tip parent cover= first
	[ -n "$ME_NAME" ] && [ -n "$ME_EMAIL" ] || die_nobody
	[ -s "$T/entries" ] || die "patches/linux/series lists nothing"
	[ "$(awk 'NR == 1 { print $1 }' "$T/entries")" = cover ] || die "patches/linux/series must start with a 'cover' entry"
	export GIT_COMMITTER_NAME=$ME_NAME GIT_COMMITTER_EMAIL=$ME_EMAIL
	export GIT_INDEX_FILE=$T/index
	git read-tree base
	tip=$(git rev-parse base)
	parent=
	: >"$T/postings"
	: >"$T/commits"
	# A "fold" amends: the commit is made when the next entry starts
	flush() {
		[ -n "$parent" ] || return 0
		sign
		tip=$(commit "$parent")
		[ "$(git rev-parse "$tip^{tree}")" != "$(git rev-parse "$parent^{tree}")" ] ||
			die "patches/linux/$pending changes nothing"
		echo "$pending $tip" >>"$T/commits"
		parent=
	}
	end_posting() {
		[ -z "$cover" ] || echo "$cover $first $tip" >>"$T/postings"
	}
	while read -r kind name; do
		[ "$kind" = fold ] || [ "$kind" = add ] || flush
		case $kind in
		cover)
			end_posting
			cover=$name
			first=$tip
			continue
			;;
		hook|grow)
			read_patch "$P/$name"
			apply_diff "$name"
			;;
		fold)
			cp "$T/message" "$T/folded"
			read_patch "$P/$name"
			apply_diff "$name"
			mv "$T/folded" "$T/message"
			as_me
			continue
			;;
		add)
			echo "$name" >"$T/adding"
			add_listed "$T/adding"
			as_me
			continue
			;;
		files)
			sed '/^---files---$/,$d' "$P/$name" | git stripspace >"$T/message"
			add_files "$name"
			as_me
			;;
		maintainers)
			git stripspace <"$P/$name" >"$T/message"
			add_maintainers
			as_me
			;;
		esac
		parent=$tip
		pending=$name
	done <"$T/entries"
	flush
	end_posting
	unset GIT_INDEX_FILE
	git update-ref refs/kvmi/series "$tip"
}

# Base + hooks + all new files, made the other way: the tree people work in
expected_tree() (
	export GIT_INDEX_FILE=$T/index.expected
	git read-tree "$(build_hooks)"
	while read -r name; do add_files "$name"; done <"$T/messages"
	add_listed "$T/added"
	! grep -q '^maintainers ' "$T/entries" || add_maintainers
	git write-tree
)

# ------------------------------------------------------------- numbers

# For each posting "COVER PATCHES KERNEL UAPI TESTS DOCS TOOLS": the lines that it adds,
# as cover-letter-sessions says
count_lines() {
	local cover first last
	while read -r cover first last; do
		git diff --no-renames --numstat "$first" "$last" |
			awk -v posting="$cover $(git rev-list --count "$first..$last")" '
			$3 ~ /^(virt|arch|include)\// { if ($3 ~ /\/uapi\//) uapi += $1; else kernel += $1 }
			$3 ~ /^tools\/testing\// { tests += $1 }
			$3 ~ /^Documentation\// { docs += $1 }
			$3 ~ /^tools\/kvm\// { tools += $1 }
			END { print posting, kernel + 0, uapi + 0, tests + 0, docs + 0, tools + 0 }'
	done <"$T/postings" >"$T/numbers"
}

# numbered COVER: the cover letter with the numbers of $T/numbers.  There is a table whose
# rows are the postings in order, and four lines about the posting itself.
numbered() {
	awk -v cover="$1" -v numbers="$T/numbers" '
	BEGIN {
		while ((getline line < numbers) > 0) {
			row[++rows] = line
			if (index(line, cover " ") == 1)
				split(line, own, " ")
		}
	}
	function four(label, n) { return sprintf("%-29s%8d", label, n) }
	/^  posting +patches +kernel +uapi +tests +docs$/ { table = 1; print; next }
	table && /^  [a-z].* [0-9]+ +[0-9]+ +[0-9]+ +[0-9]+ +[0-9]+$/ {
		split(row[table++], n, " ")
		sub(/( +[0-9]+)( +[0-9]+)( +[0-9]+)( +[0-9]+)( +[0-9]+)$/, "")
		printf "%-30s%7d%8d%7d%8d%8d\n", $0, n[2], n[3], n[4], n[5], n[6]
		next
	}
	/^The last one adds [0-9]+ lines below tools\/kvm/ { sub(/[0-9]+/, n[7]) }
	/^  kernel lines that are added +[0-9]+$/ { $0 = four("  kernel lines that are added", own[3]) }
	/^  uapi headers +[0-9]+$/ { $0 = four("  uapi headers", own[4]) }
	/^  tests +[0-9]+$/ { $0 = four("  tests", own[5]) }
	/^  documentation +[0-9]+$/ { $0 = four("  documentation", own[6]) }
	{ print }' "$P/$1"
}

# Says which cover letters have other numbers, or a list "N  what" or "N-M  what" that does
# not end with the last patch
check_numbers() {
	local cover n rest last
	while read -r cover n rest; do
		numbered "$cover" | cmp -s - "$P/$cover" ||
			say note "$PATCHES/$cover has other numbers than the posting: run 'series numbers --write'"
		last=$(sed -n 's/^ \([0-9]*-\)\?\([0-9][0-9]*\)  *[^ 0-9].*/\2/p' "$P/$cover" | tail -n 1)
		[ "${last:-$n}" = "$n" ] ||
			say note "$PATCHES/$cover lists $last patches, there are $n"
	done <"$T/numbers"
}

cmd_numbers() {
	local cover n kernel uapi tests docs tools i=0
	[ $# -eq 0 ] || [ "$*" = --write ] || usage
	series_begin
	check_entries
	check_files
	read_overlay
	compose
	count_lines
	printf '%-28s%9s%8s%7s%8s%8s%8s\n' posting patches kernel uapi tests docs tools
	while read -r cover n kernel uapi tests docs tools; do
		i=$((i + 1))
		printf '%-28s%9d%8d%7d%8d%8d%8d\n' "$i${cover#cover-letter}" "$n" "$kernel" "$uapi" "$tests" "$docs" "$tools"
		[ "$1" = --write ] || continue
		numbered "$cover" >"$T/cover"
		cmp -s "$T/cover" "$P/$cover" || cp "$T/cover" "$P/$cover"
	done <"$T/numbers"
	check_numbers
}

# --------------------------------------------------------------- write

write_cover() { # FILE COVER: put our text where format-patch left room
	! grep -qP '[^\x00-\x7F]' "$2" || die "$2: ASCII only, please"
	awk -v text="$2" '
	function body(   l, n) {
		while ((getline l < text) > 0)
			if (++n > 2)
				print l
		close(text)
	}
	BEGIN { getline subject < text; close(text) }
	/^Subject: / { sub(/\*\*\* SUBJECT HERE \*\*\*/, subject) }
	/^\*\*\* BLURB HERE \*\*\*$/ { body(); next }
	{ print }' "$1" >"$1.new"
	mv "$1.new" "$1"
}

check_am() { # MBOX: onto base, in a worktree that holds only what is touched
	local w=$B/stamps/series-am
	git worktree remove -f "$w" 2>/dev/null || rm -rf "$w"
	git worktree prune
	git worktree add -q --no-checkout --detach "$w" base
	(
		unset -f git
		cd "$w"
		git read-tree HEAD
		git am -q "$1" >"$T/am.log" 2>&1
	) || { head -n 10 "$T/am.log" >&2; git worktree remove -f "$w"; die "git am refuses the series"; }
	command git -C "$w" rev-parse 'HEAD^{tree}'
	git worktree remove -f "$w"
}

cmd_write() {
	local cover first last dir n=0 tree
	[ $# -eq 0 ] || usage
	[ -n "$T" ] || series_begin
	git rev-parse -q --verify refs/heads/base >/dev/null || die "$L has no branch 'base': run 'make tree'"
	check_entries
	check_files
	read_overlay
	compose

	rm -rf "$OUT.new"
	mkdir -p "$OUT.new"
	while read -r cover first last; do
		n=$((n + 1))
		dir=$OUT.new/$n${cover#cover-letter}
		# shellcheck disable=SC2086
		git format-patch -q --cover-letter --numbered --no-signature --zero-commit \
			--abbrev=12 --no-renames --base=base ${SUBJECT_PREFIX:+--subject-prefix="$SUBJECT_PREFIX"} \
			${REROLL:+-v$REROLL} -o "$dir" "$first..$last"
		for f in "$dir"/*0000-cover-letter.patch; do write_cover "$f" "$P/$cover"; done
		for f in "$dir"/*.patch; do
			case $f in *0000-cover-letter.patch) ;; *) cat "$f"; echo ;; esac
		done >>"$OUT.new/series.mbox"
	done <"$T/postings"

	tree=$(check_am "$OUT.new/series.mbox")
	[ "$tree" = "$(git rev-parse 'refs/kvmi/series^{tree}')" ] || die "the mails do not give the tree they were made from"
	[ "$tree" = "$(expected_tree)" ] || die "the series does not give base + hooks + new files"
	if [ "$(hooks_key)" = "$(cat "$(git_path kvmi-synced)" 2>/dev/null)" ] &&
	   [ "$(git rev-parse refs/heads/kvmi)" != "$(git rev-parse refs/kvmi/synced)" ]; then
		say note "branch kvmi of $L has commits that are not exported, and so not in the series"
	fi
	rm -rf "$OUT"
	mv "$OUT.new" "$OUT"
	while read -r cover first last; do
		say series "$(head -n 1 "$P/$cover"): $(git rev-list --count "$first..$last") patches,$(git diff --shortstat "$first" "$last")"
	done <"$T/postings"
	count_lines
	check_numbers
	say series "checked with git am; in ${OUT#"$PWD"/}: a directory per posting, and series.mbox"
}

# For another base than the first: the hooks, and all that is new in one commit
write_base() {
	local tip
	series_begin
	check_entries
	read_overlay
	tip=$(build_hooks)
	export GIT_INDEX_FILE=$T/index
	git read-tree "$tip"
	git update-index --add --index-info <"$T/blobs"
	printf 'KVM: introspection: Add the files that are new\n' >"$T/message"
	as_me
	export GIT_COMMITTER_NAME=$ME_NAME GIT_COMMITTER_EMAIL=$ME_EMAIL
	tip=$(commit "$tip")
	unset GIT_INDEX_FILE
	git update-ref refs/kvmi/series "$tip"
	mkdir -p "$OUT"
	git format-patch -q --stdout "${FORMAT[@]}" "base..$tip" >"$OUT/series.mbox"
}

# --------------------------------------------------------------- apply

cmd_apply() {
	local dir=${1#LINUX=} top
	[ $# -eq 1 ] && [ -n "$dir" ] || usage
	dir=$(cd "$dir" 2>/dev/null && pwd -P) || die "apply: there is no directory ${1#LINUX=}"
	[ -f "$dir/virt/kvm/kvm_main.c" ] || die "apply: $dir holds no Linux source"
	[ ! -e "$dir/include/uapi/linux/kvmi.h" ] || die "apply: $dir has the series already (include/uapi/linux/kvmi.h)"
	# What is in the way there is told before the series is written, which takes a while
	top=$(git -C "$dir" rev-parse --show-toplevel 2>/dev/null || :)
	if [ "$top" = "$dir" ]; then
		[ ! -d "$(git -C "$dir" rev-parse --path-format=absolute --git-path rebase-apply)" ] ||
			die "apply: a 'git am' or rebase is under way in $dir: finish it"
		[ -z "$(git -C "$dir" status --porcelain -uno)" ] ||
			die "apply: $dir has changes that are not committed: commit or stash them"
		git -C "$dir" var GIT_COMMITTER_IDENT >/dev/null 2>&1 ||
			die "apply: git config user.name and user.email are not set in $dir: the patches become commits"
	else
		command -v patch >/dev/null || die "apply: 'patch' is not installed"
	fi
	[ -n "$ME_NAME" ] && [ -n "$ME_EMAIL" ] || die_nobody
	[ -e "$L/.git" ] || (LINUX='' "$LAB/tree")
	# In a subshell: the user's git is to be the user's own
	if [ "$BASE" = "$FIRST_BASE" ]; then (cmd_write); else (write_base); fi
	if [ "$top" = "$dir" ]; then
		apply_am "$dir"
	else
		apply_patch "$dir"
	fi
	say apply "done: $dir"
}

apply_am() {
	local log=$LOGS/apply.log
	if ! git -C "$1" am -3 "$OUT/series.mbox" >"$log" 2>&1; then
		git -C "$1" am --abort || :
		grep -E '^(Patch failed|error:|fatal:|CONFLICT|Committer identity)' "$log" | head -n 12 >&2
		die "apply: the series does not fit $1 ($(what_fits linux Linux "$(kernel_version <"$1/Makefile")")); nothing was changed ($log)"
	fi
}

apply_patch() {
	local log=$LOGS/apply.log
	git -C "$L" diff --no-renames --full-index base refs/kvmi/series >"$B/stamps/apply.diff"
	set -- "$1" patch -d "$1" -p1 -N -s -r - --no-backup-if-mismatch
	if ! "${@:2}" --dry-run <"$B/stamps/apply.diff" >"$log" 2>&1; then
		head -n 12 "$log" >&2
		die "apply: the series does not fit $1 ($(what_fits linux Linux "$(kernel_version <"$1/Makefile")")); nothing was changed ($log)"
	fi
	"${@:2}" <"$B/stamps/apply.diff" >"$log" 2>&1 || { head -n 12 "$log" >&2; die "apply: patch failed in $1"; }
}

# ---------------------------------------------------------- build-each

# Every step compiles, with introspection on (as soon as there is such an
# option) and off, and so do the selftests that it touches; and checkpatch has
# nothing to say about its mail.
cmd_build_each() {
	local from=1 to=9999 steps n=0 commit subject which failed=0
	while [ $# -gt 0 ]; do
		case $1 in
		--from) from=$2 ;;
		--to) to=$2 ;;
		*) usage ;;
		esac
		[ $# -ge 2 ] || usage
		shift 2
	done
	(cmd_write)
	W=$B/obj/series-tree
	command git -C "$L" worktree prune
	[ -e "$W/.git" ] || command git -C "$L" worktree add -q -f --detach "$W" base
	steps=$(command git -C "$L" rev-list --reverse base..refs/kvmi/series)
	for commit in $steps; do
		n=$((n + 1))
		[ $n -ge "$from" ] && [ $n -le "$to" ] || continue
		subject=$(command git -C "$W" log -1 --format=%s "$commit")
		say step "$n/$(echo "$steps" | wc -l) $subject"
		command git -C "$W" checkout -q -f --detach "$commit"
		check_patch "$commit" "$LOGS/checkpatch-$n.log" || failed=$((failed + 1))
		for which in on off; do
			build_step $which $n
		done
		build_selftests "$commit" $n
	done
	[ $failed -eq 0 ] || die "checkpatch complains about $failed of the patches (above)"
	[ "$to" -lt $n ] || to=$n
	say done "every step from $from to $to compiles"
}

# A "CHECK" is shown, what is more counts.  MAINTAINERS is a patch of its own, the tree
# has no history, and programs in tools/ have none of the kernel's helpers.
check_patch() { # COMMIT LOG
	local ignore=FILE_PATH_CHANGES,UNKNOWN_COMMIT_ID
	command git -C "$W" diff --name-only "$1~" "$1" | grep -qv '^tools/' ||
		ignore=$ignore,ENOSYS,ARRAY_SIZE,BIT_MACRO,PREFER_DEFINED_ATTRIBUTE_MACRO,EMBEDDED_FUNCTION_NAME
	command git -C "$W" format-patch -1 --stdout "$1" >"$2.mail"
	(cd "$W" && perl scripts/checkpatch.pl --strict --terse --no-summary --ignore "$ignore" - <"$2.mail" 2>&1) |
		known_exports "$2.mail" >"$2" || :
	cat "$2"
	! grep -qE ': (ERROR|WARNING):' "$2"
}

build_step() {
	local obj=$B/obj/series-$1 option=n make
	if [ "$1" = on ]; then
		grep -rqs '^config KVM_INTROSPECTION' "$W/virt/kvm" "$W/arch/x86/kvm" || return 0
		option=y
	fi
	mkdir -p "$obj/new"
	make="make -s -C $W ARCH=x86_64"
	{
		grep -v KVM_INTROSPECTION "$LAB/config/host.config"
		echo "CONFIG_KVM_INTROSPECTION=$option"
		echo CONFIG_WERROR=y
	} >"$obj/new/fragment"
	logged "series-$1-config" bash -ec "
		$make O=$obj KCONFIG_CONFIG=$obj/new/.config tinyconfig
		cd $obj/new && $W/scripts/kconfig/merge_config.sh -m -O . .config fragment
		$make O=$obj KCONFIG_CONFIG=$obj/new/.config olddefconfig" >/dev/null
	# An unchanged configuration keeps its time, or all would be built anew
	cmp -s "$obj/new/.config" "$obj/.config" || cp "$obj/new/.config" "$obj/.config"
	[ $option = n ] || grep -qx CONFIG_KVM_INTROSPECTION=y "$obj/.config" ||
		die "step $2: the configuration refuses CONFIG_KVM_INTROSPECTION=y"
	logged "series-$1-$2" $make O="$obj" -j"$JOBS" prepare arch/x86/kvm/
}

# The C files of KVM's x86 selftests that the commit touches, without linking them
build_selftests() { # COMMIT STEP
	local obj=$B/obj/series-headers t=$W/tools/testing/selftests/kvm make
	command git -C "$W" diff --diff-filter=d --name-only "$1~" "$1" -- 'tools/testing/selftests/kvm/*.c' |
		sed 's,^tools/testing/selftests/kvm/,,' >"$LOGS/series-selftests"
	[ -s "$LOGS/series-selftests" ] || return 0
	make="make -s -C $W ARCH=x86_64"
	logged "series-selftests-$2" bash -ec "
		$make O=$obj headers
		cd $t
		while read -r f; do
			\${CC:-gcc} -fsyntax-only -Wall -Werror -Wstrict-prototypes -Wno-address-of-packed-member -O2 -std=gnu99 \
				-D_GNU_SOURCE= -DCONFIG_64BIT -U_FORTIFY_SOURCE -fno-builtin -march=x86-64-v2 \
				-I$W/tools/include -I$W/tools/arch/x86/include -I$W/usr/include \
				-Iinclude -I\${f%/*} -Iinclude/x86 -I../cgroup/lib/include -I../rseq -I.. -isystem $obj/usr/include \$f
		done <$LOGS/series-selftests"
}
