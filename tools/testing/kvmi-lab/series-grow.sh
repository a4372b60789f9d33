# SPDX-License-Identifier: GPL-2.0
# The part of `series` that deals with earlier states of files of the repository;
# sourced, never run.

# mail_of COMMIT [PATH...]: what it does to these paths, in mail form; the Signed-off-by
# is made anew each time
mail_of() {
	git format-patch -1 --stdout "${FORMAT[@]}" "$1" -- "${@:2}" |
		awk -v me="Signed-off-by: $ME_NAME <$ME_EMAIL>" '
			!head && $0 == me { next }
			!head && $0 == "" { blank++; next }
			!head && $0 == "---" { head = 1; blank = 0 }
			{ for (; blank; blank--) print ""; print }'
}

# write_mail NAME FILE: into patches/linux, unless it has the same gist there
write_mail() {
	[ ! -f "$P/$1" ] || ! cmp -s <(gist "$P/$1") <(gist "$2") || return 0
	cp "$2" "$P/$1"
	say "$VERB" "$1"
}

# adds_of NAME: the files that arrive with the "grow" entry
adds_of() {
	awk -v n="$1" '$1 != "fold" && $1 != "add" { mine = $2 == n } $1 == "add" && mine { print $2 }' "$T/entries"
}

# write_grown NAME COMMIT: what the commit does to files of the repository, but for
# those in $T/whole
write_grown() {
	local paths
	mapfile -t paths < <(grep -vxFf "$T/whole" "$T/overlay")
	mail_of "$2" "${paths[@]}" >"$T/grown"
	[ -s "$T/grown" ] || die "$1: nothing of the repository is left in it"
	write_mail "$1" "$T/grown"
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
	# What the tree has as links, it ignores, and so does what shares its .git
	say note "a file of ours that is new in a commit needs 'git add -f'"
}

# What commits say and do, and their order, comes back from here; but not the last
# state of a file of ours, which is in the repository.
cmd_take() {
	local dir=$1 tip old VERB=take
	[ $# -eq 1 ] && [ -e "$dir/.git" ] || usage
	T=
	begin_grown
	old=$(git rev-parse refs/kvmi/series)
	tip=$(command git -C "$dir" rev-parse HEAD)
	check_taken "$dir" "$tip" "$old"
	last_commits "$tip" >"$T/last"
	plan_taken "$tip"
	while read -r kind name commit ours theirs subject; do
		take_commit "$kind" "$name" "$commit" "$ours" "$theirs"
	done <"$T/plan" >"$T/order"
	cat "$T/said"
	unname
	take_order
	check_entries
	check_files
	compose
	[ "$(git log --format=%T base..refs/kvmi/series)" = "$(git log --format=%T "base..$tip")" ] &&
		[ "$(messages refs/kvmi/series)" = "$(messages "$tip")" ] ||
		die "take: what was written does not give what is in $dir; git has what was there before"
	say take "patches/linux has what is in $dir"
}

# Without the Signed-off-by of who runs this, and the empty line that may be before it
messages() { git log --format=%B "base..$1" | grep -vxF -e "Signed-off-by: $ME_NAME <$ME_EMAIL>" -e ''; }

check_taken() { # DIR COMMIT OLD
	local paths
	git merge-base --is-ancestor base "$2" || die "take: $1 does not start from base"
	[ -z "$(git rev-list --merges "base..$2")" ] || die "take: $1 has merges: make it linear"
	for f in rebase-merge rebase-apply; do
		[ ! -d "$(command git -C "$1" rev-parse --path-format=absolute --git-path $f)" ] ||
			die "take: a rebase or am is under way in $1: finish it"
	done
	command git -C "$1" diff --quiet HEAD || die "take: $1 has edits that are not committed"
	mapfile -t paths <"$T/overlay"
	git diff --quiet "$2" "$3" -- "${paths[@]}" MAINTAINERS || {
		git diff --stat "$2" "$3" -- "${paths[@]}" MAINTAINERS >&2
		die "take: the last state of these files is in the repository: edit it there"
	}
	git diff --no-renames --diff-filter=A --name-only base "$2" | grep -vxFf "$T/overlay" >"$T/alien" || :
	[ ! -s "$T/alien" ] || die "take: $(head -n 1 "$T/alien") is not in the repository, where new files belong"
	git log --format=%s "base..$2" | sort | uniq -d >"$T/twice"
	[ ! -s "$T/twice" ] || die "take: two commits have the subject '$(head -n 1 "$T/twice")'"
}

# $T/plan: for each commit KIND NAME COMMIT OURS THEIRS SUBJECT, with the number of files
# of the repository and of upstream ones that it changes.  A commit is the entry that has
# its subject; without one it is a new one.
plan_taken() { # TIP
	local commit subject name kind ours theirs last
	last=$(ls "$P" | sed -n 's/^\([0-9]\{4\}\)-.*\.patch$/\1/p' | sort | tail -n 1)
	NEXT=$((10#${last:-0}))
	: >"$T/said"
	while read -r name commit; do
		echo "$name $(git log -1 --format=%s "$commit")"
	done <"$T/commits" >"$T/subjects"
	for commit in $(git rev-list --reverse "base..$1"); do
		subject=$(git log -1 --format=%s "$commit")
		name=$(awk -v s="$subject" '{ n = $1; sub(/^[^ ]* /, "") } $0 == s { print n }' "$T/subjects")
		kind=$(kind_of "$name")
		git diff-tree -r --no-commit-id --no-renames --name-only "$commit" >"$T/touched"
		ours=$(grep -cxFf "$T/overlay" "$T/touched" || :)
		theirs=$(grep -cvxFf "$T/overlay" "$T/touched" || :)
		if [ -z "$name" ]; then
			[ "$ours" = 0 ] && kind=hook || kind=grow
			name=new
		fi
		[ "$kind" != hook ] || [ "$ours" = 0 ] || die "take: '$subject' changes files of the repository, but $name is a hook: give it another subject"
		[ "$kind" = hook ] || [ "$kind" = maintainers ] || [ "$ours" != 0 ] || die "take: nothing of the repository is left in '$subject': give it another subject"
		echo "$kind $name $commit $ours $theirs $subject"
	done >"$T/plan"
	while read -r kind name commit; do
		grep -q "^$kind $name " "$T/plan" && continue
		case $kind in
		files) files_of "$name" >"$T/gone" ;;
		maintainers) echo MAINTAINERS >"$T/gone" ;;
		*) continue ;;
		esac
		# All of it may have become part of other patches
		! awk 'NR == FNR { if ($1 == "grow") grow[$3] = 1; next } $2 in grow { print $1 }' "$T/plan" "$T/last" |
			grep -vxFf - "$T/gone" >"$T/lost" ||
			die "take: no commit has the subject '$(sed -n "s/^$name //p" "$T/subjects")'"
	done <"$T/entries"
}

# new_name SUBJECT: of the next file for a patch
new_name() {
	NEXT=$((NEXT + 1))
	NAME=$(printf '%04d-%s.patch' $NEXT "$(printf '%s' "$1" | sed 's/[^A-Za-z0-9._]\+/-/g; s/^-*//' | cut -c1-52 | sed 's/[-.]*$//')")
}

# whole_in COMMIT: the files of the repository that no later commit changes, and which
# thus have their last state in it
whole_in() {
	awk -v c="$1" '$2 == c { print $1 }' "$T/last" | grep -xFf "$T/overlay" || :
}

# Paths with the last commit that changes them
last_commits() { # TIP
	git log --format=%H --no-renames --name-only "base..$1" |
		awk 'length($0) == 40 && /^[0-9a-f]+$/ { c = $0; next } $0 != "" && !($0 in seen) { seen[$0] = 1; print $0, c }'
}

# What "files" entries name, but arrives in another patch now, goes from them
unname() {
	local name
	awk '$1 == "add" { print $2 }' "$T/order" >"$T/adds"
	awk '$1 == "files" { print $2 }' "$T/order" | while read -r name; do
		sed '1,/^---files---$/d' "$P/$name" | grep -qxFf "$T/adds" || continue
		{ sed '/^---files---$/q' "$P/$name"; sed '1,/^---files---$/d' "$P/$name" | grep -vxFf "$T/adds" || :; } >"$T/mail"
		cp "$T/mail" "$P/$name"
		say take "$name"
	done
}

# new_files SUBJECT COMMIT: of an entry all of whose files arrive whole
new_files() {
	NAME=$(printf '%s' "$1" | tr 'A-Z' 'a-z' | sed 's/[^a-z0-9]\+/-/g; s/-*$//')
	{ messages_of "$2"; echo ---files---; cat "$T/whole"; } >"$T/mail"
	cmp -s "$T/mail" "$P/$NAME" || { cp "$T/mail" "$P/$NAME"; say take "$NAME (new)" >>"$T/said"; }
}

# take_commit KIND NAME COMMIT OURS THEIRS: into patches/linux; prints its entries
take_commit() {
	local kind=$1 name=$2 folds subject
	subject=$(git log -1 --format=%s "$3")
	if [ "$kind" = grow ]; then
		whole_in "$3" >"$T/whole"
		[ "$(wc -l <"$T/whole")" != "$4" ] || kind=whole
	fi
	if [ "$kind" = whole ]; then
		new_files "$subject" "$3"
		kind=files
	elif [ "$name" = new ]; then
		new_name "$subject"
		name=$NAME
	fi
	[ "$kind" = "$1" ] || name=$NAME
	echo "$kind $name"
	case $1 in
	hook)
		mail_of "$3" >"$T/mail"
		write_mail "$name" "$T/mail" >>"$T/said"
		return
		;;
	maintainers)
		messages_of "$3" >"$T/mail"
		cmp -s "$T/mail" "$P/$name" || { cp "$T/mail" "$P/$name"; say take "$name" >>"$T/said"; }
		return
		;;
	grow)
		[ "$kind" = files ] || {
			write_grown "$name" "$3" >>"$T/said"
			sed 's/^/add /' "$T/whole"
		}
		;;
	files)
		{ messages_of "$3"; sed -n '/^---files---$/,$p' "$P/$name"; } >"$T/mail"
		cmp -s "$T/mail" "$P/$name" || { cp "$T/mail" "$P/$name"; say take "$name" >>"$T/said"; }
		;;
	esac
	folds=$(awk -v n="$2" '$1 != "fold" && $1 != "add" { mine = $2 == n } $1 == "fold" && mine { print $2 }' "$T/entries")
	[ "$5" != 0 ] || return 0
	if [ -z "$folds" ]; then
		new_name "$subject"
		folds=$NAME
		git log -1 --format=%B "$3" >"$T/message"
	else
		read_patch "$P/${folds%%$'\n'*}"
	fi
	if [ "$(echo "$folds" | wc -l)" != 1 ]; then
		[ "$(upstream_part "$3" | git patch-id --stable | cut -d' ' -f1)" = \
		  "$(upstream_part "$(sed -n "s/^$name //p" "$T/commits")" | git patch-id --stable | cut -d' ' -f1)" ] ||
			die "take: '$subject' changes upstream files in another way, and has several folds"
	else
		mail_of "$(upstream_commit "$3")" >"$T/mail"
		write_mail "$folds" "$T/mail" >>"$T/said"
	fi
	echo "$folds" | sed 's/^/fold /'
}

messages_of() { git log -1 --format=%B "$1" | grep -vxF "Signed-off-by: $ME_NAME <$ME_EMAIL>" | git stripspace; }

upstream_part() { # COMMIT
	local paths
	mapfile -t paths < <(sed 's/^/:(exclude)/' "$T/overlay")
	git diff --no-renames --full-index --binary "$1~" "$1" -- . "${paths[@]}"
}

# upstream_commit COMMIT: a commit of its changes to upstream files, with $T/message
upstream_commit() (
	export GIT_INDEX_FILE=$T/index.upstream
	git read-tree "$1~"
	upstream_part "$1" | git apply --cached --whitespace=nowarn -
	: "${GIT_AUTHOR_NAME=$(git log -1 --format=%an "$1")}" "${GIT_AUTHOR_EMAIL=$(git log -1 --format=%ae "$1")}"
	: "${GIT_AUTHOR_DATE=$(git log -1 --format=%aI "$1")}"
	export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE
	commit "$(git rev-parse "$1~")"
)

# The series file in the order of $T/order.  A posting begins where its first commit is;
# comments stay with the line that follows them.
take_order() {
	awk '{ print $2 }' "$T/order" >"$T/kept"
	while read -r kind name; do
		[ "$kind" = cover ] || [ "$kind" = add ] || grep -qxF "$name" "$T/kept" || {
			rm "$P/$name"
			say take "removed $name"
		}
	done <"$T/entries"
	awk -v order="$T/order" '
	{ text = text $0 "\n" }
	/^[[:space:]]*#/ || /^[[:space:]]*$/ { next }
	{
		name = $2
		if ($1 == "cover")
			cover = name
		else
			of[name] = cover
		lines[name] = text
		before[name] = substr(text, 1, length(text) - length($0) - 1)
		text = ""
	}
	END {
		while ((getline line < order) > 0) {
			split(line, f, " ")
			if (of[f[2]] != "" && !(of[f[2]] in begun) && f[1] != "fold" && f[1] != "add") {
				begun[of[f[2]]] = 1
				printf "%s", lines[of[f[2]]]
			}
			printf "%s%s\n", before[f[2]], line
		}
		printf "%s", text
	}' "$P/series" >"$T/series"
	cmp -s "$T/series" "$P/series" || { cp "$T/series" "$P/series"; say take series; }
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
		adds_of "$name" >"$T/whole"
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
