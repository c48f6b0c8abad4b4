// SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only
/* Steers UDP frames of known destinations into the AF_XDP socket of the queue that received them, with the time of
 * their arrival in front of them; everything else goes on to the kernel.
 *
 * Invariant: each frame raises exactly one exit counter of its queue, and no frame is dropped here.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "steer.h"
#include "parse.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Destinations that are ours. User space changes them while frames flow. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, STEER_RULES_MAX);
	__type(key, struct steer_key);
	__type(value, struct steer_rule);
} steer_rules SEC(".maps");

/* The AF_XDP socket of each RX queue. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, STEER_QUEUES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} steer_sockets SEC(".maps");

/* Counters of each RX queue, so that the ledger of a lane is about its own frames. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STEER_QUEUES_MAX * STEER_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} steer_counts SEC(".maps");

/* Never read: they bring the types that no map names into the BTF, from which the Rust types are generated. */
const enum steer_limit steer_limit_type SEC(".rodata") = STEER_QUEUES_MAX;
const enum steer_counter steer_counter_type SEC(".rodata") = STEER_REDIRECTED;
const enum steer_clock steer_clock_type SEC(".rodata") = STEER_CLOCK_MONOTONIC;
const struct steer_meta steer_meta_type SEC(".rodata") = { .magic = STEER_META_MAGIC };

/* Since kernel 6.3, in programs that are bound to a device. Weak: `steer` loads on kernels that lack it. */
extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *frame, __u64 *timestamp) __ksym __weak;

/* Returns the exit that the frame takes before a socket is looked for: STEER_REDIRECTED if a rule matches. */
static __always_inline int classify(struct xdp_md *frame)
{
	struct cursor cursor = { .at = (void *)(long)frame->data, .end = (void *)(long)frame->data_end };
	struct steer_key key = {};
	int next = parse_ethernet(&cursor);

	if (next < 0)
		return -next;
	if (next == ETHERTYPE_IPV4)
		next = parse_ipv4(&cursor, &key);
	else if (next == ETHERTYPE_IPV6)
		next = parse_ipv6(&cursor, &key);
	else
		return STEER_PASSED_NOT_IP;
	if (next < 0)
		return -next;
	if (next != PROTOCOL_UDP)
		return STEER_PASSED_NOT_UDP;
	next = parse_udp(frame, &cursor);
	if (next < 0)
		return -next;
	key.port = next;
	if (bpf_map_lookup_elem(&steer_rules, &key))
		return STEER_REDIRECTED;
	__builtin_memset(key.address, 0, sizeof(key.address));
	return bpf_map_lookup_elem(&steer_rules, &key) ? STEER_REDIRECTED : STEER_PASSED_NO_RULE;
}

/* Writes the wire time in front of the frame and returns which counter tells how that went. */
static __always_inline int stamp(struct xdp_md *frame, int bound)
{
	__u64 hardware_ns = 0;
	struct steer_meta *meta;
	int has_hardware = bound && bpf_xdp_metadata_rx_timestamp(frame, &hardware_ns) == 0 && hardware_ns;

	if (bpf_xdp_adjust_meta(frame, -(int)sizeof(*meta)))
		return STEER_NOTED_NO_METADATA;
	meta = (void *)(long)frame->data_meta;
	if ((void *)(meta + 1) > (void *)(long)frame->data)
		return STEER_NOTED_NO_METADATA;
	meta->wire_ns = has_hardware ? hardware_ns : bpf_ktime_get_ns();
	meta->clock = has_hardware ? STEER_CLOCK_HARDWARE : STEER_CLOCK_MONOTONIC;
	meta->magic = STEER_META_MAGIC;
	return has_hardware ? STEER_NOTED_WIRE_HARDWARE : STEER_NOTED_WIRE_MONOTONIC;
}

/* Counters are per CPU and XDP programs do not nest, so plain additions suffice. */
static __always_inline void count(struct xdp_md *frame, __u32 counter)
{
	__u32 queue = frame->rx_queue_index;
	__u32 index = steer_count_index(queue < STEER_QUEUES_MAX ? queue : STEER_QUEUES_MAX - 1, counter);
	__u64 *value = bpf_map_lookup_elem(&steer_counts, &index);

	if (value) /* always: the index is below the size of the array */
		*value += 1;
}

/* The body of both programs. */
static __always_inline int steer_frame(struct xdp_md *frame, int bound)
{
	__u32 queue = frame->rx_queue_index;
	int note, action = XDP_PASS, exit = classify(frame);

	if (exit == STEER_REDIRECTED && !bpf_map_lookup_elem(&steer_sockets, &queue))
		exit = STEER_PASSED_NO_SOCKET; /* before stamping, so that the kernel gets the frame untouched */
	if (exit == STEER_REDIRECTED) {
		note = stamp(frame, bound);
		action = bpf_redirect_map(&steer_sockets, queue, XDP_PASS);
		if (action == XDP_REDIRECT)
			count(frame, note);
		else
			exit = STEER_PASSED_NO_SOCKET; /* the socket went away in between */
	}
	count(frame, exit);
	return action;
}

SEC("xdp")
int steer(struct xdp_md *frame)
{
	return steer_frame(frame, 0);
}

/* Loaded only when it can be bound to the device: the kernel refuses the kfunc in other programs. */
SEC("xdp")
int steer_hw(struct xdp_md *frame)
{
	return steer_frame(frame, 1);
}
