// secrets: what is found, how it is masked, and what is left alone.
#include "secrets.h"

#include <string.h>

#include "base.h"
#include "test.h"

static const char *const names[SECRET_KINDS] = {"email", "key", "phone"};

// "email j***@a***.org; phone +49***": all that is found.
static char *found(const char *text, size_t len) {
    StrBuf out = {0};
    Secret s;
    str_puts(&out, "");
    for (size_t at = 0; secret_next(&s, text, len, at); at = s.end) {
        assert_true(s.begin < s.end && s.end <= len && s.end > at);
        str_printf(&out, "%s%s %s", out.len ? "; " : "", names[s.kind], s.masked);
    }
    return out.data;
}

#define A36 "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6"
#define A64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_secrets_are_found(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"mail jane.doe+x@acme-corp.co.uk.", "email j***@a***.uk"},
        {"<bob@web.de>, (eve@mail.org)", "email b***@w***.de; email e***@m***.org"},
        {"mailto:info@lorac.io?subject=a", "email i***@l***.io"},
        {"überall: a_b@c.fr", "email a***@c***.fr"},
        {"OPENAI_API_KEY=sk-proj-" A36, "key sk-proj-***"},
        {"\"sk-" A36 "\"", "key sk-***"},
        {"sk-ant-api03-" A36, "key sk-ant-***"},
        {"token ghp_" A36 ".", "key ghp_***"},
        {"github_pat_11ABCDEFG0_" A36, "key github_pat_***"},
        {"hf_" A36, "key hf_***"},
        {"glpat-" A36, "key glpat-***"},
        {"id=AKIAQ3EGRL7ZK2PWX4TN,", "key AKIA***"},
        {"AIzaSyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q", "key AIza***"},
        {"xoxb-123456789012-" A36, "key xoxb-***"},
        {"dop_v1_" A64, "key dop_v1_***"},
        {"Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9Pl"
         "FUP0THsR8U",
         "key eyJ***"},
        {"-----BEGIN RSA PRIVATE KEY-----\nMIIE", "key RSA PRIVATE KEY"},
        {"-----BEGIN PGP PRIVATE KEY BLOCK-----", "key PGP PRIVATE KEY BLOCK"},
        {"call +49 30 1234567 or +1-202-456-1111", "phone +49***; phone +1-***"},
        {"(202) 456-1111, 202.456.1111", "phone (20***; phone 202***"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_FREE char *got = found(cases[i][0], strlen(cases[i][0]));
        assert_string_equal(got, cases[i][1]);
        AUTO_FREE char *inside = mem_printf("Some text. %s and more text", cases[i][0]); // and in other text
        AUTO_FREE char *again = found(inside, strlen(inside));
        assert_string_equal(again, cases[i][1]);
        assert_null(strstr(got, A36)); // never in full
    }
}

static void test_secrets_other_text_is_left_alone(void **state) {
    (void)state;
    static const char *const cases[] = {
        "@app.route('/') def f(): pass",
        "user@example.com, me@docs.example.org, x@host.test",
        "git clone git@github.com:owner/name.git",
        "scp me@server.org:~/file .",
        "foo@1.2.3 and @babel/core@7.0.0 and icon@2x.png",
        "a @ b, x@y, .@b.com, a.@b.com, a@b., a@-b.com",
        "sk-learn, sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx, risk-" A36,
        "sk-estimators-and-pipelines-for-machine-learning",
        "ghp_short, hf_hub_download, hf_transformers_model_name_of_a_file",
        "AKIAIOSFODNN7EXAMPLE and AKIA and AIzaShort",
        "eyJ is the beginning of base64 text: eyJhIjoxfQ",
        "-----BEGIN CERTIFICATE-----, -----BEGIN PUBLIC KEY-----, ---------- PRIVATE KEY-----",
        "2024-11-30 12:00, 192.168.100.1000, 3.14159265358979, 1234567890",
        "ISBN 978-3-16-148410-0, 12-34-56, 123-45-6789, 1+12345678901, 555-1234",
        "5551234567890123456, 123-456-78901, 1-123-456-7890-12, v1.202.456.1111",
        "7 202 456 1111, 202 456 1111 8",
        "+5, +12%, C++11, a+12345678901, +0 12345678901, x=+12345678901",
        "no secrets here: the quick brown fox jumps over the lazy dog",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_FREE char *got = found(cases[i], strlen(cases[i]));
        if (*got) fail_msg("\"%s\": found %s", cases[i], got);
    }
}

// Any bytes, cut anywhere: nothing beyond the text is read (AddressSanitizer), and the search ends.
static void test_secrets_any_bytes(void **state) {
    (void)state;
    static const char text[] =
        "a@b.cc ghp_" A36 " +49 30 1234567 (202) 456-1111 -----BEGIN RSA PRIVATE KEY----- \0@\0+\xFF@\xC3";
    for (size_t from = 0; from < sizeof text; from++)
        for (size_t end = from; end < sizeof text; end++) {
            char *copy = mem_alloc(end - from + 1, 1);
            memcpy(copy, text + from, end - from);
            copy = mem_realloc(copy, end - from + !(end - from), 1);
            mem_free(found(copy, end - from));
            mem_free(copy);
        }
}

TEST_MAIN(TEST(test_secrets_are_found), TEST(test_secrets_other_text_is_left_alone), TEST(test_secrets_any_bytes))
