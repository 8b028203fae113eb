/* What a C program without libc needs to be a command: an allocator for the host, output, arguments. */
#ifndef GUEST_FREESTANDING_H
#define GUEST_FREESTANDING_H
#include "wasi.h"

enum { BLOCKING_WRITE_LIMIT = 4096 };   /* bytes that blocking-write-and-flush takes at most */

static unsigned char heap[2 << 20];
static size_t heap_used;

/* Lists that the host returns are placed here; the program empties it by heap_used = 0. */
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
    size_t start = (heap_used + align - 1) & ~(align - 1);
    if (start + size > sizeof heap) __builtin_trap();
    heap_used = start + size;
    if (old) __builtin_memcpy(heap + start, old, old_size < size ? old_size : size);
    return heap + start;
}

/* The result area of a host call, large enough for every function in wasi.h. */
typedef union {
    uint8_t bytes[40];
    uint16_t halves[20];
    uint32_t words[10];
    uint64_t longs[5];
} result_area;

static handle stdout_stream;

static void say(const char *text) {
    result_area result;
    size_t length = 0;
    while (text[length]) length++;
    output_blocking_write_and_flush(stdout_stream, text, length, &result);
}

static void say_number(uint32_t number) {
    char digits[11];
    int i = sizeof digits - 1;
    digits[i] = 0;
    do digits[--i] = '0' + number % 10;
    while (number /= 10);
    say(digits + i);
}

/* Prints the failing step with its error-code and gives the program's result, 1. */
static int fail(const char *step, uint32_t code) {
    say(step);
    say(" failed with code ");
    say_number(code);
    say("\n");
    return 1;
}

typedef struct {
    const unsigned char *text;
    uint32_t length;
} string;

/* The arguments stay valid until heap_used is reset. */
static uint32_t arguments(const string **list) {
    uint32_t result[2];
    get_arguments(result);
    *list = (const string *)result[0];
    return result[1];
}

static uint32_t number_argument(const string *list, uint32_t count, uint32_t index, uint32_t otherwise) {
    if (index >= count) return otherwise;
    uint32_t number = 0;
    for (uint32_t i = 0; i < list[index].length; i++) {
        if (list[index].text[i] < '0' || list[index].text[i] > '9') __builtin_trap();
        number = number * 10 + (list[index].text[i] - '0');
    }
    return number;
}

/* Writes the dotted IPv4 address of an argument, or 127.0.0.1, to ip[0..3]. */
static void address_argument(const string *list, uint32_t count, uint32_t index, uint8_t *ip) {
    static const unsigned char loopback[] = "127.0.0.1";
    string text = {loopback, sizeof loopback - 1};
    if (index < count) text = list[index];
    ip[0] = ip[1] = ip[2] = ip[3] = 0;
    for (uint32_t i = 0, part = 0; i < text.length; i++) {
        if (text.text[i] == '.' && part < 3) part++;
        else if (text.text[i] >= '0' && text.text[i] <= '9') ip[part] = ip[part] * 10 + (text.text[i] - '0');
        else __builtin_trap();
    }
}
#endif
