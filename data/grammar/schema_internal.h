// schema_internal: what the files of schema.h share.
//
// A rule is made for a set of schemas that a value must all fit: {A, B} for {"allOf": [A, B]}, {} for any value. So
// intersections need no automaton of their own: members with the same name are again a set, bounds the tighter ones.
#pragma once

#include "intern.h"
#include "schema.h"

typedef enum { PART_WHOLE, PART_PLAIN, PART_ANY_OF, PART_ONE_OF } SchemaPart; // plain: its own keywords

typedef struct SchemaItem { // no padding: it is a part of a key
    const Json *schema;
    uint64_t part;
} SchemaItem;

typedef struct SchemaSet { // init with {0}
    SchemaItem *items;
    size_t count, capacity;
} SchemaSet;
void schema_set_add(SchemaSet *s, const Json *schema, SchemaPart part);
void schema_set_clear(SchemaSet *s);
#define AUTO_SCHEMA_SET AUTO_CALL(schema_set_clear)

enum {
    TYPE_NULL = 1,
    TYPE_BOOLEAN = 2,
    TYPE_INTEGER = 4,
    TYPE_FRACTION = 8, // numbers that are no integers
    TYPE_NUMBER = 12,
    TYPE_STRING = 16,
    TYPE_ARRAY = 32,
    TYPE_OBJECT = 64,
    TYPE_ALL = 127
};

typedef enum { // automata that many rules share
    LEX_SPACE,
    LEX_QUOTE,
    LEX_CHARACTER, // between the quotes of a string
    LEX_NULL,
    LEX_BOOLEAN,
    LEX_INTEGER,
    LEX_NUMBER,
    LEX_OPEN_ARRAY,
    LEX_CLOSE_ARRAY,
    LEX_OPEN_OBJECT,
    LEX_CLOSE_OBJECT,
    LEX_COMMA,
    LEX_COLON,
    LEX_KEY, // any one, without \u
    LEX_COUNT
} SchemaLex;
extern const char *const schema_lex[LEX_COUNT]; // regular expressions

typedef struct SchemaCompiler {
    const Json *root;
    Grammar *g;
    Intern sets;             // of set n: the items of rule n + 1
    uint32_t lex[LEX_COUNT]; // dfa + 1; 0: not made yet
    size_t comparisons;      // of schemas and values, for oneOf
    Err *err;
} SchemaCompiler;

// Each appends programs that end with RETURN, and returns their pc. Failures are returned as -1 with c->err.
int schema_lex_dfa(SchemaCompiler *c, SchemaLex which, uint32_t *dfa);
int schema_lex_program(SchemaCompiler *c, SchemaLex which, uint32_t next, uint32_t *pc);
// A string of any min to max characters; max -1: no limit.
int schema_text_program(SchemaCompiler *c, int64_t min, int64_t max, uint32_t next, uint32_t *pc);
// The rule of a set.
int schema_rule(SchemaCompiler *c, const SchemaSet *s, uint32_t *rule);

int schema_values(SchemaCompiler *c, const Json *const *values, size_t n, uint32_t *pc); // enum
// Values of these types that fit a set of plain schemas.
typedef int SchemaProgram(SchemaCompiler *c, const SchemaSet *s, unsigned types, uint32_t *pc);
SchemaProgram schema_object, schema_array, schema_string, schema_number;

// ---- keywords ----

// Refuses keywords that are unknown or of a wrong type. schema: an object.
int schema_check_keywords(const SchemaCompiler *c, const Json *schema);
bool schema_has_plain(const Json *schema);              // keywords that PART_PLAIN stands for
unsigned schema_types(const Json *schema);              // "type"; all where there is none
unsigned schema_type_of(const Json *value);             // of one value
bool json_values_equal(const Json *a, const Json *b);   // as JSON schema has it: 1 is 1.0
const Json *schema_enum(const Json *schema, size_t *n); // the values of enum, else of const; NULL: neither
// Refuses keywords about values of these types: those of an enum are not looked into.
int schema_check_enum(const SchemaCompiler *c, const Json *schema, unsigned types);
int schema_resolve(const SchemaCompiler *c, const Json *ref, const Json **out); // the schema that "$ref" names
int schema_refuse(const SchemaCompiler *c, const Json *at, const char *fmt, ...) PRINTF_LIKE(3, 4);
// Whether no value fits both, as far as types, enum, const and required members tell.
bool schema_disjoint(SchemaCompiler *c, const Json *a, const Json *b, int depth);

// A JSON string of the text, with quotes, escaped only where it must be.
void schema_quote(StrBuf *out, JsonStr text);
// The strings of JSON, without quotes, whose text d accepts.
int schema_escape_dfa(ByteDfa **out, const ByteDfa *d, Err *err);
