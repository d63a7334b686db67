/* spegel version. */
#include "commands.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#ifndef SPEGEL_COMMIT
#define SPEGEL_COMMIT "unknown"
#endif

/* What this was built for, which need not be what the kernel is: 32-bit programs run on 64-bit
 * ones. The names are Go's, which readers of this output compare with. */
static const char *go_architecture(void)
{
#if defined __x86_64__
    return "amd64";
#elif defined __aarch64__
    return "arm64";
#elif defined __arm__
    return "arm";
#elif defined __i386__
    return "386";
#elif defined __riscv && __riscv_xlen == 64
    return "riscv64";
#elif defined __powerpc64__ && defined __LITTLE_ENDIAN__
    return "ppc64le";
#elif defined __s390x__
    return "s390x";
#else
    static struct utsname machine;
    (void)uname(&machine);
    return machine.machine;
#endif
}

/* PRETTY_NAME of os-release(5), "unknown" where there is none. */
static void read_distro(char *name, size_t bytes)
{
    char line[512];
    (void)snprintf(name, bytes, "unknown");
    FILE *f = fopen("/etc/os-release", "re");
    if (!f) {
        return;
    }
    while (fgets(line, sizeof line, f)) {
        char *value = line + strlen("PRETTY_NAME=");
        if (!strncmp(line, "PRETTY_NAME=", strlen("PRETTY_NAME="))) {
            value += strspn(value, "\"'");
            value[strcspn(value, "\"'\n")] = 0;
            (void)snprintf(name, bytes, "%s", value);
            break;
        }
    }
    (void)fclose(f);
}

static void print_json_string(const char *text)
{
    (void)putchar('"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            printf("\\%c", c);
        } else if (c < ' ') {
            printf("\\u%04x", c);
        } else {
            (void)putchar(c);
        }
    }
    (void)putchar('"');
}

static void print_json(const char *distro, const char *architecture)
{
    printf("{\"build\":{\"version\":");
    print_json_string(SPEGEL_VERSION);
    printf(",\"commit\":");
    print_json_string(SPEGEL_COMMIT);
    printf(",\"compiler\":");
    print_json_string(__VERSION__);
    printf("},\"runtime\":{\"distro\":");
    print_json_string(distro);
    printf(",\"os\":\"linux\",\"arch\":");
    print_json_string(architecture);
    printf("}}\n");
}

int cmd_version(const struct version_options *options)
{
    if (options->format == VERSION_JSON) {
        char distro[256];
        read_distro(distro, sizeof distro);
        print_json(distro, go_architecture());
    } else {
        printf("spegel version %s %s\n", SPEGEL_VERSION, SPEGEL_COMMIT);
    }
    return fflush(stdout) == EOF || ferror(stdout);
}
