// jinja: an interpreter for the part of Jinja2 that chat templates use, over JSON values, with provenance.
//
// Semantics are those of jinja2 with trim_blocks and lstrip_blocks in Hugging Face's sandbox. Strict: an unknown
// filter, test, method, tag or undefined attribute use that jinja2 would refuse is an error with the template's line;
// nothing is approximated. Bounded: nesting, steps, output size. No access to the host.
//
// Provenance: each byte of a string has an origin, a uint32_t. Text of the template has origin 0, strings of the
// variables have the origin of their variable; all string operations keep it byte for byte.
#pragma once

#include "base.h"
#include "key_notes.h"

typedef struct JinjaTemplate JinjaTemplate;

// `name` is used in messages ("chat template line 3: ...").
int jinja_compile(JinjaTemplate **t, const char *source, size_t len, const char *name, Err *err);
void jinja_free(JinjaTemplate *t);

// The variables of a template. Origins: JINJA_ORIGIN_MESSAGE | i for all inside messages[i]; JINJA_ORIGIN_DATA for
// tools, documents and other data; 0 for bos_token and eos_token, which belong to the model. Both kinds also hold the
// place: the index of the message's key (or of the variable: tools, then those of `extra`) and of the item in its list.
// Numbers, true, lists and objects have origins too: text made from them (str, tojson) gets theirs. A "role" with a
// well-known name has origin 0, because templates build control tokens from it ('<|' + role + '|>').
#define JINJA_ORIGIN_MESSAGE UINT32_C(0x80000000)
enum {
    JINJA_ORIGIN_DATA = 1,
    JINJA_MAX_MESSAGES = 0x4000,
    JINJA_ORIGIN_INDEX = JINJA_MAX_MESSAGES - 1, // the bits of i
    JINJA_PLACES = 256,                          // keys and items from the 256th on share one place
};
// key, item: larger values count as JINJA_PLACES - 1.
static inline uint32_t jinja_place(size_t key, size_t item) {
    const size_t most = JINJA_PLACES - 1;
    return (uint32_t)((key < most ? key : most) << 14 | (item < most ? item : most) << 22);
}
static inline size_t jinja_place_key(uint32_t origin) { return origin >> 14 & (JINJA_PLACES - 1); }
static inline size_t jinja_place_item(uint32_t origin) { return origin >> 22 & (JINJA_PLACES - 1); }
typedef struct JinjaInput {
    const Json *messages; // array
    const Json *tools;    // array or NULL (none)
    const Json *extra;    // object: further variables of the record (enable_thinking, ...) or NULL
    bool add_generation_prompt;
    const char *bos_token, *eos_token; // NULL: undefined
    bool is_probe;                     // a short conversation: fewer steps are allowed
} JinjaInput;

typedef struct JinjaOutput { // init with {0}; jinja_output_clear frees
    char *text;              // len bytes, then a NUL
    uint32_t *origin;        // one per byte
    uint8_t *generation;     // one per byte: 1 inside {% generation %}; NULL when the template has no such tag
    size_t len;
    KeyNotes unread; // keys of messages that the template does not read, as "[].name"; variables:
                     // "chat_template_kwargs.x", "tools"
} JinjaOutput;
void jinja_output_clear(JinjaOutput *out);

// The clock is not read: strftime_now formats 1 January 2026, so that the same data always gives the same tokens.
int jinja_render(const JinjaTemplate *t, const JinjaInput *in, JinjaOutput *out, Err *err);
