# SPDX-License-Identifier: GPL-2.0
# QEMU's source for the scripts that build it; sourced after lib.sh, never run.  $S is
# where the source is, or is to be.

P=$REPO/patches/qemu

# As the lab has it, static, for what it is to emulate and to run
LAB_OPTIONS="--target-list=x86_64-softmmu --static --without-default-features --enable-kvm
	--enable-tcg --disable-docs --disable-tools --disable-install-blobs --disable-pie
	--disable-debug-info"

# unpack [ITEM]: from QEMU_SRC=, or what `fetch` calls so
unpack() {
	git -C "$S" rev-parse -q --verify refs/heads/base >/dev/null 2>&1 && return
	[ ! -e "$S" ] || [ -e "$S/.incomplete" ] ||
		die "$S is no tree of ours (it has no branch 'base'): move it away"
	rm -rf "$S"
	mkdir "$S"
	: >"$S/.incomplete"
	if [ -z "$QEMU_SRC" ]; then
		"$LAB/fetch" "${1:-qemu}"
		QEMU_SRC=$B/downloads/$(awk '{ print $2 }' "$B/downloads/${1:-qemu}.sha256")
	fi
	say unpack "$(basename "$QEMU_SRC")"
	if [ -d "$QEMU_SRC" ]; then
		cp -r "$QEMU_SRC/." "$S/"
		rm -rf "$S/.git"
	else
		tar -xf "$QEMU_SRC" --no-same-owner --strip-components=1 -C "$S"
	fi
	[ -f "$S/accel/kvm/kvm-all.c" ] || die "$QEMU_SRC holds no QEMU source"
	[ -n "$1" ] || fits qemu "$(cat "$S/VERSION")" || say note "$(what_fits qemu QEMU "$(cat "$S/VERSION")")"
	# Debian's source lacks these firmware images, which we do not use
	# either; the build only wants the files to be there
	sed -n "s/^ *'\(edk2-.*\.fd\)',/\1/p" "$S/pc-bios/meson.build" | while read -r f; do
		[ -e "$S/pc-bios/$f.bz2" ] || bzip2 -c </dev/null >"$S/pc-bios/$f.bz2"
	done
	cd "$S"
	git init -q
	git symbolic-ref HEAD refs/heads/base
	git config user.name 'KVMI lab'
	git config user.email lab@localhost
	git config gc.auto 0
	printf '/.incomplete\n' >>.git/info/exclude
	git add -f -A .
	git rm -q --cached .incomplete
	git commit -q -m 'QEMU base'
	rm .incomplete
}

# What is applied, in order, for users and for the emulator
patches() { sed -n "/^[^#]/s,^,$P/,p" "$P/series"; }
emulator_patches() { patches; ls "$LAB"/patches/qemu-*.patch; }

# patched_tree PATCH...: the tree object that base plus these patches is
patched_tree() {
	export GIT_INDEX_FILE=$B/stamps/qemu-index
	rm -f "$GIT_INDEX_FILE"
	git -C "$S" read-tree base
	for p; do
		git -C "$S" apply --cached "$p" ||
			die "$p does not apply to $S branch base ($(what_fits qemu QEMU "$(git -C "$S" show base:VERSION)"))"
	done
	git -C "$S" write-tree
	rm -f "$GIT_INDEX_FILE"
	unset GIT_INDEX_FILE
}

# Meson as new as this QEMU asks for, for python to import
meson() {
	need=$(sed -n 's/^meson = { accepted = ">=\([0-9.]*\)".*/\1/p' "$S/pythondeps.toml")
	have=$("$PYTHON" -c 'import mesonbuild.coredata as c; print(c.version)' 2>/dev/null || echo 0)
	PYTHONPATH=
	if [ "$(printf '%s\n%s\n' "${need:-0}" "$have" | sort -V | head -n 1)" != "${need:-0}" ]; then
		if [ ! -d "$B/tools/meson/usr" ]; then
			"$LAB/fetch" meson
			mkdir -p "$B/tools"
			dpkg-deb -x "$B/downloads/$(awk '{ print $2 }' "$B/downloads/meson.sha256")" "$B/tools/meson"
		fi
		PYTHONPATH=$B/tools/meson/usr/lib/python3/dist-packages:
		PATH=$B/tools/meson/usr/bin:$PATH
	fi
	# Only QEMU's functional tests use pycotap, and Debian's source has no
	# wheel of it: say that it is there
	mkdir -p "$B/tools/python/pycotap-1.3.1.dist-info"
	printf 'Metadata-Version: 2.1\nName: pycotap\nVersion: 1.3.1\n' \
		>"$B/tools/python/pycotap-1.3.1.dist-info/METADATA"
	PYTHONPATH=$PYTHONPATH$B/tools/python
	export PYTHONPATH PATH
}
