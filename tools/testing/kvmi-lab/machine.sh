# SPDX-License-Identifier: GPL-2.0
# The two emulated machines; sourced by run and shell, which set $W (a work
# directory), $kernel, $append, $console, $cpus, $disk and $line and get $child.

# What a kernel in trouble says, as a report of a host has it.  It reads with grep -E of
# GNU and of busybox.
SPLAT=$(sed -n "s/^SPLAT='\(.*\)'\$/\1/p" "$REPO/tools/kvm/kvmi/kvmi-report")
[ -n "$SPLAT" ] || die "kvmi-report has no SPLAT"

# splats FILE: the lines of a host kernel's console that mean trouble
splats() {
	tr -d '\r' <"$1" | grep -E "$SPLAT"
}

# One cpio after the other is one initramfs to the kernel
make_initrd() {
	{
		echo "file /job $job 0755 0 0"
		for a in "${adds[@]}"; do
			case $a in
			*=*) echo "file ${a#*=} ${a%%=*} 0755 0 0" ;;
			*) echo "file /root/$(basename "$a") $a 0755 0 0" ;;
			esac
		done
		case $selftests in
		none) ;;
		all) cat "$B/images/selftests.list" ;;
		*)	for t in $selftests; do
				grep "^file /opt/selftests/$t " "$B/images/selftests.list" ||
					die "the image has no selftest '$t'"
			done ;;
		esac
	} >"$W/job.list" || return 1
	[ -n "$job" ] || sed -i 1d "$W/job.list"
	"$B/obj/host/usr/gen_init_cpio" -t 0 "$W/job.list" >"$W/job.cpio" || return 1
	cat "$B/images/host.cpio" "$W/job.cpio" >"$1"
}

# The same for both.  nokaslr: runs repeat exactly, and addresses in a report
# mean something.
# Some selftests have instructions emulated that would not be otherwise.  After an
# oops locks stay held and nothing more is to be learnt: what ran has failed.
COMMON="console=ttyS0 panic=-1 oops=panic sysctl.kernel.panic_on_rcu_stall=1 nosoftlockup quiet nokaslr kvm.introspection=1 kvm.force_emulation_prefix=1"

# Other ways to boot them: the machine, its kernel's arguments
boot_variant() {
	case $1 in
	vmx|svm) echo "$1" ;;
	# The right to execute is one, not one for users and one for supervisors
	vmx-no-mbec) echo "vmx kvm_intel.mbec=0" ;;
	# Real mode and CR3 without paging are KVM's doing, not the processor's
	vmx-no-ug) echo "vmx kvm_intel.unrestricted_guest=0" ;;
	# Shadow paging
	vmx-no-ept) echo "vmx kvm_intel.ept=0" ;;
	svm-no-npt) echo "svm kvm_amd.npt=0" ;;
	# KVM emulates UMIP with the intercepts of descriptor table registers
	vmx-no-umip) echo "vmx clearcpuid=umip" ;;
	# No huge page is executable
	vmx-nx-huge) echo "vmx kvm.nx_huge_pages=force" ;;
	svm-nx-huge) echo "svm kvm.nx_huge_pages=force" ;;
	# The processor delivers interrupts by itself
	vmx-apicv) echo "vmx kvm_intel.enable_apicv=1" ;;
	# Introspection is built in and not enabled
	svm-off) echo "svm kvm.introspection=0" ;;
	# STGI and CLGI are executed without an intercept
	svm-vgif) echo "svm_vgif" ;;
	# What QEMU's TCG lacks: XSETBV intercepts, NextRIP, decode assists
	svm-bochs) echo "svm_bochs" ;;
	*) die "no machine '$1'" ;;
	esac
}

# tsc-khz.c says why; measured once per boot of this machine
tsc_khz() {
	_id=$(cat /proc/sys/kernel/random/boot_id)
	if ! stamp_ok tsc-boot "$_id" || [ ! -s "$B/stamps/tsc-khz" ]; then
		cc -O2 -o "$W/tsc-khz" "$LAB/tsc-khz.c" && "$W/tsc-khz" >"$B/stamps/tsc-khz" &&
			stamp tsc-boot "$_id"
	fi
	cat "$B/stamps/tsc-khz"
}

# AMD with SVM and nested paging: QEMU's TCG, two CPUs.
# -accel tcg,thread=multi because concurrency is what this machine is for.
start_svm() {
	_khz=$(tsc_khz)
	_qemu=$B/qemu/qemu-system-x86_64
	[ -x "$_qemu" ] || die "$_qemu is missing: run 'make images'"
	"$_qemu" -L /usr/share/qemu -L /usr/share/seabios \
		-nodefaults -no-user-config -no-reboot -display none \
		-accel tcg,thread=multi -cpu EPYC,+svm,+npt$svm_features -smp "${cpus:-2}" -m 2048 \
		${serial:--serial file:$console.kernel -serial file:$console} \
		${line:+-serial unix:$line,server=on,wait=off} -kernel "$kernel" -initrd "$W/initrd" \
		-append "$COMMON ${_khz:+tsc_early_khz=$_khz} $append" <"${input:-/dev/null}" >"${input:-$W/emulator.log}" 2>>"$W/emulator.log" 9>&- &
	child=$!
}

start_svm_vgif() { svm_features=,+vgif; start_svm; }

first_of() {
	for _f; do
		[ ! -r "$_f" ] || { echo "$_f"; return; }
	done
	return 1
}

# Bochs with a processor MODEL, one CPU.
#
# ips=10000000 with sync=none makes time a count of instructions: two runs are
# identical.  The CPUID of the model tells a 1.5 GHz TSC while Bochs counts once
# per instruction, hence tsc_early_khz.  Protection keys, rdrand and rdseed are
# either wrong in Bochs 3.0 or would break repetition.  APICv is on in vmx-apicv
# only, as KVM without it does more itself.
start_bochs() {
	model=$1 com3=
	if [ -n "$line" ]; then
		cc -O2 -o "$W/line" "$LAB/line.c" || die "line.c does not compile"
		# It ends with us
		"$W/line" "$line" >"$W/terminal" 9>&- &
		until [ -s "$W/terminal" ]; do
			kill -0 $! 2>/dev/null || die "there is no terminal for the machine's third serial line"
			sleep 0.05
		done
		com3=$(cat "$W/terminal")
	fi
	bios=$(first_of /usr/share/bochs/BIOS-bochs-latest "$B/bochs/share/BIOS-bochs-latest") ||
		die "no BIOS for Bochs: install bochsbios"
	vga=$(first_of /usr/share/bochs/VGABIOS-lgpl-latest /usr/share/vgabios/vgabios.bin \
		/usr/share/seabios/vgabios-isavga.bin) || die "no VGA BIOS for Bochs: install vgabios"
	isolinux=$(first_of /usr/lib/ISOLINUX/isolinux.bin) || die "no isolinux.bin: install isolinux"
	ldlinux=$(first_of /usr/lib/syslinux/modules/bios/ldlinux.c32) || die "no ldlinux.c32: install syslinux-common"
	mkdir -p "$W/iso"
	cp "$isolinux" "$ldlinux" "$W/iso/"
	cp "$kernel" "$W/iso/bzimage"
	mv "$W/initrd" "$W/iso/initrd"
	cat >"$W/iso/isolinux.cfg" <<-EOF
	DEFAULT host
	PROMPT 0
	TIMEOUT 0
	LABEL host
	KERNEL bzimage
	APPEND initrd=initrd $COMMON tsc_early_khz=100000 tsc=reliable kvm_intel.enable_apicv=0 nopku $append
	EOF
	genisoimage -quiet -o "$W/host.iso" -b isolinux.bin -c boot.cat -no-emul-boot \
		-boot-load-size 4 -boot-info-table -J -R "$W/iso" || die "genisoimage failed"
	rm -rf "$W/iso"
	cat >"$W/bochsrc" <<-EOF
	cpu: model=$model, count=${cpus:-1}, ips=10000000, reset_on_triple_fault=0, ignore_bad_msrs=1, exclude_features="pku,rdrand,rdseed"
	memory: guest=2048, host=2048, block_size=8192
	romimage: file=$bios
	vgaromimage: file=$vga
	ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
	ata0-master: type=cdrom, path=$W/host.iso, status=inserted
	boot: cdrom
	com1: enabled=1, ${com1:-mode=file, dev=$console.kernel}
	${com1:+# }com2: enabled=1, mode=file, dev=$console
	${com3:+com3: enabled=1, mode=term, dev=$com3}
	log: -
	panic: action=fatal
	error: action=ignore
	info: action=ignore
	debug: action=ignore
	clock: sync=none, time0=946684800
	display_library: nogui
	${disk:+ata1: enabled=1, ioaddr1=0x170, ioaddr2=0x370, irq=15}
	${disk:+ata1-master: type=disk, mode=flat, path=$disk}
	EOF
	"$B/bochs/bochs" -q -f "$W/bochsrc" >"$W/emulator.log" 2>&1 </dev/null 9>&- &
	child=$!
}

# Intel with VMX and EPT
start_vmx() { start_bochs arrow_lake; }

# AMD with SVM and nested paging, for what QEMU's TCG does not have.  INT3 in a
# guest is wrong in Bochs 3.0: the tests of exceptions are not for this machine.
start_svm_bochs() { start_bochs ryzen; }
