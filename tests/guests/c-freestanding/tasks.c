/* Adds tasks to the API of service/examples/workload.yaml: HOST PORT TITLE ...
 * Each is the body of a POST over a connection of its own, which the API closes. */
#include "freestanding.h"

enum { CLOSED = 1 };

static handle network;

static int send(handle output, const void *bytes, uint32_t size) {
    result_area result;
    output_blocking_write_and_flush(output, bytes, size, &result);
    return result.bytes[0] ? fail("blocking-write-and-flush", result.bytes[4]) : 0;
}

static int send_text(handle output, const char *text) {
    uint32_t length = 0;
    while (text[length]) length++;
    return send(output, text, length);
}

static int send_request(handle output, string title) {
    char digits[] = "0000";
    if (title.length > BLOCKING_WRITE_LIMIT) return fail("TITLE", title.length);
    for (uint32_t i = 4, rest = title.length; i--; rest /= 10) digits[i] += rest % 10;
    return send_text(output, "POST /tasks HTTP/1.0\r\nContent-Length: ") || send_text(output, digits) ||
           send_text(output, "\r\n\r\n") || send(output, title.text, title.length);
}

/* Reads up to the end, and checks that the first line says "HTTP/1.0 201". */
static int expect_created(handle input) {
    static const char wanted[] = "HTTP/1.0 201";
    result_area result;
    uint32_t received = 0;
    for (;;) {
        input_blocking_read(input, BLOCKING_WRITE_LIMIT, &result);
        if (result.bytes[0]) break;
        const unsigned char *data = (const unsigned char *)result.words[1];
        for (uint32_t i = 0; i < result.words[2]; i++, received++)
            if (received < sizeof wanted - 1 && data[i] != (unsigned char)wanted[received])
                return fail("the task, answer at byte", received);
    }
    if (result.bytes[4] != CLOSED) return fail("blocking-read", result.bytes[4]);
    return received < sizeof wanted - 1 ? fail("the answer ended early; it", received) : 0;
}

static int add(const uint8_t *ip, uint32_t port, string title) {
    result_area result;
    create_tcp_socket(IPV4, &result);
    if (result.bytes[0]) return fail("create-tcp-socket", result.bytes[4]);
    handle socket = result.words[1];
    tcp_start_connect(socket, network, IPV4_ADDRESS(ip, port), &result);
    if (result.bytes[0]) return fail("start-connect", result.bytes[1]);
    handle connected = tcp_subscribe(socket);
    for (;;) {
        pollable_block(connected);
        tcp_finish_connect(socket, &result);
        if (!result.bytes[0]) break;
        if (result.bytes[4] != ERROR_WOULD_BLOCK) return fail("finish-connect", result.bytes[4]);
    }
    pollable_drop(connected);
    handle input = result.words[1], output = result.words[2];
    int failed = send_request(output, title) || expect_created(input);
    output_drop(output);
    input_drop(input);
    tcp_drop(socket);
    return failed;
}

__attribute__((export_name("wasi:cli/run@" WASI_VERSION "#run"))) int run(void) {
    const string *list;
    uint8_t ip[4];
    stdout_stream = get_stdout();
    uint32_t given = arguments(&list), added = 0;
    address_argument(list, given, 1, ip);
    uint32_t port = number_argument(list, given, 2, 7777);
    network = instance_network();
    for (uint32_t i = 3; i < given; i++, added++)
        if (add(ip, port, list[i])) return 1;
    network_drop(network);
    say("added ");
    say_number(added);
    say(" tasks\n");
    return 0;
}
