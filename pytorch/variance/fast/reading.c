/* Sums and maxima over the positions of an activation on a CPU, in one reading. */

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#define CHANNELS 256    /* at once: their sums stay in the nearest cache */
#define IN_SEQUENCE 128 /* values to add in their own type: in a longer sum, rounding errors would grow */
#define MUCH 32768      /* values that are worth several threads */

typedef struct {
    const REAL *values;    /* (B, P, C), or (B, C, P) */
    REAL *totals, *maxima; /* (B, C); NULL: not wanted */
    int64_t totals_stride, maxima_stride; /* from sample to sample */
    int64_t samples, positions, channels;
    int32_t channels_last, threads;
} Reading;

/* Positions of one sample for adjacent channels. */
static void read_rows(const Reading *reading, int64_t sample, int64_t start, int width) {
    const REAL *row = reading->values + sample * reading->positions * reading->channels + start;
    double total[CHANNELS] = {0};
    REAL most[CHANNELS];
    bool odd[CHANNELS] = {0}; /* whether a value is NaN, which comparisons hide */
    for (int channel = 0; channel < width; channel++) most[channel] = -INFINITY;
    for (int64_t begin = 0; begin < reading->positions; begin += IN_SEQUENCE) {
        int64_t end = begin + IN_SEQUENCE < reading->positions ? begin + IN_SEQUENCE : reading->positions;
        REAL sum[CHANNELS] = {0};
        if (reading->maxima)
            for (int64_t place = begin; place < end; place++, row += reading->channels)
                for (int channel = 0; channel < width; channel++) {
                    REAL value = row[channel];
                    sum[channel] += value;
                    most[channel] = value > most[channel] ? value : most[channel];
                    odd[channel] |= value != value;
                }
        else
            for (int64_t place = begin; place < end; place++, row += reading->channels)
                for (int channel = 0; channel < width; channel++) sum[channel] += row[channel];
        for (int channel = 0; channel < width; channel++) total[channel] += sum[channel];
    }
    if (reading->totals)
        for (int channel = 0; channel < width; channel++)
            reading->totals[sample * reading->totals_stride + start + channel] = total[channel];
    if (reading->maxima)
        for (int channel = 0; channel < width; channel++)
            reading->maxima[sample * reading->maxima_stride + start + channel] = odd[channel] ? NAN : most[channel];
}

/* Adjacent positions of one sample and channel. */
static void read_column(const Reading *reading, int64_t sample, int64_t channel) {
    const REAL *values = reading->values + (sample * reading->channels + channel) * reading->positions;
    double total = 0;
    REAL most = -INFINITY;
    int odd = 0;
    for (int64_t begin = 0; begin < reading->positions; begin += IN_SEQUENCE) {
        int64_t end = begin + IN_SEQUENCE < reading->positions ? begin + IN_SEQUENCE : reading->positions;
        REAL sum = 0;
#pragma omp simd reduction(+ : sum) reduction(max : most) reduction(| : odd)
        for (int64_t place = begin; place < end; place++) {
            sum += values[place];
            most = values[place] > most ? values[place] : most;
            odd |= values[place] != values[place];
        }
        total += sum;
    }
    if (reading->totals) reading->totals[sample * reading->totals_stride + channel] = total;
    if (reading->maxima) reading->maxima[sample * reading->maxima_stride + channel] = odd ? NAN : most;
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
