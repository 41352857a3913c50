// gbnf: grammars of llama.cpp: what they describe, what is refused with its line, and grammars that would grow.
#include "gbnf.h"
#include <time.h>

#include "grammar_case.h"

static void test_gbnf_describes_texts(void **state) {
    (void)state;
    case_texts(CONSTRAINT_GRAMMAR, "root ::= \"yes\" | \"no\"", TEXTS("yes", "no"), TEXTS("", "yesno"));
    case_texts(CONSTRAINT_GRAMMAR,
               "# arithmetic\n"
               "root  ::= (expr \"=\" ws term \"\\n\")+ # lines\n"
               "expr  ::= term ([-+*/] term)*\n"
               "term  ::= ident | num | \"(\" ws expr \")\" ws\n"
               "ident ::= [a-z] [a-z0-9_]* ws\n"
               "num   ::= [0-9]+ ws\n"
               "ws    ::= [ \\t\\n]*\n",
               TEXTS("a=1\n", "x1 +(2*y) = z\n", "((((1))))=2\n1=1\n"), TEXTS("", "a=1", "(1=2\n", "1+=2\n"));
    case_texts(CONSTRAINT_GRAMMAR,
               "root ::= item{2,3} \"é\"? |\n  other\nitem ::= (\"a\"\n | \"bc\" )\nother ::= [^\\x00-\\x7F]{2} .",
               TEXTS("aa", "abca", "bcbcé", "éé!", "日本語"), TEXTS("a", "aaaa", "éa!", "éé"));
    case_texts(CONSTRAINT_GRAMMAR, "root ::= \"a\" root \"b\" | \"\"", TEXTS("", "ab", "aaabbb"),
               TEXTS("a", "aab", "ba"));
    case_texts(CONSTRAINT_GRAMMAR, "root ::= \"\\u00e9\\x41\\U0001F600\" [\\]\\[\\-]{1,}", TEXTS("éA😀[", "éA😀-]["),
               TEXTS("éA😀", "éA😀^"));
    case_texts(CONSTRAINT_GRAMMAR, "root ::= (x? y?)* \"z\"\nx ::= \"a\"\ny ::= \"b\"", TEXTS("z", "abbaz"),
               TEXTS("ab", "c"));
    case_texts(CONSTRAINT_GRAMMAR, "root ::= x{0,3}\nx ::= | \"a\" | \"a\" \"a\"", TEXTS("", "aaaaaa"),
               TEXTS("aaaaaaa"));
    case_texts(CONSTRAINT_GRAMMAR, "root ::= \"a\" | dead\ndead ::= \"b\" dead", TEXTS("a"), TEXTS("b", "bb"));
}

static void test_gbnf_refuses_with_the_line(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "rule root is not defined"},
        {"root ::= x", "rule x is not defined"},
        {"root ::= \"a\"\nroot ::= \"b\"", "grammar:2: a rule that is defined already"},
        {"root ::= \"a", "grammar:1: a literal or class without its end"},
        {"root ::= [a", "without its end"},
        {"root ::= [b-a]", "a range from a later"},
        {"root ::= \"\\q\"", "an escape"},
        {"root ::= \"\\ud800\"", "an escape"},
        {"root = \"a\"", "expected ::="},
        {"root ::= (\"a\"", "expected )"},
        {"root ::= \"a\")", "expected the end of the line"},
        {"root ::= <think>", "tokens by name or number are not supported"},
        {"root ::= !<[5]>", "tokens by name or number are not supported"},
        {"root ::= \"a\"{3,2}", "from a larger"},
        {"root ::= \"a\"{}", "expected {m}"},
        {"root ::= \"a\"{99999}", "above 10000"},
        {"root ::= root \"a\" | \"a\"", "rule root leads to itself"},
        {"root ::= x \"a\"\nx ::= \"b\"? y\ny ::= x", "leads to itself"},
        {"root ::= \"a\" root", "no text fits"},
        {"root ::= [^\\x00-\\U0010FFFF]", "no text fits"},
        {"root ::= \"\xFF\"", "not UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        case_refused(CONSTRAINT_GRAMMAR, cases[i].text, cases[i].why);
}

static void test_gbnf_grows_no_further_than_its_limits(void **state) {
    (void)state;
    AUTO_STR StrBuf deep = {0}, chain = {0};
    str_puts(&deep, "root ::= ");
    for (int i = 0; i < 1000; i++) str_puts(&deep, "(");
    case_refused(CONSTRAINT_GRAMMAR, deep.data, "64 deep");
    str_puts(&chain, "root ::= r0\n");
    for (int i = 0; i < 3000; i++) str_printf(&chain, "r%d ::= r%d r%d | \"a\"\n", i, i + 1, i + 1);
    str_puts(&chain, "r3000 ::= \"b\"\n");
    Constraint *c = case_open(CONSTRAINT_GRAMMAR, chain.data);
    case_check(c, "chain", (JsonStr){"a", 1}, true);
    case_check(c, "chain", (JsonStr){"c", 1}, false);
    constraint_free(c);
}

// What holds for the rules is found in a time that does not depend on their order.
static void test_gbnf_of_many_rules_in_any_order(void **state) {
    (void)state;
    enum { RULES = 50000 };
    AUTO_STR StrBuf chain = {0};
    str_printf(&chain, "root::=a%x\na0::=\"a\"\n", RULES);
    for (int i = 1; i <= RULES; i++) str_printf(&chain, "a%x::=\"b\"a%x\n", i, i - 1);
    clock_t begin = clock();
    constraint_free(case_open(CONSTRAINT_GRAMMAR, chain.data));
    assert_true((clock() - begin) / CLOCKS_PER_SEC < 5);
}

static void test_gbnf_refuses_what_is_too_ambiguous(void **state) {
    (void)state;
    case_refused(CONSTRAINT_GRAMMAR, "root ::= ((\"\"{10000}){10000}){10000} \"a\"", "too ambiguous");
}

TEST_MAIN(TEST(test_gbnf_describes_texts), TEST(test_gbnf_of_many_rules_in_any_order),
          TEST(test_gbnf_refuses_what_is_too_ambiguous), TEST(test_gbnf_refuses_with_the_line),
          TEST(test_gbnf_grows_no_further_than_its_limits))
