# shellcheck shell=sh
# What the tests of the real client share; sourced by each, in the emulated host.
# Unmodified QEMU with KVM gets the network card and the NVMe drive by vfio-pci.

caps=cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off
said=/tmp/said		# what the guest says
trace=/tmp/trace	# what QEMU logs: TCE hypercalls that reached it
number=0 failed=0
told=0			# lines of what the guest said that were passed on
tired=			# not empty: nothing gets on, says lab/machine/watch
trap 'tired=yes' ALRM
PATH=$PATH:/usr/bin

result()
{
	number=$((number + 1))
	echo "${1}ok $number $2"
	[ -z "$1" ] || failed=1
}
ok() { result "" "$*"; }
not_ok() { result "not " "$*"; }
note() { echo "# $*"; }

# check TEXT COMMAND...: a result.
check()
{
	text=$1
	shift
	if "$@"; then ok "$text"; else not_ok "$text"; fi
}

# soon COMMAND...: wait until it succeeds; what never does is found by lab/machine/watch.
soon()
{
	until "$@"; do
		[ -z "$tired" ] || return 1
		usleep 100000
	done
}

# find_class CLASS: the PCI address of the device of that class.
find_class()
{
	for dev in /sys/bus/pci/devices/*; do
		[ "$(cat "$dev/class")" != "$1" ] || echo "${dev##*/}"
	done
}
nic=$(find_class 0x020000)
nvme=$(find_class 0x010802)
devices="nic nvme"	# what a guest gets

# bind ADDRESS: give a device to vfio-pci.
bind()
{
	[ ! -e "/sys/bus/pci/devices/$1/driver" ] || return 0
	echo vfio-pci >"/sys/bus/pci/devices/$1/driver_override"
	echo "$1" >/sys/bus/pci/drivers_probe
}

# vfio NAME ADDRESS: the device for QEMU, each in a slot of its own.
vfio()
{
	[ "$1" = nic ] && slot=5 || slot=6
	echo "vfio-pci,host=$2,id=$1,addr=$slot"
}

# What kernels complain of by the clock is not for emulated machines on a busy one.
patient="rcupdate.rcu_cpu_stall_timeout=300 nowatchdog"
patient="$patient sysctl.kernel.hung_task_timeout_secs=0"

# start TCE STEPS [APPEND]: a guest that takes STEPS. TCE is "kernel", or what
# lab/client/no-tce.c knows.
start()
{
	tce=$1 append="console=hvc0 quiet $patient client_steps=$2 ${3:-}"
	set --
	for device in $devices; do
		eval "address=\$$device"
		bind "$address"
		set -- "$@" -device "$(vfio "$device" "$address")"
	done
	rm -f /tmp/guest-console /tmp/monitor
	mkfifo /tmp/monitor
	exec 3<>/tmp/monitor
	: >"$said"
	: >"$trace"
	told=0
	preload=
	[ "$tce" = kernel ] || preload=/client/no-tce.so
	LD_PRELOAD=$preload CLIENT_TCE=$tce qemu-system-ppc64 \
		-machine pseries,accel=kvm,$caps -m 512M -smp 1 \
		-nodefaults -display none -monitor stdio \
		-serial file:/tmp/guest-console \
		-chardev "file,id=said,path=$said" \
		-device spapr-vty,chardev=said \
		-trace 'spapr_iommu_*' -D "$trace" \
		-kernel /client/vmlinux -initrd /client/guest.gz \
		-append "$append" "$@" \
		<&3 >/tmp/monitor-out 2>&1 &
	qemu=$!
}

monitor() { echo "$*" >&3; }
running() { kill -0 "$qemu" 2>/dev/null; }

# relay: pass on what the guest has said since the last time, which shows that it
# gets on, and when.
relay()
{
	lines=$(wc -l <"$said")
	[ "$lines" = $told ] || sed -n "$((told + 1)),${lines}s/^/# guest: /p" "$said"
	told=$lines
}

# heard PATTERN: wait until the guest says it.
heard()
{
	until grep -q -e "$1" "$said"; do
		relay
		if [ -n "$tired" ] || ! running; then
			note "the guest did not say \"$1\"; QEMU ($(running && echo runs || echo gone)) says:"
			head -n 8 /tmp/monitor-out | sed 's/^/# /'
			note "the guest's console ends with:"
			tail -n 8 /tmp/guest-console | sed 's/^/# /'
			return 1
		fi
		usleep 200000
	done
	relay
}

# reached_qemu: hypercalls that came out of the kernel, by kind.
reached_qemu()
{
	put=$(grep -c 'spapr_iommu_\(pci_\)\?put' "$trace")
	indirect=$(grep -c 'spapr_iommu_\(pci_\)\?indirect' "$trace")
	stuff=$(grep -c 'spapr_iommu_\(pci_\)\?stuff' "$trace")
	echo "H_PUT_TCE $put H_PUT_TCE_INDIRECT $indirect H_STUFF_TCE $stuff"
}

# stop quit|kill: end QEMU.
stop()
{
	if [ "$1" = kill ]; then
		kill -KILL "$qemu"
	else
		monitor quit
	fi
	wait "$qemu" 2>/dev/null
	exec 3>&-
}

# locked: what QEMU has locked of its memory.
locked() { awk '$1 == "VmLck:" { print $2, $3 }' "/proc/$qemu/status"; }
# no_group: QEMU has no group of devices, nor a device of one, open.
no_group()
{
	for fd in "/proc/$qemu"/fd/*; do
		case $(readlink "$fd") in
		*vfio-device* | /dev/vfio/[0-9]*) return 1 ;;
		esac
	done
}
# no_machine: KVM has none.
no_machine()
{
	for dir in /sys/kernel/debug/kvm/*-*; do
		[ ! -d "$dir" ] || return 1
	done
}
pins() { awk -v n="nr_foll_pin_$1" '$1 == n { print $2 }' /proc/vmstat; }
unpinned() { [ "$(pins acquired)" = "$(pins released)" ]; }
check_pins() { check "each of $(pins acquired) pages pinned was unpinned" soon unpinned; }

# clean: nothing is left of a QEMU that is gone; what it had may be freed by work
# that lags a little behind.
clean()
{
	check "KVM has no machine any more" soon no_machine
	check_pins
}

# works STEP...: the guest took these steps with success.
works()
{
	heard '^end' || failed=1
	for step; do
		check "$step: $(sed -n "s/^$step: //p" "$said" | tail -n 1)" \
			grep -q "^$step: " "$said"
	done
	! grep '^FAILED' "$said" | sed 's/^FAILED/# /' | grep . || failed=1
}

none="H_PUT_TCE 0 H_PUT_TCE_INDIRECT 0 H_STUFF_TCE 0"
guest_hcalls() { sed -n 's/^hcalls [^ ]* //p' "$said" | tail -n 1; }

# tiers: where the kernel served TCE hypercalls, if it counts that.
tiers()
{
	for file in /sys/kernel/debug/kvm/tce_*; do
		[ ! -r "$file" ] || echo "${file##*/tce_} $(cat "$file")"
	done
}

# tell_hcalls: who served the hypercalls, before QEMU is gone.
tell_hcalls()
{
	stats=$(tiers | xargs)
	note "figure tiers $stats"
	note "figure hypercalls $(guest_hcalls)"
	note "figure reached QEMU $(reached_qemu)"
}

full_exits() { echo "$stats" | sed -n 's/.*virtual_mode \([0-9]*\).*/\1/p'; }

# traffic TCE [APPEND]: a guest that uses both devices.
traffic()
{
	start "$1" net,ping,receive,send,nvme "${2:-}"
	works card ping receive send "nvme wrote" "nvme read"
	sed -n 's/^\(ping\|receive\|send\|nvme [a-z]*\): /# figure \1 /p' "$said"
	tell_hcalls
	stop quit
	clean
}
