/* Sums and maxima over the positions of an activation on a CPU, in one reading. */

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#define CHANNELS 256    /* at once: their sums stay in the nearest cache */
#define IN_SEQUENCE 128 /* rows or values to add in their own type: in a longer sum, rounding errors would grow */
#define ALONG 32        /* positions of a channel from which reading along them is faster than across channels */
#define MUCH 4096       /* values that are worth several threads: half of them lie in the other core's cache */

typedef struct {
    const REAL *values;    /* (B, P, C), or (B, C, P) */
    REAL *totals, *maxima; /* (B, C); NULL: not wanted */
    int64_t totals_stride, maxima_stride; /* from sample to sample */
    int64_t samples, positions, channels;
    int32_t channels_last, threads;
} Reading;

/* Add ``count`` rows of ``width`` values, ``stride`` apart, to sums and, unless NULL, maxima. */
static void add_rows(const REAL *row, int64_t count, int64_t stride, int width, double *total, REAL *most) {
    for (int64_t begin = 0; begin < count; begin += IN_SEQUENCE) {
        int64_t end = begin + IN_SEQUENCE < count ? begin + IN_SEQUENCE : count;
        REAL sum[CHANNELS];
        for (int place = 0; place < width; place++) sum[place] = 0;
        for (int64_t index = begin; index < end; index++, row += stride) {
            for (int place = 0; place < width; place++) sum[place] += row[place];
            if (most)
                for (int place = 0; place < width; place++) most[place] = row[place] > most[place] ? row[place] : most[place];
        }
        for (int place = 0; place < width; place++) total[place] += sum[place];
    }
}

/* Whether one of ``count`` values, ``stride`` apart, is NaN, which comparisons hide. */
static bool is_odd(const REAL *value, int64_t count, int64_t stride) {
    for (; count > 0; count--, value += stride)
        if (*value != *value) return true;
    return false;
}

/* Write sums and maxima of one sample for adjacent channels, whose first values lie ``step`` apart in memory. */
static void write(const Reading *reading, int64_t sample, int64_t start, int width, const double *total, const REAL *most,
                  const REAL *values, int64_t step, int64_t stride) {
    if (reading->totals) {
        REAL *out = reading->totals + sample * reading->totals_stride + start;
        for (int channel = 0; channel < width; channel++) out[channel] = total[channel];
    }
    if (reading->maxima) {
        REAL *out = reading->maxima + sample * reading->maxima_stride + start;
        for (int channel = 0; channel < width; channel++) {
            bool odd = total[channel] != total[channel] && is_odd(values + channel * step, reading->positions, stride);
            out[channel] = odd ? NAN : most[channel];
        }
    }
}

/* Positions of one sample for adjacent channels. Positions of few channels are read side by side, as wider rows. */
static void read_rows(const Reading *reading, int64_t sample, int64_t start, int width) {
    const REAL *values = reading->values + sample * reading->positions * reading->channels + start;
    int64_t stride = reading->channels, beside = width == stride ? CHANNELS / width : 1;
    if (beside > reading->positions) beside = reading->positions;
    int64_t rows = reading->positions / beside, rest = reading->positions % beside * width;
    double total[CHANNELS];
    REAL maxima[CHANNELS], *most = reading->maxima ? maxima : 0;
    for (int place = 0; place < beside * width; place++) total[place] = 0;
    if (most)
        for (int place = 0; place < beside * width; place++) most[place] = -INFINITY;
    add_rows(values, rows, beside * stride, beside * width, total, most);
    add_rows(values + rows * beside * stride, rest > 0, 0, rest, total, most);
    for (int first = width; first < beside * width; first += width) {
        for (int channel = 0; channel < width; channel++) total[channel] += total[first + channel];
        if (most)
            for (int channel = 0; channel < width; channel++)
                most[channel] = most[first + channel] > most[channel] ? most[first + channel] : most[channel];
    }
    write(reading, sample, start, width, total, most, values, 1, stride);
}

/* Many adjacent positions of one sample and channel. */
static void read_column(const REAL *values, int64_t positions, double *total, REAL *most) {
    *total = 0;
    for (int64_t begin = 0; begin < positions; begin += IN_SEQUENCE) {
        int64_t end = begin + IN_SEQUENCE < positions ? begin + IN_SEQUENCE : positions;
        REAL sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t place = begin; place < end; place++) sum += values[place];
        *total += sum;
        if (!most) continue;
        REAL largest = *most;
#pragma omp simd reduction(max : largest)
        for (int64_t place = begin; place < end; place++) largest = values[place] > largest ? values[place] : largest;
        *most = largest;
    }
}

/* Positions of one sample for channels of which each lies together in memory. Few positions are read across channels. */
static void read_columns(const Reading *reading, int64_t sample, int64_t start, int width) {
    int64_t positions = reading->positions;
    const REAL *values = reading->values + (sample * reading->channels + start) * positions;
    double total[CHANNELS];
    REAL sum[CHANNELS], maxima[CHANNELS];
    for (int channel = 0; channel < width; channel++) sum[channel] = 0, maxima[channel] = -INFINITY;
    if (positions >= ALONG)
        for (int channel = 0; channel < width; channel++)
            read_column(values + channel * positions, positions, total + channel, reading->maxima ? maxima + channel : 0);
    else {
        for (int64_t place = 0; place < positions; place++)
            for (int channel = 0; channel < width; channel++) sum[channel] += values[channel * positions + place];
        for (int channel = 0; channel < width; channel++) total[channel] = sum[channel];
        for (int64_t place = 0; reading->maxima && place < positions; place++)
            for (int channel = 0; channel < width; channel++) {
                REAL value = values[channel * positions + place];
                maxima[channel] = value > maxima[channel] ? value : maxima[channel];
            }
    }
    write(reading, sample, start, width, total, maxima, values, positions, 1);
}

void read_positions(const Reading *reading) {
    int64_t tiles = (reading->channels + CHANNELS - 1) / CHANNELS, width = (reading->channels + tiles - 1) / tiles;
    bool is_much = reading->samples * reading->channels * reading->positions > MUCH;
#pragma omp parallel for collapse(2) num_threads(reading->threads) schedule(static) if (is_much)
    for (int64_t sample = 0; sample < reading->samples; sample++)
        for (int64_t tile = 0; tile < tiles; tile++) {
            int64_t start = tile * width, rest = reading->channels - start;
            if (rest > 0)
                (reading->channels_last ? read_rows : read_columns)(reading, sample, start, rest < width ? rest : width);
        }
}
