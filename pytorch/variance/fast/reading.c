/* Sums and maxima over the positions of an activation on a CPU, in one reading. */

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#define CHANNELS 256    /* at once: their sums stay in the nearest cache */
#define IN_SEQUENCE 128 /* rows or values to add in their own type: in a longer sum, rounding errors would grow */
#define MUCH 32768      /* values that are worth several threads */

typedef struct {
    const REAL *values;    /* (B, P, C), or (B, C, P) */
    REAL *totals, *maxima; /* (B, C); NULL: not wanted */
    int64_t totals_stride, maxima_stride; /* from sample to sample */
    int64_t samples, positions, channels;
    int32_t channels_last, threads;
} Reading;

/* Add ``count`` rows of ``width`` values, ``stride`` apart, to sums and maxima. */
static void add_rows(const REAL *row, int64_t count, int64_t stride, int width, double *total, REAL *most) {
    for (int64_t begin = 0; begin < count; begin += IN_SEQUENCE) {
        int64_t end = begin + IN_SEQUENCE < count ? begin + IN_SEQUENCE : count;
        REAL sum[CHANNELS] = {0};
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

/* Positions of one sample for adjacent channels. Positions of few channels are read side by side, as wider rows. */
static void read_rows(const Reading *reading, int64_t sample, int64_t start, int width) {
    const REAL *values = reading->values + sample * reading->positions * reading->channels + start;
    int64_t stride = reading->channels, beside = width == stride ? CHANNELS / width : 1;
    if (beside > reading->positions) beside = reading->positions;
    int64_t rows = reading->positions / beside, rest = reading->positions % beside * width;
    double total[CHANNELS] = {0};
    REAL maxima[CHANNELS], *most = reading->maxima ? maxima : 0;
    for (int place = 0; place < beside * width; place++) maxima[place] = -INFINITY;
    add_rows(values, rows, beside * stride, beside * width, total, most);
    add_rows(values + rows * beside * stride, rest > 0, 0, rest, total, most);
    for (int first = width; first < beside * width; first += width)
        for (int channel = 0; channel < width; channel++) {
            total[channel] += total[first + channel];
            maxima[channel] = maxima[first + channel] > maxima[channel] ? maxima[first + channel] : maxima[channel];
        }
    for (int channel = 0; channel < width; channel++) {
        int64_t place = start + channel;
        if (reading->totals) reading->totals[sample * reading->totals_stride + place] = total[channel];
        if (most)
            reading->maxima[sample * reading->maxima_stride + place] =
                total[channel] != total[channel] && is_odd(values + channel, reading->positions, stride) ? NAN : most[channel];
    }
}

/* Adjacent positions of one sample and channel. */
static void read_column(const Reading *reading, int64_t sample, int64_t channel) {
    const REAL *values = reading->values + (sample * reading->channels + channel) * reading->positions;
    double total = 0;
    REAL most = -INFINITY;
    for (int64_t begin = 0; begin < reading->positions; begin += IN_SEQUENCE) {
        int64_t end = begin + IN_SEQUENCE < reading->positions ? begin + IN_SEQUENCE : reading->positions;
        REAL sum = 0;
#pragma omp simd reduction(+ : sum) reduction(max : most)
        for (int64_t place = begin; place < end; place++) {
            sum += values[place];
            most = values[place] > most ? values[place] : most;
        }
        total += sum;
    }
    if (total != total && is_odd(values, reading->positions, 1)) most = NAN;
    if (reading->totals) reading->totals[sample * reading->totals_stride + channel] = total;
    if (reading->maxima) reading->maxima[sample * reading->maxima_stride + channel] = most;
}

void read_positions(const Reading *reading) {
    int64_t tiles = (reading->channels + CHANNELS - 1) / CHANNELS, width = (reading->channels + tiles - 1) / tiles;
    int64_t parts = reading->channels_last ? tiles : reading->channels;
    bool is_much = reading->samples * reading->channels * reading->positions > MUCH;
#pragma omp parallel for collapse(2) num_threads(reading->threads) schedule(static) if (is_much)
    for (int64_t sample = 0; sample < reading->samples; sample++)
        for (int64_t part = 0; part < parts; part++) {
            int64_t start = part * width, rest = reading->channels - start;
            if (!reading->channels_last)
                read_column(reading, sample, part);
            else if (rest > 0)
                read_rows(reading, sample, start, rest < width ? rest : width);
        }
}
