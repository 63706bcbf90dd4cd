"""Values of the metrics in launch/metrics, by numpy and by other formulas where there are some.
Run: python3 tests/golden/metrics.py > tests/golden/metrics.h"""
import numpy as np


def value(i, j, s):
    m = 0xFFFFFFFF
    h = ((i * 73856093) & m) ^ ((j * 19349663) & m) ^ ((s * 83492791) & m)
    h = ((h ^ (h >> 13)) * 1274126177) & m
    return (h ^ (h >> 16)) % 10007


def floats(n, d, s):
    return np.array([[np.float32(value(i, j, s)) / np.float32(10007) for j in range(d)] for i in range(n)], np.float32)


def image(h, w, c, s):
    r = np.array([value(i // 4, 7, s) % 200 for i in range(h * w * c)]) + np.array([value(i, 3, s) % 56 for i in range(h * w * c)])
    return r.reshape(h, w, c).astype(np.uint8)


def frechet(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    s1, s2 = np.cov(a.T), np.cov(b.T)
    m = a.mean(0) - b.mean(0)
    e = np.linalg.eigvals(s1 @ s2)  # a general matrix: not the way of the C code
    return m @ m + np.trace(s1) + np.trace(s2) - 2 * np.sqrt(np.maximum(e.real, 0)).sum()


def kid_block(a, b):
    a, b, n = a.astype(np.float64), b.astype(np.float64), len(a)
    k = lambda x, y: (x @ y.T / x.shape[1] + 1) ** 3
    off = lambda m: (m.sum() - np.trace(m)) / (n * (n - 1))
    return off(k(a, a)) + off(k(b, b)) - 2 * k(a, b).mean()


def kid(a, b, size):
    v = [kid_block(a[i:i + size], b[i:i + size]) for i in range(0, min(len(a), len(b)) - size + 1, size)]
    return np.mean(v), np.std(v, ddof=1) / np.sqrt(len(v)) if len(v) > 1 else 0


def distances(a, b):
    return np.sqrt(((a.astype(np.float64)[:, None] - b.astype(np.float64)[None]) ** 2).sum(-1))


def prdc(real, fake, k):
    radius = lambda x: np.sort(distances(x, x), 1)[:, k]
    rr, rf, d = radius(real), radius(fake), distances(real, fake)
    return [(d < rr[:, None]).any(0).mean(), (d < rf[None]).any(1).mean(), (d < rr[:, None]).sum(0).mean() / k,
            (d.min(1) < rr).mean()]


def wasserstein(a, b):
    a, b = np.sort(a.astype(np.float64)), np.sort(b.astype(np.float64))
    n = len(a) * len(b)  # both quantile functions are steps on this grid
    return np.abs(np.repeat(a, n // len(a)) - np.repeat(b, n // len(b))).mean()


def parzen(fake, valid, test):
    def ll(x, s):
        e = -distances(x, fake) ** 2 / (2 * s * s)
        top = e.max(1, keepdims=True)
        return top[:, 0] + np.log(np.exp(e - top).mean(1)) - x.shape[1] * np.log(s * np.sqrt(2 * np.pi))
    widths = np.logspace(-1, 0, 10)
    s = widths[np.argmax([ll(valid, w).mean() for w in widths])]
    v = ll(test, s)
    return s, v.mean(), v.std(ddof=1) / np.sqrt(len(v))


def ms_ssim(a, b):
    weights = np.array([.0448, .2856, .3001, .2363, .1333])
    g = np.exp(-np.arange(-5, 6) ** 2 / (2 * 1.5 ** 2))
    g /= g.sum()
    window = np.outer(g, g)
    scales = sum(min(a.shape[:2]) >> i >= 11 for i in range(5))
    weights = weights[:scales] / weights[:scales].sum()

    def blur(x):
        v = np.lib.stride_tricks.sliding_window_view(x, (11, 11))
        return (v * window).sum((-1, -2))

    def one(x, y):
        total, c1, c2 = 1, (.01 * 255) ** 2, (.03 * 255) ** 2
        for i in range(scales):
            mx, my = blur(x), blur(y)
            cs = (2 * (blur(x * y) - mx * my) + c2) / (blur(x * x) - mx ** 2 + blur(y * y) - my ** 2 + c2)
            full = cs * (2 * mx * my + c1) / (mx ** 2 + my ** 2 + c1)
            total *= max((full if i == scales - 1 else cs).mean(), 0) ** weights[i]
            h, w = x.shape[0] // 2, x.shape[1] // 2
            half = lambda z: z[:2 * h, :2 * w].reshape(h, 2, w, 2).mean((1, 3))
            x, y = half(x), half(y)
        return total
    return np.mean([one(a[..., c].astype(np.float64), b[..., c].astype(np.float64)) for c in range(a.shape[2])])


def put(name, values):
    print("static const double golden_%s[] = {%s};" % (name, ", ".join("%.15g" % v for v in np.ravel(values))))


print("/* Made by tests/golden/metrics.py: do not edit. */")
put("frechet", [frechet(floats(40, 5, 1), floats(30, 5, 2)), frechet(floats(4, 6, 3), floats(5, 6, 4)),
                frechet(floats(4, 6, 3), floats(40, 6, 19)), frechet(floats(20, 300, 20), floats(15, 300, 21) * np.float32(1.5)),
                frechet(floats(400, 150, 22), floats(300, 150, 23))])
put("kid", [*kid(floats(60, 5, 5), floats(60, 5, 6), 50), *kid(floats(130, 5, 7), floats(120, 5, 8) ** 2, 50)])
put("prdc", prdc(floats(50, 3, 9), floats(145, 3, 10) * np.float32(0.6) + np.float32(0.3), 5))
put("wasserstein", [wasserstein(floats(1, 9, 11)[0], floats(1, 7, 12)[0])])
put("parzen", parzen(floats(30, 4, 13), floats(20, 4, 14), floats(25, 4, 15)))
put("ssim", [ms_ssim(image(64, 48, 3, 16), image(64, 48, 3, 17)), ms_ssim(image(176, 180, 1, 18), np.roll(image(176, 180, 1, 18), 2, 1))])
