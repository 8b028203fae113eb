/* wasi:http beside a socket: HTTP_PORT SOCKET_PORT SIZE HOST (8080 8081 0 127.0.0.1).
 * Connects to SOCKET_PORT of HOST and sends a request to HTTP_PORT of 127.0.0.1: GET, or with SIZE a POST with so many bytes. Then waits
 * for both in one poll: sends back and prints what comes on the socket, and prints the status and the body of the
 * response. Ends when both have ended. */
#include "freestanding.h"

#define HTTP_TYPES(name) WASI_IMPORT("http/types", name)

enum { GET = 0, POST = 2, HTTP = 0 };

/* result<_, error-code> is 40 bytes with its payload at 8; what future-incoming-response.get gives has two more
 * levels around it. */
typedef union {
    uint8_t bytes[56];
    uint32_t words[14];
    uint64_t longs[7];
} http_area;

HTTP_TYPES("[constructor]fields") handle fields_new(void);
HTTP_TYPES("[constructor]outgoing-request") handle request_new(handle headers);
HTTP_TYPES("[method]outgoing-request.set-method")
int32_t request_set_method(handle self, int32_t method, const char *other, size_t length);
HTTP_TYPES("[method]outgoing-request.set-scheme")
int32_t request_set_scheme(handle self, int32_t some, int32_t scheme, const char *other, size_t length);
HTTP_TYPES("[method]outgoing-request.set-authority")
int32_t request_set_authority(handle self, int32_t some, const char *authority, size_t length);
HTTP_TYPES("[method]outgoing-request.set-path-with-query")
int32_t request_set_path(handle self, int32_t some, const char *path, size_t length);
/* ok: the handle at 4 */
HTTP_TYPES("[method]outgoing-request.body") void request_body(handle self, void *result);
HTTP_TYPES("[method]outgoing-body.write") void outgoing_body_write(handle self, void *result);
HTTP_TYPES("[static]outgoing-body.finish")
void outgoing_body_finish(handle self, int32_t some, handle trailers, void *result);
HTTP_TYPES("[method]future-incoming-response.subscribe") handle future_subscribe(handle self);
/* some: u8 at 0; ok once: u8 at 8; ok: u8 at 16; the response, or the error-code, at 24 */
HTTP_TYPES("[method]future-incoming-response.get") void future_get(handle self, void *result);
HTTP_TYPES("[resource-drop]future-incoming-response") void future_drop(handle self);
HTTP_TYPES("[method]incoming-response.status") int32_t response_status(handle self);
/* ok: the handle at 4 */
HTTP_TYPES("[method]incoming-response.consume") void response_consume(handle self, void *result);
HTTP_TYPES("[resource-drop]incoming-response") void response_drop(handle self);
HTTP_TYPES("[method]incoming-body.stream") void incoming_body_stream(handle self, void *result);
HTTP_TYPES("[resource-drop]incoming-body") void incoming_body_drop(handle self);
/* ok: the future at 8; error: the error-code at 8 */
WASI_IMPORT("http/outgoing-handler", "handle")
void http_handle(handle request, int32_t some, handle options, void *result);

static unsigned char payload[BLOCKING_WRITE_LIMIT];
static handle socket, input, output;

static int connect_to(const uint8_t *ip, uint32_t port) {
    result_area result;
    handle network = instance_network();
    create_tcp_socket(IPV4, &result);
    if (result.bytes[0]) return fail("create-tcp-socket", result.bytes[4]);
    socket = result.words[1];
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
    network_drop(network);
    input = result.words[1];
    output = result.words[2];
    return 0;
}

/* Sends the request and gives the future, or -1. */
static handle send_request(uint32_t port, uint32_t size) {
    result_area result;
    http_area answer;
    char authority[] = "127.0.0.1:     ";
    size_t length = 10;
    for (uint32_t unit = 10000; unit; unit /= 10)
        if (port >= unit || unit == 1) authority[length++] = '0' + port / unit % 10;
    handle request = request_new(fields_new());
    if (request_set_method(request, size ? POST : GET, 0, 0) || request_set_scheme(request, 1, HTTP, 0, 0) ||
        request_set_authority(request, 1, authority, length) || request_set_path(request, 1, "/", 1))
        return fail("outgoing-request", 0), -1;
    request_body(request, &result);
    handle body = result.words[1];
    outgoing_body_write(body, &result);
    handle stream = result.words[1];
    http_handle(request, 0, 0, &answer);
    if (answer.bytes[0]) return fail("handle", answer.bytes[8]), -1;
    handle future = answer.words[2];
    if (size) say("sending\n");
    for (uint32_t sent = 0; sent < size; sent += sizeof payload) {
        output_blocking_write_and_flush(stream, payload, sizeof payload, &result);
        if (result.bytes[0]) return fail("blocking-write-and-flush", result.bytes[4]), -1;
    }
    output_drop(stream);
    outgoing_body_finish(body, 0, 0, &answer);
    if (answer.bytes[0]) return fail("finish", answer.bytes[8]), -1;
    return future;
}

static void say_bytes(const void *bytes, uint32_t size) {
    result_area result;
    output_blocking_write_and_flush(stdout_stream, bytes, size, &result);
    say("\n");
}

/* Prints the whole response. */
static int report(handle future) {
    result_area result;
    http_area answer;
    future_get(future, &answer);
    if (!answer.bytes[0] || answer.bytes[8]) return fail("get", answer.bytes[0]);
    if (answer.bytes[16]) return fail("response", answer.bytes[24]);
    handle response = answer.words[6];
    say("response ");
    say_number(response_status(response));
    response_consume(response, &result);
    handle body = result.words[1];
    incoming_body_stream(body, &result);
    handle stream = result.words[1];
    for (;;) {
        input_blocking_read(stream, 4000, &result);
        if (result.bytes[0]) break;
        if (result.words[2]) {
            say(" ");
            say_bytes((const void *)result.words[1], result.words[2]);
        }
    }
    input_drop(stream);
    incoming_body_drop(body);
    response_drop(response);
    future_drop(future);
    return result.bytes[4] == STREAM_CLOSED ? 0 : fail("reading the body", result.bytes[4]);
}

__attribute__((export_name("wasi:cli/run@" WASI_VERSION "#run"))) int run(void) {
    result_area result;
    const string *list;
    stdout_stream = get_stdout();
    uint32_t given = arguments(&list);
    uint32_t http_port = number_argument(list, given, 1, 8080), port = number_argument(list, given, 2, 8081);
    uint32_t size = number_argument(list, given, 3, 0);
    uint8_t ip[4];
    address_argument(list, given, 4, ip);
    if (connect_to(ip, port)) return 1;
    say("connected\n");
    handle future = send_request(http_port, size);
    if (future < 0) return 1;
    say("waiting\n");
    handle both[2] = {future_subscribe(future), input_subscribe(input)};
    uint32_t socket_open = 1, response_open = 1;
    while (socket_open || response_open) {
        uint32_t first = response_open ? 0 : 1;
        heap_used = 0;
        poll(both + first, socket_open + response_open, &result);
        const uint32_t *ready = (const uint32_t *)result.words[0];
        uint32_t seen = 0;
        for (uint32_t i = 0; i < result.words[1]; i++) seen |= 1 << (ready[i] + first);
        if (seen & 2) {
            input_read(input, sizeof payload, &result);
            if (result.bytes[0]) {
                say("socket ended\n");
                pollable_drop(both[1]);
                socket_open = 0;
            } else if (result.words[2]) {
                uint32_t size = result.words[2];
                const void *data = (const void *)result.words[1];
                say("socket ");
                say_bytes(data, size);
                output_blocking_write_and_flush(output, data, size, &result);
            }
        }
        if (seen & 1) {
            pollable_drop(both[0]);
            response_open = 0;
            if (report(future)) return 1;
        }
    }
    output_drop(output);
    input_drop(input);
    tcp_drop(socket);
    return 0;
}
