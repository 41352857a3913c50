// pattern: regular expressions as automata: what they match, what is refused by name, and expressions that would grow.
#include "grammar_case.h"
#include "pattern.h"

static void test_pattern_whole_text(void **state) {
    (void)state;
    case_texts(CONSTRAINT_REGEX, "(yes|no)", TEXTS("yes", "no"), TEXTS("", "ye", "yesno", "Yes"));
    case_texts(CONSTRAINT_REGEX, "^a+?b{2}c{1,}d{0,2}$", TEXTS("abbc", "aaabbccdd"), TEXTS("abc", "abbcddd", "bbc"));
    case_texts(CONSTRAINT_REGEX, "[a-c\\d_-]*", TEXTS("", "a-1_c"), TEXTS("d", "A"));
    case_texts(CONSTRAINT_REGEX, "[^a-c\\s]", TEXTS("d", "é", "日", "😀", "\x7F"), TEXTS("a", " ", "\n", "", "dd"));
    case_texts(CONSTRAINT_REGEX, ".", TEXTS("x", "\t", "é", "\xF4\x8F\xBF\xBF"),
               TEXTS("\n", "\r", "\xE2\x80\xA8", "\xC3"));
    case_texts(CONSTRAINT_REGEX, "\\x41\\u00e9\\.\\/\\t", TEXTS("Aé./\t"), TEXTS("Aé./", "Aéx/\t"));
    case_texts(CONSTRAINT_REGEX, "(?:a|(?<n>b)|(?P<m>c))", TEXTS("a", "b", "c"), TEXTS("", "ab"));
    case_texts(CONSTRAINT_REGEX, "\\D\\W\\S", TEXTS("x-y", "é é"), TEXTS("1-y", "xay", "x- "));
    case_texts(CONSTRAINT_REGEX, "a{x}{,2}", TEXTS("a{x}{,2}"), TEXTS("aa"));
    case_texts(CONSTRAINT_REGEX, "(a*)*b", TEXTS("b", "aaab"), TEXTS("a"));
    case_texts(CONSTRAINT_REGEX, "[\\u0410-\\u044f\\u4e00]+", TEXTS("Привет", "一"), TEXTS("Privet", "二"));
}

// In a schema a pattern is searched for.
static void test_pattern_found_in_a_text(void **state) {
    (void)state;
    static const char *const schema = "{\"type\": \"string\", \"pattern\": \"%s\"}";
    const struct {
        const char *pattern;
        const char *const *accepted, *const *others;
    } cases[] = {
        {"b", TEXTS("\"b\"", "\"abc\"", "\"\\\"b\""), TEXTS("\"a\"", "\"\"")},
        {"^b", TEXTS("\"b\"", "\"bc\""), TEXTS("\"ab\"")},
        {"b$", TEXTS("\"ab\""), TEXTS("\"ba\"", "\"b\\n\"")},
        {"^b$|^c|d$", TEXTS("\"b\"", "\"cx\"", "\"xd\""), TEXTS("\"bb\"", "\"xc\"", "\"dx\"")},
        {"^[\\\"\\\\\\\\]$", TEXTS("\"\\\"\"", "\"\\\\\""), TEXTS("\"a\"", "\"\\n\"")},
        {"^\\n$", TEXTS("\"\\n\""), TEXTS("\"\n\"", "\"\\u000a\"")},
        {"^(?:)$", TEXTS("\"\""), TEXTS("\"a\"")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[200];
        snprintf(text, sizeof text, schema, cases[i].pattern);
        case_texts(CONSTRAINT_SCHEMA, text, cases[i].accepted, cases[i].others);
    }
}

static void test_pattern_refuses_what_is_not_regular(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *why;
    } cases[] = {
        {"(a)\\1", "a back-reference"},
        {"\\k<n>", "a back-reference"},
        {"(?=a)", "look-around"},
        {"(?<!a)b", "look-around"},
        {"(?i)a", "a group with flags"},
        {"\\bword", "\\b"},
        {"\\p{L}", "\\p"},
        {"a++", "possessive"},
        {"a**", "two quantifiers"},
        {"*a", "after nothing"},
        {"a(", "without an end"},
        {"a)", "without its ("},
        {"[a", "without an end"},
        {"[]a]", "begin with ]"},
        {"[[:alpha:]]", "POSIX"},
        {"[b-a]", "from a later"},
        {"[\\d-z]", "to a class"},
        {"a{3,2}", "from a larger"},
        {"a{20000}", "above 10000"},
        {"a\\", "a backslash"},
        {"\\q", "an escape"},
        {"\\ud800", "without its digits"},
        {"a^b", "^ or $ inside"},
        {"(a$)", "^ or $ inside"},
        {"(*ACCEPT)", "a verb"},
        {"\\xg0", "without its digits"},
        {"[a&&b]", "a set"},
        {"\xFF", "not UTF-8"},
        {"a[^\\s\\S]", "no text fits"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        case_refused(CONSTRAINT_REGEX, cases[i].pattern, cases[i].why);
}

static void test_pattern_refuses_what_grows(void **state) {
    (void)state;
    AUTO_STR StrBuf deep = {0}, many = {0};
    case_refused(CONSTRAINT_REGEX, "(((a{1000}){1000}){1000}){1000}", "too large");
    case_refused(CONSTRAINT_REGEX, "(a|b)*a(a|b){40}", "too large");
    case_refused(CONSTRAINT_REGEX, "([\\s\\S]{0,10000}){9}", "too large");
    for (int i = 0; i < 1000; i++) str_puts(&deep, "(");
    case_refused(CONSTRAINT_REGEX, deep.data, "groups more than 64 deep");
    for (int i = 0; i <= PATTERN_MAX; i++) str_puts(&many, "a");
    case_refused(CONSTRAINT_REGEX, many.data, "expected at most");
}

TEST_MAIN(TEST(test_pattern_whole_text), TEST(test_pattern_found_in_a_text),
          TEST(test_pattern_refuses_what_is_not_regular), TEST(test_pattern_refuses_what_grows))
