// Raw frames for the kernel's bridge: the hosts' ends of the veth pairs, h0 … h<HOSTS-1>, are interfaces of this namespace, and every frame goes out of
// a random one of them to the address of a random other.
//
//     txblast HOSTS SIZE SECONDS
//
// SIZE counts header and FCS, which a veth pair does not carry. Frames leave in batches of 64 (sendmmsg on a packet socket, past the queueing
// discipline); what is counted is frames received by the interfaces.
// Output: "txblast hosts=16 size=64 frames/s=450000 lost=0.00%".
#include "common.h"
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { BATCH = 64, MAXIMUM_HOSTS = 256, MAXIMUM_SIZE = 1518 };

static uint64_t random_state = 88172645463325252ull;
static uint64_t random_next(void) { // xorshift64*
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545F4914F6CDD1Dull;
}

static int hosts;
static uint8_t addresses[MAXIMUM_HOSTS][6];
static int indices[MAXIMUM_HOSTS];
static char names[MAXIMUM_HOSTS][IFNAMSIZ];

static uint8_t frames[BATCH][2048];
static struct mmsghdr messages[BATCH];
static struct iovec vectors[BATCH];
static struct sockaddr_ll targets[BATCH];

static uint64_t received_by_all(void) {
    uint64_t sum = 0;
    for (int i = 0; i < hosts; i++) sum += received_packets(names[i]);
    return sum;
}

int main(int argc, char **argv) {
    if (argc != 4) usage("txblast HOSTS SIZE SECONDS");
    hosts = atoi(argv[1]);
    int size = atoi(argv[2]);
    double duration = atof(argv[3]);
    if (hosts < 2 || hosts > MAXIMUM_HOSTS || size < 64 || size > MAXIMUM_SIZE || !(duration > 0)) {
        fprintf(stderr, "txblast: 2 to %d hosts, 64 to %d bytes, a time above 0\n", MAXIMUM_HOSTS, MAXIMUM_SIZE);
        return 64;
    }
    size_t length = (size_t)size - 4;
    int file = socket(AF_PACKET, SOCK_RAW, 0), on = 1, space = 8 << 20;
    check(file, "a packet socket");
    check(setsockopt(file, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on), "PACKET_QDISC_BYPASS");
    check(setsockopt(file, SOL_SOCKET, SO_SNDBUFFORCE, &space, sizeof space), "SO_SNDBUFFORCE");
    for (int i = 0; i < hosts; i++) {
        struct ifreq request = {0};
        snprintf(names[i], sizeof names[i], "h%d", i);
        memcpy(request.ifr_name, names[i], IFNAMSIZ);
        check(ioctl(file, SIOCGIFHWADDR, &request), names[i]);
        memcpy(addresses[i], request.ifr_hwaddr.sa_data, 6);
        check(ioctl(file, SIOCGIFINDEX, &request), names[i]);
        indices[i] = request.ifr_ifindex;
    }
    for (int k = 0; k < BATCH; k++) {
        memset(frames[k], 0x5a, sizeof frames[k]);
        // An EtherType that nothing listens to: IEEE 802, local experimental.
        frames[k][12] = 0x88;
        frames[k][13] = 0xb5;
        vectors[k] = (struct iovec){frames[k], length};
        targets[k] = (struct sockaddr_ll){.sll_family = AF_PACKET, .sll_halen = 6};
        messages[k].msg_hdr = (struct msghdr){.msg_iov = &vectors[k], .msg_iovlen = 1, .msg_name = &targets[k], .msg_namelen = sizeof targets[k]};
    }
    // The bridge has to know every address: each host speaks once to all.
    for (int i = 0; i < hosts; i++) {
        memset(frames[0], 0xff, 6);
        memcpy(frames[0] + 6, addresses[i], 6);
        targets[0].sll_ifindex = indices[i];
        check((int)sendto(file, frames[0], length, 0, (struct sockaddr *)&targets[0], sizeof targets[0]), "the first frame");
    }
    uint64_t sent = 0, before = received_by_all();
    double begin = now_s(), now = begin;
    while (now - begin < duration) {
        for (int batch = 0; batch < 64; batch++) {
            for (int k = 0; k < BATCH; k++) {
                uint64_t x = random_next();
                int source = (int)(((x >> 32) * (uint64_t)hosts) >> 32), destination = (int)(((x & 0xffffffff) * (uint64_t)(hosts - 1)) >> 32);
                if (destination >= source) destination++;
                memcpy(frames[k], addresses[destination], 6);
                memcpy(frames[k] + 6, addresses[source], 6);
                targets[k].sll_ifindex = indices[source];
            }
            int count = sendmmsg(file, messages, BATCH, 0);
            if (count > 0) sent += (uint64_t)count;
        }
        now = now_s();
    }
    uint64_t received = received_by_all() - before;
    printf("txblast hosts=%d size=%d frames/s=%.0f lost=%.2f%%\n", hosts, size, (double)received / (now - begin), 100 * (1 - (double)received / (double)sent));
    return 0;
}
