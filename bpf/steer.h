/* SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only */
/* What the steering program and user space have in common: map keys, values, counter indexes and the metadata in
 * front of a frame. This file is their only definition; the Rust types are generated from its BTF.
 *
 * Invariant: every frame raises exactly one exit counter, so frames seen are the sum of the exits.
 */
#ifndef SLUICE_STEER_H
#define SLUICE_STEER_H

#include <linux/types.h>

/* Constants that user space needs too, as an enum so that they are in the BTF. */
enum steer_limit {
	/* RX queues with counters and a place for a socket. Frames of higher queues are passed to the kernel. 256 is
	 * above the queue count of the NICs that AF_XDP is used with; each costs STEER_COUNTERS * 8 bytes per CPU. */
	STEER_QUEUES_MAX = 256,
	/* Rules (destinations) at once: CME alone has about 120 multicast groups, twice for its two lines. */
	STEER_RULES_MAX = 4096,
	/* "SLCE": marks metadata that this program wrote. */
	STEER_META_MAGIC = 0x45434c53,
};

/* VLAN tags that are looked through: 802.1Q, or 802.1Q inside 802.1ad. */
#define STEER_VLAN_TAGS_MAX 2

/* Key of the rule map. All bytes of `address` zero: any address. */
struct steer_key {
	__u8 address[16]; /* network byte order, IPv4 as ::ffff:a.b.c.d */
	__u16 port;       /* host byte order */
	__u16 reserved;   /* zero */
};

/* Value of the rule map: that the key is there is what counts. */
struct steer_rule {
	__u32 present; /* 1 */
};

/* How a frame left the program, and below the exits what is noted beside them. */
enum steer_counter {
	STEER_REDIRECTED,
	STEER_PASSED_TRUNCATED,      /* a header goes beyond the frame */
	STEER_PASSED_MALFORMED,      /* IP version or header length contradict the EtherType */
	STEER_PASSED_NOT_IP,
	STEER_PASSED_NOT_UDP,
	STEER_PASSED_FRAGMENT,       /* only the first fragment has a port, so all go to the kernel */
	STEER_PASSED_VLAN_TOO_DEEP,
	STEER_PASSED_IPV6_EXTENSION, /* an extension header other than a fragment's */
	STEER_PASSED_NO_RULE,
	STEER_PASSED_NO_SOCKET,      /* a rule matched, but the frame's queue has no AF_XDP socket */
	STEER_EXITS,
	STEER_NOTED_WIRE_HARDWARE = STEER_EXITS, /* stamped by the NIC */
	STEER_NOTED_WIRE_MONOTONIC,              /* stamped by bpf_ktime_get_ns */
	STEER_NOTED_NO_METADATA,                 /* the driver has no room for metadata: no wire time */
	STEER_COUNTERS,
};

/* The counter map is an array of __u64 per CPU, with STEER_COUNTERS of them for each queue. One by one, because without
 * CAP_PERFMON the kernel allows no variable index into a structure. */
static inline __u32 steer_count_index(__u32 queue, __u32 counter)
{
	return queue * STEER_COUNTERS + counter;
}

/* Clock of a wire time; the same numbers as ClockKind in src/event/time.rs. */
enum steer_clock {
	STEER_CLOCK_MONOTONIC = 1,
	STEER_CLOCK_HARDWARE = 2,
};

/* Lies right in front of a redirected frame. */
struct steer_meta {
	__u64 wire_ns;
	__u32 clock; /* enum steer_clock */
	__u32 magic; /* STEER_META_MAGIC */
};

_Static_assert(sizeof(struct steer_key) == 20, "no hidden padding: the key is hashed as bytes");
_Static_assert(sizeof(struct steer_meta) == 16, "user space reads 16 bytes in front of the frame");

#endif
