/* packets.h - what version 1 of the protocol looks like on the wire, as it was recorded.
 *
 * One message of each type, type and length first, and two whole packets, as hex; what the fields
 * mean test_recorded.c says. These bytes do not change. A release that reads or writes them
 * otherwise does not understand the releases before it: it needs a new message, fields after those
 * there are, or another version of the envelope. */
#pragma once

/* --- messages --- */
#define RECORDED_PING "010015 112233445566 778899aa bbccddeeff001122 01 3344"
#define RECORDED_ACK "02000e 01020304 05060708090a0b0c c8 02"
#define RECORDED_NACK "030004 a1a2a3a4"
#define RECORDED_PING_REQ_IPV4 "040011 112233445566 a1a2a3a4 04 0a010203 1389"
#define RECORDED_PING_REQ_IPV6                                                                     \
    "04001d 112233445566 a1a2a3a4 06 20010db8000000000000000000000007 1389"
#define RECORDED_ALIVE                                                                             \
    "050045 112233445566 0a0b0c0d0e0f 99aabbcc 0003 01 01 02 04 0a000001 "                         \
    "06 20010db8000000000000000000000001 1389 1388 05 65752d3161 00000012 00000034 "               \
    "1234567890abcdef"
#define RECORDED_SUSPECT "060014 112233445566 0a0b0c0d0e0f 0203 a0a1a2a3a4a5"
#define RECORDED_DEAD "070014 112233445566 0a0b0c0d0e0f 0203 a0a1a2a3a4a5"
#define RECORDED_LEFT "080014 112233445566 0a0b0c0d0e0f 0203 a0a1a2a3a4a5"
/* Versions 300 to 302: a key added and one taken out, nothing, the second taken out again. Then the
 * first of another owner: the same two keys, by their numbers. */
#define RECORDED_OPS                                                                               \
    "09002b 112233445566 beef ac02 cafef00d 03 3f 1111111111111111 ff 2222222222222222 7e "        \
    "ff 2222222222222222 090010 665544332211 0001 01 00000002 01 00 c1"
/* Nobody in any of 8 buckets; and what a core that knows itself alone says to that. */
#define RECORDED_SUM                                                                               \
    "0a0041 03 0000000000000000 0000000000000000 0000000000000000 0000000000000000 "               \
    "0000000000000000 0000000000000000 0000000000000000 0000000000000000"
#define RECORDED_ENT "0b001d 03 03 01 17 0001 000000000100 0000000f4628 0203 00 00000001 26b43dfa"
/* A part of what there is in a bucket: a member; and what a core that does not know it says. */
#define RECORDED_ENT_OF_OTHER                                                                      \
    "0b001d 03 00 00 17 0001 112233445566 0a0b0c0d0e0f 0203 00 00000012 90abcdef"
#define RECORDED_DELTA_REQ_OF_OTHER "0c0014 112233445566 0a0b0c0d0e0f 00000000 00000000"
#define RECORDED_DELTA_REQ "0c0014 112233445566 0a0b0c0d0e0f 00010203 00010207"
#define RECORDED_DELTA_NO "0d0014 112233445566 0a0b0c0d0e0f 00010203 00010207"
#define RECORDED_CHALLENGE "0e0008 0123456789abcdef"
#define RECORDED_ECHO "0f0008 0123456789abcdef"
#define RECORDED_WANT "10001c 7fffffffffffff01 00000005 0000000000100000 01 112233445566 01"
#define RECORDED_GRANT "11000c 7fffffffffffff01 00000005"
#define RECORDED_OFFER                                                                             \
    "12001f 7fffffffffffff01 00000005 00fa 02 112233445566 03 00 665544332211 00 01"
#define RECORDED_RENEW                                                                             \
    "130020 7fffffffffffff01 00000009 01 112233445566 0000000000001000 00000014 2c"
#define RECORDED_GIVE_UP "14000c 7fffffffffffff01 00000009"

/* --- packets: the ACK, sealed by 112233445566 under the label "recorded", and then under the key
 * that is the bytes 0 to 31 --- */
#define RECORDED_BY_LABEL                                                                          \
    "01 f8 112233445566 0a0b0c0d0e0f 99aabbcc 000000000001 fa49e777aa5adc96192898711d32a3d52e "    \
    "af5b1a9e0d1c8034392c1a02482b5832"
#define RECORDED_BY_KEY                                                                            \
    "01 a4 112233445566 0a0b0c0d0e0f 99aabbcc 000000000002 63b526033cf3a89cdce2af5f389d7ea018 "    \
    "b8fd612f49c26ea13cb6b78515786cd3"

/* --- what every node makes of the same contents and the same view: house 0 of a town, alone, with
 * the keys 7000 to 7002 --- */
#define RECORDED_SET_HASH UINT64_C(0xef20a60026b43dfa)
#define RECORDED_CLUSTER_HASH UINT64_C(0xb91873cb7f2e1a60)
