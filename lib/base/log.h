/* log.h - one JSON object a line on stderr.
 *
 * Keys: time (RFC 3339, UTC, milliseconds), level, msg, then the fields given, "err" by custom for
 * an error's text. The sans-IO folders never log; the rest logs only what has no caller to be
 * returned to, and the daemon logs everything else, once. From the loop's thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* A field is made by one of these; text is copied before log_write returns. NULL text prints as
 * null. */
struct log_field {
    const char *key; /* NULL ends the list */
    const char *text;
    int64_t number;
    enum { LOG_TEXT, LOG_NUMBER, LOG_BOOL } kind;
};

#define LOG_STR(name, value) ((struct log_field){.key = (name), .text = (value), .kind = LOG_TEXT})
#define LOG_INT(name, value)                                                                       \
    ((struct log_field){.key = (name), .number = (int64_t)(value), .kind = LOG_NUMBER})
#define LOG_FLAG(name, value)                                                                      \
    ((struct log_field){.key = (name), .number = (value), .kind = LOG_BOOL})

/* log_info("listening", LOG_STR("addr", addr), LOG_INT("port", 5000)); */
#define log_debug(...) LOG_AT(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) LOG_AT(LOG_INFO, __VA_ARGS__)
#define log_warn(...) LOG_AT(LOG_WARN, __VA_ARGS__)
#define log_error(...) LOG_AT(LOG_ERROR, __VA_ARGS__)
#define LOG_AT(level, message, ...)                                                                \
    do {                                                                                           \
        if (log_enabled(level)) {                                                                  \
            log_write(level, message, (struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){0}});        \
        }                                                                                          \
    } while (0)

void log_set_level(enum log_level level); /* LOG_INFO until called */
bool log_enabled(enum log_level level);

/* 0, or -EINVAL when the name is none of debug, info, warn, error in any case. */
int log_parse_level(const char *name, enum log_level *ret_level);

/* A line longer than 8 KiB is cut so that it stays valid JSON. */
void log_write(enum log_level level, const char *message, const struct log_field *fields);
