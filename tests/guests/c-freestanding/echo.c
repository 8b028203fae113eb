/* TCP echo client without libc or adapter: HOST PORT COUNT SIZE (127.0.0.1 8080 1 32).
 * Sends SIZE bytes COUNT times over one connection and compares what comes back. */
#include "freestanding.h"

static unsigned char payload[65536];

__attribute__((export_name("wasi:cli/run@" WASI_VERSION "#run"))) int run(void) {
    result_area result;
    const string *list;
    uint8_t ip[4];
    stdout_stream = get_stdout();
    uint32_t given = arguments(&list);
    address_argument(list, given, 1, ip);
    uint32_t port = number_argument(list, given, 2, 8080);
    uint32_t count = number_argument(list, given, 3, 1);
    uint32_t size = number_argument(list, given, 4, 32);
    if (size > sizeof payload) return fail("SIZE", size);

    handle network = instance_network();
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

    for (uint32_t i = 0; i < size; i++) payload[i] = i % 251;
    uint32_t total = 0;
    for (uint32_t round = 0; round < count; round++) {
        for (uint32_t offset = 0; offset < size; offset += BLOCKING_WRITE_LIMIT) {
            uint32_t piece = size - offset < BLOCKING_WRITE_LIMIT ? size - offset : BLOCKING_WRITE_LIMIT;
            output_blocking_write_and_flush(output, payload + offset, piece, &result);
            if (result.bytes[0]) return fail("blocking-write-and-flush", result.bytes[4]);
        }
        for (uint32_t received = 0; received < size;) {
            heap_used = 0;
            input_blocking_read(input, size - received, &result);
            if (result.bytes[0]) return fail("blocking-read", result.bytes[4]);
            const unsigned char *data = (const unsigned char *)result.words[1];
            for (uint32_t i = 0; i < result.words[2]; i++)
                if (data[i] != payload[received + i]) return fail("comparison", received + i);
            received += result.words[2];
            total += result.words[2];
        }
    }
    say("echoed ");
    say_number(total);
    say(" bytes in ");
    say_number(count);
    say(" round trips\n");
    output_drop(output);
    input_drop(input);
    tcp_drop(socket);
    network_drop(network);
    return 0;
}
