// secrets: e-mail addresses, keys and phone numbers in a text, by their form.
//
//   e-mail   name@domain with a domain that may exist: not example.com and others that are reserved for documentation
//            (RFC 2606), not user@host:path of scp and git
//   key      tokens of known services by their prefixes (secrets.c lists them), JSON Web Tokens, private keys in PEM;
//            not placeholders such as sk-xxxx or AWS's ...EXAMPLE
//   phone    +CC with 8 to 15 digits in all (E.164), (ddd) ddd-dddd, ddd-ddd-dddd; dots and spaces as separators, too
// What has another form is not found: passwords, names, addresses, keys without a prefix.
#pragma once

#include "enum_words.h"

#include <stdbool.h>
#include <stddef.h>

#define SECRETS(X)                                                                                                     \
    X(SECRET_EMAIL, "e-mail", "e-mail address")                                                                        \
    X(SECRET_KEY, "keys", "key")                                                                                       \
    X(SECRET_PHONE, "phones", "phone number")
typedef enum { SECRETS(ENUM_CONSTANT) SECRET_KINDS } SecretKind;

enum { SECRET_MASKED = 32 };
typedef struct Secret {
    SecretKind kind;
    size_t begin, end;          // in the text
    char masked[SECRET_MASKED]; // printable: "j***@a***.org", "ghp_***", "+49***"
} Secret;
// The next one that begins or has its '@' at `from` or after; false: none.
bool secret_next(Secret *s, const char *text, size_t len, size_t from);
