/* SPDX-License-Identifier: (MIT OR Apache-2.0) OR GPL-2.0-only */
/* Helpers that read one header each, check its bounds, advance the cursor past it and say what comes next.
 *
 * Invariant: nothing behind `end` is read; a helper that fails returns the negated exit counter of the failure.
 */
#ifndef SLUICE_PARSE_H
#define SLUICE_PARSE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "steer.h"

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_QINQ 0x88a8

#define PROTOCOL_HOP_BY_HOP 0
#define PROTOCOL_UDP 17
#define PROTOCOL_IPV6_ROUTING 43
#define PROTOCOL_IPV6_FRAGMENT 44
#define PROTOCOL_AUTHENTICATION 51
#define PROTOCOL_IPV6_DESTINATION 60
#define PROTOCOL_MOBILITY 135
#define PROTOCOL_HIP 139
#define PROTOCOL_SHIM6 140

#define IPV4_FRAGMENT_MASK 0x3fff /* more fragments, and the offset; not "don't fragment" */

/* The headers, as they are on the wire. Of our own, so that the build needs neither vmlinux.h nor kernel sources. */
struct ethernet_header {
	__u8 destination[6];
	__u8 source[6];
	__be16 type;
} __attribute__((packed));

struct vlan_tag {
	__be16 control;
	__be16 type;
} __attribute__((packed));

struct ipv4_header {
	__u8 version_words;
	__u8 service;
	__be16 total_bytes;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__be16 checksum;
	__u8 source[4];
	__u8 destination[4];
} __attribute__((packed));

struct ipv6_header {
	__be32 version_class_flow;
	__be16 payload_bytes;
	__u8 next;
	__u8 hops;
	__u8 source[16];
	__u8 destination[16];
} __attribute__((packed));

struct udp_header {
	__be16 source;
	__be16 destination;
	__be16 bytes;
	__be16 checksum;
} __attribute__((packed));

/* Where the parser is, and where the frame ends. */
struct cursor {
	void *at;
	void *end;
	__u32 offset; /* of `at` in the frame: the difference of two pointers is a secret without CAP_PERFMON */
	__u32 options_bytes; /* IPv4 options in front of the UDP header, which `at` leaves out */
};

static __always_inline int is_vlan(__u16 type)
{
	return type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ;
}

/* Returns the EtherType behind the Ethernet header and up to two VLAN tags. */
static __always_inline int parse_ethernet(struct cursor *cursor)
{
	struct ethernet_header *ethernet = cursor->at;
	__u16 type;

	if ((void *)(ethernet + 1) > cursor->end)
		return -STEER_PASSED_TRUNCATED;
	type = bpf_ntohs(ethernet->type);
	cursor->at = ethernet + 1;
	cursor->offset = sizeof(*ethernet);
#pragma unroll
	for (int depth = 0; depth < STEER_VLAN_TAGS_MAX; depth++) {
		struct vlan_tag *tag = cursor->at;

		if (!is_vlan(type))
			return type;
		if ((void *)(tag + 1) > cursor->end)
			return -STEER_PASSED_TRUNCATED;
		type = bpf_ntohs(tag->type);
		cursor->at = tag + 1;
		cursor->offset += sizeof(*tag);
	}
	return is_vlan(type) ? -STEER_PASSED_VLAN_TOO_DEEP : type;
}

/* Fills in the destination and returns the protocol of an unfragmented IPv4 packet. */
static __always_inline int parse_ipv4(struct cursor *cursor, struct steer_key *key)
{
	struct ipv4_header *ipv4 = cursor->at;
	__u32 header_bytes;

	if ((void *)(ipv4 + 1) > cursor->end)
		return -STEER_PASSED_TRUNCATED;
	header_bytes = (ipv4->version_words & 0x0f) * 4;
	if (ipv4->version_words >> 4 != 4 || header_bytes < sizeof(*ipv4))
		return -STEER_PASSED_MALFORMED;
	if (ipv4->fragment & bpf_htons(IPV4_FRAGMENT_MASK))
		return -STEER_PASSED_FRAGMENT;
	key->address[10] = 0xff;
	key->address[11] = 0xff;
	__builtin_memcpy(&key->address[12], ipv4->destination, 4);
	cursor->at = ipv4 + 1;
	cursor->offset += sizeof(*ipv4);
	cursor->options_bytes = header_bytes - sizeof(*ipv4);
	return ipv4->protocol;
}

/* Fills in the destination and returns the protocol of an IPv6 packet without extension headers. */
static __always_inline int parse_ipv6(struct cursor *cursor, struct steer_key *key)
{
	struct ipv6_header *ipv6 = cursor->at;

	if ((void *)(ipv6 + 1) > cursor->end)
		return -STEER_PASSED_TRUNCATED;
	if (bpf_ntohl(ipv6->version_class_flow) >> 28 != 6)
		return -STEER_PASSED_MALFORMED;
	switch (ipv6->next) {
	case PROTOCOL_IPV6_FRAGMENT:
		return -STEER_PASSED_FRAGMENT;
	case PROTOCOL_HOP_BY_HOP:
	case PROTOCOL_IPV6_ROUTING:
	case PROTOCOL_AUTHENTICATION:
	case PROTOCOL_IPV6_DESTINATION:
	case PROTOCOL_MOBILITY:
	case PROTOCOL_HIP:
	case PROTOCOL_SHIM6:
		return -STEER_PASSED_IPV6_EXTENSION;
	}
	__builtin_memcpy(key->address, ipv6->destination, 16);
	cursor->at = ipv6 + 1;
	return ipv6->next;
}

/* Returns the destination port, host byte order. Without CAP_PERFMON the kernel allows no packet pointer plus a number
 * from the packet, so a header behind options is copied, which costs some nanoseconds in that rare case. */
static __always_inline int parse_udp(struct xdp_md *frame, struct cursor *cursor)
{
	struct udp_header *udp = cursor->at, copy;

	if (cursor->options_bytes) {
		if (bpf_xdp_load_bytes(frame, cursor->offset + cursor->options_bytes, &copy, sizeof(copy)))
			return -STEER_PASSED_TRUNCATED;
		return bpf_ntohs(copy.destination);
	}
	if ((void *)(udp + 1) > cursor->end)
		return -STEER_PASSED_TRUNCATED;
	return bpf_ntohs(udp->destination);
}

#endif
