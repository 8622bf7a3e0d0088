/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What lab/bench/plugin.c uses of QEMU's interface for plugins, version 4, and of glib's
 * arrays: Debian has no package with the former's header.
 */
#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

struct array { char *data; unsigned int len; };
struct reg { void *handle; const char *name, *feature; };
struct counter { void *score; size_t offset; };
struct value { int type; union { __u32 u32; __u64 u64[2]; } data; };

enum { NO_REGS, READ_REGS };
enum { NOT_EQUAL = 3 };
enum { STORES = 2 };

#define EXPORTED __attribute__((visibility("default")))

size_t qemu_plugin_tb_n_insns(const void *tb);
void *qemu_plugin_tb_get_insn(const void *tb, size_t i);
__u64 qemu_plugin_insn_vaddr(const void *insn);
size_t qemu_plugin_insn_data(const void *insn, void *to, size_t size);
void qemu_plugin_register_atexit_cb(__u64 id, void (*cb)(__u64 id, void *arg), void *arg);
void qemu_plugin_register_vcpu_init_cb(__u64 id, void (*cb)(__u64 id, unsigned int cpu));
void qemu_plugin_register_vcpu_tb_trans_cb(__u64 id, void (*cb)(__u64 id, void *tb));
void qemu_plugin_register_vcpu_insn_exec_cb(void *insn,
					    void (*cb)(unsigned int cpu, void *arg),
					    int flags, void *arg);
void qemu_plugin_register_vcpu_insn_exec_cond_cb(void *insn,
						 void (*cb)(unsigned int cpu, void *arg),
						 int flags, int cond, struct counter of,
						 __u64 with, void *arg);
void qemu_plugin_register_vcpu_mem_cb(void *insn,
				      void (*cb)(unsigned int cpu, __u32 info,
						 __u64 addr, void *arg),
				      int flags, int which, void *arg);
bool qemu_plugin_hwaddr_is_io(const void *at);
__u64 qemu_plugin_hwaddr_phys_addr(const void *at);
const char *qemu_plugin_hwaddr_device_name(const void *at);
void *qemu_plugin_get_hwaddr(__u32 info, __u64 addr);
struct value qemu_plugin_mem_get_value(__u32 info);
struct array *qemu_plugin_get_registers(void);
int qemu_plugin_read_register(void *handle, struct array *to);
void *qemu_plugin_scoreboard_new(size_t size);
void qemu_plugin_u64_set(struct counter of, unsigned int cpu, __u64 value);
struct array *g_byte_array_new(void);
void *g_byte_array_free(struct array *array, int all);
