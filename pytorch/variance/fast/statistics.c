/* Statistics of a batch on a CPU. Each function goes once through its arrays, where PyTorch operations would go through
 * memory about thirty times. ``compiled_block.py`` says what is computed; formulas are in ``moments.py`` and
 * ``influence.py``.
 *
 * Arrays are contiguous. B samples, C transformations at once, T in total, U units, K classes so far, G of them in the
 * batch; ``order`` (B) sorts the samples by class, ``starts`` (G + 1) is where each class starts in that order. Each
 * unit is computed by one thread in a fixed order, so the number of threads does not change a bit. */

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#define TILE 256 /* units at once: rows long enough that memory is fetched ahead, few enough for the cache */

typedef struct {
    const REAL *values;                  /* (B, C, U); from sample to sample it is ``stride`` values */
    REAL *first;                         /* (B, U), activations under the very first transformation */
    double *sums, *squares;              /* (B, U), of deviations from ``first`` */
    const int64_t *order, *starts, *rows; /* rows (G): of the state */
    const double *counts;                /* (K), samples of each class before this batch */
    double *means, *m2s;                 /* (K, C, U), the state */
    float *of_class, *of_all;            /* (B, U), sums of q_t / T; of_all is NULL if there is one class */
    double *sv_class, *sv_all;           /* (G, U) and (U), sums of the dispersions / T */
    float *fourth_class, *fourth_all;    /* (G, U) and (U), see ``SquaredDeviations`` */
    int64_t stride, samples, at_once, steps, units, classes, groups;
    int32_t is_first, is_std, threads;
} Batch;

static void add_over_transformations(const Batch *batch, int64_t step, int64_t start, int width) {
    for (int64_t sample = 0; sample < batch->samples; sample++) {
        const REAL *value = batch->values + sample * batch->stride + step * batch->units + start;
        REAL *first = batch->first + sample * batch->units + start;
        double *sum = batch->sums + sample * batch->units + start;
        double *square = batch->squares + sample * batch->units + start;
        if (batch->is_first && step == 0)
            for (int unit = 0; unit < width; unit++) {
                first[unit] = value[unit];
                sum[unit] = square[unit] = (double)value[unit] - value[unit]; /* 0, or NaN */
            }
        else
            for (int unit = 0; unit < width; unit++) {
                double deviation = (double)value[unit] - first[unit];
                sum[unit] += deviation;
                square[unit] += deviation * deviation;
            }
    }
}

/* Add the samples of a class to its moments; return its new number of samples. */
static double add_over_samples(const Batch *batch, int64_t group, int64_t step, int64_t start, int width) {
    int64_t row = batch->rows[group], begin = batch->starts[group], end = batch->starts[group + 1];
    int64_t place = (row * batch->at_once + step) * batch->units + start;
    double *mean = batch->means + place, *m2 = batch->m2s + place;
    double sum[TILE] = {0}, square[TILE] = {0};
    double before = batch->counts[row], count = end - begin, share = count / (before + count), part = 1 / count;
    const REAL *values = batch->values + step * batch->units + start;
    if (before == 0)
        for (int unit = 0; unit < width; unit++) mean[unit] = values[batch->order[begin] * batch->stride + unit];
    for (int64_t index = begin; index < end; index++) {
        const REAL *value = values + batch->order[index] * batch->stride;
        for (int unit = 0; unit < width; unit++) {
            double deviation = value[unit] - mean[unit];
            sum[unit] += deviation;
            square[unit] += deviation * deviation;
        }
    }
    for (int unit = 0; unit < width; unit++) {
        double shift = sum[unit] * part;
        m2[unit] += square[unit] - shift * shift * count * share;
        mean[unit] += shift * share;
    }
    return before + count;
}

/* Mean and m2 of all classes together, as ``Moments.pooled``; ``counts`` include the batch. */
static void pool(const Batch *batch, const double *counts, int64_t step, int64_t start, int width, double *mean,
                 double *m2) {
    double total = 0, shift[TILE] = {0}, between[TILE] = {0};
    int64_t most = 0, stride = batch->at_once * batch->units, place = step * batch->units + start;
    for (int64_t row = 0; row < batch->classes; row++) {
        total += counts[row];
        if (counts[row] > counts[most]) most = row;
    }
    const double *reference = batch->means + most * stride + place;
    for (int unit = 0; unit < width; unit++) m2[unit] = 0;
    for (int64_t row = 0; row < batch->classes; row++) {
        const double *of_row = batch->means + row * stride + place, *more = batch->m2s + row * stride + place;
        double weight = counts[row] / total;
        for (int unit = 0; unit < width; unit++) {
            shift[unit] += weight * (of_row[unit] - reference[unit]);
            m2[unit] += more[unit];
        }
    }
    for (int64_t row = 0; row < batch->classes; row++) {
        const double *of_row = batch->means + row * stride + place;
        for (int unit = 0; unit < width; unit++) {
            double distance = of_row[unit] - reference[unit] - shift[unit];
            between[unit] += counts[row] * (distance * distance);
        }
    }
    for (int unit = 0; unit < width; unit++) {
        m2[unit] += between[unit];
        mean[unit] = reference[unit] + shift[unit];
    }
}

/* Add the deviations of the samples ``begin`` to ``end`` in order, from these moments, to their sums and fourth powers. */
static void add_about(const Batch *batch, int64_t begin, int64_t end, int64_t step, int64_t start, int width,
                      const double *mean, const double *m2, double count, float *about, double *sv, float *fourth) {
    float scales[TILE], fourths[TILE] = {0};
    double of_unit[TILE], freedom = 1 / (count - 1), share = 1.0 / batch->steps;
    bool is_opened = batch->is_first && step == 0;
    for (int unit = 0; unit < width; unit++) of_unit[unit] = m2[unit] * freedom; /* of one sample NaN: 0 times inf */
    if (batch->is_std)
        for (int unit = 0; unit < width; unit++) of_unit[unit] = sqrt(of_unit[unit]);
    for (int unit = 0; unit < width; unit++) {
        float root = 1 / sqrtf(batch->is_std ? 2 * (float)of_unit[unit] * batch->steps : (float)batch->steps);
        scales[unit] = isfinite(root) ? root : 0; /* the root of kappa / T, taken as 0 where it is undefined */
        sv[unit] += of_unit[unit] * share;
    }
    for (int64_t index = begin; index < end; index++) {
        int64_t sample = batch->order[index];
        const REAL *value = batch->values + sample * batch->stride + step * batch->units + start;
        float *total = about + sample * batch->units + start;
        for (int unit = 0; unit < width; unit++) {
            float scaled = (float)(value[unit] - mean[unit]) * scales[unit], square = scaled * scaled;
            total[unit] = is_opened ? square : total[unit] + square;
            square *= scales[unit]; /* before squaring: one factor may be large and the other small */
            fourths[unit] += square * square;
        }
    }
    for (int unit = 0; unit < width; unit++) fourth[unit] += fourths[unit];
}

void take(const Batch *batch, const double *counts) {
#pragma omp parallel for num_threads(batch->threads) schedule(static)
    for (int64_t start = 0; start < batch->units; start += TILE) {
        int width = batch->units - start < TILE ? batch->units - start : TILE;
        for (int64_t step = 0; step < batch->at_once; step++) {
            add_over_transformations(batch, step, start, width);
            for (int64_t group = 0; group < batch->groups; group++) {
                double count = add_over_samples(batch, group, step, start, width);
                int64_t state = (batch->rows[group] * batch->at_once + step) * batch->units + start;
                int64_t place = group * batch->units + start;
                add_about(batch, batch->starts[group], batch->starts[group + 1], step, start, width,
                          batch->means + state, batch->m2s + state, count, batch->of_class, batch->sv_class + place,
                          batch->fourth_class + place);
            }
            if (batch->of_all) {
                double mean[TILE], m2[TILE], total = 0;
                for (int64_t row = 0; row < batch->classes; row++) total += counts[row];
                pool(batch, counts, step, start, width, mean, m2);
                add_about(batch, 0, batch->samples, step, start, width, mean, m2, total, batch->of_all,
                          batch->sv_all + start, batch->fourth_all + start);
            }
        }
    }
}

/* Replace ``sums`` by the dispersion of each sample over the transformations, and add it up over each class, (G, U). */
void dispersions(const Batch *batch, double *of_groups) {
#pragma omp parallel for num_threads(batch->threads) schedule(static)
    for (int64_t start = 0; start < batch->units; start += TILE) {
        int width = batch->units - start < TILE ? batch->units - start : TILE;
        for (int64_t group = 0; group < batch->groups; group++) {
            double total[TILE] = {0}, part = 1.0 / batch->steps, freedom = 1.0 / (batch->steps - 1);
            for (int64_t index = batch->starts[group]; index < batch->starts[group + 1]; index++) {
                double *sum = batch->sums + batch->order[index] * batch->units + start;
                const double *square = batch->squares + batch->order[index] * batch->units + start;
                for (int unit = 0; unit < width; unit++) {
                    double variance = (square[unit] - sum[unit] * sum[unit] * part) * freedom;
                    sum[unit] = batch->is_std ? sqrt(variance) : variance;
                    total[unit] += sum[unit];
                }
            }
            for (int unit = 0; unit < width; unit++) of_groups[group * batch->units + start + unit] = total[unit];
        }
    }
}

/* Point of an expansion; see ``Expansion``. */
typedef struct {
    const double *tv, *centre, *inverse, *nv; /* (rows, U) */
    const bool *known;
} Point;

/* Add the influences of one sample on the units of a part of a layer to three sums, and products to (U). */
static void add_influences(const double *dispersion, const float *square, Point about, int64_t place, int64_t width,
                           const bool *in_every, double *totals, int64_t apart, double *products) {
    const double *tv = about.tv + place, *centre = about.centre + place;
    const double *inverse = about.inverse + place, *nv = about.nv + place;
    const bool *known = about.known + place;
    double on_tv = 0, on_sv = 0, on_nv = 0, in_strata = 0;
#pragma omp simd reduction(+ : on_tv, on_sv, on_nv, in_strata)
    for (int64_t unit = 0; unit < width; unit++) {
        double first = dispersion[unit] - tv[unit], second = square[unit] - centre[unit];
        double relative = second * inverse[unit];
        double third = known[unit] ? first * inverse[unit] - relative * nv[unit] : 0;
        on_tv += first;
        on_sv += second;
        on_nv += third;
        in_strata += in_every && in_every[unit] ? third : 0;
        products[unit] += relative * third;
    }
    totals[0] = on_tv;
    totals[apart] = on_sv;
    totals[2 * apart] = on_nv;
    if (in_every) totals[3 * apart] = in_strata;
}

/* Influences of each sample on each of P parts of layers, (7, B, P) as ``LayerSums.first``, and their products: (G, U)
 * about the classes, and (U) about all samples. With one class, what is about all samples is left as it is. */
void influences(const Batch *batch, const Point *of_class, const Point *of_all, const bool *in_every,
                const int64_t *members, const int64_t *parts, int64_t count, double *sums, double *class_products,
                double *products) {
    int64_t apart = batch->samples * count;
#pragma omp parallel for num_threads(batch->threads) schedule(dynamic)
    for (int64_t part = 0; part < count; part++) {
        int64_t start = parts[part], width = parts[part + 1] - start;
        for (int64_t sample = 0; sample < batch->samples; sample++) {
            int64_t here = sample * batch->units + start, row = members[sample] * batch->units + start;
            double *totals = sums + sample * count + part;
            if (batch->of_all)
                add_influences(batch->sums + here, batch->of_all + here, *of_all, start, width, 0, totals, apart,
                               products + start);
            add_influences(batch->sums + here, batch->of_class + here, *of_class, row, width, in_every + start,
                           totals + 3 * apart, apart, class_products + row);
        }
    }
}

/* Sums of (rows, U) over each of P parts of layers, (rows, P). */
void sums_of_parts(const double *values, int64_t rows, int64_t units, const int64_t *parts, int64_t count, double *sums,
                   int32_t threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < rows; row++)
        for (int64_t part = 0; part < count; part++) {
            double total = 0;
#pragma omp simd reduction(+ : total)
            for (int64_t unit = parts[part]; unit < parts[part + 1]; unit++) total += values[row * units + unit];
            sums[row * count + part] = total;
        }
}
