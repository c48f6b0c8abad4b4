// SPDX-License-Identifier: MIT OR Apache-2.0
// For benches: sends every frame back out of the interface that it came in on. Run over live frames
// (BPF_PROG_RUN with BPF_F_TEST_XDP_LIVE_FRAMES), it is the fastest sender that a machine without a NIC has.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int transmit(struct xdp_md *frame)
{
	(void)frame;
	return XDP_TX;
}

char transmit_license[] SEC("license") = "Dual MIT/GPL";
