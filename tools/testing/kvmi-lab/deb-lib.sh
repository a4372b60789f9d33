# SPDX-License-Identifier: GPL-2.0
# For the scripts that make Debian packages; sourced after lib.sh, never run.  $W is a directory
# for what is only needed meanwhile, $O where packages go, $SOURCE_DATE_EPOCH the time of what
# is in them.

deb_arch() { dpkg --print-architecture 2>/dev/null || die "${0##*/}: there is no dpkg: this is for Debian"; }

# deb_needs ELF...: the packages that these programs or libraries depend on
deb_needs() {
	local needs
	# dpkg-shlibdeps looks for the package that the files will be in
	mkdir -p "$W/shlibs/debian"
	printf 'Source: kvmi\n\nPackage: kvmi\nArchitecture: any\nDescription: none\n' >"$W/shlibs/debian/control"
	needs=$(cd "$W/shlibs" && dpkg-shlibdeps -O --ignore-missing-info "$@" 2>"$W/shlibs/said" |
		sed -n 's/^shlibs:Depends=//p')
	[ -n "$needs" ] || die "${0##*/}: dpkg-shlibdeps does not say what $* needs: $(tail -n 1 "$W/shlibs/said")"
	echo "$needs"
}

# deb_description SHORT LONG: these lines of a control file
deb_description() {
	echo "Description: $1"
	echo "$2" | fold -s -w 76 | sed 's/ *$//; s/^/ /'
}

# deb_build DIR: the package of what is in DIR
deb_build() {
	(cd "$1" && find usr -type f | LC_ALL=C sort | xargs md5sum) >"$1/DEBIAN/md5sums"
	find "$1" -type d -print0 | xargs -0 chmod 755
	find "$1" -newermt "@$SOURCE_DATE_EPOCH" -print0 | xargs -0 -r touch -h -d "@$SOURCE_DATE_EPOCH"
	dpkg-deb --root-owner-group -Zxz --build "$1" "$O" >/dev/null
}
