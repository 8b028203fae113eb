/* TCP server without libc or adapter: PORT CONNECTIONS HOST (8080 1 127.0.0.1).
 * One poll over the listener and every connection; answers in upper case; ends after CONNECTIONS of them.
 * With a fourth argument it says the same to whatever comes: an answer in HTTP, for load generators.
 * Never asks pollable.ready: what poll says is enough. */
#include "freestanding.h"

enum { MOST_CONNECTIONS = 256, BUFFER_SIZE = 4096 };

typedef struct {
    handle socket, input, output, readable, writable;
    uint32_t finished;
    uint32_t filled, sent;   /* buffer[sent..filled] still has to be written */
    unsigned char buffer[BUFFER_SIZE];
} connection;

static connection connections[MOST_CONNECTIONS];
static uint32_t open_connections;
static int speaks_http;
static const char http_answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

static void end_connection(uint32_t index) {
    connection *ending = &connections[index];
    pollable_drop(ending->readable);
    pollable_drop(ending->writable);
    output_drop(ending->output);
    input_drop(ending->input);
    tcp_drop(ending->socket);
    if (index != --open_connections) __builtin_memcpy(ending, &connections[open_connections], sizeof *ending);
}

/* What a stream error leaves behind; `at` is where its case stands. */
static void forget_error(const result_area *result, int at) {
    if (result->bytes[at] == STREAM_FAILED) error_drop(result->words[at / 4 + 1]);
}

/* Writes what the stream takes now. Answers 0 when the connection is no longer usable. */
static int send_some(connection *to) {
    result_area result;
    output_check_write(to->output, &result);
    if (result.bytes[0]) {
        forget_error(&result, 8);
        return 0;
    }
    uint32_t piece = to->filled - to->sent;
    if (result.longs[1] < piece) piece = result.longs[1];
    if (!piece) return 1;
    output_write(to->output, to->buffer + to->sent, piece, &result);
    if (result.bytes[0]) {
        forget_error(&result, 4);
        return 0;
    }
    to->sent += piece;
    return 1;
}

/* Reads what is there into the empty buffer, in upper case. Answers 0 at the end of the stream. */
static int receive_some(connection *from) {
    result_area result;
    input_read(from->input, BUFFER_SIZE, &result);
    if (result.bytes[0]) {
        forget_error(&result, 4);
        return 0;
    }
    const unsigned char *data = (const unsigned char *)result.words[1];
    from->filled = result.words[2];
    from->sent = 0;
    if (speaks_http) {
        from->filled = sizeof http_answer - 1;
        __builtin_memcpy(from->buffer, http_answer, sizeof http_answer - 1);
        return 1;
    }
    for (uint32_t i = 0; i < from->filled; i++)
        from->buffer[i] = data[i] >= 'a' && data[i] <= 'z' ? data[i] - 32 : data[i];
    return 1;
}

static int accept_all(handle listener) {
    result_area result;
    while (open_connections < MOST_CONNECTIONS) {
        tcp_accept(listener, &result);
        if (result.bytes[0]) return result.bytes[4] == ERROR_WOULD_BLOCK ? 0 : fail("accept", result.bytes[4]);
        connection *accepted = &connections[open_connections++];
        accepted->socket = result.words[1];
        accepted->input = result.words[2];
        accepted->output = result.words[3];
        accepted->readable = input_subscribe(accepted->input);
        accepted->writable = output_subscribe(accepted->output);
        accepted->finished = accepted->filled = accepted->sent = 0;
    }
    return 0;
}

__attribute__((export_name("wasi:cli/run@" WASI_VERSION "#run"))) int run(void) {
    result_area result;
    const string *list;
    uint8_t ip[4];
    stdout_stream = get_stdout();
    uint32_t given = arguments(&list);
    uint32_t port = number_argument(list, given, 1, 8080);
    uint32_t wanted = number_argument(list, given, 2, 1);
    address_argument(list, given, 3, ip);
    speaks_http = given > 4;

    handle network = instance_network();
    create_tcp_socket(IPV4, &result);
    if (result.bytes[0]) return fail("create-tcp-socket", result.bytes[4]);
    handle listener = result.words[1];
    handle acceptable = tcp_subscribe(listener);
    tcp_start_bind(listener, network, IPV4_ADDRESS(ip, port), &result);
    if (result.bytes[0]) return fail("start-bind", result.bytes[1]);
    for (;;) {
        tcp_finish_bind(listener, &result);
        if (!result.bytes[0]) break;
        if (result.bytes[1] != ERROR_WOULD_BLOCK) return fail("finish-bind", result.bytes[1]);
        pollable_block(acceptable);
    }
    tcp_start_listen(listener, &result);
    if (result.bytes[0]) return fail("start-listen", result.bytes[1]);
    for (;;) {
        tcp_finish_listen(listener, &result);
        if (!result.bytes[0]) break;
        if (result.bytes[1] != ERROR_WOULD_BLOCK) return fail("finish-listen", result.bytes[1]);
        pollable_block(acceptable);
    }
    tcp_local_address(listener, &result);
    if (result.bytes[0]) return fail("local-address", result.bytes[4]);
    say("listening on ");
    for (int i = 0; i < 4; i++) {
        say_number(result.bytes[10 + i]);
        say(i < 3 ? "." : " ");
    }
    say_number(result.halves[4]);
    say("\n");

    uint32_t served = 0;
    while (served < wanted) {
        handle watched[MOST_CONNECTIONS + 1];
        watched[0] = acceptable;
        for (uint32_t i = 0; i < open_connections; i++)
            watched[i + 1] = connections[i].sent < connections[i].filled ? connections[i].writable : connections[i].readable;
        heap_used = 0;
        /* With every place taken the listener is left out, else a waiting peer would make this loop spin. */
        uint32_t skip = open_connections == MOST_CONNECTIONS;
        poll(watched + skip, open_connections + 1 - skip, &result);
        const uint32_t *ready = (const uint32_t *)result.words[0];
        int may_accept = 0;
        for (uint32_t i = 0; i < result.words[1]; i++) {
            uint32_t position = ready[i] + skip;
            if (!position) {
                may_accept = 1;
                continue;
            }
            connection *active = &connections[position - 1];
            int usable = active->sent < active->filled ? send_some(active) : receive_some(active);
            if (usable && active->sent < active->filled) usable = send_some(active);
            active->finished = !usable;
        }
        /* Only now, since it moves others: hosts need not give what is ready in order. From the last to the first. */
        for (uint32_t i = open_connections; i--;) {
            if (!connections[i].finished) continue;
            end_connection(i);
            served++;
        }
        if (may_accept && accept_all(listener)) return 1;
    }
    say("served ");
    say_number(served);
    say("\n");
    pollable_drop(acceptable);
    tcp_drop(listener);
    network_drop(network);
    return 0;
}
