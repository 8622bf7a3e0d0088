# shellcheck shell=sh
# What the tests of the real client share; sourced by each, in the emulated host.
# Unmodified QEMU with KVM gets the network card and the NVMe drive by vfio-pci.

PATH=$PATH:/usr/bin
caps=cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off
said=/tmp/said			# what the guest says
console=/tmp/console		# what its kernel says
trace=/tmp/trace		# what QEMU logs: TCE hypercalls that reached it
commands=/tmp/commands		# for QEMU's monitor
answers=/tmp/answers		# of the monitor, and what QEMU complains of
number=0 failed=0
told=0			# lines of what the guest said that were passed on
tired=			# not empty: lab/machine/watch says that nothing makes progress
trap 'tired=yes' ALRM

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

# find_device ID: the same by vendor and device.
find_device()
{
	for dev in /sys/bus/pci/devices/*; do
		[ "$(cat "$dev/vendor"):$(cat "$dev/device")" != "$1" ] || echo "${dev##*/}"
	done
}

# Each group's devices are one card, one drive, or (the pair) one of each.
nics=$(find_device 0x8086:0x10d3)
nvmes=$(find_class 0x010802)
nic=$(echo "$nics" | head -n 1)
nvme=$(echo "$nvmes" | head -n 1)
devices="nic nvme"	# what a guest gets
memory=512M	# of the guest, with QEMU's options of -m
more=		# more options for QEMU
nvme_bus=pci.0	# the guest's host bridge for the drive

# driver ADDRESS: the name of a device's driver.
driver() { basename "$(readlink "/sys/bus/pci/devices/$1/driver")"; }

# bind ADDRESS [DRIVER]: give a device to vfio-pci, or to another driver.
bind()
{
	want=${2:-vfio-pci}
	[ "$(driver "$1")" != "$want" ] || return 0
	[ ! -e "/sys/bus/pci/devices/$1/driver" ] ||
		echo "$1" >"/sys/bus/pci/devices/$1/driver/unbind"
	echo "$want" >"/sys/bus/pci/devices/$1/driver_override"
	echo "$1" >/sys/bus/pci/drivers_probe
}

# bind_group ADDRESS [DRIVER]: the same of all devices of its group, but for bridges.
bind_group()
{
	for mate in "/sys/bus/pci/devices/$1/iommu_group/devices"/*; do
		case $(cat "$mate/class") in
		0x0604*) ;;
		*) bind "${mate##*/}" "${2:-}" ;;
		esac
	done
}

bind_how=bind_group	# or "bind", for the device only

# vfio NAME ADDRESS: the device for QEMU, each in a slot of its own.
vfio()
{
	case $1 in
	nic) where=addr=5,bus=pci.0 ;;
	nvme) where=addr=6,bus=$nvme_bus ;;
	esac
	echo "vfio-pci,host=$2,id=$1,$where"
}

# On a busy machine, an emulated one is slow: kernels must not complain of the time.
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
		$bind_how "$address"
		set -- "$@" -device "$(vfio "$device" "$address")"
	done
	rm -f "$console" "$commands"
	mkfifo "$commands"
	exec 3<>"$commands"
	: >"$said"
	: >"$trace"
	told=0
	preload=
	[ "$tce" = kernel ] || preload=/client/no-tce.so
	# shellcheck disable=SC2086 # a list
	LD_PRELOAD=$preload CLIENT_TCE=$tce qemu-system-ppc64 \
		-machine pseries,accel=kvm,$caps -m $memory -smp 1 $more \
		-nodefaults -display none -monitor stdio \
		-serial "file:$console" \
		-chardev "file,id=said,path=$said" \
		-device spapr-vty,chardev=said \
		-trace 'spapr_iommu_*' -D "$trace" \
		-kernel /client/vmlinux -initrd /client/guest.gz \
		-append "$append" "$@" \
		<&3 >"$answers" 2>&1 &
	qemu=$!
}

monitor() { echo "$*" >&3; }
running() { kill -0 "$qemu" 2>/dev/null; }

# relay: pass on what the guest has said since the last time. So lab/machine/watch sees
# that it makes progress.
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
			# Not how the monitor echoes what it is told
			grep -v "$(printf '\033')" "$answers" | tail -n 8 | cut -c 1-300 | sed 's/^/# /'
			note "the guest's console ends with:"
			tail -n 8 "$console" | sed 's/^/# /'
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
	status=0
	wait "$qemu" 2>/dev/null || status=$?
	exec 3>&-
	[ "$1" = kill ] || check "QEMU has ended by itself, with status $status" [ "$status" = 0 ]
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

# clean: nothing is left of a QEMU that has ended. What it had may be freed a little later.
clean()
{
	check "KVM no longer has a machine" soon no_machine
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

# served_fast: the hypercalls were served without QEMU, and nearly all without a full
# exit from the guest. A host that is a guest itself leaves long calls to virtual mode.
served_fast()
{
	check "no hypercall reached QEMU" [ "$(reached_qemu)" = "$none" ]
	grep -q pSeries /proc/cpuinfo || check \
		"few needed a full exit from the guest: $(full_exits)" [ "$(full_exits)" -lt 100 ]
}

# use_both TCE [APPEND]: a guest that uses both devices, and is left running.
use_both()
{
	start "$1" net,ping,receive,send,nvme "${2:-}"
	works card ping receive send "nvme wrote" "nvme read"
	sed -n 's/^\(ping\|receive\|send\|nvme [a-z]*\): /# figure \1 /p' "$said"
	tell_hcalls
}

# use_some TCE [APPEND]: the same with little traffic, where what matters is that there is.
use_some()
{
	start "$1" net,ping,send,nvme "client_mib=2 ${2:-}"
	works card ping send "nvme wrote" "nvme read"
	tell_hcalls
}

# traffic TCE [APPEND]: a guest that uses both devices.
traffic()
{
	use_both "$@"
	stop quit
	clean
}
