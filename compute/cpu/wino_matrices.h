/* compute/cpu/wino_matrices.h -- the small matrices of Winograd's minimal filtering F(m, taps), applied to
 * vectors of channels. Part of wino_template.h. m and taps are known when compiled; n = m + taps - 1 points
 * a dimension (Toom and Cook; Lavin and Gray 2015):
 *   n = 3: 0, 1, infinity      n = 4: 0, 1, -1, infinity
 *   n = 5: 0, 1, -1, 2, infinity      n = 6: 0, 1, -1, 2, -2, infinity
 * B^T depends on the points only, A^T holds their powers (m rows), G their powers over the denominators
 * (taps columns): so F(4,3) and F(3,4) share everything but lengths. */

ALWAYS void apply_bt(const int n, const vector *d, vector *o) {
    const vector two = spread(2.0f), three = spread(3.0f), four = spread(4.0f), five = spread(5.0f);
    if (n == 3) {
        o[0] = d[1] - d[0];
        o[1] = d[1];
        o[2] = d[2] - d[1];
    } else if (n == 4) {
        o[0] = d[0] - d[2];
        o[1] = d[1] + d[2];
        o[2] = d[2] - d[1];
        o[3] = d[3] - d[1];
    } else if (n == 5) {
        vector a = d[3] - d[1], b = d[2] * two;
        o[0] = (d[0] * two - b) + a;
        o[1] = (d[3] - d[2]) - d[1] * two;
        o[2] = (d[3] - d[2] * three) + d[1] * two;
        o[3] = a;
        o[4] = (d[4] - d[2]) - a * two;
    } else {
        vector a = d[4] - d[2] * four, b = d[3] - d[1] * four, c = d[4] - d[2], e = (d[3] - d[1]) * two;
        o[0] = (d[0] * four - d[2] * five) + d[4];
        o[1] = a + b;
        o[2] = a - b;
        o[3] = c + e;
        o[4] = c - e;
        o[5] = (d[1] * four - d[3] * five) + d[5];
    }
}

ALWAYS void apply_at(const int m, const int n, const vector *x, vector *y) {
    if (n == 3) {
        y[0] = x[0] + x[1];
        y[1] = x[1] + x[2];
        return;
    }
    vector sum = x[1] + x[2], difference = x[1] - x[2];
    if (n == 4) {
        y[0] = x[0] + sum;
        y[1] = difference + x[3];
    } else if (n == 5) {
        y[0] = (x[0] + sum) + x[3];
        y[1] = difference + x[3] * spread(2.0f);
        y[2] = sum + x[3] * spread(4.0f);
        y[3] = (difference + x[3] * spread(8.0f)) + x[4];
    } else {
        vector sum2 = x[3] + x[4], difference2 = x[3] - x[4];
        y[0] = (x[0] + sum) + sum2;
        y[1] = difference + difference2 * spread(2.0f);
        y[2] = sum + sum2 * spread(4.0f);
        if (m == 4) y[3] = difference + difference2 * spread(8.0f);
        y[m - 1] += x[5];
    }
}

/* A: the transpose of apply_at. */
ALWAYS void apply_a(const int m, const int n, const vector *y, vector *o) {
    o[0] = y[0];
    o[n - 1] = y[m - 1];
    if (n == 3) {
        o[1] = y[0] + y[1];
        return;
    }
    if (n == 4) {
        o[1] = y[0] + y[1];
        o[2] = y[0] - y[1];
        return;
    }
    vector even = y[0] + y[2], odd = y[1];
    if (m == 4) odd += y[3];
    o[1] = even + odd;
    o[2] = even - odd;
    vector even2 = y[0] + y[2] * spread(4.0f), odd2 = y[1] * spread(2.0f);
    if (m == 4) odd2 += y[3] * spread(8.0f);
    o[3] = even2 + odd2;
    if (n == 6) o[4] = even2 - odd2;
}

ALWAYS void apply_g(const int n, const int taps, const vector *g, vector *o) {
    o[n - 1] = g[taps - 1];
    if (n == 3) {
        o[0] = spread(0.0f) - g[0];
        o[1] = g[0] + g[1];
    } else if (n == 4) {
        vector even = (g[0] + g[2]) * spread(0.5f), odd = g[1] * spread(0.5f);
        o[0] = g[0];
        o[1] = even + odd;
        o[2] = even - odd;
    } else if (n == 5) {
        o[0] = g[0] * spread(0.5f);
        o[1] = (g[0] + g[1]) * spread(-0.5f);
        o[2] = (g[0] - g[1]) * spread(-1.0f / 6);
        o[3] = (g[0] + g[1] * spread(2.0f)) * spread(1.0f / 6);
    } else {
        vector even = (g[0] + g[2]) * spread(-1.0f / 6), odd = g[1];
        if (taps == 4) odd += g[3];
        vector even2 = g[0] * spread(1.0f / 24) + g[2] * spread(1.0f / 6), odd2 = g[1] * spread(1.0f / 12);
        if (taps == 4) odd2 += g[3] * spread(1.0f / 3);
        odd = odd * spread(-1.0f / 6);
        o[0] = g[0] * spread(0.25f);
        o[1] = even + odd;
        o[2] = even - odd;
        o[3] = even2 + odd2;
        o[4] = even2 - odd2;
    }
}

/* The transpose of apply_g. */
ALWAYS void apply_gt(const int n, const int taps, const vector *x, vector *g) {
    if (n == 3) {
        g[0] = x[1] - x[0];
        g[1] = x[1] + x[2];
    } else if (n == 4) {
        vector sum = (x[1] + x[2]) * spread(0.5f);
        g[0] = x[0] + sum;
        g[1] = (x[1] - x[2]) * spread(0.5f);
        g[2] = sum + x[3];
    } else if (n == 5) {
        vector a = x[1] * spread(-0.5f), b = x[2] * spread(-1.0f / 6), c = x[3] * spread(1.0f / 6);
        g[0] = (x[0] * spread(0.5f) + a) + (b + c);
        g[1] = (a - b) + (c * spread(2.0f) + x[4]);
    } else {
        vector sum = (x[1] + x[2]) * spread(-1.0f / 6), difference = (x[1] - x[2]) * spread(-1.0f / 6);
        vector sum2 = (x[3] + x[4]) * spread(1.0f / 24), difference2 = (x[3] - x[4]) * spread(1.0f / 12);
        g[0] = (x[0] * spread(0.25f) + sum) + sum2;
        g[1] = difference + difference2;
        g[2] = sum + sum2 * spread(4.0f);
        if (taps == 4) g[3] = difference + difference2 * spread(4.0f);
        g[taps - 1] += x[5];
    }
}

typedef enum transform { BT, AT, A, G, GT } transform;

ALWAYS void apply(const int m, const int taps, const transform t, const vector *in, vector *out) {
    const int n = m + taps - 1;
    if (t == BT) apply_bt(n, in, out);
    else if (t == AT) apply_at(m, n, in, out);
    else if (t == A) apply_a(m, n, in, out);
    else if (t == G) apply_g(n, taps, in, out);
    else apply_gt(n, taps, in, out);
}

/* out [no][no] = T in [ni][ni] T^T */
ALWAYS void apply_both(const int m, const int taps, const transform t, vector in[MAX_N][MAX_N],
                       vector out[MAX_N][MAX_N]) {
    const int n = m + taps - 1;
    const int ni = t == A ? m : t == G ? taps : n, no = t == AT ? m : t == GT ? taps : n;
    vector half[MAX_N][MAX_N], column[MAX_N], result[MAX_N];
    for (int j = 0; j < ni; j++) {
        for (int i = 0; i < ni; i++) column[i] = in[i][j];
        apply(m, taps, t, column, result);
        for (int i = 0; i < no; i++) half[i][j] = result[i];
    }
    for (int i = 0; i < no; i++) apply(m, taps, t, half[i], out[i]);
}
