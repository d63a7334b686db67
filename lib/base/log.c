#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 8192
#define LINE_RESERVE 64 /* room kept for a closing quote, brace and newline */

static enum log_level threshold = LOG_INFO;

static const char *const level_names[] = {"DEBUG", "INFO", "WARN", "ERROR"};

struct line {
    char text[LINE_BYTES];
    size_t len;
};

static void line_char(struct line *l, char c)
{
    if (l->len < LINE_BYTES - LINE_RESERVE) {
        l->text[l->len++] = c;
    }
}

static void line_raw(struct line *l, const char *text)
{
    while (*text) {
        line_char(l, *text++);
    }
}

/* RFC 8259 section 7. Bytes outside ASCII become U+FFFD-free escapes of their value, so that the
 * line is valid JSON whatever came in. */
static void line_string(struct line *l, const char *text)
{
    line_char(l, '"');
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (l->len > LINE_BYTES - 2 * LINE_RESERVE) {
            break;
        }
        if (*p == '"' || *p == '\\') {
            line_char(l, '\\');
            line_char(l, (char)*p);
        } else if (*p < 0x20 || *p >= 0x7f) {
            char escape[8];
            (void)snprintf(escape, sizeof escape, "\\u%04x", *p);
            line_raw(l, escape);
        } else {
            line_char(l, (char)*p);
        }
    }
    line_char(l, '"');
}

static void line_time(struct line *l)
{
    struct timespec now;
    struct tm utc;
    char text[64];
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(text + n, sizeof text - n, ".%03ldZ", now.tv_nsec / 1000000);
    line_string(l, text);
}

void log_set_level(enum log_level level)
{
    threshold = level;
}

bool log_enabled(enum log_level level)
{
    return level >= threshold;
}

int log_parse_level(const char *name, enum log_level *ret_level)
{
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++) {
        if (!strcasecmp(name, level_names[i])) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

void log_write(enum log_level level, const char *message, const struct log_field *fields)
{
    static struct line line;
    line.len = 0;
    line_raw(&line, "{\"time\":");
    line_time(&line);
    line_raw(&line, ",\"level\":\"");
    line_raw(&line, level_names[level]);
    line_raw(&line, "\",\"msg\":");
    line_string(&line, message);
    for (; fields->key && line.len < LINE_BYTES / 2; fields++) {
        char number[32];
        line_char(&line, ',');
        line_string(&line, fields->key);
        line_char(&line, ':');
        if (fields->kind == LOG_BOOL) {
            line_raw(&line, fields->number ? "true" : "false");
        } else if (fields->kind == LOG_NUMBER) {
            (void)snprintf(number, sizeof number, "%lld", (long long)fields->number);
            line_raw(&line, number);
        } else if (!fields->text) {
            line_raw(&line, "null");
        } else {
            line_string(&line, fields->text);
        }
    }
    line.text[line.len++] = '}';
    line.text[line.len++] = '\n';
    /* One write, so that lines of several processes on one pipe do not mix. */
    if (write(STDERR_FILENO, line.text, line.len) < 0) {
        return;
    }
}
