/* Decodes rows of pixels from decimal text at the speed of memory: CSV lines, or arrays in JSON.
 *
 * Returns -1 for anything unusual or wrong. The caller's slow decoder, which returns the same
 * pixels, then finds out what it is. The text must be followed by a byte that cannot be part of a
 * number, such as the NUL after every Python bytes object.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

/* Of a number that is spelled in a rare way; the caller refuses longer ones. */
#define CHARACTERS_MAXIMUM 1024

static const char *skip_space(const char *p) {
    while (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r') p++;
    return p;
}

/* Skips the white space that may stand around a number of CSV. */
static const char *skip_blanks(const char *p) {
    while (*p == ' ' || *p == '\t' || *p == '\r') p++;
    return p;
}

static const char *skip_digits(const char *p) {
    while (*p >= '0' && *p <= '9') p++;
    return p;
}

/* Reads a number that is spelled in a rare way; returns NULL if it is none, or below 0.
 *
 * JSON allows a minus sign. CSV allows either sign, zeros in front, and a point first or last.
 */
__attribute__((cold, noinline)) static const char *
read_rare_number(const char *start, int is_json, double *number) {
    const char *p = start;
    if (*p == '-' || (*p == '+' && !is_json)) p++;
    const char *whole = p;
    p = skip_digits(p);
    long digits = p - whole;
    if (is_json && (!digits || (*whole == '0' && digits > 1))) return NULL;
    if (*p == '.') {
        const char *fraction = ++p;
        p = skip_digits(p);
        if (p == fraction && is_json) return NULL;
        digits += p - fraction;
    }
    if (!digits) return NULL;
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p == '-' || *p == '+') p++;
        const char *exponent = p;
        p = skip_digits(p);
        if (p == exponent) return NULL;
    }
    if (p - start > CHARACTERS_MAXIMUM) return NULL;
    char *end;
    *number = strtod(start, &end);
    return end == p && *number >= 0 ? p : NULL;
}

/* Reads a number that is 0 or more; returns NULL if there is none. */
static const char *read_number(const char *p, int is_json, double *number) {
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const char *start = p;
    uint64_t digits = 0;
    while (*p >= '0' && *p <= '9' && p - start < 4) digits = digits * 10 + (uint64_t)(*p++ - '0');
    if (p == start || p - start > 3 || (*start == '0' && p - start > 1))
        return read_rare_number(start, is_json, number);
    *number = (double)digits;
    if (*p != '.' && *p != 'e' && *p != 'E') return p;
    const char *point = p;
    if (*p == '.') {
        p++;
        if (*p < '0' || *p > '9') return read_rare_number(start, is_json, number);
        while (*p >= '0' && *p <= '9' && digits < (1ull << 53) / 10)
            digits = digits * 10 + (uint64_t)(*p++ - '0');
        if ((*p < '0' || *p > '9') && *p != 'e' && *p != 'E' && p - point <= 23) {
            /* Both are exact, so this is the nearest double. */
            *number = (double)digits / powers[p - point - 1];
            return p;
        }
    }
    char *end;
    *number = strtod(start, &end);
    return end;
}

/* Decodes rows of `columns` numbers into `pixels`.
 *
 * For CSV `levels` is 0. For JSON it is the depth of an image's numbers, and `sizes` holds how many
 * numbers each level has, the outermost first. Returns the number of rows, or -1; `end` is set to
 * how far the text was read.
 */
static long decode(const char *text, long size, long columns, long levels, const long *sizes,
                   long rows_maximum, unsigned char *pixels, long *end, double *row) {
    const char *p = text, *last = text + size;
    long rows = 0;
    for (; rows < rows_maximum; rows++) {
        int fractions = 0;
        double highest = 0;
        for (long column = 0; column < columns; column++) {
            /* The first level is an image. */
            for (long level = column ? 1 : 0; level < levels; level++)
                if (column % sizes[level] == 0) {
                    p = skip_space(p);
                    if (*p++ != '[') return -1;
                }
            p = levels ? skip_space(p) : skip_blanks(p);
            p = read_number(p, levels > 0, &row[column]);
            if (!p) return -1;
            if (!(row[column] <= 255)) return -1;
            fractions |= row[column] != (int)row[column];
            highest = row[column] > highest ? row[column] : highest;
            if (!levels) p = skip_blanks(p);
            for (long level = levels - 1; level >= (column + 1 < columns ? 1 : 0); level--)
                if ((column + 1) % sizes[level] == 0) {
                    p = skip_space(p);
                    if (*p++ != ']') return -1;
                }
            if (column + 1 < columns && *(p = levels ? skip_space(p) : p) != ',') return -1;
            p += column + 1 < columns;
        }
        if (fractions && highest > 1) return -1;
        for (long i = 0; i < columns; i++)
            *pixels++ = (unsigned char)(fractions ? (int)rint(row[i] * 255) : (int)row[i]);
        if (levels) {
            p = skip_space(p);
            if (*p != ',') break;
            p++;
        } else {
            const char *after = skip_space(p);
            if (after >= last) break;
            if (*p++ != '\n') return -1;
        }
    }
    *end = p - text;
    return rows < rows_maximum ? rows + 1 : -1;
}

long decode_rows(const char *text, long size, long columns, long levels, const long *sizes,
                 long rows_maximum, unsigned char *pixels, long *end) {
    double *row = malloc((size_t)columns * sizeof *row);
    if (!row) return -1;
    long rows = decode(text, size, columns, levels, sizes, rows_maximum, pixels, end, row);
    free(row);
    return rows;
}
