# SPDX-License-Identifier: GPL-2.0
# Shared by the parts of `series`; sourced, never run.

L=$B/linux
P=$REPO/$PATCHES

# Who writes the series signs it; asked before git is cut off from the user's
# configuration, which must not leak into what is written.
ME_NAME=$(git -C "$REPO" config user.name || :)
ME_EMAIL=$(git -C "$REPO" config user.email || :)
REPO_DATE=$(git -C "$REPO" log -1 --format=%aI 2>/dev/null || :)
FORMAT=(--zero-commit --no-signature --no-numbered --abbrev=12 --no-renames)

# Lock, temporary directory, a git that works on $L only
series_begin() {
	[ -e "$L/.git" ] || die "no kernel tree in $L: run 'make tree'"
	lock series
	T=$(mktemp -d "$B/stamps/series.XXXXXX")
	trap 'rm -rf "$T"' EXIT
	overlay_prepare
	# shellcheck disable=SC2046
	unset $(git rev-parse --local-env-vars)
	export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null LC_ALL=C
	export GIT_CONFIG_COUNT=3 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
	export GIT_CONFIG_KEY_1=gc.auto GIT_CONFIG_VALUE_1=0
	export GIT_CONFIG_KEY_2=core.quotePath GIT_CONFIG_VALUE_2=false
	unset GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE
	unset GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL GIT_COMMITTER_DATE
	git() { command git -C "$L" "$@"; }
}

git_path() { git rev-parse --path-format=absolute --git-path "$1"; }

# The overlay: the files of the repository that are new upstream, i.e. all at
# kernel paths except the lab.  What git ignores does not count.
# Another base than the first has some more, in the directory "tree" of its patches.
overlay_prepare() {
	(
		cd "$REPO"
		[ ! -d "$PATCHES/tree" ] || (cd "$PATCHES/tree" && find . -type f | sed 's,^\./,,') >"$T/of-base"
		dirs='arch virt include Documentation tools'
		if [ -e .git ]; then
			git -c safe.directory='*' ls-files -co --exclude-standard -- $dirs
		else
			find $dirs -type f ! -name '*.[oad]' ! -name '*~' 2>/dev/null
		fi | grep -v -e '^tools/testing/kvmi-lab/' -e '\.sw.$' | LC_ALL=C sort -u |
		while read -r f; do
			[ ! -f "$f" ] || echo "$f"
		done
		[ ! -f "$T/of-base" ] || cat "$T/of-base"
	) | LC_ALL=C sort >"$T/overlay"
}

# source_of FILE: where a file of the overlay is in the repository
source_of() {
	if [ -f "$P/tree/$1" ]; then echo "$P/tree/$1"; else echo "$REPO/$1"; fi
}
overlay() { cat "$T/overlay"; }

# ------------------------------------------------- patches/linux/series

entries() { sed 's/[[:space:]]*#.*//; /^[[:space:]]*$/d' "$P/series" 2>/dev/null || :; }
hook_list() { entries | awk '$1 == "hook" || $1 == "fold" { print $2 }'; }

check_entries() {
	local kind name rest last=
	entries >"$T/entries"
	while read -r kind name rest; do
		[ -n "$name" ] && [ -z "$rest" ] || die "patches/linux/series: '$kind $name $rest' is not 'KIND FILE'"
		if [ "$kind" = add ]; then
			grep -qxF "$name" "$T/overlay" || die "patches/linux/series: there is no $name"
		else
			[ -f "$P/$name" ] || die "patches/linux/series: there is no patches/linux/$name"
		fi
		case $kind in
		cover|hook|grow|files|maintainers) ;;
		fold)
			case $last in
			grow|files|fold|add) ;;
			*) die "patches/linux/series: 'fold $name' must follow a 'grow' or 'files' entry" ;;
			esac ;;
		add)
			case $last in
			grow|fold|add) ;;
			*) die "patches/linux/series: 'add $name' must follow a 'grow' entry" ;;
			esac ;;
		*) die "patches/linux/series: '$kind' is not cover, hook, grow, files, fold, add or maintainers" ;;
		esac
		last=$kind
	done <"$T/entries"
	awk '{ print $2 }' "$T/entries" | sort | uniq -d >"$T/twice"
	[ ! -s "$T/twice" ] || die "patches/linux/series: $(head -n 1 "$T/twice") is there twice"
}

# -------------------------------------------------- patches to commits

subject_of() {
	command git mailinfo -b "$T/null.msg" "$T/null.diff" <"$1" 2>/dev/null | sed -n 's/^Subject: //p'
}

# A mail without its date, and what git tells about files and functions but does not
# need to apply it
gist() { sed '1,/^Subject:/{/^Date:/d}; /^index [0-9a-f]*\.\.[0-9a-f]*/d; s/^\(@@ -[0-9,]* +[0-9,]* @@\).*/\1/' "$1"; }

# read_patch FILE: the diff in $T/diff, message in $T/message, and author
read_patch() {
	git mailinfo -b --encoding=UTF-8 "$T/body" "$T/diff" <"$1" >"$T/info" || die "$1 is not a patch in mail form"
	[ -s "$T/diff" ] || die "${1##*/} holds no diff"
	{
		sed -n 's/^Subject: //p' "$T/info"
		echo
		cat "$T/body"
	} | git stripspace >"$T/message"
	GIT_AUTHOR_NAME=$(sed -n 's/^Author: //p' "$T/info")
	GIT_AUTHOR_EMAIL=$(sed -n 's/^Email: //p' "$T/info")
	GIT_AUTHOR_DATE=$(sed -n 's/^Date: //p' "$T/info")
	: "${GIT_AUTHOR_NAME:=unknown}" "${GIT_AUTHOR_EMAIL:=unknown@localhost}"
	: "${GIT_AUTHOR_DATE:=2000-01-01T00:00:00Z}"
	export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE
}

# apply_diff NAME: $T/diff to the index $GIT_INDEX_FILE
apply_diff() {
	git apply --cached --whitespace=nowarn "$T/diff" 2>"$T/err" && return
	cat "$T/err" >&2
	die "$PATCHES/$1 does not apply ($(what_fits linux Linux "$(git show base:Makefile | kernel_version)"))"
}

# commit PARENT: the index with $T/message by the author set
commit() {
	GIT_COMMITTER_NAME=${GIT_COMMITTER_NAME-$GIT_AUTHOR_NAME} \
	GIT_COMMITTER_EMAIL=${GIT_COMMITTER_EMAIL-$GIT_AUTHOR_EMAIL} \
	GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE \
		git commit-tree "$(git write-tree)" -p "$1" <"$T/message"
}

hooks_key() {
	{
		git rev-parse base
		hook_list | while read -r f; do sha256sum <"$P/$f"; done
	} | key_of hooks
}

# The hook patches as commits on base; prints the last one
build_hooks() (
	export GIT_INDEX_FILE=$T/index.hooks
	tip=$(git rev-parse base)
	git read-tree base
	for file in $(hook_list); do
		read_patch "$P/$file"
		apply_diff "$file"
		tip=$(commit "$tip")
	done
	echo "$tip"
)
