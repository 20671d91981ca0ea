#ifndef ftiny_maximum_f32
#define ftiny_maximum_f32
static __device__ __forceinline__ float maximum_f32(float x, float y) {
    return ((x > y) || (x != x)) ? x : y;
}
#endif
extern "C" __global__ void __launch_bounds__(64)
softmax(const float* __restrict__ x, float* __restrict__ y) {
    const int local_0 = (int)threadIdx.x;
    float e[77];
    float m = __int_as_float(0xff800000);
    for (int j = 0; j < 77; j++) {
        m = maximum_f32(m, x[(local_0 * 77) + j]);
    }
    for (int j = 0; j < 77; j++) {
        e[j] = expf(x[(local_0 * 77) + j] - m);
    }
    float s = 0.0f;
    for (int j = 0; j < 77; j++) {
        s = s + e[j];
    }
    for (int j = 0; j < 77; j++) {
        y[(local_0 * 77) + j] = e[j] / s;
    }
}
