/* values.h - the text of one flag's value, read into its type.
 *
 * Each returns 0, or -EINVAL for text that is none; `ret_x` is untouched then. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/flags.h"

/* What Go's strconv.ParseBool takes: 1, t, T, true, True, TRUE and their opposites. */
int value_bool(const char *text, bool *ret_value);

/* Decimal digits only. */
int value_count(const char *text, uint64_t *ret_value);

/* Go's time.ParseDuration without the sign: "300ms", "1.5h", "2h45m", "0". Rounded up to whole
 * milliseconds, so that what was not zero stays so. */
int value_duration_ms(const char *text, uint64_t *ret_ms);

/* ":5000", "host:5000", "[::1]:5000"; the port is 1 to 65535, the host may be empty. */
int value_address(const char *text, struct host_port *ret_address);

/* One line of comma-separated values (RFC 4180, so that a value may hold a comma within double
 * quotes). Empty values are dropped: a stray comma must not become a filter that matches
 * everything. Appends; -ENOMEM too. */
int value_list(const char *text, struct text_list *list);
