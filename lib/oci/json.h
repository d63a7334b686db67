/* json.h - JSON from outside, read within bounds, and strings written into JSON.
 *
 * cJSON allocates for every value and recurses for every level, so text is scanned first: its size,
 * nesting and number of values are capped before cJSON sees it. */
#pragma once

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

/* One JSON value and nothing after it but blanks. 0 with a tree for cJSON_Delete; -EPROTO (not
 * JSON, or a string with U+0000, which C strings cannot hold), -E2BIG (more than `max_bytes`,
 * LIMIT_JSON_NESTING or LIMIT_JSON_VALUES), -ENOMEM. The text need not end with NUL. May be called
 * on any thread. */
int json_parse(const char *text, size_t text_bytes, size_t max_bytes, cJSON **ret_json,
               struct error *err);

/* The member of that name, NULL when there is none. A name that stands twice (RFC 8259 section 4:
 * "unpredictable") is -EPROTO, since two readers could see two different documents. */
int json_member(const cJSON *object, const char *name, const cJSON **ret_member, struct error *err);

/* A count of bytes: a whole number from 0 to 2^53, beyond which doubles skip. 0 or -EPROTO. */
int json_size(const cJSON *number, int64_t *ret_size, struct error *err);

/* Appends text as a JSON string. What is not UTF-8 becomes U+FFFD. 0, -ENOBUFS, -ENOMEM; on
 * failure part of it may have been appended. */
int json_write_string(struct buf *out, const char *text);
