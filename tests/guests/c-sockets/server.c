/* TCP server on BSD sockets and poll(): PORT CONNECTIONS (8080 1). Answers in upper case on 127.0.0.1;
 * port 0 takes a free one. Ends after CONNECTIONS of them. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_CONNECTIONS = 256, BUFFER_SIZE = 4096 };

/* What connection i still has to send; pollfd 0 is the listener, so both arrays are indexed alike. */
static struct {
    char data[BUFFER_SIZE];
    ssize_t filled, sent;
} buffers[MOST_CONNECTIONS + 1];

static int would_block(void) { return errno == EAGAIN || errno == EWOULDBLOCK; }

/* Receives or sends once. Answers 0 when the connection has ended. */
static int serve(int connection, int index) {
    if (buffers[index].sent == buffers[index].filled) {
        ssize_t got = recv(connection, buffers[index].data, BUFFER_SIZE, 0);
        if (got < 0) return would_block();
        if (!got) return 0;
        for (ssize_t i = 0; i < got; i++)
            if (buffers[index].data[i] >= 'a' && buffers[index].data[i] <= 'z') buffers[index].data[i] -= 32;
        buffers[index].filled = got;
        buffers[index].sent = 0;
    }
    ssize_t step = send(connection, buffers[index].data + buffers[index].sent,
                        buffers[index].filled - buffers[index].sent, 0);
    if (step < 0) return would_block();
    buffers[index].sent += step;
    return 1;
}

int main(int argc, char **argv) {
    int port = argc > 1 ? atoi(argv[1]) : 8080, wanted = argc > 2 ? atoi(argv[2]) : 1, served = 0, enable = 1;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0) {
        perror("socket");
        return 1;
    }
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &enable, sizeof enable)) perror("SO_REUSEADDR");
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64)
        || fcntl(listener, F_SETFL, O_NONBLOCK) || getsockname(listener, (struct sockaddr *)&address, &length)) {
        perror("listening");
        return 1;
    }
    printf("listening on 127.0.0.1 %d\n", ntohs(address.sin_port));
    fflush(stdout);

    static struct pollfd watched[MOST_CONNECTIONS + 1];
    int count = 1;
    watched[0].fd = listener;
    while (served < wanted) {
        watched[0].events = count <= MOST_CONNECTIONS ? POLLIN : 0;
        for (int i = 1; i < count; i++) watched[i].events = buffers[i].sent < buffers[i].filled ? POLLOUT : POLLIN;
        if (poll(watched, count, -1) < 0) {
            perror("poll");
            return 1;
        }
        /* Backwards, since ending a connection moves the last one into its place. */
        for (int i = count - 1; i > 0; i--) {
            if (!watched[i].revents || serve(watched[i].fd, i)) continue;
            close(watched[i].fd);
            count--;
            watched[i] = watched[count];
            buffers[i] = buffers[count];
            served++;
        }
        while (watched[0].revents && count <= MOST_CONNECTIONS) {
            int connection = accept(listener, 0, 0);
            if (connection < 0) {
                if (would_block()) break;
                perror("accept");
                return 1;
            }
            if (fcntl(connection, F_SETFL, O_NONBLOCK)) perror("O_NONBLOCK");
            watched[count].fd = connection;
            watched[count].revents = 0;
            buffers[count].filled = buffers[count].sent = 0;
            count++;
        }
    }
    printf("served %d\n", served);
    return 0;
}
