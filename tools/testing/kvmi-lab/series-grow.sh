# SPDX-License-Identifier: GPL-2.0
# The part of `series` that deals with earlier states of files of the repository;
# sourced, never run.

# grow_patch COMMIT: what it does to files of the repository, in mail form; the
# Signed-off-by is made anew each time
grow_patch() {
	local paths
	mapfile -t paths <"$T/overlay"
	git format-patch -1 --stdout "${FORMAT[@]}" "$1" -- "${paths[@]}" |
		awk -v me="Signed-off-by: $ME_NAME <$ME_EMAIL>" '/^---$/ { body = 1 } body || $0 != me'
}

# write_grown NAME COMMIT: into patches/linux, unless nothing but the date is new
write_grown() {
	grow_patch "$2" >"$T/grown"
	[ -s "$T/grown" ] || die "$1: nothing of the repository is left in it"
	if [ -f "$P/$1" ] && cmp -s <(sed '1,/^Subject:/{/^Date:/d}' "$P/$1") <(sed '1,/^Subject:/{/^Date:/d}' "$T/grown"); then
		return
	fi
	cp "$T/grown" "$P/$1"
	say "$VERB" "$1"
}

begin_grown() {
	[ -n "$T" ] || series_begin
	check_entries
	check_files
	read_overlay
	compose
}

entry_of() { awk -v c="$1" '$2 == c { print $1 }' "$T/commits"; }
kind_of() { awk -v n="$1" '$2 == n { print $1 }' "$T/entries"; }

# -------------------------------------------------------------- edit, take

cmd_edit() {
	[ $# -eq 1 ] || usage
	[ ! -e "$1" ] || die "edit: there is a $1 already"
	T=
	begin_grown
	git worktree prune
	git worktree add -q -B kvmi-postings "$(realpath -m "$1")" refs/kvmi/series
	say edit "branch kvmi-postings in $1: edit its commits, then '${0##*/} take $1'"
}

# What commits do to upstream files is the business of branch kvmi and export, and
# the last state of a file that of the repository.  All else comes back from here.
cmd_take() {
	local dir=$1 tip old new name subject VERB=take paths
	[ $# -eq 1 ] && [ -e "$dir/.git" ] || usage
	T=
	begin_grown
	tip=$(command git -C "$dir" rev-parse HEAD)
	git merge-base --is-ancestor base "$tip" || die "take: $dir does not start from base"
	git diff --quiet "$tip" refs/kvmi/series || {
		git diff --stat "$tip" refs/kvmi/series >&2
		die "take: the last state of these files is in the repository: edit it there"
	}
	mapfile -t paths < <(sed 's/^/:(exclude)/' "$T/overlay")
	while read -r name old; do
		[ "$(kind_of "$name")" = grow ] || continue
		subject=$(git log -1 --format=%s "$old")
		new=$(git log --format='%H %s' base.."$tip" | awk -v s="$subject" 'substr($0, 42) == s { print $1 }')
		[ "$(echo "$new" | wc -w)" = 1 ] || die "take: not one commit has the subject '$subject'"
		[ "$(git diff "$old~" "$old" -- . "${paths[@]}" | git patch-id --stable | cut -d' ' -f1)" = \
		  "$(git diff "$new~" "$new" -- . "${paths[@]}" | git patch-id --stable | cut -d' ' -f1)" ] ||
			die "take: '$subject' changes upstream files in another way: commit that in $L and export it"
		write_grown "$name" "$new"
	done <"$T/commits"
	compose
	[ "$(git rev-parse 'refs/kvmi/series^{tree}')" = "$(git rev-parse "$tip^{tree}")" ] ||
		die "take: what was written does not give what is in $dir"
	say take "patches/linux has what is in $dir"
}

# ------------------------------------------------------------------ absorb

# merged FILE COMMIT: the blob of FILE there with what has changed in the repository
# since $since; nothing if it is not there, is in its last state, or does not fit
merged() {
	local blob
	blob=$(git rev-parse -q --verify "$2:$1") || return 0
	[ "$blob" != "$(awk -F'\t' -v f="$1" '$2 == f { sub(/.* /, "", $1); print $1 }' "$T/blobs")" ] || return 0
	git cat-file blob "$blob" >"$T/ours"
	if command git merge-file -q --diff3 "$T/ours" "$T/was" "$REPO/$1"; then
		git hash-object -w "$T/ours"
	else
		echo "$1 $2" >>"$T/unfit"
	fi
}

# with_edits COMMIT: its tree with the edits in it
with_edits() (
	export GIT_INDEX_FILE=$T/index.absorb
	git read-tree "$1"
	while read -r f; do
		command git -C "$REPO" show "$since:$f" >"$T/was"
		blob=$(merged "$f" "$1")
		[ -z "$blob" ] || git update-index --cacheinfo "$(git ls-files -s "$f" | cut -d' ' -f1),$blob,$f"
	done <"$T/edited"
	git write-tree
)

# An edit of a file is in the last patch of that file.  Put it into those before
# as well, where the lines around are there already.
cmd_absorb() {
	local since=${1:-HEAD} name commit before after VERB=absorb
	[ $# -le 1 ] || usage
	T=
	begin_grown
	since=$(command git -C "$REPO" rev-parse "$since")
	command git -C "$REPO" diff --name-only --diff-filter=M "$since" | grep -xFf "$T/overlay" >"$T/edited" || :
	: >"$T/unfit"
	while read -r name commit; do
		[ "$(kind_of "$name")" = grow ] || continue
		before=$(git log -1 --format=%B "$commit~" | git commit-tree "$(with_edits "$commit~")" -p "$(git rev-parse base)")
		git log -1 --format=%B "$commit" >"$T/message"
		GIT_AUTHOR_NAME=$(git log -1 --format=%an "$commit") GIT_AUTHOR_EMAIL=$(git log -1 --format=%ae "$commit")
		GIT_AUTHOR_DATE=$(git log -1 --format=%aI "$commit")
		export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE
		after=$(git commit-tree "$(with_edits "$commit")" -p "$before" <"$T/message")
		write_grown "$name" "$after"
	done <"$T/commits"
	compose
	sort -u "$T/unfit" | cut -d' ' -f1 | uniq -c | while read -r n f; do
		say note "$f: $n of its earlier states do not take the edit, which stays in its last patch"
	done
	say absorb "$(wc -l <"$T/edited") files"
}
