/* The part of WASI 0.2 that the freestanding C guests call, written down in the canonical ABI's flat form.
 *
 * Compile with -DWASI_VERSION='"0.2.N"'. Every handle is an int32_t. A result with more than one flat value
 * goes to *result: the tag as u8 at offset 0 (0 is ok), the payload at the first offset that its own
 * alignment allows, given beside each function below.
 */
#ifndef GUEST_WASI_H
#define GUEST_WASI_H
#include <stddef.h>
#include <stdint.h>

#define WASI_IMPORT(interface, name) \
    __attribute__((import_module("wasi:" interface "@" WASI_VERSION), import_name(name))) extern

typedef int32_t handle;

enum { IPV4 = 0, IPV6 = 1 };                             /* ip-address-family, and the cases of ip-socket-address */
enum { ERROR_WOULD_BLOCK = 8 };                          /* error-code */
enum { STREAM_FAILED = 0, STREAM_CLOSED = 1 };           /* stream-error */

/* ip-socket-address: the case, then eleven words; ipv4 fills port and four bytes, the rest is zero. */
#define ADDRESS_PARAMETERS \
    int32_t family, int32_t w0, int32_t w1, int32_t w2, int32_t w3, int32_t w4, int32_t w5, int32_t w6, \
        int32_t w7, int32_t w8, int32_t w9, int32_t w10
#define IPV4_ADDRESS(ip, port) IPV4, (port), (ip)[0], (ip)[1], (ip)[2], (ip)[3], 0, 0, 0, 0, 0, 0

WASI_IMPORT("sockets/instance-network", "instance-network") handle instance_network(void);
WASI_IMPORT("sockets/network", "[resource-drop]network") void network_drop(handle self);

/* ok: the socket at 4; error: u8 at 4 */
WASI_IMPORT("sockets/tcp-create-socket", "create-tcp-socket") void create_tcp_socket(int32_t family, void *result);

/* ok: nothing; error: u8 at 1 */
WASI_IMPORT("sockets/tcp", "[method]tcp-socket.start-bind")
void tcp_start_bind(handle self, handle network, ADDRESS_PARAMETERS, void *result);
WASI_IMPORT("sockets/tcp", "[method]tcp-socket.finish-bind") void tcp_finish_bind(handle self, void *result);
WASI_IMPORT("sockets/tcp", "[method]tcp-socket.start-listen") void tcp_start_listen(handle self, void *result);
WASI_IMPORT("sockets/tcp", "[method]tcp-socket.finish-listen") void tcp_finish_listen(handle self, void *result);
WASI_IMPORT("sockets/tcp", "[method]tcp-socket.start-connect")
void tcp_start_connect(handle self, handle network, ADDRESS_PARAMETERS, void *result);
/* ok: input stream at 4, output stream at 8; error: u8 at 4 */
WASI_IMPORT("sockets/tcp", "[method]tcp-socket.finish-connect") void tcp_finish_connect(handle self, void *result);
/* ok: socket at 4, input stream at 8, output stream at 12; error: u8 at 4 */
WASI_IMPORT("sockets/tcp", "[method]tcp-socket.accept") void tcp_accept(handle self, void *result);
/* ok: the case as u8 at 4, for ipv4 the port as u16 at 8 and four bytes at 10; error: u8 at 4 */
WASI_IMPORT("sockets/tcp", "[method]tcp-socket.local-address") void tcp_local_address(handle self, void *result);
WASI_IMPORT("sockets/tcp", "[method]tcp-socket.subscribe") handle tcp_subscribe(handle self);
WASI_IMPORT("sockets/tcp", "[resource-drop]tcp-socket") void tcp_drop(handle self);

WASI_IMPORT("io/poll", "[method]pollable.block") void pollable_block(handle self);
/* list of u32: address at 0, length at 4 */
WASI_IMPORT("io/poll", "poll") void poll(const handle *pollables, size_t count, void *result);
WASI_IMPORT("io/poll", "[resource-drop]pollable") void pollable_drop(handle self);

/* ok: address at 4, length at 8; error: the case as u8 at 4, the error's handle at 8 */
WASI_IMPORT("io/streams", "[method]input-stream.read") void input_read(handle self, int64_t size, void *result);
WASI_IMPORT("io/streams", "[method]input-stream.blocking-read")
void input_blocking_read(handle self, int64_t size, void *result);
WASI_IMPORT("io/streams", "[method]input-stream.subscribe") handle input_subscribe(handle self);
WASI_IMPORT("io/streams", "[resource-drop]input-stream") void input_drop(handle self);
/* ok: u64 at 8; error: the case as u8 at 8, the error's handle at 12 */
WASI_IMPORT("io/streams", "[method]output-stream.check-write") void output_check_write(handle self, void *result);
/* error: the case as u8 at 4, the error's handle at 8 */
WASI_IMPORT("io/streams", "[method]output-stream.write")
void output_write(handle self, const void *data, size_t size, void *result);
WASI_IMPORT("io/streams", "[method]output-stream.blocking-write-and-flush")
void output_blocking_write_and_flush(handle self, const void *data, size_t size, void *result);
WASI_IMPORT("io/streams", "[method]output-stream.subscribe") handle output_subscribe(handle self);
WASI_IMPORT("io/streams", "[resource-drop]output-stream") void output_drop(handle self);
WASI_IMPORT("io/error", "[resource-drop]error") void error_drop(handle self);

WASI_IMPORT("cli/stdout", "get-stdout") handle get_stdout(void);
/* list of string: address at 0, length at 4; each string again address and length */
WASI_IMPORT("cli/environment", "get-arguments") void get_arguments(void *result);
#endif
