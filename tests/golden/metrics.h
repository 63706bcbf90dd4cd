/* Made by tests/golden/metrics.py: do not edit. */
static const double golden_frechet[] = {0.0525792235280853, 0.776126204187725, 0.505561443010514, 89.9625081701391, 2.7863952549488};
static const double golden_kid[] = {-0.0068725811816277, 0, 0.0909498022406416, 0.0298727344241709};
static const double golden_prdc[] = {1, 0.58, 1.34206896551724, 0.82};
static const double golden_wasserstein[] = {0.071559427749543};
static const double golden_parzen[] = {0.166810053720006, -1.00641133357945, 0.211146969405701};
static const double golden_ssim[] = {0.126504806162157, 0.643968970999592};
