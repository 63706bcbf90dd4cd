/* compute/cpu/small_template.h -- product kernels of small.h. Included by wino_template.h, whose vectors it uses;
 * the file of the instruction set also defines GD__WDOT_ROWS and sum_of_four. Rows behind the last of a group are
 * computed from its last row and dropped. */

/* ---- forward ---- */

/* y[row][0..3] += x[row] . w[0..3], for `valid` of `rows` rows. */
ALWAYS void dot_rows(const int rows, int64_t valid, const gd__meeting *at, const float *x, int64_t depth,
                     const float *w, int64_t w_step, float *y, int64_t y_step) {
    const float *from[GD__WDOT_ROWS];
    vector sum[GD__WDOT_ROWS][4];
    for (int i = 0; i < rows; i++) {
        from[i] = x + at[i < valid ? i : valid - 1].x * depth;
        for (int j = 0; j < 4; j++) sum[i][j] = spread(0.0f);
    }
    for (int64_t l = 0; l < depth; l += LANES) {
        vector row[GD__WDOT_ROWS];
        for (int i = 0; i < rows; i++) row[i] = load(from[i] + l);
        for (int j = 0; j < 4; j++) {
            vector f = load(w + j * w_step + l);
            for (int i = 0; i < rows; i++) sum[i][j] = fma3(row[i], f, sum[i][j]);
        }
    }
    for (int i = 0; i < rows && i < valid; i++) {
        float four[4], *to = y + at[i].y * y_step;
        sum_of_four(sum[i], four);
        for (int j = 0; j < 4; j++) to[j] += four[j];
    }
}

static void small_dots(const gd__meeting *at, int64_t count, const float *x, int64_t depth, const float *w,
                       int64_t w_step, float *y, int64_t y_step) {
    enum { FULL = GD__WDOT_ROWS };
    int64_t i = 0;
    for (; i + FULL <= count; i += FULL) dot_rows(FULL, FULL, at + i, x, depth, w, w_step, y, y_step);
    if (count - i > 1) dot_rows(FULL, count - i, at + i, x, depth, w, w_step, y, y_step);
    else if (count - i == 1) dot_rows(1, 1, at + i, x, depth, w, w_step, y, y_step);
}

/* ---- data ---- */

/* dx[row][COLUMNS] += dy[row][0..depth) u[depth][COLUMNS]. */
ALWAYS void add_rows(const int rows, int64_t valid, const gd__meeting *at, const float *dy, int64_t k, int64_t depth,
                     const float *u, int64_t u_step, float *dx, int64_t c) {
    const float *from[GD__WROWS];
    vector sum[GD__WROWS][GD__WVECTORS];
    for (int i = 0; i < rows; i++) {
        from[i] = dy + at[i < valid ? i : valid - 1].y * k;
        for (int j = 0; j < GD__WVECTORS; j++) sum[i][j] = spread(0.0f);
    }
    for (int64_t l = 0; l < depth; l++) {
        vector row[GD__WVECTORS];
        for (int j = 0; j < GD__WVECTORS; j++) row[j] = load(u + l * u_step + j * LANES);
        for (int i = 0; i < rows; i++) {
            vector f = spread(from[i][l]);
            for (int j = 0; j < GD__WVECTORS; j++) sum[i][j] = fma3(f, row[j], sum[i][j]);
        }
    }
    for (int i = 0; i < rows && i < valid; i++) {
        float *to = dx + at[i].x * c;
        for (int j = 0; j < GD__WVECTORS; j++) store(to + j * LANES, load(to + j * LANES) + sum[i][j]);
    }
}

static void small_rows(const gd__meeting *at, int64_t count, const float *dy, int64_t k, int64_t depth, const float *u,
                       int64_t u_step, float *dx, int64_t c) {
    enum { FULL = GD__WROWS, HALF = (GD__WROWS + 1) / 2 };
    int64_t i = 0;
    for (; i + FULL <= count; i += FULL) add_rows(FULL, FULL, at + i, dy, k, depth, u, u_step, dx, c);
    if (count - i > HALF) add_rows(FULL, count - i, at + i, dy, k, depth, u, u_step, dx, c);
    else if (count - i > 1) add_rows(HALF, count - i, at + i, dy, k, depth, u, u_step, dx, c);
    else if (count - i == 1) add_rows(1, 1, at + i, dy, k, depth, u, u_step, dx, c);
}

/* ---- weights ---- */

/* dw[row][COLUMNS] = sum over meetings of a[y][row] x[x][COLUMNS]; a: GD__WROWS filters of every pixel of y. */
static void small_outer(const gd__meeting *at, int64_t count, const float *a, const float *x, int64_t c, int64_t valid,
                        float *dw, int64_t dw_step) {
    vector sum[GD__WROWS][GD__WVECTORS];
    for (int i = 0; i < GD__WROWS; i++)
        for (int j = 0; j < GD__WVECTORS; j++) sum[i][j] = spread(0.0f);
    for (int64_t l = 0; l < count; l++) {
        const float *from = a + at[l].y * (int64_t)GD__WROWS, *pixel = x + at[l].x * c;
        vector row[GD__WVECTORS];
        for (int j = 0; j < GD__WVECTORS; j++) row[j] = load(pixel + j * LANES);
        for (int i = 0; i < GD__WROWS; i++) {
            vector f = spread(from[i]);
            for (int j = 0; j < GD__WVECTORS; j++) sum[i][j] = fma3(f, row[j], sum[i][j]);
        }
    }
    for (int i = 0; i < GD__WROWS && i < valid; i++)
        for (int j = 0; j < GD__WVECTORS; j++) store(dw + i * dw_step + j * LANES, sum[i][j]);
}
