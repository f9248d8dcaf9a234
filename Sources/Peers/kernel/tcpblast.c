// Bulk TCP between two namespaces.
//
//     tcpblast plain INTERFACE                     turns segmentation and receive offload off, so that a frame is a segment
//     tcpblast receive PORT INTERFACE SECONDS      takes one connection and counts, after a tenth of the time
//     tcpblast send ADDRESS PORT                   sends until the other end closes
//
// Output of receive: "tcpblast segments/s=366000 bytes/s=530000000"; segments are packets that INTERFACE has received.
#include "common.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static char buffer[65536];

static int plain(const char *interface) {
    const uint32_t commands[] = {ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO};
    int file = socket(AF_INET, SOCK_DGRAM, 0);
    check(file, "a socket");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        struct ethtool_value value = {.cmd = commands[i], .data = 0};
        struct ifreq request = {0};
        snprintf(request.ifr_name, sizeof request.ifr_name, "%s", interface);
        request.ifr_data = (char *)&value;
        check(ioctl(file, SIOCETHTOOL, &request), interface);
    }
    return 0;
}

static int receive(uint16_t port, const char *interface, double duration) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_ANY)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    check(listener, "a socket");
    check(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
    check(bind(listener, (struct sockaddr *)&address, sizeof address), "bind");
    check(listen(listener, 1), "listen");
    // Whoever started it may start the sender now.
    printf("listening\n");
    fflush(stdout);
    int file = accept(listener, NULL, NULL);
    check(file, "accept");
    uint64_t bytes = 0, packets = 0;
    double start = now_s(), begin = 0, now;
    while ((now = now_s()) - start < duration * 1.1) {
        if (!begin && now - start >= duration * 0.1) {
            begin = now;
            bytes = 0;
            packets = received_packets(interface);
        }
        ssize_t count = read(file, buffer, sizeof buffer);
        check((int)count, "read");
        if (count == 0) {
            fprintf(stderr, "the sender has closed\n");
            return 1;
        }
        bytes += (uint64_t)count;
    }
    if (!begin) return 1;
    packets = received_packets(interface) - packets;
    printf("tcpblast segments/s=%.0f bytes/s=%.0f\n", (double)packets / (now - begin), (double)bytes / (now - begin));
    return 0;
}

static int send_all(const char *text, uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, text, &address.sin_addr) != 1) usage("tcpblast send ADDRESS PORT");
    int file = socket(AF_INET, SOCK_STREAM, 0);
    check(file, "a socket");
    check(connect(file, (struct sockaddr *)&address, sizeof address), "connect");
    signal(SIGPIPE, SIG_IGN);
    memset(buffer, 0x5a, sizeof buffer);
    while (write(file, buffer, sizeof buffer) > 0) continue;
    return errno == EPIPE || errno == ECONNRESET ? 0 : 1;
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "plain")) return plain(argv[2]);
    if (argc == 5 && !strcmp(argv[1], "receive") && atof(argv[4]) > 0) return receive((uint16_t)atoi(argv[2]), argv[3], atof(argv[4]));
    if (argc == 4 && !strcmp(argv[1], "send")) return send_all(argv[2], (uint16_t)atoi(argv[3]));
    usage("tcpblast plain INTERFACE | receive PORT INTERFACE SECONDS | send ADDRESS PORT");
}
