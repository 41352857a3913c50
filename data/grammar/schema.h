// schema: a JSON schema as the grammar of the texts that are valid under it (draft 2020-12; $ref with siblings, too).
//
// type, enum, const; properties, required, additionalProperties; items, prefixItems, minItems, maxItems; minLength,
// maxLength, pattern, format (date, time, date-time, uuid, ipv4); minimum, maximum, exclusiveMinimum, exclusiveMaximum;
// allOf, anyOf, oneOf whose alternatives exclude each other; $ref within the file, recursive too; $defs. Annotations
// (title, default, ...) say nothing about the text. Everything else is refused by name.
//
// Every text is valid, but not every way to write a value is taken:
//  - white space before the text and between tokens: none, one space, or one or two line feeds with at most 40 spaces
//    and tabs after them;
//  - members of an object in any order, each declared one once; other members too, unless additionalProperties forbids
//    them;
//  - integers have at most 18 digits and no fraction; other numbers at most 18 digits on both sides of the point, and
//    an exponent of at most two digits, or none where there are bounds;
//  - characters of enum, const, keys, pattern and format are escaped only where JSON demands it, and values of enum and
//    const are written as in the schema (1.0 is not 1).
#pragma once

#include "grammar.h"

enum { SCHEMA_MAX_BYTES = 1 << 20, SCHEMA_MAX_RULES = 20000 };

// Not finished yet (grammar_finish).
int schema_compile(Grammar **out, JsonStr text, Err *err);
