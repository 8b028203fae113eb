/* UDP echo client on BSD sockets and poll(): HOST PORT COUNT (127.0.0.1 7 10). Half of the datagrams go by sendto
 * from an unconnected socket, half by send from a connected one. Ends with what a port without anybody answers. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000 };

/* Waits for a datagram and compares it. Answers 1 when it is the expected one. */
static int expect_back(int own, const char *expected, int size) {
    char got[2048];
    struct sockaddr_storage source;
    socklen_t length = sizeof source;
    struct pollfd waiting = {.fd = own, .events = POLLIN};
    if (poll(&waiting, 1, PATIENCE_MS) != 1) {
        fprintf(stderr, "nothing came back\n");
        return 0;
    }
    ssize_t received = recvfrom(own, got, sizeof got, 0, (void *)&source, &length);
    if (received < 0) perror("recvfrom");
    return received == size && !memcmp(got, expected, size);
}

int main(int argc, char **argv) {
    const char *host = argc > 1 ? argv[1] : "127.0.0.1", *port = argc > 2 ? argv[2] : "7";
    int count = argc > 3 ? atoi(argv[3]) : 10, back = 0;
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *found;
    int problem = getaddrinfo(host, port, &hints, &found);
    if (problem) {
        fprintf(stderr, "getaddrinfo %s: %s\n", host, gai_strerror(problem));
        return 1;
    }
    int own = socket(found->ai_family, SOCK_DGRAM, 0);
    if (own < 0) {
        perror("socket");
        return 1;
    }
    for (int i = 0; i < count; i++) {
        char text[64];
        int size = snprintf(text, sizeof text, "datagram %d", i);
        ssize_t sent;
        if (i < count / 2) {
            sent = sendto(own, text, size, 0, found->ai_addr, found->ai_addrlen);
        } else {
            if (i == count / 2 && connect(own, found->ai_addr, found->ai_addrlen)) perror("connect");
            sent = send(own, text, size, 0);
        }
        if (sent != size) perror("send");
        back += expect_back(own, text, size);
    }
    printf("%d of %d datagrams came back\n", back, count);

    struct sockaddr_in nobody = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int lonely = socket(AF_INET, SOCK_DGRAM, 0);
    char byte;
    if (connect(lonely, (void *)&nobody, sizeof nobody)) perror("connect");
    if (send(lonely, "?", 1, 0) != 1) perror("send");
    printf("%s\n", recv(lonely, &byte, 1, 0) < 0 && errno == ECONNREFUSED ? "refused" : strerror(errno));
    close(lonely);
    close(own);
    freeaddrinfo(found);
    return back == count ? 0 : 1;
}
