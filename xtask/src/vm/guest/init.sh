#!/bin/sh
# The guest's init: mounts what the tests expect of a host, runs the tests that the job disk names, one by
# one, and switches the machine off. What the host has to know are lines that begin with @vm.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
export CHAOS_EMULATED=1 CHAOS_BIN_DIR=/chaos/bin RUST_BACKTRACE=0

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for dir in /dev/shm /run /tmp; do
    mount -t tmpfs tmpfs "$dir"
done
chmod 1777 /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
# An oops ends the boot at once: what came after it would be worth nothing.
echo 1 >/proc/sys/kernel/panic_on_oops
# A host's udev would have made the node that loads it.
modprobe tun
hostname chaos-vm
ip link set lo up
echo "@vm up $(uname -r)"

job=/tmp/job
tr -d '\000' </dev/vdb >"$job"
limit=$(sed -n 's/^limit //p' "$job")
program=$(sed -n 's/^program //p' "$job")
sed -n 's/^test //p' "$job" | while read -r test; do
    echo "@vm begin $test"
    timeout -s KILL "$limit" "/chaos/bin/$program" --exact "$test" --test-threads=1 --show-output \
        </dev/null >/tmp/out 2>&1
    status=$?
    # Each line of the output is marked, so that what the kernel prints between them is told apart.
    tail -n 150 /tmp/out | sed 's/^/@| /'
    echo "@vm end $test $status"
done
echo "@vm done"
sync
exec /chaos/bin/busybox reboot -f
