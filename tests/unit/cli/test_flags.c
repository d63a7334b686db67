/* The parser on a table of its own: what it promises does not hang on the program's flags. */
#include "support.h"

#include <errno.h>
#include <string.h>

#include "cli/flags.h"
#include "cli/help.h"

struct run_options {
    char *name;
    bool on;
    uint32_t count;
    uint64_t wait_ms;
    int colour;
    struct host_port addr;
    struct text_list items, stores, must;
};

struct options {
    int level;
    struct run_options run;
};

static const char *const levels[] = {"LOW", "HIGH", NULL};
static const char *const colours[] = {"", "red", "green", NULL};
#define AT(field) .offset = offsetof(struct run_options, field)

static const struct flag own_flags[] = {
    {"level", FLAG_CHOICE, .offset = offsetof(struct options, level), .default_text = "LOW",
     .choices = levels, .placeholder = "LEVEL", .help = "How much."},
    {0},
};
static const struct flag run_flags[] = {
    {"name", FLAG_TEXT, AT(name), .default_text = "n0", .placeholder = "NAME", .help = "A name."},
    {"on", FLAG_BOOL, AT(on), .default_text = "true", .help = "A switch."},
    {"count", FLAG_COUNT, AT(count), .default_text = "3", .max = 10, .placeholder = "N",
     .help = "A count."},
    {"max-wait", FLAG_DURATION, AT(wait_ms), .default_text = "20ms", .min = 1,
     .placeholder = "DURATION", .help = "A wait."},
    {"colour", FLAG_CHOICE, AT(colour), .choices = colours, .placeholder = "COLOUR",
     .no_environment = true, .help = "A colour."},
    {"addr", FLAG_ADDRESS, AT(addr), .placeholder = "ADDR", .help = "An address."},
    {"items", FLAG_LIST, AT(items), .placeholder = "ITEM", .help = "Items."},
    {"store", FLAG_LIST, AT(stores), .placeholder = "STORE", .gathers = true, .help = "Stores."},
    {"must", FLAG_LIST, AT(must), .placeholder = "M", .required = true, .help = "Needed."},
    {"needed", FLAG_LIST, AT(must), .placeholder = "M", .retired = "read as --must"},
    {0},
};
static const struct flag no_flags[] = {{0}};
static const struct command commands[] = {
    {"run", "Runs.", run_flags, offsetof(struct options, run)},
    {"rest", "Rests.", no_flags, offsetof(struct options, run)},
    {0},
};
static const struct program program = {"prog", "A program.", own_flags, commands};

struct fixture {
    struct options options;
    struct flags_parsed parsed;
    struct error err;
    int r;
};

static struct fixture parse(char *const *argv, char *const *environment)
{
    struct fixture f = {0};
    f.r = flags_parse(&program, argv, environment, &f.options, &f.parsed, &f.err);
    return f;
}

static void done(struct fixture *f)
{
    flags_done(&program, &f->parsed, &f->options);
}

#define ARGV(...) ((char *[]){"prog", __VA_ARGS__, NULL})
#define ENVIRONMENT(...) ((char *[]){__VA_ARGS__, NULL})

static void every_way_to_write_a_flag_means_the_same(void **state)
{
    (void)state;
    char **const lines[] = {
        ARGV("run", "--must", "m", "--name=x", "--count=4", "--on=false"),
        ARGV("run", "--must", "m", "--name", "x", "--count", "4", "--on=false"),
        ARGV("run", "-must", "m", "-name=x", "-count", "4", "-on=0"),
        ARGV("--level", "high", "run", "--must=m", "--name", "x", "--count", "4", "--on=F"),
        ARGV("run", "--must", "m", "--name", "x", "--count", "4", "--on=F", "--level=high"),
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct fixture f = parse(lines[i], NULL);
        assert_int_equal(f.r, 0);
        assert_int_equal(f.parsed.outcome, FLAGS_RUN);
        assert_string_equal(f.parsed.command->name, "run");
        assert_string_equal(f.options.run.name, "x");
        assert_int_equal(f.options.run.count, 4);
        assert_false(f.options.run.on);
        assert_int_equal(f.options.run.must.count, 1);
        assert_int_equal(f.options.level, i >= 3);
        done(&f);
    }
}

static void what_is_not_given_has_its_default(void **state)
{
    (void)state;
    struct fixture f = parse(ARGV("run", "--must", "m"), NULL);
    assert_int_equal(f.r, 0);
    assert_string_equal(f.options.run.name, "n0");
    assert_true(f.options.run.on);
    assert_int_equal(f.options.run.count, 3);
    assert_int_equal(f.options.run.wait_ms, 20);
    assert_int_equal(f.options.run.colour, 0);
    assert_int_equal(f.options.run.addr.port, 0);
    assert_int_equal(f.options.run.items.count, 0);
    done(&f);
}

static void the_line_beats_the_environment_which_beats_the_default(void **state)
{
    (void)state;
    char **environment = ENVIRONMENT("MUST=a,b", "NAME=e", "MAX_WAIT=2s", "COUNT=", "ON=false",
                                     "LEVEL=HIGH", "COLOUR=red", "NAMES=no", "STORE=s0");
    struct fixture f =
        parse(ARGV("run", "--name", "x", "--store", "s1", "--store", "s2"), environment);
    assert_int_equal(f.r, 0);
    assert_int_equal(f.options.run.must.count, 2); /* a required flag may come from there */
    assert_string_equal(f.options.run.must.items[1], "b");
    assert_string_equal(f.options.run.name, "x");
    assert_int_equal(f.options.run.wait_ms, 2000);
    assert_int_equal(f.options.run.count, 3); /* an empty variable is as good as none */
    assert_false(f.options.run.on);
    assert_int_equal(f.options.level, 1);
    assert_int_equal(f.options.run.colour, 0); /* it has no variable */
    assert_int_equal(f.options.run.stores.count, 2);
    assert_string_equal(f.options.run.stores.items[0], "s1");
    done(&f);
}

static void a_list_takes_what_follows_and_replaces_unless_it_gathers(void **state)
{
    (void)state;
    struct fixture f = parse(ARGV("run", "--items", "a", "b", "--must", "m", "--items", "c", "d,e",
                                  "-", "--store", "s1", "--store=s2"),
                             NULL);
    assert_int_equal(f.r, 0);
    assert_int_equal(f.options.run.items.count, 3);
    assert_string_equal(f.options.run.items.items[0], "c");
    assert_string_equal(f.options.run.items.items[1], "d,e"); /* commas are the environment's */
    assert_int_equal(f.options.run.stores.count, 2);
    done(&f);
    f = parse(ARGV("run", "--must", "m", "--items"), ENVIRONMENT("ITEMS=a"));
    assert_int_equal(f.r, 0);
    assert_int_equal(f.options.run.items.count, 0);
    done(&f);
}

static void wrong_use_is_one_sentence_that_names_flag_value_and_what_is_allowed(void **state)
{
    (void)state;
    struct {
        char **argv, **environment;
        const char *says[3];
    } rows[] = {
        {ARGV("run", "--must", "m", "--bogus"), NULL, {"--bogus", "prog run --help"}},
        {ARGV("--bogus", "run"), NULL, {"--bogus"}},
        {ARGV("fly"), NULL, {"\"fly\"", "run, rest"}},
        {ARGV("run"), NULL, {"--must M", "required", "MUST"}},
        {ARGV("run", "--must"), NULL, {"--must", "missing"}},
        {ARGV("run", "--must", "m", "--name"), NULL, {"--name", "missing", "NAME"}},
        {ARGV("run", "--must", "m", "--name", "--on"), NULL, {"--name", "missing"}},
        {ARGV("run", "--must", "m", "--on", "false"), NULL, {"--on=false"}},
        {ARGV("run", "--must", "m", "--on=maybe"), NULL, {"--on", "\"maybe\"", "true or false"}},
        {ARGV("run", "--must", "m", "--count", "11"), NULL, {"--count", "\"11\"", "0 to 10"}},
        {ARGV("run", "--must", "m", "--count=-1"), NULL, {"--count", "\"-1\""}},
        {ARGV("run", "--must", "m", "--max-wait=2"), NULL, {"--max-wait", "\"2\"", "20ms"}},
        {ARGV("run", "--must", "m", "--max-wait=0"), NULL, {"--max-wait", "above zero"}},
        {ARGV("run", "--must", "m", "--colour=blue"), NULL, {"--colour", "blue", "red or green"}},
        {ARGV("run", "--must", "m", "--addr=5000"), NULL, {"--addr", "\"5000\"", "65535"}},
        {ARGV("run", "--must=m", "x"), NULL, {"\"x\"", "only flags"}},
        {ARGV("rest", "--must=m"), NULL, {"--must=m", "prog rest --help"}},
        {ARGV("run", "--must=m"),
         ENVIRONMENT("MAX_WAIT=1d"),
         {"environment variable MAX_WAIT", "\"1d\""}},
        {ARGV("run", "--must=m"), ENVIRONMENT("ITEMS=\"a"), {"environment variable ITEMS"}},
        {ARGV("run", "--must=m", "--"), NULL, {"--"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fixture f = parse(rows[i].argv, rows[i].environment);
        assert_int_equal(f.r, -EINVAL);
        for (int n = 0; n < 3 && rows[i].says[n]; n++) {
            if (!strstr(f.err.text, rows[i].says[n])) {
                fail_msg("row %zu: \"%s\" lacks \"%s\"", i, f.err.text, rows[i].says[n]);
            }
        }
        done(&f);
    }
}

static void a_retired_flag_fills_its_heir_and_warns(void **state)
{
    (void)state;
    struct fixture f = parse(ARGV("run", "--needed", "a", "b"), NULL);
    assert_int_equal(f.r, 0);
    assert_int_equal(f.options.run.must.count, 2);
    assert_int_equal(f.parsed.warnings.count, 1);
    assert_string_equal(f.parsed.warnings.items[0], "--needed is retired: read as --must");
    done(&f);
    f = parse(ARGV("run"), ENVIRONMENT("MUST=new", "NEEDED=old"));
    assert_int_equal(f.r, 0);
    assert_string_equal(f.options.run.must.items[0], "new");
    assert_int_equal(f.parsed.warnings.count, 1);
    done(&f);
}

static void help_wins_over_whatever_is_wrong(void **state)
{
    (void)state;
    char **const lines[] = {ARGV("run", "--help"), ARGV("-h", "run"),
                            ARGV("--level", "high", "run", "--count=x", "-help")};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct fixture f = parse(lines[i], ENVIRONMENT("MAX_WAIT=bad"));
        assert_int_equal(f.r, 0);
        assert_int_equal(f.parsed.outcome, FLAGS_HELP);
        assert_string_equal(f.parsed.command->name, "run");
        done(&f);
    }
    struct fixture f = parse(ARGV("--help"), NULL);
    assert_int_equal(f.parsed.outcome, FLAGS_HELP);
    assert_null(f.parsed.command);
    done(&f);
}

static void no_command_is_an_outcome_of_its_own(void **state)
{
    (void)state;
    struct fixture f = parse((char *[]){"prog", NULL}, NULL);
    assert_int_equal(f.r, 0);
    assert_int_equal(f.parsed.outcome, FLAGS_NO_COMMAND);
    done(&f);
    f = parse((char *[]){NULL}, NULL);
    assert_int_equal(f.parsed.outcome, FLAGS_NO_COMMAND);
    done(&f);
}

static void help_names_every_flag_its_default_and_its_variable(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, 65536);
    assert_int_equal(help_text(&program, &commands[0], &text), 0);
    static const char *const says[] = {
        "Usage: prog run --must M [...] [<flags>]\n",
        "--max-wait DURATION",
        "[default: 20ms, env: MAX_WAIT]",
        "A colour. [default: none]",
        "Needed. [required, env: MUST]",
        "Stores. [default: none, repeatable, env: STORE]",
        "--level LEVEL",
    };
    for (size_t i = 0; i < sizeof says / sizeof *says; i++) {
        if (!strstr(text.data, says[i])) {
            fail_msg("\"%s\" is missing from:\n%s", says[i], text.data);
        }
    }
    assert_null(strstr(text.data, "needed"));
    for (const char *line = text.data; *line; line += strcspn(line, "\n") + 1) {
        assert_true(strcspn(line, "\n") <= 100);
    }
    buf_done(&text);
}

static void without_memory_everything_is_given_back(void **state)
{
    (void)state;
    SUPPORT_OUT_OF_MEMORY_SWEEP({
        struct fixture f =
            parse(ARGV("run", "--name", "x", "--items", "a", "b", "--needed", "c", "--store=d"),
                  ENVIRONMENT("ITEMS=q,r", "NAME=y"));
        assert_true(f.r == 0 || f.r == -ENOMEM);
        done(&f);
    });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_to_write_a_flag_means_the_same),
        cmocka_unit_test(what_is_not_given_has_its_default),
        cmocka_unit_test(the_line_beats_the_environment_which_beats_the_default),
        cmocka_unit_test(a_list_takes_what_follows_and_replaces_unless_it_gathers),
        cmocka_unit_test(wrong_use_is_one_sentence_that_names_flag_value_and_what_is_allowed),
        cmocka_unit_test(a_retired_flag_fills_its_heir_and_warns),
        cmocka_unit_test(help_wins_over_whatever_is_wrong),
        cmocka_unit_test(no_command_is_an_outcome_of_its_own),
        cmocka_unit_test(help_names_every_flag_its_default_and_its_variable),
        cmocka_unit_test(without_memory_everything_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
