/* TCP echo client on BSD sockets: HOST PORT COUNT SIZE (127.0.0.1 8080 1 32).
 * Sends SIZE bytes COUNT times over one connection and compares what comes back. */
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int connect_to(const char *host, const char *port) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found;
    int problem = getaddrinfo(host, port, &hints, &found);
    if (problem) {
        fprintf(stderr, "getaddrinfo %s: %s\n", host, gai_strerror(problem));
        return -1;
    }
    int connection = -1;
    for (struct addrinfo *address = found; address && connection < 0; address = address->ai_next) {
        int candidate = socket(address->ai_family, SOCK_STREAM, 0);
        if (candidate < 0) {
            perror("socket");
        } else if (connect(candidate, address->ai_addr, address->ai_addrlen)) {
            perror("connect");
            close(candidate);
        } else {
            connection = candidate;
        }
    }
    freeaddrinfo(found);
    return connection;
}

int main(int argc, char **argv) {
    const char *host = argc > 1 ? argv[1] : "127.0.0.1", *port = argc > 2 ? argv[2] : "8080";
    int count = argc > 3 ? atoi(argv[3]) : 1, size = argc > 4 ? atoi(argv[4]) : 32;
    int connection = connect_to(host, port);
    if (connection < 0) return 1;
    int enable = 1;
    if (setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &enable, sizeof enable)) perror("TCP_NODELAY");

    unsigned char *payload = malloc(size), *answer = malloc(size);
    if (!payload || !answer) return 1;
    for (int i = 0; i < size; i++) payload[i] = i % 251;
    long total = 0;
    for (int round = 0; round < count; round++) {
        for (int sent = 0; sent < size;) {
            ssize_t step = send(connection, payload + sent, size - sent, 0);
            if (step < 0) {
                perror("send");
                return 1;
            }
            sent += step;
        }
        for (int received = 0; received < size;) {
            ssize_t step = recv(connection, answer + received, size - received, 0);
            if (step <= 0) {
                if (step) perror("recv");
                else fprintf(stderr, "the peer ended the connection\n");
                return 1;
            }
            received += step;
            total += step;
        }
        if (memcmp(payload, answer, size)) {
            fprintf(stderr, "the answer differs\n");
            return 1;
        }
    }
    printf("echoed %ld bytes in %d round trips\n", total, count);
    close(connection);
    return 0;
}
