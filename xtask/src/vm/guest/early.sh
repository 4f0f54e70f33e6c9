#!/bin/busybox sh
# First program of the guest: finds the disk with the real root, and gives way to it.
export PATH=/bin
busybox mount -t devtmpfs dev /dev
# The order is that of their dependencies; what the kernel has built in is not among them.
for module in $(busybox cat /modules/order); do
    busybox insmod "/modules/$module" || echo "@vm broken cannot load $module"
done
tries=0
while [ ! -b /dev/vda ] || [ ! -b /dev/vdb ]; do
    tries=$((tries + 1))
    [ "$tries" -gt 200 ] && echo "@vm broken no disks" && busybox reboot -f
    busybox usleep 20000
done
busybox mount -t ext4 /dev/vda /root || echo "@vm broken cannot mount the root disk"
busybox mount --move /dev /root/dev
exec busybox switch_root /root /chaos/init
