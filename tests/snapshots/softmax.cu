#ifndef ftiny_maximum_f32
#define ftiny_maximum_f32
static __device__ __forceinline__ float maximum_f32(float x, float y) {
#if __CUDA_ARCH__ >= 800
    float r;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(x), "f"(y));
    return r;
#else
    return x > y || x != x ? x : y;
#endif
}
#endif
extern "C" __global__ void __launch_bounds__(32)
softmax(const float* __restrict__ x, float* __restrict__ y) {
    const int group_0 = (int)blockIdx.x;
    const int local_0 = (int)threadIdx.x;
    float e[3];
    float x_row0[3];
    #pragma unroll
    for (int ju = 0; ju < 2; ju++) {
        x_row0[ju] = x[((group_0 * 77) + (ju * 32)) + local_0];
    }
    const bool m0_ = local_0 < 13;
    if (m0_) {
        x_row0[2] = x[((group_0 * 77) + local_0) + 64];
    }
    float m = __int_as_float(0xff800000);
    #pragma unroll
    for (int ju_1 = 0; ju_1 < 2; ju_1++) {
        m = maximum_f32(m, x_row0[ju_1]);
    }
    if (m0_) {
        m = maximum_f32(m, x_row0[2]);
    }
    const float m_from = __shfl_xor_sync(0xffffffffu, m, 16);
    m = maximum_f32(m, m_from);
    const float m_from_1 = __shfl_xor_sync(0xffffffffu, m, 8);
    m = maximum_f32(m, m_from_1);
    const float m_from_2 = __shfl_xor_sync(0xffffffffu, m, 4);
    m = maximum_f32(m, m_from_2);
    const float m_from_3 = __shfl_xor_sync(0xffffffffu, m, 2);
    m = maximum_f32(m, m_from_3);
    const float m_from_4 = __shfl_xor_sync(0xffffffffu, m, 1);
    m = maximum_f32(m, m_from_4);
    #pragma unroll
    for (int ju_2 = 0; ju_2 < 2; ju_2++) {
        e[ju_2] = expf(x_row0[ju_2] - m);
    }
    if (m0_) {
        e[2] = expf(x_row0[2] - m);
    }
    float s = 0.0f;
    #pragma unroll
    for (int ju_3 = 0; ju_3 < 2; ju_3++) {
        s = s + e[ju_3];
    }
    if (m0_) {
        s = s + e[2];
    }
    const float s_from = __shfl_xor_sync(0xffffffffu, s, 16);
    s = s + s_from;
    const float s_from_1 = __shfl_xor_sync(0xffffffffu, s, 8);
    s = s + s_from_1;
    const float s_from_2 = __shfl_xor_sync(0xffffffffu, s, 4);
    s = s + s_from_2;
    const float s_from_3 = __shfl_xor_sync(0xffffffffu, s, 2);
    s = s + s_from_3;
    const float s_from_4 = __shfl_xor_sync(0xffffffffu, s, 1);
    s = s + s_from_4;
    #pragma unroll
    for (int ju_4 = 0; ju_4 < 2; ju_4++) {
        y[((group_0 * 77) + (ju_4 * 32)) + local_0] = e[ju_4] / s;
    }
    if (m0_) {
        y[((group_0 * 77) + local_0) + 64] = e[2] / s;
    }
}
