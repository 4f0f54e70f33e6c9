// Preloaded into a daemon: spoils the first instruction of chaos_ingress on its way into the kernel, which then reads a
// register that nobody has written. What refuses it is the verifier itself.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
long syscall(long number, ...) {
    static long (*real)(long, ...);
    long word[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) word[i] = va_arg(list, long);
    va_end(list);
    if (!real) real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    if (number == SYS_bpf && word[0] == BPF_PROG_LOAD) {
        union bpf_attr *attr = (union bpf_attr *)word[1];
        if (!strncmp(attr->prog_name, "chaos_ingress", 13)) {
            struct bpf_insn *first = (struct bpf_insn *)(unsigned long)attr->insns;
            first->code = BPF_LDX | BPF_MEM | BPF_DW;
            first->dst_reg = 0;
            first->src_reg = 5;
        }
    }
    return real(number, word[0], word[1], word[2], word[3], word[4], word[5]);
}
