//! Hot path: Ethernet, VLAN, IP and UDP headers down to the packet.
